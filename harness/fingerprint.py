"""Fingerprints: when two failures are the same bug (oracle, component, minimal fault set).

The oracle is the most telling one that failed; the component is the part of the runtime that the evidence points at;
the fault set holds the kinds, each as often as it is there, that are left when nothing more can be left out. Ticks,
agents and parameters are no part of it: one bug shows at many addresses. So a fingerprint is only as good as the
shrinking before it; that of a plan which was not shrunk is too wide, and says so by `minimal=False` where it is kept.

Two bugs behind one oracle that need the same kinds are one fingerprint, and a bug that shows through two oracles can be
two: it sorts findings, it proves nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from faults.plan import Fault
from harness.check import BROAD, COMPONENTS

NO_FAULTS = "-"
DIGEST = 10  # hex digits of a fingerprint's short form
TEXT = re.compile(r"[\w]{1,32}/[\w.]{1,32}/(?:-|[a-z_.]{1,64}(?:\+[a-z_.]{1,64})*)")


class Fingerprint(Struct, frozen=True, order=True):
    """`faults` are kinds in order, repeated as often as the minimal plan has them; empty: it fails without faults."""

    oracle: str
    component: str
    faults: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.oracle}/{self.component}/{'+'.join(self.faults) or NO_FAULTS}"

    @property
    def digest(self) -> str:
        """A short name for files and tables: the first hex digits of the text's sha256."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:DIGEST]


def primary(failed: Sequence[str]) -> str:
    """The most telling of the oracles that failed, in the order in which they are judged; "" when none did."""
    return next(iter(sorted(failed, key=lambda oracle: oracle in BROAD)), "")


def of(oracle: str, faults: Iterable[Fault], component: str = "") -> Fingerprint:
    """The fingerprint of a failure by this oracle under these faults, its oracle's component by default.

    >>> str(of("I15", []))
    'I15/buffers/-'
    """
    kinds = tuple(sorted(fault.kind for fault in faults))
    return Fingerprint(oracle, component or COMPONENTS.get(oracle, "unknown"), kinds)


def parse(text: str) -> Fingerprint | None:
    """The fingerprint that a text says, as `str` writes it; None for any other text."""
    if not TEXT.fullmatch(text):
        return None
    oracle, component, kinds = text.split("/")
    return Fingerprint(oracle, component, () if kinds == NO_FAULTS else tuple(kinds.split("+")))
