"""`sometimes` properties: states that a campaign should have met, or it has tested less than it seems.

Each is judged on the records of one run and never fails it: a campaign counts in how many runs it held, and says which
ones it never reached. One that cannot hold (no inference in the scenario, no such fault in the profile) is left out.
"""

from harness.sometimes.property import Property
from harness.sometimes.seen import Counts, Seen, counts_of
from harness.sometimes.table import PROPERTIES, reachable, reached

__all__ = ["PROPERTIES", "Counts", "Property", "Seen", "counts_of", "reachable", "reached"]
