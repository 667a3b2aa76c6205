"""Fingerprints: the same bug at another address is the same finding, and another fault set is another one."""

from __future__ import annotations

import pytest

from faults.plan import Fault, parse_fault
from harness import fingerprint
from harness.oracles import ORACLES

KILL, LATER = (parse_fault(f"worker.kill@tick:{tick},agent:0") for tick in (3, 30))
FLIP = parse_fault("buffer.flip@buffer:0,version:1")


def test_addresses_and_order_do_not_matter_and_kinds_and_their_number_do() -> None:
    one = fingerprint.of("I15", [KILL, FLIP])
    assert one == fingerprint.of("I15", [FLIP, LATER]) and one.digest == fingerprint.of("I15", [FLIP, LATER]).digest
    others = [fingerprint.of("I15", faults) for faults in ([], [KILL], [FLIP], [KILL, LATER, FLIP])]
    others += [fingerprint.of("I14", [KILL, FLIP]), fingerprint.of("I15", [KILL, FLIP], "worker")]
    assert len({str(found) for found in [one, *others]}) == len({found.digest for found in [one, *others]}) == 7


@pytest.mark.parametrize("oracle", [*ORACLES, "process"])
@pytest.mark.parametrize("faults", [(), (KILL,), (KILL, LATER, FLIP)])
def test_a_fingerprint_is_read_as_it_was_written(oracle: str, faults: tuple[Fault, ...]) -> None:
    found = fingerprint.of(oracle, faults)
    assert fingerprint.parse(str(found)) == found


@pytest.mark.parametrize("text", ["", "I15", "I15/buffers", "I15/buffers/", "../x/y", "I15/b/a+", "a/b/c\n"])
def test_another_text_is_no_fingerprint(text: str) -> None:
    assert fingerprint.parse(text) is None


def test_the_oracle_that_says_most_is_the_one_that_names_it() -> None:
    assert fingerprint.primary(()) == ""
    assert fingerprint.primary(("twin", "I8", "I9")) == "I8"
    assert fingerprint.primary(("twin", "scenario")) == "twin"
