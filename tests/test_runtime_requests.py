"""Requests for inference and the lives that they belong to: delivered, or dropped on record (INF-1, ORC-2)."""

from __future__ import annotations

import struct

import pytest
from runtime_kit import World, events, failed

from runtime.errors import FailStop
from runtime.fold import Committed, begin
from runtime.requests import RESULT
from runtime.state import Action, Effect, Inference, ModelSpec, Operate, Outcome, Send

MODEL = ModelSpec(context=8, delay_ticks=3, digest="ab" * 32, kv_bytes=2, name="m", vocabulary=16)
ASK = Outcome("ok", (Effect("infer", 0, struct.pack("<3I", 0, 5, 6)),))


def asked(who: int = 2, **options: int) -> World:
    """A world whose agents have asked in tick 1 for what is due in tick 4."""
    world = World(agents=who, models=(MODEL,), **options)
    world.tick(*[Send(n, b"") for n in range(who)], outcomes=dict.fromkeys(range(who), ASK))
    assert [request.due for request in world.state.requests] == [4] * who
    return world


def answered(world: World, *actions: Action) -> Committed:
    """Tick 4, with the results of all that was open when it began."""
    results = tuple(Inference(request.id, 7, "", bytes(4)) for request in world.state.requests)
    return world.close(begin(world.state, 4, [world.input(action) for action in actions], (), results))


def test_a_result_for_a_paused_agent_waits_in_its_mailbox_in_reserved_room() -> None:
    world = asked(1, mailbox=1)
    world.tick(Operate("pause", 0), Send(0, b"full"))
    committed = answered(world)
    assert events(committed, "dropped_result") == [] and world.ran() == []
    assert [m.payload for m in world.agent(0).mailbox] == [b"full", RESULT.pack(7, 2)]
    assert world.agent(0).reserved == 1
    world.tick(Operate("resume", 0))
    assert world.inbox(0) == [b"full", RESULT.pack(7, 2)]


def test_what_a_terminated_agent_asked_for_is_dropped_then_and_nobody_computes_it_for_nothing() -> None:
    world = asked()
    (gone, kept) = world.state.requests
    committed = world.tick(Operate("terminate", 0))
    assert events(committed, "dropped_result") == [("dropped_result", gone.id, 0)]
    assert world.state.requests == [kept] and [s.agent for s in world.state.sessions] == [1]
    assert [entry.request for entry in answered(world).block.inferences] == [kept.id]


def test_a_result_that_comes_in_the_tick_of_the_end_is_dropped_once_and_in_no_block() -> None:
    world = asked()
    (gone, kept) = world.state.requests
    committed = answered(world, Operate("terminate", 0))
    assert events(committed, "dropped_result") == [("dropped_result", gone.id, 0)]
    assert [entry.request for entry in committed.block.inferences] == [kept.id] and world.ran() == [1]


def test_a_result_that_was_delivered_and_not_read_is_dropped_with_its_agent() -> None:
    world = asked(1)
    world.operate("pause", 0)
    answered(world)
    number = world.agent(0).mailbox[0].seq
    assert ("dropped_result", number, 0) in world.operate("terminate", 0)
    assert world.agent(0).mailbox == [] and world.state.sessions == []


def test_a_quarantined_agent_leaves_no_session_and_no_request() -> None:
    world = asked(1, max_restarts=0)
    committed = world.tick(Send(0, b""), outcomes={0: failed()})
    assert len(events(committed, "dropped_result")) == 1
    assert world.state.sessions == [] and world.state.requests == []


@pytest.mark.parametrize("count", [0, 1, 3])
def test_results_that_are_not_those_that_are_due_stop_the_run(count: int) -> None:
    world = asked()
    results = tuple(Inference(request.id, 7, "", bytes(4)) for request in (world.state.requests * 2)[:count])
    with pytest.raises(FailStop, match="inference"):
        begin(world.state, 4, [], (), results)
