"""What a kind of fault is, as data: its address forms, its keys and parameters with bounds, words and defaults.

A value that no key allows cannot enter a plan; `faults.kinds` and the files beside it list the kinds there are.
"""

from __future__ import annotations

from msgspec import Struct

from faults.catalogue_rows import ROWS

Value = int | str
TOP = 2**53 - 1
MS = 1_000_000
UNITS = {"ns": 1, "us": 1_000, "ms": MS, "s": 1_000 * MS}


class Key(Struct, frozen=True, kw_only=True):
    """One key of an address or parameter: an integer within [low, high], or one of `words`. unit "ns" is a time."""

    name: str
    meaning: str
    low: int = 0
    high: int = TOP
    words: tuple[str, ...] = ()
    unit: str = ""
    default: Value | None = None


class Form(Struct, frozen=True, kw_only=True):
    """One way to address a kind: keys that must and may be there; `only` narrows the words of one key."""

    needs: tuple[str, ...]
    may: tuple[str, ...] = ()
    only: tuple[str, tuple[str, ...]] = ("", ())


class FaultKind(Struct, frozen=True, kw_only=True):
    """A kind of fault and the rows of the catalogue that it carries out."""

    slug: str
    rows: tuple[str, ...]
    class_: str
    layer: str
    title: str
    keys: tuple[Key, ...]
    forms: tuple[Form, ...]
    params: tuple[Key, ...] = ()
    backends: tuple[str, ...] = ("sim",)
    counts_when: str

    @property
    def oracles(self) -> tuple[str, ...]:
        """What must hold under it, by its rows of the catalogue."""
        return tuple(dict.fromkeys(name for row in ROWS if row.id in self.rows for name in row.must_hold))


TICK = Key(name="tick", meaning="tick of the step")
AGENT = Key(name="agent", meaning="agent whose step it is", high=2**32 - 2)
HOSTCALL = Key(name="hostcall", meaning="host call of that step, counted from 1", low=1, high=1 << 20)
OCCURRENCE = Key(name="occurrence", meaning="which such event, counted from 1", low=1, default=1)
