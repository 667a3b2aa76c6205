"""The file of findings: goes on after a kill at any byte, and is refused when anything else is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from harness.exploration.ledger import FILE, Finding, Known, Ledger, Line, Pair, Progress, State
from harness.exploration.shapes import Shape, Slot
from runtime.errors import Refused

SHAPE = Shape(1, False, (Slot("worker.kill", 0, 7),))
RAW = Finding(fingerprint="I8/broker/frame.lose+worker.kill", case="hello-I8-aaaa", run=3, minimal=False)
SMALL = Finding(
    fingerprint="I8/broker/frame.lose", case="hello-I8-bbbb", run=3, minimal=True, again=10, instead=RAW.case
)
LINES: tuple[Line, ...] = (
    Pair("idle x worker.kill", SHAPE),
    Pair("down x worker.kill"),
    RAW,
    Progress(10, 1, {"idle x worker.kill": 4}, 2),
    SMALL,
)


def opened(folder: Path) -> Ledger:
    return Ledger(folder, "hello", "b" * 64)


def filled(folder: Path) -> bytes:
    ledger = opened(folder)
    for line in LINES:
        ledger.add(line)
    ledger.close()
    return (folder / FILE).read_bytes()


def state_of(folder: Path) -> State:
    ledger = opened(folder)
    ledger.close()
    return ledger.state


def line(n: int, content: dict[str, Any]) -> bytes:
    body = json.dumps({"n": n, "line": content}).encode()
    return b"%08x %b\n" % (google_crc32c.value(body), body)


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    filled(tmp_path)
    state = state_of(tmp_path)
    assert (state.runs, state.rounds, state.repeats) == (10, 1, 2)
    assert dict(state.counts) == {"idle x worker.kill": 4, "down x worker.kill": 0}
    assert state.corpus == [SHAPE] and state.findings == [SMALL], "the small case takes the place of the first one"


def test_a_failure_that_turned_out_to_be_known_is_gone(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    for one in (RAW, SMALL, Finding(fingerprint="I9/broker/-", case="again", run=9, minimal=False)):
        ledger.add(one)
    ledger.add(Known(SMALL.fingerprint, "again"))
    ledger.close()
    assert state_of(tmp_path).findings == [SMALL]


def test_a_kill_at_any_byte_loses_at_most_the_line_that_was_being_written(tmp_path: Path) -> None:
    data = filled(tmp_path / "whole")
    ends = [place + 1 for place, byte in enumerate(data) if byte == 10]
    for cut in range(0, len(data), 7):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / FILE).write_bytes(data[:cut])
        ledger = opened(folder)
        assert ledger.cut == cut - max([0, *(end for end in ends if end <= cut)])
        ledger.add(LINES[0])
        ledger.close()
        assert state_of(folder).corpus[-1] == SHAPE, "it can be gone on with"


def test_damage_anywhere_else_is_refused(tmp_path: Path) -> None:
    data = filled(tmp_path)
    last = data.rindex(b"\n", 0, len(data) - 1)
    for place in range(0, last, 11):
        damaged = bytearray(data)
        damaged[place] ^= 1
        (tmp_path / FILE).write_bytes(damaged)
        with pytest.raises(Refused):
            opened(tmp_path)


def test_lines_that_are_gone_twice_or_out_of_order_are_refused(tmp_path: Path) -> None:
    lines = filled(tmp_path).splitlines(keepends=True)
    for wrong in (lines[1:], [*lines[:2], *lines[3:]], [lines[0], *lines], [lines[0], lines[2], lines[1], *lines[3:]]):
        (tmp_path / FILE).write_bytes(b"".join(wrong))
        with pytest.raises(Refused, match=r"number|begins"):
            opened(tmp_path)


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "a case elsewhere": (
        {"is": "finding", "fingerprint": "I8/b/-", "case": "../x", "run": 1, "minimal": True},
        "plain name",
    ),
    "a hidden case": (
        {"is": "finding", "fingerprint": "I8/b/-", "case": ".x", "run": 1, "minimal": True},
        "plain name",
    ),
    "no fingerprint": ({"is": "finding", "fingerprint": "x", "case": "x", "run": 1, "minimal": True}, "no fingerprint"),
    "another kind": ({"is": "run", "command": "rm"}, "no finding"),
    "an unknown field": ({"is": "pair", "pair": "x", "run": "rm"}, "no finding"),
    "a negative count": ({"is": "progress", "runs": -1, "rounds": 0, "counts": {}}, "negative"),
    "another beginning": ({"is": "began", "scenario": "hello", "build": "b"}, "begins"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_forged_line_with_a_right_checksum_is_refused(name: str, tmp_path: Path) -> None:
    content, word = HOSTILE[name]
    (tmp_path / FILE).write_bytes(line(0, {"is": "began", "scenario": "hello", "build": "b" * 64}) + line(1, content))
    with pytest.raises(Refused, match=word) as refused:
        opened(tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [b"x\n", b"\n", b"00000000 {}\n", b"[" * 2_000_000 + b"\n", bytes(range(256)) + b"\n", line(0, {"is": "began"})],
)
def test_a_file_that_is_something_else_is_refused_and_left_alone(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(Refused):
        opened(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


def test_another_build_another_scenario_and_a_second_writer_are_refused(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    with pytest.raises(Refused, match="another exploration is writing"):
        opened(tmp_path)
    ledger.close()
    for scenario, build in (("ledger", "b" * 64), ("hello", "c" * 64)):
        with pytest.raises(Refused, match="another scenario, build"):
            Ledger(tmp_path, scenario, build)
    opened(tmp_path).close()
