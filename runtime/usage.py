"""What this process has used, read from the operating system (TEL-1).

For telemetry alone: no two runs read the same, so no decision and nothing that is journaled may depend on it. A
driver gives `read` to an orchestrator as the port `usage`; a simulation gives none, as its trace must repeat.
"""

from __future__ import annotations

import time
from typing import NamedTuple


class Usage(NamedTuple):
    """CPU time of the process in ns, user and system, all threads; resident memory in bytes."""

    cpu_ns: int
    rss_bytes: int


def read() -> Usage:
    """This process, now."""
    import psutil  # only who reads pays for it: workers import the ports too

    return Usage(time.process_time_ns(), int(psutil.Process().memory_info().rss))
