"""Order of tasks (I22) and supervised groups (I31, I32), on hand-made histories: good ones, and each damage named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from oracles_kit import CLIENT, World, b64, crossing, envelope, finding, refuses, step, world

from harness.oracles import Judged, Verdict, judgeable
from harness.oracles.graphs import cycle_of
from harness.oracles.grouped import Groups
from runtime.state import Input, Submit, Task

TASK = 8
REPORT, EAST, WEST = 1, 2, 3  # numbers of messages, in the order of the batch

Change = Callable[[dict[int, dict[int, list[int]]], list[dict[str, Any]]], None]


def batch(*tasks: tuple[str, int, tuple[str, ...], int]) -> tuple[Task, ...]:
    return tuple(Task(id=n, agent=a, needs=needs, priority=p, payload=n.encode()) for n, a, needs, p in tasks)


PLAIN = batch(("report", 2, ("east", "west"), 0), ("east", 0, (), 0), ("west", 1, (), 0))


def graph(
    tasks: tuple[Task, ...] = PLAIN,
    *blocks: tuple[dict[int, tuple[int, ...]], list[list[Any]]],
    failed: tuple[tuple[int, int], ...] = (),
    policy: str = "dag",
    events: tuple[list[Any], ...] = (),
) -> World:
    """A run that submits `tasks` in tick 1; `blocks` are, from there on, numbers taken by agent, and what is told.

    `failed` are (block, agent) whose steps fail; `events` are those of tick 1 beside what is told.
    """
    made = world()
    first, last = made.bodies[0], made.bodies[-1]
    config = first["inputs"][0]["action"]["config"]
    config |= {"policy": policy, "max_payload": 1000, "last_tick": len(blocks) + 1}
    first["inputs"] = first["inputs"][:4]
    made.sent = [Input(Submit(tasks), 1, "bank", 1)]
    sizes = [
        {"agent": t.agent, "id": t.id, "needs": list(t.needs), "payload": b64(t.payload), "priority": t.priority}
        for t in tasks
    ]
    submitted = {"source": "bank", "n": 1, "tick": 1, "action": {"do": "submit", "tasks": sizes}}
    bodies = [first]
    made.guests = [one for one in made.guests if one.kind == "init"]
    count = [1, 1, 1]
    for number, (given, told) in enumerate(blocks, 2):
        steps = []
        for agent, numbers in given.items():
            count[agent] += 1
            status = "trap:unreachable" if (number, agent) in failed else "ok"
            seq = (agent + 1 << 32) + 1
            steps.append(step(agent, count[agent], inbox=list(numbers), status=status, seq=seq))
            inbox = [envelope(TASK, CLIENT, n, 0, tasks[n - 1].payload) for n in numbers]
            made.guests.append(crossing(number - 1, agent, inbox=tuple(inbox), status=status))
        body = {**last, "tick": number - 1, "steps": steps, "events": [*told], "root": ""}
        bodies.append(body)
    bodies[1]["inputs"] = [submitted]
    bodies[1]["events"] += list(events)
    made.bodies = [*bodies, {**last, "tick": len(blocks) + 1}]
    made.bodies[0]["steps"][2]["effects"] = []
    made.guests[2] = crossing(0, 2, "init")
    made.mailboxes = [[], [], []]
    made.seal()
    return made


def done(number: int, agent: int, name: str) -> list[Any]:
    return ["task_done", number, agent, name]


GOOD = (
    ({0: (EAST,), 1: (WEST,)}, [done(EAST, 0, "east"), done(WEST, 1, "west")]),
    ({2: (REPORT,)}, [done(REPORT, 2, "report")]),
)
FAILED = ["task_failed", EAST, 0, "east", "trap:unreachable"]
SKIPPED = ["task_skipped", REPORT, 2, "report", "east"]
BAD_EAST = ({0: (EAST,), 1: (WEST,)}, [FAILED, SKIPPED, done(WEST, 1, "west")])


def test_a_good_history_passes_and_a_run_without_tasks_is_not_judged() -> None:
    assert finding("I22", graph(PLAIN, *GOOD)).verdict is Verdict.PASS
    assert "I22" in judgeable(Judged(graph(PLAIN, *GOOD).history()))
    assert "I22" not in judgeable(Judged(world().history()))


def test_a_failure_with_its_skip_passes_and_so_does_a_task_that_waits_at_the_end() -> None:
    assert finding("I22", graph(PLAIN, BAD_EAST, failed=((2, 0),))).verdict is Verdict.PASS
    assert finding("I22", graph(PLAIN, GOOD[0])).verdict is Verdict.PASS


DAMAGES: dict[str, tuple[World, str]] = {
    "beside its parents": (
        graph(PLAIN, ({0: (EAST,), 1: (WEST,), 2: (REPORT,)}, [done(EAST, 0, "east"), done(WEST, 1, "west")])),
        "agent 2 starts report where none is due: report needs east, west, which has not ended well",
    ),
    "after one of two parents": (
        graph(PLAIN, ({0: (EAST,)}, [done(EAST, 0, "east")]), ({1: (WEST,), 2: (REPORT,)}, [done(WEST, 1, "west")])),
        "report needs west, which has not ended well",
    ),
    "after a failed parent": (
        graph(PLAIN, BAD_EAST, ({2: (REPORT,)}, []), failed=((2, 0),)),
        "agent 2 starts report where none is due: report is skipped",
    ),
    "a second time": (
        graph(PLAIN, *GOOD, ({0: (EAST,)}, [])),
        "agent 0 starts east where none is due: east is done",
    ),
    "not at all though its agent runs": (
        graph(PLAIN, GOOD[0], ({2: ()}, [])),
        "agent 2 starts no task where report is due",
    ),
    "at another agent": (
        graph(PLAIN, ({0: (WEST,), 1: (EAST,)}, [])),
        "agent 0 starts west where east is due",
    ),
    "without its end on record": (graph(PLAIN, (GOOD[0][0], [done(EAST, 0, "east")])), "tells 0 times task_done west"),
    "ended well though its step failed": (graph(PLAIN, GOOD[0], failed=((2, 1),)), "tells 1 times task_done west"),
    "not skipped": (
        graph(PLAIN, (BAD_EAST[0], [FAILED, BAD_EAST[1][2]]), failed=((2, 0),)),
        "0 times task_skipped report",
    ),
    "skipped twice": (
        graph(PLAIN, (BAD_EAST[0], [SKIPPED, *BAD_EAST[1]]), failed=((2, 0),)),
        "tells 2 times task_skipped",
    ),
    "skipped for nothing": (
        graph(PLAIN, (GOOD[0][0], [*GOOD[0][1], ["task_skipped", REPORT, 2, "report", "east"]])),
        "skips report for east, which is done",
    ),
    "failed for another reason": (
        graph(PLAIN, (BAD_EAST[0], [[*FAILED[:4], "fuel"], SKIPPED, BAD_EAST[1][2]]), failed=((2, 0),)),
        "tells 1 times task_failed east fuel",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_task_that_starts_or_ends_otherwise_is_named(damage: str) -> None:
    made, named = DAMAGES[damage]
    refuses("I22", made, named)


RANKED = batch(("low", 0, (), -1), ("high", 0, (), 5), ("child", 0, ("other",), 9), ("other", 1, (), 0))


def test_an_agents_own_tasks_come_in_the_order_of_level_priority_and_submission() -> None:
    first = ({0: (2,), 1: (4,)}, [done(2, 0, "high"), done(4, 1, "other")])
    second = ({0: (1,)}, [done(1, 0, "low")])
    third = ({0: (3,)}, [done(3, 0, "child")])
    assert finding("I22", graph(RANKED, first, second, third)).verdict is Verdict.PASS
    refuses("I22", graph(RANKED, ({0: (1,), 1: (4,)}, []), policy="priority"), "agent 0 starts low where high is due")
    refuses("I22", graph(RANKED, first, ({0: (3,)}, [])), "agent 0 starts child where low is due: child is ready")


def test_under_policy_dag_the_agents_of_a_tick_run_in_the_order_of_their_tasks() -> None:
    tasks = batch(("a", 0, (), 0), ("b", 1, (), 3))
    told = [done(1, 0, "a"), done(2, 1, "b")]
    right, wrong = {1: (2,), 0: (1,)}, {0: (1,), 1: (2,)}
    assert finding("I22", graph(tasks, (right, told))).verdict is Verdict.PASS
    assert finding("I22", graph(tasks, (wrong, told), policy="round_robin")).verdict is Verdict.PASS
    refuses("I22", graph(tasks, (wrong, told)), "agents run in the order [0, 1], by their tasks it is [1, 0]")


CYCLE = batch(("x", 0, (), 0), ("a", 0, ("b",), 0), ("b", 1, ("a",), 0))


def refusal(*why: str) -> list[Any]:
    return ["refused_tasks", "bank", 1, *why]


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        (CYCLE, ("cycle", "a", "b", "a")),
        (batch(("a", 0, ("a",), 0)), ("itself", "a")),
        (batch(("a", 0, ("z",), 0)), ("unknown", "a", "z")),
        (batch(("a", 0, (), 0), ("a", 1, (), 0)), ("twice", "a")),
        (batch(("a", 7, (), 0)), ("agent", "a")),
        (batch(("a", 0, (), 1 << 31)), ("priority", "a")),
        (batch(("a b", 0, (), 0)), ("name", "'a b'")),
    ],
)
def test_what_cannot_be_must_be_refused_for_a_reason_that_is_so(tasks: tuple[Task, ...], why: tuple[str, ...]) -> None:
    assert finding("I22", graph(tasks, ({}, []), events=(refusal(*why),))).verdict is Verdict.PASS
    refuses("I22", graph(tasks, ({}, [])), "tasks are taken though")
    refuses("I22", graph(PLAIN, ({}, []), events=(refusal(*why),)), "which is not so")


@pytest.mark.parametrize("names", [("a", "x", "a"), ("a", "b"), ("b", "a"), ("a",), ()])
def test_a_cycle_must_be_named_as_it_is(names: tuple[str, ...]) -> None:
    refuses("I22", graph(CYCLE, ({}, []), events=(refusal("cycle", *names),)), "which is not so")


def test_the_cycle_finder_is_told_apart_by_graphs_with_and_without() -> None:
    deep = {str(n): (str(n + 1),) for n in range(10_000)}
    assert not cycle_of(deep)
    assert cycle_of({**deep, "9999": ("4000",)})
    assert not cycle_of({"a": ("b", "c"), "b": ("d",), "c": ("d",), "d": ()})
    assert cycle_of({"a": ("b",), "b": ("c", "a"), "c": ()})


def test_a_ready_task_that_is_not_given_is_a_wait_beyond_the_bound() -> None:
    made = graph(PLAIN, GOOD[0], ({}, []), ({}, []), ({2: (REPORT,)}, [done(REPORT, 2, "report")]))
    refuses("I12", made, "agent 2, ready since tick 2, does not run in tick 3, bound 2")
    assert finding("I12", graph(PLAIN, *GOOD)).verdict is Verdict.PASS


# --- groups -----------------------------------------------------------------------------------------------------------


def grouped(strategy: str, *events: list[Any], **options: Any) -> World:
    """Agents 0, 1 and 2 are a group in which agent 1's step fails in tick 1."""
    made = world()
    group = {"name": "g", "agents": [0, 1, 2], "strategy": strategy, "within": ""}
    group |= {"max_restarts": 3, "window_ticks": 50, "backoff_ticks": 9, **options}
    made.bodies[0]["inputs"][0]["action"]["config"]["groups"] = [group]
    made.bodies = [made.bodies[0], {**made.bodies[1], "inputs": []}, {**made.bodies[3], "tick": 2}]
    made.bodies[0]["inputs"][0]["action"]["config"]["last_tick"] = 2
    made.bodies[1]["steps"] = [step(1, 2, status="fuel")]
    made.bodies[1]["events"] = [["failed", 1, "fuel"], *events]
    phases = {event[1]: event[3] for event in events if event[0] == "lifecycle"}
    ended = [["lifecycle", a, phases.get(a, "active"), "terminated"] for a in (0, 1, 2)]
    made.bodies[2]["events"] = [*ended, ["finished"]]
    made.guests = [*made.guests[:3], crossing(1, 1, status="fuel")]
    made.mailboxes = [[], [], []]
    made.seal()
    return made


