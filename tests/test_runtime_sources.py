"""Who answers reads: functions, and function modules slice by slice (EXT-1, WAS-8)."""

from __future__ import annotations

import pytest

from runtime.errors import ModuleRefused, Refused
from runtime.frames import Ask
from runtime.outside import Answer
from runtime.reads import END, FAILED, MORE
from runtime.sources import CALLS_MAX, Served, Sources, served
from runtime.state import Input
from runtime.wasm import Engine, ModuleLimits
from scenarios.readings import READINGS, SLICE, _chunks, story

TELL = READINGS.sources(1)["story"]


def ask(n: int, payload: bytes = b"", first: int = 0, source: str = "read:it") -> Ask:
    return Ask(source, n, 0, 1 << 32 | n, first or n, 9, payload)


def given(item: Input) -> tuple[int, bytes]:
    assert isinstance(item.action, Answer)
    return item.action.status, item.action.data


def whole(sources: Sources, text: bytes) -> tuple[int, list[bytes], int]:
    """How a call ends, all its chunks, and in how many parts they came."""
    status, chunks, parts = MORE, [], 0
    while status == MORE:
        parts += 1
        status, data = given(sources.answer(ask(parts, text if parts == 1 else b"", first=1)))
        chunks += _chunks(data)
    return status, chunks, parts


def test_a_function_is_asked_once_for_each_read_and_its_failure_is_an_answer() -> None:
    heard: list[bytes] = []

    def echo(payload: bytes) -> bytes:
        heard.append(payload)
        if payload == b"!":
            raise OSError("gone")
        return payload * 2

    sources = Sources({"it": echo})
    item = sources.answer(ask(1, b"ab"))
    assert (item.source, item.n, item.tick) == ("read:it", 1, 9) and given(item) == (END, b"abab")
    assert given(sources.answer(ask(2, b"!"))) == (FAILED, b"") and heard == [b"ab", b"!"]
    assert given(sources.answer(ask(3, source="read:other"))) == (FAILED, b"")
    assert given(sources.answer(ask(4, first=3))) == (FAILED, b"")  # a function has no parts to go on with


@pytest.mark.parametrize("text", [b"", b"\x01", b"\x0c", b"\x0c!", b"\x08~"])
def test_a_modules_chunks_come_in_order_slice_by_slice_and_the_same_each_time(text: bytes) -> None:
    limits = ModuleLimits(fuel=60_000)
    assert isinstance(TELL, Served)
    sources = Sources({"it": served(TELL.module, "tell", SLICE, limits)})
    first = whole(sources, text)
    chunks, end = story(text)
    assert first == whole(sources, text) and first[:2] == (end, chunks) and sources.open == ()
    assert first[2] > len(chunks) // 3  # no slice gives more than it computes


def test_a_call_that_is_closed_is_over_and_its_instance_free() -> None:
    sources = Sources({"it": TELL})
    assert given(sources.answer(ask(1, b"\x0c")))[0] == MORE and sources.open == (("read:it", 1),)
    sources.close("read:it", 1)
    sources.close("read:it", 1)
    assert sources.open == () and given(sources.answer(ask(2, first=1))) == (FAILED, b"")


def test_calls_that_nobody_goes_on_with_are_bounded() -> None:
    sources = Sources({"it": TELL})
    for n in range(1, CALLS_MAX + 3):
        assert given(sources.answer(ask(n, b"\x0c")))[0] == MORE
    assert len(sources.open) == CALLS_MAX and sources.open[0] == ("read:it", 3)
    for source, first in sources.open:
        sources.close(source, first)


def test_what_cannot_be_a_source_is_refused_before_it_runs() -> None:
    memory = '(memory (export "memory") 1) (func (export "allocate") (param i32) (result i32) (i32.const 8))'
    emit = '(import "stream" "emit" (func (param i32 i32)))'
    for text, export, problem in (
        (f'(module (import "env" "log" (func)) {memory} (func (export "go") (param i32 i32)))', "go", "env.log"),
        (f'(module {emit} {memory} (func (export "go") (param i32)))', "go", "has type"),
        (f'(module {emit} {memory} (func (export "go") (param i32 i32)))', "went", "went"),
    ):
        with pytest.raises(Refused, match=problem):
            served(Engine().load_bytes(text.encode(), "m"), export)
    with pytest.raises(ModuleRefused, match="memory"):
        served(
            Engine().load_bytes(b'(module (memory (export "memory") 9) (func (export "go") (param i32 i32)))', "m"),
            "go",
            limits=ModuleLimits(memory=1 << 16),
        )
