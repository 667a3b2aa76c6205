"""Tasks that need each other: order, failures, refusals, large graphs, and how long one waits (SCH-2, SCH-3)."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtime_kit import World, agent, events, failed

from runtime import fold, state, tasks
from runtime.fold import Open
from runtime.state import (
    GIVEN,
    SKIPPED,
    TASK,
    Effect,
    Inference,
    ModelSpec,
    Operate,
    Outcome,
    Schedule,
    Send,
    Submit,
    Task,
)

ASK = Outcome("ok", (Effect("infer", 0, b"\0\0\0\0\1\0\0\0"),))
MODEL = ModelSpec(context=8, digest="0" * 64, kv_bytes=0, name="m", vocabulary=4)


def task(name: str, *needs: str, agent: int = 0, priority: int = 0, payload: bytes = b"") -> Task:
    return Task(agent=agent, id=name, needs=needs, payload=payload or name.encode(), priority=priority)


def ready_world(agents: int = 3, **options: Any) -> World:
    """All agents are active, nobody has mail."""
    world = World(agents=agents, **({"policy": "dag"} | options))
    while any(one.phase == "starting" for one in world.state.agents):
        world.tick()
    return world


def taken(world: World) -> list[str]:
    """The payloads of the tasks of the last tick's steps, in order of the steps."""
    return [m.payload.decode() for r in world.records for m in r.inbox if m.kind == TASK]


def ends(world: World) -> list[tuple[Any, ...]]:
    """What became of tasks, in order: how, name and the rest."""
    found = [event for block in world.blocks for event in block.events if str(event[0]).startswith("task_")]
    return [(str(event[0])[5:], *event[3:]) for event in found]


# --- order ---------------------------------------------------------------------------------------------------------


def test_a_task_is_given_in_the_tick_after_the_last_that_it_needs_has_ended() -> None:
    world = ready_world()
    world.tick(Submit((task("join", "a", "b", agent=2), task("a", agent=0), task("b", agent=1))))
    assert taken(world) == ["a", "b"]
    world.tick()
    assert taken(world) == ["join"]
    assert ends(world) == [("done", "a"), ("done", "b"), ("done", "join")]


def test_a_task_waits_for_the_slower_one_of_two() -> None:
    world = ready_world(max_tasks_per_tick=1)
    world.tick(Submit((task("a", agent=0), task("b", agent=1), task("join", "a", "b", agent=2))))
    assert taken(world) == ["a"]
    world.tick()
    assert taken(world) == ["b"]
    world.tick()
    assert taken(world) == ["join"]


def test_of_the_tasks_that_are_ready_the_one_of_lower_level_runs_first_then_of_higher_priority_then_the_earlier() -> (
    None
):
    world = ready_world(agents=1)
    first = (task("root"), task("late", "root", priority=9))
    world.tick(Submit((*first, task("low", priority=-1), task("plain"), task("plain2"), task("high", priority=3))))
    order = taken(world)
    while world.state.tick < 12 and len(order) < 6:
        world.tick(at=world.state.tick + 1)
        order += taken(world)
    assert order == ["high", "root", "plain", "plain2", "low", "late"]


def test_policy_dag_orders_the_agents_of_a_tick_by_their_tasks_and_those_without_one_after_them() -> None:
    world = ready_world(agents=4)
    world.tick(
        Send(0, b"mail"),
        Submit((task("low", agent=1), task("top", agent=2, priority=5), task("mid", agent=3, priority=1))),
    )
    assert world.ran() == [2, 3, 1, 0]


@pytest.mark.parametrize("policy", ["round_robin", "priority", "dag"])
def test_needs_hold_under_every_policy(policy: str) -> None:
    world = ready_world(policy=policy)
    world.tick(Submit((task("second", "first", agent=0), task("first", agent=2))))
    assert taken(world) == ["first"]
    world.tick()
    assert taken(world) == ["second"]


def test_a_task_that_asks_for_inference_ends_with_the_step_after_its_last_answer() -> None:
    world = ready_world(models=(MODEL,))
    world.tick(Submit((task("think", agent=0), task("then", "think", agent=1))), outcomes={0: ASK})
    assert taken(world) == ["think"] and not ends(world)
    (request,) = world.state.requests
    due = fold.next_tick(world.state, None)
    opened = fold.begin(world.state, due, [], (), (Inference(request.id, 1, "", b""),))
    world.close(opened)
    assert ends(world) == [("done", "think")]
    world.tick()
    assert taken(world) == ["then"]


