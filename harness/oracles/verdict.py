"""Verdicts: PASS, FAIL, UNKNOWN, and how they merge. Guarantees that what could not be judged never counts as a pass.

An oracle that crashes, or lacks one of the two records that it compares, is UNKNOWN with the reason as evidence.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple, TypeVar

EVIDENCE = 5  # findings beyond the first few repeat the first one's cause


class Verdict(Enum):
    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"

    def __str__(self) -> str:
        return self.value


class Finding(NamedTuple):
    """What one oracle says of one run; each line of `evidence` names the record it is about."""

    oracle: str
    verdict: Verdict
    evidence: tuple[str, ...] = ()


class Unjudged(Exception):
    """A record is missing that the oracle compares; its text says which."""


def merge(verdicts: Iterable[Verdict]) -> Verdict:
    """FAIL outranks UNKNOWN, UNKNOWN outranks PASS; nothing judged at all is UNKNOWN."""
    found = set(verdicts)
    if Verdict.FAIL in found:
        return Verdict.FAIL
    return Verdict.PASS if found == {Verdict.PASS} else Verdict.UNKNOWN


Subject = TypeVar("Subject")


def guarded(name: str, oracle: Callable[[Subject], list[str]], run: Subject) -> Finding:
    """The finding of an oracle that returns its violations: none is PASS, any is FAIL, an exception is UNKNOWN."""
    try:
        found = oracle(run)
    except Unjudged as missing:
        return Finding(name, Verdict.UNKNOWN, (f"not judged: {missing}",))
    except Exception as error:  # a broken oracle must neither pass a run nor end the campaign
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
        return Finding(name, Verdict.UNKNOWN, (f"the oracle crashed: {type(error).__name__}: {error} ({place})",))
    if not found:
        return Finding(name, Verdict.PASS)
    more = (f"and {len(found) - EVIDENCE} more",) if len(found) > EVIDENCE else ()
    return Finding(name, Verdict.FAIL, (*found[:EVIDENCE], *more))
