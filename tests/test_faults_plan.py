"""Faults as text and plans as JSON: both ways, canonical, strict."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.kinds import KINDS, FaultKind, Form, Key
from faults.plan import PLAN_DEPTH_MAX, Fault, Plan, canonical, parse_fault, plan_from_json, plan_to_json
from runtime.errors import Refused
from runtime.physical import Physical
from runtime.state import Config, Configure, Decree, Input, Operate, Send


def _values(key: Key) -> st.SearchStrategy[int | str]:
    return st.sampled_from(key.words) if key.words else st.integers(key.low, key.high)


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    kind: FaultKind = draw(st.sampled_from(KINDS))
    form: Form = draw(st.sampled_from(kind.forms))
    names = set(form.needs) | draw(st.sets(st.sampled_from(form.may)) if form.may else st.just(set()))
    at = {key.name: draw(_values(key)) for key in kind.keys if key.name in names}
    if form.only[0]:
        at[form.only[0]] = draw(st.sampled_from(form.only[1]))
    with_ = {key.name: draw(_values(key)) for key in kind.params if draw(st.booleans())}
    return canonical(Fault(kind=kind.slug, at=at, with_=with_))


def a_plan(*texts: str, **changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "scenario": "hello",
        "seed": 7,
        "inputs": (
            Input(Configure(Config(last_tick=9, seed=7)), 1, "operator", 0),
            Input(Send(1, b"\x00\xff"), 1, "client", 3),
            Input(Operate("pause", 2), 2, "operator", 4),
        ),
        "decrees": (Decree(1, "decree:lost_workers", 3),),
        "faults": tuple(parse_fault(text) for text in texts),
    }
    return Plan(**(fields | changes))


def edited(**changes: Any) -> str:
    return json.dumps(json.loads(plan_to_json(a_plan("worker.kill@tick:1,agent:2"))) | changes)


@given(faults())
def test_a_fault_printed_and_parsed_is_the_same_fault(fault: Fault) -> None:
    assert parse_fault(str(fault)) == fault
    assert str(parse_fault(str(fault))) == str(fault)


@given(st.lists(faults(), max_size=5), st.integers(-(2**63) + 1, 2**63 - 1))
def test_a_plan_written_and_read_is_the_same_plan(some: list[Fault], seed: int) -> None:
    plan = a_plan(faults=tuple(some), seed=seed, physical=Physical(workers=7))
    text = plan_to_json(plan)
    assert plan_from_json(text) == plan
    assert plan_to_json(plan_from_json(text.encode())) == text


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("worker.kill@tick:41,agent:3,hostcall:2", "worker.kill@tick:41,agent:3,hostcall:2"),
        ("worker.kill@agent:3,tick:41,point:idle", "worker.kill@tick:41,agent:3"),
        ("worker.kill@tick:1,agent:3,point=after", "worker.kill@tick:1,agent:3,point:after"),
        ("frame.delay@tick:1,agent:2,direction:done,for=5000us", "frame.delay@tick:1,agent:2,direction:done,for=5ms"),
        ("frame.delay@direction:inputs,for:30ms", "frame.delay@direction:inputs"),
        ("frame.delay@direction:inputs,for=1500ns", "frame.delay@direction:inputs,for=1500ns"),
        (
            "frame.corrupt@direction:release,block:4,mode:truncate",
            "frame.corrupt@direction:release,block:4,mode=truncate",
        ),
        ("worker.stall@tick:1,agent:1,for=2s", "worker.stall@tick:1,agent:1,for=2s"),
        ("orchestrator.kill@after:1,call:9,point:within", "orchestrator.kill@after:1,call:9,point:within"),
        ("orchestrator.kill@tick:60,phase:sync", "orchestrator.kill@tick:60,phase:sync"),
        ("agent.bad_pointer@tick:4,agent:1,hostcall=2", "agent.bad_pointer@tick:4,agent:1,hostcall=2"),
        (" disk.tear@ crash:2 ", "disk.tear@crash:2"),
    ],
)
def test_a_typed_fault_is_printed_in_its_shortest_canonical_form(text: str, printed: str) -> None:
    assert str(parse_fault(text)) == printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown fault ''"),
        ("worker.kill", "worker.kill is not addressed by nothing; write worker.kill@"),
        ("worker.kill@", "worker.kill is not addressed by nothing"),
        ("worker.kill@tick", "cannot read 'tick' in 'worker.kill@tick'; write worker.kill@"),
        ("worker.kill@tick:1,,agent:2", "cannot read '' in"),
        ("worker.kill@tick:1,tick:2,agent:1", "tick is there twice"),
        ("worker.kill@tick:10ms,agent:1", "worker.kill, tick: '10ms' has a unit of time"),
        ("worker.kill@tick:one,agent:1", "worker.kill, tick: 'one' is not an integer"),
        ("worker.kill@tick:1,agent:1,bit=3", "worker.kill has no key 'bit'"),
        ("worker.kill@tick:99999999999999999999,agent:1", "worker.kill, tick:"),
        ("frame.delay@direction:inputs,for=5minutes", "frame.delay, for: '5minutes' is not an integer"),
        ("frame.corrupt@direction:inputs,mode=melt", "frame.corrupt, mode: 'melt' is not a value"),
        ("worker.kill@\x1b[31m:1", "cannot read '\\x1b[31m:1'"),
        ("x" * 501, "a fault of 501 characters; at most 500"),
    ],
)
def test_a_fault_that_cannot_be_read_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_fault(text)
    assert str(refused.value).startswith(message)
    assert str(refused.value).isprintable()


@given(st.text(max_size=60))
def test_any_text_is_a_fault_or_is_refused(text: str) -> None:
    try:
        parse_fault("worker.kill@" + text)
    except Refused as refused:
        assert str(refused).isprintable()


def test_values_of_a_fault_include_its_defaults() -> None:
    fault = parse_fault("frame.delay@direction:inputs")
    assert fault.get("for") == 30_000_000 and fault.number("occurrence") == 1
    assert fault.get("tick") is None and fault.number("tick") == -1
    assert Fault(kind="agent.trap", at={"tick": 0}).number("tick") == 0


def test_fields_with_defaults_may_be_left_out_of_a_plan() -> None:
    plan = plan_from_json('{"scenario": "hello", "seed": 1, "inputs": []}')
    assert plan == Plan(scenario="hello", seed=1, inputs=())


def test_a_fault_of_a_plan_is_read_into_canonical_form() -> None:
    text = edited(faults=[{"kind": "worker.kill", "at": {"point": "idle", "agent": 2, "tick": 1}, "with": {}}])
    assert [str(fault) for fault in plan_from_json(text).faults] == ["worker.kill@tick:1,agent:2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged JSON"),
        ("[]", "not a JSON object"),
        (plan_to_json(a_plan())[:-9], "damaged JSON"),
        (edited(version=2), "plan version 2, this build reads 1"),
        (edited(version=True), "plan version True, this build reads 1"),
        (edited(speed=1), "unknown key 'speed'"),
        (edited(seed="7"), "not a plan: Expected `int`"),
        (edited(seed=True), "not a plan: Expected `int`"),
        (edited(physical={"workers": 2, "fast": 1}), "unknown key 'fast'"),
        (
            edited(inputs=[{"action": {"do": "fly"}, "n": 1, "source": "c", "tick": 0}]),
            "not a plan: Invalid value 'fly'",
        ),
        (edited(faults=[{"kind": "worker.melt", "at": {}, "with": {}}]), "unknown fault 'worker.melt'"),
        (edited(faults=[{"kind": "worker.kill", "at": {"tick": 1, "agent": 1}, "why": 1}]), "unknown key 'why'"),
        ('{"scenario": "a", "scenario": "b", "seed": 1, "inputs": []}', "damaged JSON: a key is there twice"),
        ('{"scenario": "a", "seed": NaN, "inputs": []}', "damaged JSON: 'NaN' is not an integer"),
        ('{"scenario": "a", "seed": 1.0, "inputs": []}', "damaged JSON: '1.0' is not an integer"),
        ('{"scenario": "a", "seed": 1e999, "inputs": []}', "damaged JSON: '1e999' is not an integer"),
        ('{"scenario": "a", "seed": ' + "9" * 5000 + ', "inputs": []}', "damaged JSON: '999"),
        ('{"scenario": "\\ud800", "seed": 1, "inputs": []}', "damaged JSON"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * (PLAN_DEPTH_MAX + 1) + "1" + "}" * (PLAN_DEPTH_MAX + 1), "nested too deeply"),
        ('"\\' * 100_000, "damaged JSON"),
    ],
)
def test_a_plan_that_is_damaged_foreign_or_hostile_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(Refused) as refused:
        plan_from_json(text, "case.json")
    line = str(refused.value)
    assert line.startswith("case.json") and message in line
    assert line.isprintable() and len(line) < 500


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(Refused, match="not UTF-8"):
        plan_from_json(b"\xff\xfe{}")


def test_a_payload_with_a_second_spelling_is_refused() -> None:
    tree = json.loads(plan_to_json(a_plan()))
    tree["inputs"][1]["action"]["payload"] = "AP9="  # the same two bytes, with a stray bit in the last character
    with pytest.raises(Refused, match=r"not canonical|not a plan"):
        plan_from_json(json.dumps(tree))


def test_brackets_inside_strings_do_not_count_as_depth() -> None:
    plan = a_plan(scenario='"[{' * 100)
    assert plan_from_json(plan_to_json(plan)) == plan


@given(st.integers(0), st.integers(0, 255))
def test_a_plan_with_one_altered_byte_is_read_or_refused(place: int, byte: int) -> None:
    data = bytearray(plan_to_json(a_plan("worker.kill@tick:1,agent:2", "frame.lose@direction:inputs")).encode())
    data[place % len(data)] = byte
    try:
        plan = plan_from_json(bytes(data))
    except Refused as refused:
        assert str(refused).isprintable()
    else:
        assert plan_from_json(plan_to_json(plan)) == plan
