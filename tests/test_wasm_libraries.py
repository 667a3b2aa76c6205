"""Libraries of agents (WAS-7): linked by name and type beside their agent, or refused before any code runs."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace
from runtime_kit import plan_of, play
from wasm_kit import arguments, imports, spec_of, wat

from harness.adapters.artifacts import with_abi
from harness.adapters.guests import ObservedGuests
from harness.check import Checker
from harness.history import LoadEvent
from harness.oracles import loaded
from runtime.config import agent_problems
from runtime.errors import ModuleRefused, SignatureRefused
from runtime.snapshot import HeldImage
from runtime.state import AgentSpec, Library
from runtime.wasm import Engine, WasmGuests, assemble, spares
from runtime.wasm.compiled import ModuleCache
from runtime.wasm.inspection import describe
from runtime.wasm.linking import PARTS_MAX
from runtime.wasm.signatures import Demand, sign
from runtime.wasm.trust import ed25519, moment, trusting
from scenarios.upgrade import UPGRADE

TWICE = '(func (export "f") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))'
THRICE = TWICE.replace("i32.const 2", "i32.const 3")
BOOM = "(func $boom unreachable) (start $boom)"  # whatever runs, runs into this
SHARED = '(import "agent" "memory" (memory 1))'
COUNTING = f"""{SHARED} (func (export "f") (param i32) (result i32)
  (i32.store (local.get 0) (i32.add (i32.load (local.get 0)) (i32.const 1))) (i32.load (local.get 0)))"""


def library(*parts: str) -> bytes:
    return assemble(f"(module {' '.join(parts)})")


def agent(*taken: str, kind: str = "(param i32) (result i32)", code: str = "", **bodies: str) -> bytes:
    """Imports functions, `library.name`, and ends a step with what they give for 5, each for the one before."""
    lines = [
        f'(import "{name.partition(".")[0]}" "{name.partition(".")[2]}" (func $f{number} {kind}))'
        for number, name in enumerate(taken)
    ]
    told = "(i32.const 5)"
    for number in range(len(taken)):
        told = f"(call $f{number} {told})"
    return assemble(wat(before=" ".join(lines), step=code or told, **bodies))


def declared(wasm: bytes, libraries: dict[str, bytes], **changes: Any) -> AgentSpec:
    entries = (Library(name=name, module=hashlib.sha256(data).hexdigest()) for name, data in libraries.items())
    return spec_of(wasm, **{"libraries": tuple(entries) or UNSET, **changes})


def made(
    wasm: bytes, guests: WasmGuests | None = None, changes: dict[str, Any] | None = None, **libraries: bytes
) -> Any:
    spec = declared(wasm, libraries, **(changes or {}))
    return (guests or WasmGuests()).instantiate(0, spec, wasm, list(libraries.values()))


def code(wasm: bytes, **libraries: bytes) -> str:
    return str(made(wasm, **libraries).run(arguments()).status)


def refused(wasm: bytes, changes: dict[str, Any] | None = None, **libraries: bytes) -> ModuleRefused:
    with pytest.raises(ModuleRefused) as caught:
        made(wasm, None, changes, **libraries)
    return caught.value


# --- what works -------------------------------------------------------------------------------------------------------


def test_an_agent_calls_what_its_libraries_export() -> None:
    assert code(agent("m.f"), m=library(TWICE)) == "agent_error:10"
    assert code(agent("m.f", "n.f"), m=library(TWICE), n=library(THRICE)) == "agent_error:30"
    assert code(agent("n.f", "m.f", "n.f"), m=library(TWICE), n=library(THRICE)) == "agent_error:90"


def test_two_agents_have_each_its_own_version_under_the_same_name() -> None:
    wasm = agent("m.f")
    assert [code(wasm, m=library(part)) for part in (TWICE, THRICE, TWICE)] == [
        f"agent_error:{n}" for n in (10, 15, 10)
    ]


def test_a_library_works_in_its_agents_memory_and_that_is_all_that_stays() -> None:
    wasm = agent("m.f", code="(drop (call $f0 (i32.const 64))) (i32.const 0)")
    first = made(wasm, m=library(COUNTING))
    for _ in range(3):
        assert first.run(arguments()).status == "ok"
    assert struct.unpack_from("<I", first.memory(), 64) == (3,)
    second = made(wasm, m=library(COUNTING))
    second.restore(bytes(first.memory()), first.globals())
    assert [each.run(arguments()).status for each in (first, second)] == ["ok", "ok"]
    images = [HeldImage(), HeldImage()]
    for image, guest in zip(images, (first, second), strict=True):
        image.take(1, guest.memory(), guest.globals())
    assert images[0].digest == images[1].digest
    assert struct.unpack_from("<I", second.memory(), 64) == (4,)


def test_an_instance_that_was_used_leaves_nothing_to_the_next_one() -> None:
    wasm = agent("m.f", code="(call $f0 (i32.const 64))")
    for _ in range(3):
        guest = made(wasm, m=library(COUNTING))
        assert guest.run(arguments()).status == "agent_error:1"
        guest.close()


def test_instances_with_libraries_leave_those_that_wait_to_be_used_again() -> None:
    waiting = len(spares._order)
    for _ in range(3):
        guest = made(agent("m.f"), m=library(TWICE))
        guest.run(arguments())
        guest.close()
    assert len(spares._order) == waiting


def test_libraries_import_from_each_other_and_the_host_calls_stay_the_agents() -> None:
    outer = library(
        '(import "inner" "f" (func $f (param i32) (result i32)))',
        '(func (export "f") (param i32) (result i32) (i32.add (call $f (local.get 0)) (i32.const 1)))',
    )
    before = imports("send", "random") + '(import "outer" "f" (func $g (param i32) (result i32)))'
    wasm = assemble(wat(before=before, step="(call $send (call $g (i32.const 1)) (i32.const 0) (i32.const 4))"))
    step = made(wasm, outer=outer, inner=library(TWICE)).run(arguments())
    assert step.status == "ok" and [(c.op, c.target) for c in step.calls] == [("send", 3)]


def test_fuel_stack_and_memory_limits_hold_across_and_a_trap_is_the_steps() -> None:
    kind = '(func $f (export "f") (param i32) (result i32) {})'
    endless = library(kind.format("(loop (br 0)) (i32.const 0)"))
    deep = library(kind.format("(call $f (local.get 0))"))
    assert code(agent("m.f"), m=endless) == "fuel"
    assert code(agent("m.f"), m=deep) == "trap:stack_overflow"
    assert code(agent("m.f"), m=library(kind.format("unreachable"))) == "trap:unreachable"
    grow = library(SHARED, kind.format("(memory.grow (local.get 0))"))
    guest = made(agent("m.f", code="(call $f0 (i32.const 16))"), None, {"memory": 16 << 16}, m=grow)
    assert guest.run(arguments()).status == f"agent_error:{(1 << 32) - 1}"
    guest = made(agent("m.f", code="(call $f0 (i32.const 15))"), None, {"memory": 16 << 16}, m=grow)
    assert guest.run(arguments()).status == "agent_error:1" and len(guest.memory()) == 16 << 16


def test_an_agent_that_imports_nothing_of_its_libraries_does_without_them() -> None:
    plain = assemble(wat(step="(i32.const 9)"))
    assert code(plain, m=library(TWICE)) == "agent_error:9"


def test_a_library_is_compiled_once_and_kept_while_an_instance_uses_it() -> None:
    cache = ModuleCache(64 << 20)
    guests, lib = WasmGuests(cache=cache), library(TWICE)
    first = made(agent("m.f"), guests, m=lib)
    held = cache.held
    second = made(agent("m.f"), guests, m=lib)
    assert cache.held == held and second.run(arguments()).status == "agent_error:10"
    key = (hashlib.sha256(lib).hexdigest(), "library")
    assert cache._kept._pins[key] == 2
    first.close()
    second.close()
    made(agent("m.f"), guests, m=library(THRICE))
    assert key not in cache._kept._pins


# --- what is refused, and by which name -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        (("(memory 1)", TWICE), "a memory of its own"),
        (("(global (mut i32) (i32.const 0))", TWICE), "mutable globals"),
        ((SHARED, '(data (i32.const 0) "x")', TWICE), "data segments"),
        ((BOOM, TWICE), "start section"),
        (('(data "x")', TWICE), "passive"),
        (("(table 1 funcref) (func (table.set (i32.const 0) (ref.null func)))", TWICE), "table.set"),
    ],
)
def test_a_library_with_a_state_of_its_own_is_refused_by_what_it_has(parts: tuple[str, ...], what: str) -> None:
    error = refused(agent("m.f"), m=library(*parts))
    assert error.check == "format" and what in str(error) and "library m" in str(error)


def test_what_cannot_be_linked_is_refused_by_name_and_runs_nothing() -> None:
    cases = [
        (refused(agent("m.g"), m=library(TWICE)), "m.g is not exported; it exports f"),
        (
            refused(agent("m.f", kind="(param i32)", code="(i32.const 0)"), m=library(TWICE)),
            "its type is (i32) -> (i32)",
        ),
        (refused(agent("o.f"), m=library(TWICE)), "o.f is not offered"),
        (refused(agent("m.f"), m=library('(global (export "f") i32 (i32.const 1))')), "m.f is imported as a function"),
        (
            refused(agent("m.f"), m=library('(import "m" "f" (func (param i32) (result i32)))', TWICE)),
            "a circle: m imports m",
        ),
        (refused(agent("m.f"), m=library('(import "env" "f" (func))', TWICE)), "env.f is not offered to a library"),
        (refused(agent("m.f"), m=library('(import "engine" "self" (func))', TWICE)), "engine.self is not offered"),
        (refused(agent("m.f"), m=library('(import "agent" "agent_step" (func))', TWICE)), "agent.agent_step"),
        (refused(agent("m.f"), m=library('(import "agent" "memory" (memory 2))', TWICE)), "2 to any number of pages"),
        (
            refused(agent("m.f"), m=library('(import "agent" "memory" (memory 1 2))', TWICE)),
            "1 to 2 pages; the agent's",
        ),
        (
            refused(agent("m.f"), m=library('(import "n" "t" (global i32))', TWICE), n=library(THRICE)),
            "libraries give functions alone",
        ),
        (
            refused(agent("m.f"), m=library('(import "n" "f" (func (param i64)))', TWICE), n=library(THRICE)),
            "n.f is imported as (i64) -> ()",
        ),
    ]
    for error, what in cases:
        assert error.check == "import" and what in str(error), str(error)


def test_the_bytes_of_a_library_are_the_declared_ones_and_each_is_given() -> None:
    wasm, lib = agent("m.f"), library(TWICE)
    spec = declared(wasm, {"m": lib})
    for given in ([library(THRICE)], [lib[:-1]], [], [lib, lib]):
        with pytest.raises(ModuleRefused) as caught:
            WasmGuests().instantiate(0, spec, wasm, given)
        assert caught.value.check == "digest"
    assert "library m" in str(refused_by(spec, wasm, [library(THRICE)]))


@pytest.mark.parametrize("name", ["agent", "engine", "wasi_snapshot_preview1"])
def test_a_library_under_a_name_that_is_taken_is_refused_by_the_load_as_well(name: str) -> None:
    wasm, lib = agent("m.f"), library(TWICE)
    assert "by a library and by the host" in str(refused_by(declared(wasm, {name: lib, "m": lib}), wasm, [lib, lib]))


def test_two_libraries_of_one_name_are_refused_by_the_load_as_well() -> None:
    wasm, lib = agent("m.f"), library(TWICE)
    spec = declared(wasm, {"m": lib})
    twice = replace(spec, libraries=(spec.libraries or ()) * 2)
    assert "two libraries have the same name" in str(refused_by(twice, wasm, [lib, lib]))


def refused_by(spec: AgentSpec, wasm: bytes, given: list[bytes], guests: WasmGuests | None = None) -> ModuleRefused:
    with pytest.raises(ModuleRefused) as caught:
        (guests or WasmGuests()).instantiate(0, spec, wasm, given)
    return caught.value


def test_a_library_counts_against_the_agents_tables_and_its_segments_must_fit() -> None:
    wasm, lib = agent("m.f"), library("(table 600 funcref)", TWICE)
    assert refused(wasm, {"table": 599}, m=lib).check == "limit"
    assert made(wasm, None, {"table": 600}, m=lib).run(arguments()).status == "agent_error:10"
    outside = library("(table 1 funcref) (func $g) (elem (i32.const 1) $g)", TWICE)
    for _ in range(2):
        error = refused(wasm, m=outside)
        assert error.check == "format" and "a segment lies outside" in str(error)


def test_where_signatures_are_demanded_a_library_needs_one_as_well() -> None:
    seed = bytes(range(32))
    demand = Demand(trusting(ed25519.public_key(seed)), moment(1_700_000_000_000))
    guests, wasm, lib = WasmGuests(demand=demand), sign(agent("m.f"), seed), library(TWICE)
    error = refused_by(declared(wasm, {"m": lib}), wasm, [lib], guests)
    assert isinstance(error, SignatureRefused) and "library m" in str(error)
    signed = sign(lib, seed)
    assert made(wasm, guests, m=signed).run(arguments()).status == "agent_error:10"


def test_a_library_made_for_another_abi_is_refused() -> None:
    foreign = with_abi(library(TWICE), "2")
    assert refused(agent("m.f"), m=foreign).check == "abi"


def test_a_declaration_is_judged_at_spawn_and_all_that_is_wrong_is_said() -> None:
    good, digest = declared(agent("m.f"), {"m": library(TWICE)}), "0" * 64
    assert agent_problems(good, 0) == []
    bad = (Library(name="engine", module=digest), Library(name="m", module="xyz"), Library(name="m", module=digest))
    told = "; ".join(agent_problems(replace(good, libraries=bad), 0))
    assert "'engine' is no name that a library can have" in told and "'xyz' is no sha256" in told
    assert "'m' is there twice" in told
    many = tuple(Library(name=f"l{n}", module=digest) for n in range(PARTS_MAX))
    assert f"{PARTS_MAX} are more than {PARTS_MAX - 1}" in "; ".join(agent_problems(replace(good, libraries=many), 0))


def test_inspecting_a_module_says_whether_it_could_be_a_library() -> None:
    cases = [
        ((SHARED, TWICE), None),
        (('(import "other" "f" (func))', TWICE), None),
        (("(memory 1)", TWICE), "a memory of its own"),
        ((BOOM, TWICE), "start section"),
        (('(import "engine" "self" (func))', TWICE), "engine.self is not offered to a library"),
        (('(import "other" "f" (global i32))', TWICE), "other.f is a global"),
    ]
    for parts, what in cases:
        said = describe(Engine().load_bytes(library(*parts)))["refused"]["library"]
        assert said is None if what is None else what in said, said


# --- in runs ----------------------------------------------------------------------------------------------------------


def test_upgrade_links_each_meter_with_its_own_version_and_refuses_what_does_not_fit() -> None:
    found = Checker(UPGRADE).check(
        plan_of("upgrade", "worker.kill@tick:9,agent:1", "orchestrator.kill@tick:24,phase:await")
    )
    assert found.row.verdict == "PASS", found.findings
    history = play("upgrade", "worker.kill@tick:9,agent:1")
    declared = {each.module for spec in UPGRADE.agents for each in spec.libraries or ()}
    loads = [event for event in history.loads if event.side == "made" and event.name in declared]
    assert {event.name for event in loads if not event.refused} == declared and len(declared) == 3
    assert {event.refused for event in loads} == {"", "import"}


def test_a_library_that_is_not_the_declared_one_is_found_by_the_oracle_of_loads() -> None:
    tried = loaded._tried_altered(agent("m.f"), 3)
    assert tried == []
    events: list[LoadEvent] = []
    guests = ObservedGuests(WasmGuests(), 1, 1, lambda: 0, [], None, events)
    wasm, lib = agent("m.f"), library(TWICE)
    spec = declared(wasm, {"m": lib})
    guests.instantiate(0, spec, wasm, [lib])
    with pytest.raises(ModuleRefused):
        guests.instantiate(0, spec, wasm, [library(THRICE)])
    assert [(event.name, event.refused) for event in events] == [
        (spec.module, ""),
        (hashlib.sha256(lib).hexdigest(), ""),
        (spec.module, "beside"),
        (hashlib.sha256(lib).hexdigest(), "digest"),
    ]