def test_other_mail_does_not_end_a_task_that_waits_for_an_answer() -> None:
    world = ready_world(models=(MODEL,))
    world.tick(Submit((task("think"),)), outcomes={0: ASK})
    world.tick(Send(0, b"hello"))
    assert not ends(world)


def test_an_agent_has_one_task_at_a_time_and_other_mail_beside_it() -> None:
    world = ready_world(agents=1)
    world.tick(Submit((task("a"), task("b"))), Send(0, b"mail"), Schedule(0, b"timer", 0))
    assert taken(world) == ["a"] and len(world.records[0].inbox) == 3
    world.tick()
    assert taken(world) == ["b"]


def test_a_full_mailbox_refuses_no_task() -> None:
    world = ready_world(agents=1, mailbox=1)
    committed = world.tick(Send(0, b"mail"), Submit((task("a"),)))
    assert taken(world) == ["a"] and not events(committed, "refused")


# --- failures ------------------------------------------------------------------------------------------------------


def test_a_task_that_fails_skips_all_that_depend_on_it_each_once_and_nothing_else() -> None:
    world = ready_world()
    diamond = (
        task("top"),
        task("left", "top"),
        task("right", "top"),
        task("foot", "left", "right"),
        task("apart", agent=1),
    )
    world.tick(Submit(diamond), outcomes={0: failed("fuel")})
    assert ends(world) == [
        ("failed", "top", "fuel"), ("skipped", "left", "top"), ("skipped", "right", "top"),
        ("skipped", "foot", "left"), ("done", "apart"),
    ]  # fmt: skip
    while fold.next_tick(world.state, None) < 50:
        world.tick()
    assert len(ends(world)) == 5, "nothing ends twice"


def test_a_task_is_skipped_once_though_two_of_its_parents_fail() -> None:
    world = ready_world()
    world.tick(
        Submit((task("a"), task("b", agent=1), task("c", "a", "b", agent=2))), outcomes={0: failed(), 1: failed()}
    )
    assert [end for end in ends(world) if end[0] == "skipped"] == [("skipped", "c", "a")]


def test_what_needs_a_failed_task_is_skipped_when_it_is_submitted() -> None:
    world = ready_world()
    world.tick(Submit((task("a"),)), outcomes={0: failed()})
    world.tick(Submit((task("c", "b", agent=1), task("b", "a", agent=1))))
    assert ends(world)[1:] == [("skipped", "b", "a"), ("skipped", "c", "b")]


def test_what_needs_a_task_that_ended_well_before_is_ready_at_once() -> None:
    world = ready_world()
    world.tick(Submit((task("a"),)))
    world.tick(Submit((task("b", "a", agent=1),)))
    assert taken(world) == ["b"]


@pytest.mark.parametrize("how", ["terminate", "quarantine"])
def test_the_tasks_of_an_agent_that_is_gone_fail_those_in_its_mailbox_and_those_that_come_later(how: str) -> None:
    world = ready_world(max_restarts=0)
    if how == "quarantine":
        world.tick(Send(1, b"x"), outcomes={1: failed()})
    else:
        world.operate("pause", 1)
    world.tick(Submit((task("a", agent=1), task("b", agent=1), task("c", "b", agent=0))))
    if how == "terminate":
        assert world.state.graph.tasks["a"].phase == GIVEN  # type: ignore[union-attr]
        world.operate("terminate", 1)
    dropped = [event for block in world.blocks for event in block.events if event[0] == "dropped"]
    assert ends(world) == [("failed", "a", "gone"), ("failed", "b", "gone"), ("skipped", "c", "b")]
    assert len(dropped) == 2
    world.tick(Submit((task("late", agent=1),)))
    assert ends(world)[-1] == ("failed", "late", "gone")


