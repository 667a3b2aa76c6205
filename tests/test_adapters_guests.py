"""One contract per port, kept by every adapter of it (Artifacts, Guests), bare and under wrappers with nothing armed.

What a contract says is what the runtime relies on (`runtime.ports`); a live adapter has to pass the same.
"""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from adapters_kit import nothing_armed
from runtime_kit import twin
from wasm_kit import arguments, imports, spec_of, wat

from faults.wrappers.guests import FaultyGuests, VisibleFaults, WorkerSite
from harness.adapters.guests import ObservedGuests
from harness.assembly import ModuleArtifacts
from harness.golden import default_plan
from harness.history import GuestEvent, History, ReplayEvent
from runtime import journal
from runtime.errors import ModuleRefused
from runtime.frames import effects_of
from runtime.ports import Guests
from runtime.state import Message, StepRecord
from runtime.wasm import WasmGuests, assemble
from scenarios.registry import get

# --- Artifacts --------------------------------------------------------------------------------------------------------


def test_artifacts_are_found_by_digest_and_others_are_a_key_error() -> None:
    artifacts = ModuleArtifacts(get("hello"))
    for digest, wasm in get("hello").modules.items():
        assert artifacts.get(digest) == wasm and hashlib.sha256(wasm).hexdigest() == digest
    with pytest.raises(KeyError):
        artifacts.get("0" * 64)


# --- Guests -----------------------------------------------------------------------------------------------------------


def guests(wrapper: str) -> Guests:
    inner: Guests = WasmGuests()
    if "Faulty" in wrapper:
        inner = FaultyGuests(inner, nothing_armed(), WorkerSite(1), VisibleFaults(()))
    return ObservedGuests(inner, 1, 1, lambda: 0, []) if "Observed" in wrapper else inner


GUESTS = pytest.mark.parametrize("wrapper", ["WasmGuests", "Faulty", "Observed", "Faulty and Observed"])
COUNTING = wat(
    before=imports("send"),
    step="(i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))"
    " (global.set $count (i32.add (global.get $count) (i32.const 3)))"
    " (call $send (i32.const 1) (i32.const 8) (i32.const 4))",
    after="(global $count (mut i32) (i32.const 5))",
)


@GUESTS
def test_a_guest_runs_counts_fuel_and_tells_its_calls(wrapper: str) -> None:
    wasm = assemble(COUNTING)
    one = guests(wrapper).instantiate(3, spec_of(wasm), wasm)
    step = one.run(arguments())
    assert step.status == "ok" and [tuple(call) for call in step.calls] == [("send", 1, 8, 4)] and step.fuel > 0
    assert bytes(one.memory()[8:12]) == b"\1\0\0\0" and one.globals() == [8]
    again = one.run(arguments(tick=8))
    assert again == step and bytes(one.memory()[8:12]) == b"\2\0\0\0" and one.globals() == [11]
    one.close()


@GUESTS
def test_a_restored_guest_goes_on_as_the_one_it_was_taken_from(wrapper: str) -> None:
    wasm = assemble(COUNTING)
    one = guests(wrapper).instantiate(3, spec_of(wasm), wasm)
    for _ in range(3):
        one.run(arguments())
    other = guests(wrapper).instantiate(3, spec_of(wasm), wasm)
    other.restore(bytes(one.memory()), one.globals())
    assert other.run(arguments()) == one.run(arguments())
    assert bytes(other.memory()) == bytes(one.memory()) and other.globals() == one.globals() == [17]
    one.close()
    other.close()


@GUESTS
@pytest.mark.parametrize(("step", "status"), [("unreachable", "trap:unreachable"), ("(i32.const 4)", "agent_error:4")])
def test_what_a_module_does_is_a_status_and_never_an_exception(wrapper: str, step: str, status: str) -> None:
    wasm = assemble(wat(step=step))
    one = guests(wrapper).instantiate(3, spec_of(wasm), wasm)
    assert one.run(arguments()).status == status
    one.close()


@GUESTS
def test_a_module_that_fails_a_check_is_refused_by_name(wrapper: str) -> None:
    with pytest.raises(ModuleRefused) as refused:
        guests(wrapper).instantiate(3, spec_of(b"no module"), b"no module")
    assert refused.value.check == "format"


def test_a_run_under_all_wrappers_with_nothing_armed_is_the_bare_run() -> None:
    """The whole stack at once: an injector with no fault leaves no trace in any record."""
    history = twin("frames")
    assert history.injections == [] and history.finished and journal.verify(history.journal) is None


@GUESTS
def test_a_guest_is_fed_several_steps_in_one_crossing(wrapper: str) -> None:
    wasm = assemble(COUNTING)
    one = guests(wrapper).instantiate(3, spec_of(wasm), wasm)
    records = [
        msgspec.msgpack.encode(StepRecord(3, n, "step", n, 0, 0, 9, 0, 0, 0, 64, 64, False, (), (), ()))
        for n in (1, 2, 3)
    ]
    done = one.replay(records, 10_000)
    assert done is not None and done.failed is None and 0 < done.fuel < 30_000
    assert [effect.payload[0] for made in done.made for effect in effects_of(made)] == [1, 2, 3]
    assert one.globals() == [14]


def test_the_observer_has_each_step_of_a_replay_as_it_was_given_and_done() -> None:
    log: list[GuestEvent | ReplayEvent] = []
    text = wat(
        before=imports("send"),
        step="(if (i64.eq (i64.load (local.get 0)) (i64.const 3)) (then unreachable))"
        " (call $send (i32.const 1) (i32.const 8) (i32.const 4))",
    )
    wasm = assemble(text)
    one = ObservedGuests(WasmGuests(), 7, 2, lambda: 41, log).instantiate(3, spec_of(wasm), wasm)
    inbox = (Message(5, 1, 2, 0, b"abc"),)
    records = [
        msgspec.msgpack.encode(StepRecord(3, n, "step", n, 0, 0, 9, 0, 0, 0, 64, 64, False, inbox, (), ()))
        for n in (1, 2, 3, 4)
    ]
    assert one.replay(records, 10_000) is not None
    events = History(plan=default_plan("hello"), crossings=log).guests
    assert [(e.at, e.worker, e.incarnation, e.agent, e.tick, e.kind) for e in events] == [
        (41, 7, 2, 3, tick, "step") for tick in (1, 2, 3)
    ], "the fourth was not reached"
    assert [event.status for event in events] == ["ok", "ok", "trap:unreachable"]
    assert [event.fresh for event in events] == [True, False, False]
    assert all(msgspec.msgpack.decode(event.given)[0][4] == b"abc" for event in events)
    assert [len(event.calls) for event in events] == [1, 1, 0]
    assert all(event.granted == 10_000 and event.used >= 0 and event.memory == 65_536 for event in events)
