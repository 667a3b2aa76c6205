"""Validators that guard mailboxes and the admission of inputs (VAL-1)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from runtime_kit import World, agent, events, play, twin

from harness.simulation import journal_digest
from runtime import journal, state
from runtime.config import agent_problems, problems
from runtime.errors import FailStop
from runtime.fold import begin, commit
from runtime.guards import Guards
from runtime.state import (
    E_FULL,
    E_INVALID,
    OUTSIDE,
    REFUSED,
    Effect,
    Input,
    Join,
    Operate,
    Outcome,
    Publish,
    Schedule,
    Send,
)
from runtime.wasm import assemble
from scenarios.registry import get

# Valid is JSON of at least `host_random() & 1` + 8 bytes; a byte of it decides nothing else.
LONG = assemble(
    """(module (memory (export "memory") 1) (@custom "wasm-engine.reasons" "1 too_short\\n")
      (func (export "validate") (param i32 i32) (result i32) (i32.lt_u (local.get 1) (i32.const 8))))"""
)
DRAWS = assemble(
    """(module (import "env" "host_random" (func $random (result i64)))
      (import "env" "host_time_ms" (func $now (result i64)))
      (memory (export "memory") 1)
      (func (export "validate") (param i32 i32) (result i32)
        (i32.wrap_i64 (i64.and (i64.add (call $random) (call $now)) (i64.const 1)))))"""
)
NONE_SUCH = assemble('(module (memory (export "memory") 1))')
MODULES = {hashlib.sha256(wasm).hexdigest(): wasm for wasm in (LONG, DRAWS, NONE_SUCH)}
LONG_BY, DRAWS_BY, NONE_SUCH_BY = MODULES


class Artifacts:
    def get(self, digest: str) -> bytes:
        return MODULES[digest]


class Guarded(World):
    """A world whose ticks are folded with validators."""

    def __init__(self, *args: Any, guards: Guards | None = None, **options: Any) -> None:
        self.guards = guards or Guards(Artifacts())
        super().__init__(*args, **options)

    def admit(self, inputs: Any, at: int, outcomes: Any = None, decrees: Any = ()) -> Any:
        return self.close(begin(self.state, at, inputs, decrees, (), self.guards), outcomes)


def does(op: str, target: int, payload: bytes) -> Outcome:
    return Outcome("ok", (Effect(op, target, payload),))


# --- a guarded mailbox ------------------------------------------------------------------------------------------------


def world(**options: Any) -> Guarded:
    """Agent 0 sends, agent 1 is guarded, agent 2 is not."""
    return Guarded(agent("a"), agent("b", guard=LONG_BY), agent("c"), **options)


def test_a_message_that_is_not_valid_comes_back_with_its_status_and_its_reason_is_on_record() -> None:
    here = world()
    made = here.tick(Send(0, b'"go on, please"'), outcomes={0: does("send", 1, b"1")})
    number = state.sequence(0, 1)
    assert events(made, "invalid") == [("invalid", number, 1, "too_short")]
    assert events(made, "refused") == [("refused", number, 0, 1)]
    assert here.agent(1).mailbox == []
    here.tick(Send(2, b"x"))
    (back,) = [m for record in here.records if record.agent == 0 for m in record.inbox]
    assert (back.kind, back.sender, back.channel, back.payload) == (REFUSED, 1, E_INVALID, b"1")


def test_a_valid_message_enters() -> None:
    here = world()
    made = here.tick(Send(0, b'"go on, please"'), outcomes={0: does("send", 1, b'{"a": 1}')})
    assert not events(made, "invalid") and [m.payload for m in here.agent(1).mailbox] == [b'{"a": 1}']


@pytest.mark.parametrize(("payload", "reason"), [(b"{", "message:json"), (b"\xff", "message:utf8")])
def test_what_is_no_json_is_refused_without_asking_the_validator(payload: bytes, reason: str) -> None:
    made = world().tick(Send(1, payload))
    assert events(made, "invalid") == [("invalid", 1, 1, reason)] and events(made, "refused")[0][2:] == (OUTSIDE, 1)


def test_only_the_guarded_copy_of_a_publication_is_refused() -> None:
    here = world()
    here.tick(*[Join(n, 0) for n in range(3)])
    made = here.tick(Publish(b"1", 0))
    assert events(made, "refused") == [("refused", 1, OUTSIDE, 1)]
    assert here.inbox(0) == here.inbox(2) == [b"1"] and here.inbox(1) == []


def test_scheduled_tasks_are_guarded_when_they_are_due() -> None:
    here = world()
    here.tick(Schedule(1, b"1", 1), Schedule(1, b'"long enough"', 1))
    made = here.tick(Send(0, b"x"))
    assert [event[:2] for event in events(made, "refused_task")] == [("refused_task", 1)]
    assert events(made, "invalid_task")[0][-1] == "too_short" and here.inbox(1) == [b'"long enough"']


def test_a_full_mailbox_costs_no_validator_and_says_full() -> None:
    here = world(mailbox=1)
    here.tick(Operate("pause", 1), Send(1, b'"long enough"'))
    made = here.tick(Send(0, b"x"), outcomes={0: does("send", 1, b"1")})
    assert not events(made, "invalid")
    here.tick(Send(2, b"x"))
    assert [m.channel for record in here.records if record.agent == 0 for m in record.inbox] == [E_FULL]


# --- a guarded admission ----------------------------------------------------------------------------------------------


def test_inputs_that_are_not_valid_are_admitted_as_refused() -> None:
    here = Guarded(guard=LONG_BY)
    here.tick(Join(2, 0))
    made = here.tick(Send(0, b"1"), Send(1, b'"long enough"'), Publish(b"2", 0), Schedule(2, b"3", 1))
    assert [event[-1] for event in events(made, "invalid")] == ["too_short"] * 3
    assert here.ran() == [1] and len(made.block.inputs) == 4
    assert [event[0] for event in made.block.events if event[0].startswith("refused")] == [
        "refused",
        "refused",
        "refused_task",
    ]


def test_agents_messages_are_not_inputs() -> None:
    here = Guarded(guard=LONG_BY)
    made = here.tick(Send(0, b'"long enough"'), outcomes={0: does("send", 1, b"1")})
    assert not events(made, "invalid") and len(here.agent(1).mailbox) == 1


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_verdicts_depend_on_the_message_and_not_on_what_was_judged_before() -> None:
    def verdicts(guards: Guards, first: int) -> list[str]:
        here = world()
        return [guards.refuses(here.state, DRAWS_BY, number, b"1") for number in range(first, 40)]

    fresh, used = Guards(Artifacts()), Guards(Artifacts())
    all_ = verdicts(fresh, 1)
    assert {"", "code:1"} == set(all_)
    assert verdicts(used, 20) == all_[19:] and verdicts(used, 1) == all_


def test_a_module_that_is_no_validator_finds_nothing_valid() -> None:
    here = Guarded(agent("a", guard=NONE_SUCH_BY))
    assert events(here.tick(Send(0, b'"long enough"')), "invalid") == [("invalid", 1, 0, "refused:abi")]


@pytest.mark.parametrize("guards", [Guards(), Guards(Artifacts())], ids=["no artifacts", "not among them"])
def test_a_validator_that_is_not_there_ends_the_run(guards: Guards) -> None:
    here = Guarded(agent("a", guard="ab" * 32), guards=guards)
    with pytest.raises(FailStop, match="validator abababababab is not there"):
        here.tick(Send(0, b"x"))


def test_other_bytes_under_its_digest_are_no_validator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODULES, LONG_BY, DRAWS)
    with pytest.raises(FailStop, match="not there as it was declared"):
        world().tick(Send(1, b'"long enough"'))


def test_a_guard_is_named_by_a_digest() -> None:
    assert problems(get("guarded").config(1)) == []
    (wrong,) = agent_problems(agent("a", guard="validator.wasm"), 0)
    assert "guard" in wrong and "no sha256" in wrong


# --- the scenario -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        (),
        ("orchestrator.kill@tick:9,phase:commit,point:within",),
        ("worker.kill@tick:7,agent:1,hostcall:1", "orchestrator.kill@tick:12,phase:sync,point:before"),
    ],
)
def test_whoever_folds_again_refuses_the_same(faults: tuple[str, ...]) -> None:
    history = play("guarded", *faults)
    assert not history.failure and journal_digest(history) == journal_digest(twin("guarded"))


def test_the_scenario_meets_every_verdict() -> None:
    blocks = [line.block for line in journal.read(twin("guarded").journal).lines]
    reasons = {event[3] for block in blocks for event in block.events if event[0] == "invalid"}
    assert {"not_an_object", "message:json", "negative", "no_amount", "unlucky"} <= reasons


def test_what_a_guard_let_in_by_mistake_is_told() -> None:
    """The scenario's own judge, given a run whose clerk got what its guard must refuse."""
    world_ = Guarded(agent("teller"), agent("clerk"), topics=())
    item = Input(Send(0, b'{"total":1}'), 1, "user", 1)
    world_.admit([item], 1, {0: does("send", 1, b'{"total":1}')})
    world_.tick(Send(0, b"{}"))
    from scenarios.base import Outcome as Judged

    found = get("guarded").invariant(Judged((), world_.blocks, [a.mailbox for a in world_.state.agents], world_.blobs))
    assert any("is no amount, and passed the guard" in line for line in found)


def test_commit_asks_the_guards_that_the_tick_was_opened_with() -> None:
    here = world()
    opened = begin(here.state, 1, [here.input(Send(0, b"x"))], (), (), Guards())
    with pytest.raises(FailStop, match="validator"):
        commit(here.state, opened, {0: does("send", 1, b"1")})
