"""Faults of signatures and of trust: each vector ends as its verdict says, under its own name; I26 sees otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from oracles_kit import World, finding, refuses, world
from wasm_kit import arguments

from faults.plan import Fault, parse_fault
from faults.signed_kinds import ACCEPTED, CASES, TRUST
from faults.wrappers import signed
from faults.wrappers.intruders import Intruder, endings
from harness import golden
from harness.check import Checker
from harness.history import Injection
from harness.oracles import Verdict
from runtime.errors import SignatureRefused
from runtime.state import AgentSpec
from runtime.wasm import WasmGuests
from runtime.wasm.signatures import verify
from runtime.wasm.trust import moment
from scenarios import get

AT = "tick:3,agent:1"
NOW = arguments().now_ms
ERRORS = {
    "altered": "hash_mismatch", "missing": "unsigned", "cut": "cut", "padded": "padded", "junk": "junk",
    "header": "component", "key": "bad_signature", "s_range": "s_range", "weak_r": "weak_r", "revoked": "revoked_key",
    "expired": "expired_key", "early": "early_key", "unknown": "bad_signature", "weak": "weak_key",
    "replaced": "expired_key",
}  # fmt: skip
TEXTS = [
    *(f"module.signature@{AT},what={what}" for what in CASES),
    *(f"key.trust@{AT},what={what}" for what in TRUST),
]


@pytest.mark.parametrize("text", TEXTS)
def test_each_vector_is_accepted_or_refused_under_its_own_name(text: str) -> None:
    fault = parse_fault(text)
    what = str(fault.get("what"))
    if what in ACCEPTED:
        assert verify(signed.module(fault), signed.store(fault, NOW), moment(NOW)).keys
        return
    with pytest.raises(SignatureRefused) as refused:
        verify(signed.module(fault), signed.store(fault, NOW), moment(NOW))
    assert refused.value.error == ERRORS[what]


@pytest.mark.parametrize("text", TEXTS)
def test_a_step_that_waits_for_the_module_ends_as_the_verdict_says(text: str) -> None:
    spec = AgentSpec(name="a", module="", capabilities=())
    made = Intruder(WasmGuests(), 1, spec).run(parse_fault(text), arguments(tick=3, agent=1))
    assert made is not None and (made[0].status,) == endings(parse_fault(text))
    assert (made[1] is None) == (made[0].status == signed.REFUSED)


def test_the_verdicts_hold_in_a_whole_run_that_loses_its_workers() -> None:
    faults = [parse_fault(f"module.signature@{AT},what=cut"), parse_fault("key.trust@tick:4,agent:3,what=successor")]
    kills = [parse_fault("worker.kill@tick:3,agent:1,point:after"), parse_fault("worker.kill@tick:4,agent:3")]
    plan = replace(golden.default_plan("hello"), faults=(*faults, *kills))
    checked = Checker(get("hello")).check(plan)
    assert checked.findings["I26"].verdict is Verdict.PASS and checked.failed == ()
    assert all(checked.effective[n] for n in range(4))


def tried(status: str, what: str) -> World:
    """Agent 1's step in tick 2 waited for a module, and ended so on both sides."""
    made = world()
    made.faults = (Fault(kind="module.signature", at={"tick": 2, "agent": 1}, with_={"what": what}),)
    made.injections = [Injection(210, 0, {"worker": 12, "tick": 2, "agent": 1, "hostcall": 0})]
    made.step(3, 1).update(status=status, effects=[])
    made.guest(2, 1, status=status)
    return made


def test_i26_passes_where_both_records_say_what_the_verdict_says() -> None:
    assert finding("I26", tried(signed.REFUSED, "padded")).verdict is Verdict.PASS
    assert finding("I26", tried(signed.LOADED, "good")).verdict is Verdict.PASS
    assert finding("I26", world()).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (
            lambda: tried(signed.LOADED, "padded"),
            "agent_error:64, fault 0 (module.signature, padded) must end as refused",
        ),
        (
            lambda: tried(signed.REFUSED, "good"),
            "refused:signature, fault 0 (module.signature, good) must end as agent",
        ),
        (lambda: tried("refused:format", "header"), "refused:format, fault 0"),
    ],
)
def test_i26_names_what_was_accepted_or_refused_against_the_verdict(damage: Callable[[], World], named: str) -> None:
    refuses("I26", damage(), named)


def test_i26_sees_damage_to_either_record() -> None:
    made = tried(signed.REFUSED, "cut")
    made.step(3, 1)["status"] = "ok"
    refuses("I26", made, "block 3: ok, fault 0")
    other = tried(signed.REFUSED, "cut")
    other.guest(2, 1, status="ok")
    refuses("I26", other, ": ok, fault 0")