def stops(*agents: int, phase: str = "backoff") -> list[list[Any]]:
    return [["lifecycle", agent, "active", phase] for agent in agents]


def told(strategy: str) -> list[Any]:
    return ["group_restart", "g", strategy, 1]


@pytest.mark.parametrize(
    ("strategy", "agents"), [("one_for_one", (1,)), ("one_for_all", (0, 1, 2)), ("rest_for_one", (1, 2))]
)
def test_a_strategy_must_restart_those_that_it_names_and_no_others(strategy: str, agents: tuple[int, ...]) -> None:
    assert finding("I32", grouped(strategy, told(strategy), *stops(*agents))).verdict is Verdict.PASS
    for others in ((1,), (0, 1, 2), (1, 2), (0, 1)):
        if others != agents:
            refuses("I32", grouped(strategy, told(strategy), *stops(*others)), "is due")


def test_a_group_beyond_its_restarts_must_be_quarantined_whole_and_its_restarts_are_counted() -> None:
    end = [event for agent in (0, 1, 2) for event in (*stops(agent, phase="quarantined"), ["quarantined", agent])]
    up = ["escalated", "g", 1]
    assert finding("I32", grouped("one_for_one", up, *end, max_restarts=0)).verdict is Verdict.PASS
    refuses("I32", grouped("one_for_one", up, *end[2:4], max_restarts=0), "agent 0 is due")
    restarted = grouped("one_for_one", told("one_for_one"), *stops(1), max_restarts=0)
    refuses("I32", restarted, "of groups escalated g 1 is due; the journal has group_restart")
    refuses("I31", restarted, "group g restarts after 0 in 50 ticks")