def test_an_agent_that_failed_goes_on_with_its_next_task_in_its_next_life() -> None:
    world = ready_world(agents=1)
    world.tick(Submit((task("a"), task("b"))), outcomes={0: failed()})
    while "b" not in taken(world):
        world.tick()
    assert ends(world) == [("failed", "a", "trap:unreachable"), ("done", "b")]


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "why", "words"),
    [
        ((task("a", "b"), task("b", "c"), task("c", "a")), ("cycle", "a", "b", "c", "a"), "a needs b needs c needs a"),
        ((task("x", "b"), task("a", "b"), task("b", "a")), ("cycle", "a", "b", "a"), "a needs b needs a"),
        ((task("a", "a"),), ("itself", "a"), "task a needs itself"),
        ((task("a", "nobody"),), ("unknown", "a", "nobody"), "nobody, which nobody knows"),
        ((task("a"), task("a")), ("twice", "a"), "task a is submitted twice"),
        ((task("old"),), ("known", "old"), "task old was submitted before"),
        ((task("a", agent=3),), ("agent", "a"), "does not exist"),
        ((task("a", agent=-1),), ("agent", "a"), "does not exist"),
        ((task("a", payload=bytes(65_537)),), ("payload", "a"), "longer than max_payload"),
        ((task("a", priority=1 << 31),), ("priority", "a"), "priority of task a"),
        ((task("\x1b[2J", payload=b"x"),), ("name", r"'\x1b[2J'"), "no name of a task"),
        ((task("n" * 65, payload=b"x"),), ("name", repr("n" * 64)), "no name of a task"),
        ((task("", payload=b"x"),), ("name", "''"), "no name of a task"),
    ],
)  # fmt: skip
def test_tasks_that_cannot_be_are_refused_all_together_by_name(
    batch: tuple[Task, ...], why: tuple[str, ...], words: str
) -> None:
    world = ready_world()
    world.tick(Submit((task("old"),)))
    before = len(ends(world))
    refused = events(world.tick(Submit((task("good", agent=1), *batch))), "refused_tasks")
    assert refused == [("refused_tasks", "user", 2, *why)]
    assert len(ends(world)) == before and not taken(world)
    assert words in tasks.explain(why)


def test_a_refused_batch_takes_no_numbers_and_leaves_no_mark_in_the_state() -> None:
    world, plain = ready_world(), ready_world()
    world.tick(Submit((task("a", "a"),)))
    plain.tick(Submit((task("b", "nobody"),)))
    assert world.state.graph is state.UNSET and world.state.outside == 0
    assert state.encode(world.state) == state.encode(plain.state)


def test_what_has_ended_is_forgotten_when_there_is_no_more_room_and_the_rest_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "TASKS_MAX", 3)
    world = ready_world()
    world.tick(Submit((task("a"),)))
    world.tick(Submit((task("b"), task("c", "b"), task("d", "c"))))
    assert events(world.tick(Submit((task("e", "a"),))), "refused_tasks")[0][3:] == ("unknown", "e", "a")
    world.tick()
    assert events(world.tick(Submit((task("x"), task("y"), task("z"), task("zz")))), "refused_tasks")[0][3:] == (
        "room",
    )
    world.tick(Submit((task("a"),)))
    assert ends(world)[-1] == ("done", "a"), "its name is free again"


# --- large graphs --------------------------------------------------------------------------------------------------


def chains(depth: int, width: int) -> tuple[Task, ...]:
    """`width` chains of `depth` tasks; every hundredth also needs its neighbour's."""
    batch = []
    for level in range(depth):
        for lane in range(width):
            needs = (f"{lane}.{level - 1}",) if level else ()
            if level and level % 100 == 0:
                needs = (*needs, f"{(lane + 1) % width}.{level - 1}")
            batch.append(task(f"{lane}.{level}", *needs, agent=lane))
    return tuple(reversed(batch))


def test_a_graph_of_ten_thousand_tasks_and_depth_one_thousand_runs_in_a_thousand_ticks() -> None:
    world = ready_world(agents=10, last_tick=5000, snapshot_every=5000)
    began = time.perf_counter()
    world.tick(Submit(chains(1000, 10)))
    first = world.state.tick
    while len(world.state.graph.ended) < 10_000:  # type: ignore[union-attr]
        world.tick()
    assert world.state.tick - first == 999
    assert time.perf_counter() - began < 20, "about a second on a slow machine"
    assert [end[0] for end in ends(world)] == ["done"] * 10_000


