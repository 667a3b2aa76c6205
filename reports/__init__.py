"""Reports: what a campaign's runs amount to, as files that anyone can open and a table for the terminal.

Way in: `frames.RunRow` (one run) and `frames.Meta` (what they have in common); `write` makes a folder, `load` reads
it back as a pandas frame, `tables.show` prints. Nothing here knows how runs are driven.
"""

from reports.frames import Meta, NotTested, RunRow, Sometimes
from reports.store import Results, load, write
from reports.summary import Counts, count, verdict

__all__ = ["Counts", "Meta", "NotTested", "Results", "RunRow", "Sometimes", "count", "load", "verdict", "write"]
