"""Fail-stop (I30) and the first bad block (I27): stops that are right, and those that are not."""

from __future__ import annotations

import struct
from typing import Any

import google_crc32c
import msgspec
import pytest
from oracles_kit import LONG, World, blob_file, finding, journal_of, record, refuses, world

from faults.plan import parse_fault
from harness.history import Injection
from harness.oracles import Judged, Verdict, judge, judgeable
from harness.oracles.reading import chain
from harness.oracles.stopping import first_bad

PASS = Verdict.PASS


def mark(block: int, hash_: str) -> bytes:
    body = msgspec.msgpack.encode([2, 1, block, hash_])
    return (struct.pack("<II", len(body), google_crc32c.value(body)) + body).ljust(512, b"\0")


def files(synced: int = 3, lines: list[bytes] | None = None) -> dict[str, bytes]:
    """The files as a recovery reads them, `synced` blocks of them below the watermark."""
    good = journal_of(world().bodies)
    hash_ = chain(b"".join(good))[1][synced - 1].hash
    journal = b"".join(good if lines is None else lines)
    return {"journal": journal, "watermark": mark(synced, hash_), "blobs": blob_file(LONG)}


def flipped(block: int) -> list[bytes]:
    lines = journal_of(world().bodies)
    middle = len(lines[block]) // 2
    lines[block] = lines[block][:middle] + bytes([lines[block][middle] ^ 1]) + lines[block][middle + 1 :]
    return lines


class Stopped(World):
    """A run that rot has stopped at block 2, after three blocks had been received."""

    def __init__(self) -> None:
        super().__init__()
        self.faults = (parse_fault("disk.rot@crash:1,file:journal"),)
        self.injections = [Injection(390, 0, {"name": "journal", "at": 7, "size": 9})]
        self.failure, self.finished = "watermark", False
        self.receipts = self.receipts[:3]
        self.seen = files(lines=flipped(2))
        self.block = 2

    def history(self) -> Any:
        history = super().history()
        history.seen = self.seen
        if self.failure:
            told = record(400, "failstop", 3, check=self.failure, block=self.block)
            history.trace = [*history.trace, told]
        return history


def both(made: World) -> dict[str, Verdict]:
    return {oracle: finding(oracle, made).verdict for oracle in ("I27", "I30")}


def names(oracle: str, made: World, text: str) -> None:
    refuses(oracle, made, text)


def test_a_stop_with_a_name_a_cause_and_nothing_partial_passes() -> None:
    assert both(Stopped()) == {"I27": PASS, "I30": PASS}


def test_a_run_that_damage_has_stopped_is_judged_by_what_left_and_by_what_it_says_alone() -> None:
    good = world().history()
    run = Judged(Stopped().history(), twin=good, baseline=good, bound_ns=1)
    assert run.stopped and judgeable(run) == ("I27", "I30")
    assert "I30" not in judgeable(Judged(good, twin=good))
    unnamed = Stopped()
    unnamed.failure = "exception"
    assert not Judged(unnamed.history(), twin=good).stopped


def test_a_stop_although_nothing_was_damaged_is_named() -> None:
    made = Stopped()
    made.injections = []
    names("I30", made, "stopped by check 'watermark', and nothing had been damaged")
    names("replay", made, "stopped by check 'watermark'")


def test_a_stop_without_a_name_is_named() -> None:
    made = Stopped()
    made.failure = "exception"
    names("I30", made, "the run ended as 'exception', by no check")
    names("replay", made, "stopped by check 'exception'")


def test_a_stop_of_which_the_trace_says_nothing_or_something_else_is_named() -> None:
    made = Stopped()
    good = World().history()
    history = made.history()
    history.trace = history.trace[:-1]
    found = judge(Judged(history, twin=good), ["I30"])["I30"]
    assert found.verdict is Verdict.FAIL and "the trace does not say so" in found.evidence[0]
    history.trace = [*history.trace, record(400, "failstop", 3, check="chain", block=2)]
    found = judge(Judged(history, twin=good), ["I30"])["I30"]
    assert found.verdict is Verdict.FAIL and "check 'chain', the run stopped by 'watermark'" in found.evidence[0]


def test_a_block_that_leaves_after_the_stop_is_named() -> None:
    history = Stopped().history()
    history.trace = [*history.trace, record(401, "released", 3, block=4)]
    found = judge(Judged(history, twin=World().history()), ["I30"])["I30"]
    assert found.verdict is Verdict.FAIL and "a block was released after the stop" in found.evidence[0]


def test_a_partial_output_and_one_of_no_good_run_are_named() -> None:
    made = Stopped()
    made.receipts[1] = made.receipts[1]._replace(outputs=())
    names("I30", made, "receipt 1: block 2 is not what it is in the undamaged run")
    made = Stopped()
    made.receipts[2] = made.receipts[2]._replace(block=9)
    names("I30", made, "receipt 2: block 9 is not in the undamaged run")


def test_without_the_undamaged_run_or_without_damage_nothing_is_judged() -> None:
    assert finding("I30", Stopped(), twin=None).verdict is Verdict.UNKNOWN
    assert finding("I30", world()).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("said", [-1, 0, 1, 3])
def test_a_stop_that_names_another_block_is_named(said: int) -> None:
    made = Stopped()
    made.block = said
    names("I27", made, "block 2 is the first bad as the journal was read, the stop names")


def test_a_stop_at_a_block_of_a_good_journal_is_named() -> None:
    made = Stopped()
    made.seen = files()
    names("I27", made, "no block is bad as the journal was read, the stop names block 2")


def test_damage_below_the_watermark_that_recovery_passed_over_is_named() -> None:
    made = Stopped()
    made.failure, made.finished = "", True
    names("I27", made, "block 2: it was bad when it was read, and recovery went on")
    made.seen = files(synced=1, lines=flipped(2))
    assert finding("I27", made).verdict is PASS


def test_the_first_bad_block_of_what_was_read() -> None:
    lines = journal_of(world().bodies)
    assert first_bad(files()) is None
    assert [first_bad(files(lines=flipped(block))) for block in (0, 1, 2, 3)] == [0, 1, 2, 3]
    assert first_bad(files(synced=2, lines=flipped(3))) is None
    assert first_bad(files(lines=lines[:3])) == 3, "it ends too early"
    assert first_bad(files(lines=[])) == 0
    assert first_bad({**files(), "blobs": b""}) == 2, "its blob is not there"
    assert first_bad({**files(), "watermark": mark(3, "0" * 64)}) == 3, "chained, and another one than was synced"
    assert first_bad({**files(), "watermark": bytes(1024)}) is None
