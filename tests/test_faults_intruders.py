"""Hostile modules in an agent's place: each trap, misuse and boundary value ends as it must, by real instructions."""

from __future__ import annotations

from itertools import product

import pytest
import wasmtime
from faults_kit import injector
from wasm_kit import arguments, imports, spec_of, wat

from faults.plan import parse_fault
from faults.wasm_kinds import MISUSES, TRAPS, VALUES
from faults.wrappers.guests import FaultyGuests, VisibleFaults, WorkerSite
from faults.wrappers.intruders import Intruder, endings
from runtime.errors import Refused
from runtime.ports import GuestStep
from runtime.state import AgentSpec, Limits
from runtime.wasm import WasmGuests, assemble
from runtime.wasm.engine import engine

AT = "tick:3,agent:3"
SENDER = AgentSpec(name="a", module="", capabilities=("messages", "output"))


def ended(text: str, spec: AgentSpec = SENDER) -> str:
    """How the step ends, with the check of ranges that a worker makes; "" where the agent cannot be misused so."""
    made = Intruder(WasmGuests(), 3, spec).run(parse_fault(text), arguments(tick=3, agent=3, kind="step"))
    if made is None:
        return ""
    step, guest = made
    if step.status == "ok" and guest is not None:
        size = len(guest.memory())
        return "bad_pointer" if any(call.pointer + call.length > size for call in step.calls) else "ok"
    return step.status


@pytest.mark.parametrize("code", TRAPS)
def test_each_trap_that_can_be_reached_is_reached_under_its_own_name(code: str) -> None:
    assert (ended(f"wasm.trap@{AT},code={code}"),) == endings(parse_fault(f"wasm.trap@{AT},code={code}"))


@pytest.mark.parametrize(
    "body",
    [
        "(memory 1 1 shared) (func (drop (i32.atomic.load (i32.const 1))))",  # heap_misaligned, atomic_wait
        "(type $a (array i32)) (func (drop (array.new_default $a (i32.const -1))))",  # allocation, array bounds, casts
        "(type $f (func)) (func (param (ref null $f)) (drop (ref.as_non_null (local.get 0))))",  # null_reference
    ],
)
def test_the_other_core_traps_cannot_be_reached_as_no_module_that_has_them_is_valid(body: str) -> None:
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.Module.validate(engine(), assemble(f"(module {body})"))


def test_the_traps_that_are_listed_are_wasmtimes() -> None:
    assert set(TRAPS) <= {code.name.lower() for code in wasmtime.TrapCode}


@pytest.mark.parametrize(("what", "value"), list(product(MISUSES, VALUES)))
@pytest.mark.parametrize("capabilities", [("messages", "output"), ("output",), ("topics", "timers"), ("buffers",), ()])
def test_a_misuse_ends_as_it_must_whatever_the_agent_is_granted(
    what: str, value: str, capabilities: tuple[str, ...]
) -> None:
    text = f"agent.misuse@{AT},what={what},value={value}"
    got = ended(text, AgentSpec(name="a", module="", capabilities=capabilities))
    assert got == "" or got in endings(parse_fault(text))
    if what in ("alloc", "capability") or (what != "handle" and "messages" in capabilities):
        assert got


@pytest.mark.parametrize("pages", [1, 65_535])
@pytest.mark.parametrize("limit", [1, 2, 16])
def test_growth_does_to_the_limit_and_is_refused_beyond_it(pages: int, limit: int) -> None:
    spec = AgentSpec(name="a", module="", capabilities=(), limits=Limits(memory=limit << 16))
    assert ended(f"wasm.grow_refused@{AT},pages={pages}", spec) == "agent_error:82"


def test_an_agent_without_room_for_an_intruder_is_left_alone() -> None:
    small = AgentSpec(name="a", module="", capabilities=(), limits=Limits(table=0))
    assert ended(f"wasm.trap@{AT}", small) == ""


BUSY = wat(
    before=imports("send"),
    step="(drop (call $send (i32.const 1) (i32.const 0) (i32.const 4)))"
    "(call $send (i32.const 1) (i32.const 8) (i32.const 4))",
)


def struck(*texts: str) -> tuple[GuestStep, list[int]]:
    """The step of a busy agent under these faults, and which of them were at work."""
    inject, log = injector(*texts)
    visible = VisibleFaults([parse_fault(text) for text in texts])
    wasm = assemble(BUSY)
    guests = FaultyGuests(WasmGuests(), inject, WorkerSite(1), visible)
    made = guests.instantiate(3, spec_of(wasm), wasm)
    try:
        return made.run(arguments(tick=3, agent=3)), log.fired
    finally:
        made.close()


def test_fuel_runs_out_at_every_amount_below_what_the_step_needs_and_at_none_above() -> None:
    needed = struck()[0].fuel
    ends = [struck(f"agent.fuel_out@{AT},fuel={fuel}") for fuel in range(needed + 3)]
    first = [step.status for step, _ in ends].index("ok")
    assert 0 < first <= needed  # fuel is checked at entries and loops alone, so a step may end a little above zero
    assert all(step.status == "fuel" and fired == [0] for step, fired in ends[:first])
    assert all(step == struck()[0]._replace(fuel=step.fuel) and fired == [] for step, fired in ends[first:])
    assert {len(step.calls) for step, _ in ends} >= {0, 1, 2}  # before, between and after its host calls


def test_a_fault_that_takes_the_step_over_is_noted_and_its_memory_is_the_one_that_is_seen() -> None:
    step, fired = struck(f"wasm.grow_refused@{AT}")
    assert step.status == "agent_error:82" and fired == [0]
    assert struck("wasm.grow_refused@tick:4,agent:3")[1] == []


def test_a_forged_handle_comes_behind_the_steps_own_calls() -> None:
    step, fired = struck(f"agent.misuse@{AT},what=handle,value=int_max")
    assert [call.op for call in step.calls] == ["send", "send", "buffer"] and fired == [0]


def test_of_two_that_take_a_step_over_the_first_of_the_plan_does() -> None:
    assert struck(f"wasm.trap@{AT},code=bad_signature", f"wasm.grow_refused@{AT}") == (
        struck(f"wasm.trap@{AT},code=bad_signature")[0],
        [0],
    )


@pytest.mark.parametrize(
    "text", [f"wasm.trap@{AT},code=heap_misaligned", f"agent.misuse@{AT},value=7", f"agent.fuel_out@{AT},fuel=1000001"]
)
def test_what_no_module_can_do_or_no_key_allows_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_fault(text)