def test_a_member_that_is_back_before_its_groups_back_off_is_named() -> None:
    made = grouped("one_for_one", told("one_for_one"), *stops(1))
    made.bodies[2]["events"][0:0] = [["lifecycle", 1, "backoff", "starting"], ["restart", 1, 1]]
    refuses("I31", made, "agent 1 is back in tick 2, stopped in 1")


def test_an_inner_group_that_gives_up_is_a_child_of_the_outer_one() -> None:
    options = {"max_restarts": 1, "window_ticks": 10, "backoff_ticks": 1}
    outer = {"name": "out", "agents": [0], "strategy": "rest_for_one", "within": "", **options}
    inner = {"name": "in", "agents": [1, 2], "strategy": "one_for_one", "within": "out", **options}
    other = {"name": "on", "agents": [3], "strategy": "one_for_one", "within": "out", **options}
    groups = Groups({"groups": [outer, inner, other]})
    assert groups.failed(1, 5).agents == [1]
    order = groups.failed(2, 6)
    assert order.events == [("escalated", "in", 2), ("group_restart", "out", "rest_for_one", 2)]
    assert order.agents == [1, 2, 3]
    assert groups.failed(1, 7).agents == [1], "it began anew"
    assert groups.failed(2, 8) == ([("escalated", "in", 2), ("escalated", "out", 2)], [0, 1, 2, 3], -1)
    assert groups.root(3) == [0, 1, 2, 3] and groups.root(9) == []
