"""Faults of modules at load: each vector ends as its verdict says, under its own name; the oracles see otherwise."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import replace
from oracles_kit import World, finding, refuses, world
from wasm_kit import arguments

from faults.module_kinds import MODULE_KINDS
from faults.plan import Fault, parse_fault
from faults.wrappers import vectors
from faults.wrappers.intruders import Intruder, endings
from harness import golden
from harness.check import Checker
from harness.history import Injection
from harness.oracles import Verdict
from runtime.state import AgentSpec
from runtime.wasm import WasmGuests
from runtime.wasm.scan import loops_within
from scenarios import get

AT = "tick:3,agent:1"
WHATS = [
    f"{kind.slug}@{AT},what={what}" for kind in MODULE_KINDS for key in kind.params if key.words for what in key.words
]
FLIPS = [f"module.flip@{AT},bit={bit}" for bit in (0, 63, 64, 300, 16_777_215)]
OWN = next(iter(get("hello").modules.values()))


def made(text: str) -> str:
    """How a step ends that waits for the module."""
    spec = AgentSpec(name="a", module=hashlib.sha256(OWN).hexdigest(), capabilities=())
    done = Intruder(WasmGuests(), 1, spec, OWN).run(parse_fault(text), arguments(tick=3, agent=1))
    assert done is not None and (done[1] is None) == (done[0].status != vectors.LOADED)
    return done[0].status


@pytest.mark.parametrize("text", [*WHATS, *FLIPS])
def test_a_step_that_waits_for_the_module_ends_as_the_verdict_says(text: str) -> None:
    assert (made(text),) == endings(parse_fault(text))


def test_every_check_but_the_signatures_refuses_something_and_controls_pass() -> None:
    said = {status for text in (*WHATS, *FLIPS) for status in endings(parse_fault(text))}
    checks = ("size", "digest", "format", "abi", "import", "limit")
    assert said == {vectors.LOADED, *(f"refused:{check}" for check in checks)}


@pytest.mark.parametrize(
    ("text", "oracles"),
    [
        ("module.malformed@{at},what=operand_type", ("I25", "I30", "I32")),
        ("module.unlinkable@{at},what=start_trap", ("I21", "I30")),
        ("module.flip@{at},bit=1000", ("I25",)),
        ("module.bomb@{at},what=loops", ("I18",)),
        ("module.library@{at},what=state", ("I30", "I32")),
        ("module.library@{at},what=good_memory", ("I30", "I32")),
        ("module.abi@{at},what=type", ("I35",)),
        ("module.abi@{at},what=extra", ("I35",)),
    ],
)
def test_each_alone_is_refused_by_name_and_the_oracles_hold(text: str, oracles: tuple[str, ...]) -> None:
    fault = parse_fault(text.format(at=AT))
    checked = Checker(get("hello")).check(replace(golden.default_plan("hello"), faults=(fault,)))
    assert checked.effective == {0: True} and checked.failed == ()
    assert all(checked.findings[oracle].verdict is Verdict.PASS for oracle in oracles)


def test_the_verdicts_hold_in_a_run_that_loses_its_workers() -> None:
    texts = (f"module.flip@{AT}", "module.bomb@tick:4,agent:3", f"worker.kill@{AT},point:after")
    faults = tuple(parse_fault(text) for text in (*texts, "worker.kill@tick:4,agent:3"))
    checked = Checker(get("hello")).check(replace(golden.default_plan("hello"), faults=faults))
    assert checked.failed == () and all(checked.effective.values())


# --- hand-made histories ---------------------------------------------------------------------------------------------

JUDGES = [
    ("I25", "module.flip", {"bit": 7}, "refused:digest"),
    ("I25", "module.malformed", {"what": "cut"}, "refused:format"),
    ("I30", "module.unlinkable", {"what": "start"}, "refused:format"),
    ("I30", "module.library", {"what": "circle"}, "refused:import"),
    ("I30", "module.library", {"what": "good"}, "agent_error:64"),
    ("I18", "module.bomb", {"what": "loops"}, "refused:limit"),
    ("I35", "module.abi", {"what": "minor"}, "refused:abi"),
    ("I35", "module.abi", {"what": "extra"}, "agent_error:64"),
]


def tried(kind: str, with_: dict[str, int | str], status: str) -> World:
    """Agent 1's step in tick 2 waited for a module, and ended so on both sides."""
    found = world()
    found.faults = (Fault(kind=kind, at={"tick": 2, "agent": 1}, with_=with_),)
    found.injections = [Injection(210, 0, {"worker": 12, "tick": 2, "agent": 1, "hostcall": 0})]
    found.step(3, 1).update(status=status, effects=[])
    found.guest(2, 1, status=status)
    return found


def evidence(oracle: str, made_: World) -> list[str]:
    return [line for line in finding(oracle, made_).evidence if "fault 0" in line]


@pytest.mark.parametrize(("oracle", "kind", "with_", "status"), JUDGES)
def test_the_oracle_accepts_what_the_verdict_says_on_both_sides(
    oracle: str, kind: str, with_: dict[str, int | str], status: str
) -> None:
    assert evidence(oracle, tried(kind, with_, status)) == []


@pytest.mark.parametrize(("oracle", "kind", "with_", "status"), JUDGES)
def test_the_oracle_names_a_step_that_ended_otherwise(
    oracle: str, kind: str, with_: dict[str, int | str], status: str
) -> None:
    other = "agent_error:64" if status.startswith("refused") else "refused:format"
    refuses(oracle, tried(kind, with_, other), f"{other}, fault 0 ({kind}")
    half = tried(kind, with_, status)
    half.guest(2, 1, status=other)
    refuses(oracle, half, f": {other}, fault 0 ({kind}")


def test_a_refused_step_that_left_something_is_named() -> None:
    found = tried("module.unlinkable", {"what": "data"}, "refused:format")
    found.step(3, 1)["image"] = "ab" * 32
    refuses("I30", found, "with nothing")


# --- the limit of loops ----------------------------------------------------------------------------------------------


def test_loops_are_counted_within_each_other_and_not_beside() -> None:
    nested, beside = b"\3\x40" * 5 + b"\x0b" * 5, b"\3\x40\x0b" * 50
    assert loops_within(nested, 0, len(nested), 5) and not loops_within(nested, 0, len(nested), 4)
    assert loops_within(beside, 0, len(beside), 1)


def test_constants_that_look_like_loops_are_none_and_blocks_count_for_nothing() -> None:
    constants, blocks = b"\x41\3\x1a" * 50, b"\2\x40" * 9 + b"\3\x40\x0b" + b"\x0b" * 9
    assert loops_within(constants, 0, len(constants), 1) and loops_within(blocks, 0, len(blocks), 1)
    tabled = b"\x0e\2\0\0\0" + b"\3\x40\x40\0\x0b" * 3
    assert loops_within(tabled, 0, len(tabled), 1)


def test_what_the_scan_does_not_know_is_not_passed_over() -> None:
    unknown = b"\3\x40\3\x40\xff\x0b\x0b"
    assert not loops_within(unknown, 0, len(unknown), 1)
