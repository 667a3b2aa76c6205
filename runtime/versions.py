"""Versions of everything that crosses a boundary. A reader meets another version by name or not at all (SCM-1)."""

PORTS = 7
FRAME = 4
JOURNAL = 1
SNAPSHOT = 1
STATE = 2
ABI = 1
ABI_MINOR = 2  # raised when functions are added: a module for a newer one may need what is not here (SEC-2)

ALL = {"abi": ABI, "frame": FRAME, "journal": JOURNAL, "ports": PORTS, "snapshot": SNAPSHOT, "state": STATE}