def test_the_failure_of_the_first_of_ten_thousand_skips_all_others_once() -> None:
    world = ready_world(agents=1)
    batch = [task("0")] + [task(str(n), str(n - 1)) for n in range(1, 10_000)]
    world.tick(Submit(tuple(batch)), outcomes={0: failed()})
    assert [end[0] for end in ends(world)] == ["failed"] + ["skipped"] * 9_999
    assert world.state.graph.tasks["9999"].phase == SKIPPED  # type: ignore[union-attr]


def test_one_task_that_ten_thousand_need_and_one_that_needs_ten_thousand() -> None:
    world = ready_world(agents=100, last_tick=5000, snapshot_every=5000)
    middle = [task(f"m{n}", "first", agent=n % 100) for n in range(9_998)]
    world.tick(Submit((task("first"), *middle, task("last", *(m.id for m in middle)))))
    while len(world.state.graph.ended) < 10_000:  # type: ignore[union-attr]
        world.tick()
    assert ends(world)[-1] == ("done", "last") and world.state.tick < 110


def test_a_cycle_of_ten_thousand_is_named_in_full() -> None:
    world = ready_world(agents=1)
    batch = tuple(task(str(n), str((n + 1) % 10_000)) for n in range(10_000))
    (refused,) = events(world.tick(Submit(batch)), "refused_tasks")
    assert refused[3:] == ("cycle", *map(str, range(10_000)), "0")


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-2, 2), st.sets(st.integers(0, 14), max_size=3)), max_size=15))
def test_any_graph_runs_each_task_after_what_it_needs_or_is_refused_for_a_cycle_that_is_one(
    drawn: list[tuple[int, int, set[int]]],
) -> None:
    world = ready_world()
    batch = tuple(
        task(str(n), *(str(need) for need in sorted(needs) if need < len(drawn) and need != n), agent=a, priority=p)
        for n, (a, p, needs) in enumerate(drawn)
    )
    refused = events(world.tick(Submit(batch)), "refused_tasks")
    by_name = {one.id: one for one in batch}
    if refused:
        assert refused[0][3] == "cycle" and refused[0][4] == refused[0][-1]
        named = [str(name) for name in refused[0][4:]]
        assert all(b in by_name[a].needs for a, b in itertools.pairwise(named))
        return
    for _ in range(len(batch)):
        world.tick(at=world.state.tick + 1)
    done = [str(end[1]) for end in ends(world) if end[0] == "done"]
    assert sorted(done) == sorted(by_name)
    assert all(done.index(need) < done.index(name) for name in done for need in by_name[name].needs)


# --- waiting -------------------------------------------------------------------------------------------------------


def test_a_task_of_low_rank_is_overtaken_at_most_as_often_as_promised() -> None:
    world = ready_world(agents=1)
    world.tick(Submit((task("low", priority=-5), task("h0", priority=5), task("h0b", priority=5))))
    order = taken(world)
    for n in range(1, 100):
        world.tick(Submit((task(f"h{n}", priority=5),)))
        order += taken(world)
    assert order.index("low") == tasks.OVERTAKEN_MAX


def test_a_state_in_mid_graph_goes_on_the_same_from_its_encoding() -> None:
    world = ready_world()
    world.tick(Submit((task("b", "a", agent=1), task("a"), task("c", "b", agent=2), task("d", priority=2))))
    other = World(started=False)
    other.state = fold.copy_state(world.state)
    other.state.graph = state.decode(state.encode(world.state)).graph
    for _ in range(3):
        for one in (world, other):
            opened: Open = fold.begin(one.state, fold.next_tick(one.state, None), [])
            one.close(opened)
    assert [block.events for block in other.blocks] == [block.events for block in world.blocks[-3:]]
    assert state.root(world.state) == state.root(other.state)


def test_a_paused_agents_task_waits_in_its_mailbox() -> None:
    world = ready_world()
    world.operate("pause", 0)
    world.tick(Submit((task("a"),)))
    assert not taken(world)
    world.tick(Operate("resume", 0))
    assert taken(world) == ["a"]


def test_an_agent_that_is_still_to_start_gets_its_task_after_its_first_step() -> None:
    world = World(agent("a"), policy="dag", started=False)
    world.tick(*world.genesis, source="genesis")
    world.tick(Submit((task("a"),)))
    assert taken(world) == ["a"]
