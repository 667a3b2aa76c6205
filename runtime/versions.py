"""Versions of everything that crosses a boundary. A reader meets another version by name or not at all (SCM-1)."""

PORTS = 4
FRAME = 2
JOURNAL = 1
SNAPSHOT = 1
STATE = 1
ABI = 1
ABI_MINOR = 0  # raised when functions are added: a module for a newer one may need what is not here (SEC-2)

ALL = {"abi": ABI, "frame": FRAME, "journal": JOURNAL, "ports": PORTS, "snapshot": SNAPSHOT, "state": STATE}
