"""Faults of the workload: what they add, that it is met and judged, and what does not count as met."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from itertools import pairwise

import pytest
from cli_kit import here
from msgspec.structs import replace
from wasm_kit import arguments

from faults import budget
from faults.catalogue import kind_of
from faults.effect import effective
from faults.plan import Plan, parse_fault
from faults.workload_kinds import FLOATS, GRAPHS, NAMES
from faults.workload_rules import Told
from faults.wrappers.arrivals import SOURCE
from faults.wrappers.intruders import Intruder, endings
from harness import golden
from harness.check import Checked, Checker, lasting, twin_plan
from harness.oracles import Verdict
from harness.simulation import simulate
from harness.workloads import named, work_of
from runtime import journal, tasks
from runtime.errors import Refused
from runtime.journal import Block, StepEntry
from runtime.physical import Physical
from runtime.state import AgentSpec, Input, Operate, Reload, Send, Spawn, Submit, Task
from runtime.wasm import WasmGuests
from scenarios import get

FLOODS = {"hello": 0, "ledger": 3, "frames": 0, "assistants": 1, "upgrade": 2}


def planned(name: str, *faults: str) -> Plan:
    return replace(golden.default_plan(name), faults=tuple(parse_fault(fault) for fault in faults))


def checked(name: str, *faults: str) -> Checked:
    return Checker(get(name)).check(planned(name, *faults))


# --- alone and together ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *((name, f"agent.flood@tick:3,agent:{agent},count=1500,ticks=2") for name, agent in FLOODS.items()),
        ("pipeline", "agent.flood@tick:5,agent:3,what=tasks,count=300,ticks=4"),
        *(("pipeline", f"dag.edit@tick:5,what={what},size=40") for what in GRAPHS),
        ("upgrade", "agent.reload@tick:41,agent:2,version=3"),
        ("upgrade", "agent.reload@tick:41,agent:2,version=1"),
        ("upgrade", "agent.reload@tick:41,agent:2,version=5"),
        ("upgrade", "agent.reload@tick:41,agent:2,version=2,struck=trap"),
        ("upgrade", "agent.reload@tick:41,agent:1,version=3,struck=fuel"),
        ("ledger", "pool.resize@tick:9,workers=1"),
        ("ledger", "pool.resize@tick:9,workers=7"),
        ("readings", "step.cancel@tick:9,agent:0"),
        ("hello", "wasm.nan@tick:3,agent:1,what=divide"),
        ("ledger", "observer.hostile_text@agent:5,what=html"),
    ],
)
def test_each_alone_is_met_and_what_must_hold_holds(name: str, fault: str) -> None:
    done = checked(name, fault)
    assert done.effective == {0: True} and done.failed == () and done.row.unknown_oracles == ()
    further = {"I1", "I3", "I5", "I20", "I30", "I37"}  # judged by further runs, by stopped ones, by an observer
    for oracle in set(kind_of(done.plan.faults[0].kind).oracles) - further:
        assert done.findings[oracle].verdict is Verdict.PASS, oracle


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("upgrade", ("agent.reload@tick:41,agent:2,version=3", "worker.kill@tick:41,agent:2,hostcall:1")),
        ("upgrade", ("agent.reload@tick:41,agent:2,version=3", "orchestrator.kill@tick:41,phase:commit,point:within")),
        ("upgrade", ("agent.reload@tick:41,agent:2,version=3,struck=trap", "worker.kill@tick:41,agent:2,point:after")),
        (
            "ledger",
            ("worker.kill@tick:9,agent:3", "pool.resize@tick:9,workers=5", "worker.kill@tick:10,agent:3"),
        ),
        ("ledger", ("orchestrator.kill@tick:9,phase:await", "pool.resize@after:1,workers=1")),
        (
            "ledger",
            ("agent.flood@tick:3,agent:3,count=900", "orchestrator.kill@tick:3,phase:sync", "disk.tear@crash:1"),
        ),
        ("pipeline", ("dag.edit@tick:5,what=failing,size=60,percent=10", "worker.kill@tick:7,agent:3")),
    ],
)
def test_beside_losses_all_are_met_and_the_journal_is_the_twin_s(name: str, faults: tuple[str, ...]) -> None:
    done = checked(name, *faults)
    assert all(done.effective.values()) and done.failed == () and done.row.journal_digest == done.row.twin_digest


def test_the_largest_flood_is_within_every_bound() -> None:
    done = checked("ledger", "agent.flood@tick:3,agent:3,count=10000")
    assert done.effective == {0: True} and done.failed == ()
    assert {done.findings[oracle].verdict for oracle in ("I12", "I18", "I34")} == {Verdict.PASS}


def test_ten_thousand_tasks_of_the_highest_priority_starve_no_other_agent() -> None:
    done = checked("pipeline", "agent.flood@tick:5,agent:3,what=tasks,count=10000")
    assert done.effective == {0: True} and done.failed == ()
    assert {done.findings[oracle].verdict for oracle in ("I12", "I22")} == {Verdict.PASS}


# --- what is added ---------------------------------------------------------------------------------------------------


def test_a_flood_is_of_messages_that_the_clients_could_send_and_spread_over_its_ticks() -> None:
    plan = planned("ledger", "agent.flood@tick:4,agent:3,count=100,ticks=10")
    work = work_of(get("ledger"), plan)
    added = [item for item in work.inputs if item.source == SOURCE]
    assert [item.n for item in added] == list(range(1, 101)) and work.owners == dict.fromkeys(range(1, 101), 0)
    assert Counter(item.tick for item in added) == dict.fromkeys(range(4, 14), 10)
    assert all(isinstance(item.action, Send) and item.action.agent == 3 for item in added)
    assert len({item.action.payload for item in added if isinstance(item.action, Send)}) == 100
    assert [item for item in work.inputs if item.source != SOURCE] == list(plan.inputs)
    assert [item.tick for item in work.inputs] == sorted(item.tick for item in work.inputs)


def test_a_plan_without_them_is_given_its_own_inputs_and_one_more_fault_changes_no_other_s() -> None:
    plain = planned("ledger", "worker.kill@tick:3,agent:1")
    assert work_of(get("ledger"), plain).inputs is plain.inputs
    one = "agent.flood@tick:4,agent:3,count=20"
    alone = work_of(get("ledger"), planned("ledger", one)).inputs
    both = work_of(get("ledger"), planned("ledger", one, "agent.flood@tick:9,agent:5,count=5")).inputs
    assert [item for item in both if item.source == SOURCE][:20] == [item for item in alone if item.source == SOURCE]


def graph(*faults: str) -> list[tuple[int, tuple[Task, ...]]]:
    added = [item for item in work_of(get("pipeline"), planned("pipeline", *faults)).inputs if item.source == SOURCE]
    return [(item.tick, item.action.tasks) for item in added if isinstance(item.action, Submit)]


def test_each_graph_is_what_its_fault_says() -> None:
    [(_, cyclic)] = graph("dag.edit@tick:5,what=cycle,size=9")
    assert tasks.malformed(cyclic)[:1] in (("cycle",), ("itself",))
    [(_, deep)] = graph("dag.edit@tick:5,what=deep,size=10000")
    assert len(deep) == 1000 and all(task.needs == (before.id,) for before, task in pairwise(deep))
    [(_, wide)] = graph("dag.edit@tick:5,what=wide,size=10000")
    assert len(wide) == 10_000 and len(wide[-1].needs) == 9_999 and not any(task.needs for task in wide[:-1])
    (first, here), (later, there) = graph("dag.edit@tick:5,what=late,size=30,ticks=7")
    assert (first, later, len(here), len(there)) == (5, 12, 15, 15)
    assert any(need in {task.id for task in here} for task in there for need in task.needs)
    [(_, failing)] = graph("dag.edit@tick:5,what=failing,size=100,percent=10")
    [(_, sound)] = graph("dag.edit@tick:5,what=wide,size=100")
    differs = sum(a.payload != b.payload for a, b in zip(failing, sound, strict=True))
    assert 1 <= differs <= 25 and not tasks.malformed(failing)


def test_nothing_is_added_in_the_last_tick_nor_where_there_is_no_target() -> None:
    for name, fault in (
        ("hello", "dag.edit@tick:3,what=deep,size=9"),
        ("hello", "agent.reload@tick:3,agent:1,version=2"),
        ("hello", "agent.flood@tick:3,agent:1,count=9"),  # clients speak to the planner alone
        ("ledger", "agent.flood@tick:3,agent:99,count=9"),
        ("upgrade", "agent.reload@tick:72,agent:1,version=2"),
    ):
        assert work_of(get(name), planned(name, fault)).owners == {}
        done = checked(name, fault)
        assert done.effective == {0: False} and done.row.verdict == "IDLE"


def test_workload_stays_in_the_twin_and_in_the_run_without_visible_faults() -> None:
    plan = planned(
        "upgrade",
        "agent.flood@tick:4,agent:3,count=20",
        "agent.reload@tick:41,agent:2,version=2",
        "worker.kill@tick:3,agent:1",
        "pool.resize@tick:9,workers=5",
    )
    assert [fault.kind for fault in twin_plan(plan, ()).faults] == ["agent.flood", "agent.reload"]
    assert [fault.kind for fault in lasting(plan).faults] == ["agent.flood"]


def test_what_faults_may_add_is_bounded() -> None:
    floods = [f"agent.flood@tick:{tick},agent:1,count=10000" for tick in (3, 4, 5)]
    budget.check(planned("ledger", *floods[:2]))
    with pytest.raises(Refused, match="30000 messages and tasks would be added"):
        budget.check(planned("ledger", *floods))


@pytest.mark.parametrize("what", NAMES)
def test_a_hostile_name_is_the_journal_s_as_it_is(what: str) -> None:
    plan = replace(planned("hello", f"observer.hostile_text@agent:2,what={what}"), last_tick=3, inputs=())
    history = simulate(get("hello"), plan)
    spawned = [
        item.action.spec.name
        for line in journal.read(history.journal).lines
        for item in line.block.inputs
        if isinstance(item.action, Spawn)
    ]
    usual = [spec.name for spec in get("hello").agents]
    assert history.finished and spawned[2] != usual[2] and spawned[:2] + spawned[3:] == usual[:2] + usual[3:]
    assert [i.fields for i in history.injections] == [{"agent": 2}]


def test_the_first_name_of_an_agent_counts_and_one_of_nobody_changes_nothing() -> None:
    faults = [
        f"observer.hostile_text@agent:{agent},what={what}" for agent, what in ((1, "empty"), (1, "html"), (9, "html"))
    ]
    inputs = named(get("hello").genesis(1), planned("hello", *faults))
    specs = [item.action.spec.name for item in inputs if isinstance(item.action, Spawn)]
    assert specs == ["planner", "", "worker-right", "critic"]
    assert checked("hello", faults[2]).effective == {0: False}


OWN = next(iter(get("hello").modules.values()))


@pytest.mark.parametrize("what", FLOATS)
def test_an_operation_on_floats_gives_the_canonical_bits(what: str) -> None:
    fault = parse_fault(f"wasm.nan@tick:3,agent:1,what={what}")
    spec = AgentSpec(name="a", module=hashlib.sha256(OWN).hexdigest(), capabilities=())
    done = Intruder(WasmGuests(), 1, spec, OWN).run(fault, arguments(tick=3, agent=1))
    assert done is not None and (done[0].status,) == endings(fault) == ("agent_error:83",)


# --- what counts -----------------------------------------------------------------------------------------------------


class Done:
    """One injection."""

    def __init__(self, **fields: int | str) -> None:
        self.at, self.fault, self.fields = 10, 0, fields


def block(
    tick: int, *, inputs: tuple[Input, ...] = (), events: tuple[object, ...] = (), steps: tuple[object, ...] = ()
) -> Block:
    made = tuple(
        StepEntry(agent, (), "", tuple(range(inbox)), kind, 1, 0, status, ())
        for agent, kind, inbox, status in steps  # type: ignore[misc]
    )
    return Block((), events, (), inputs, "", made, tick)  # type: ignore[arg-type]


def sent(agent: int, n: int = 1) -> Input:
    return Input(Send(agent, b"x"), n, SOURCE, 4)


def submitted(*names: str) -> Input:
    return Input(Submit(tuple(Task(agent=0, id=name) for name in names)), 1, SOURCE, 4)


RELOADED = Input(Reload(2, "0" * 64, 1), 1, SOURCE, 4)
OTHERS = Input(Reload(2, "1" * 64, 3), 9, "operator", 4)
FLOOD = "agent.flood@tick:4,agent:2,count=9"
TASKS = "agent.flood@tick:4,agent:2,what=tasks,count=9"
GRAPH = "dag.edit@tick:4,what={}"
RELOAD = "agent.reload@tick:4,agent:2,version=2,struck={}"
CYCLE = ("refused_tasks", SOURCE, 1, "cycle", "a", "b", "a")
UNKNOWN = ("refused_tasks", SOURCE, 1, "unknown", "a", "b")


@pytest.mark.parametrize(
    ("fault", "met", "blocks"),
    [
        (FLOOD, True, [block(4, inputs=(sent(2),), steps=((2, "step", 2, "ok"),))]),
        (FLOOD, True, [block(4, inputs=(sent(2),), events=(("refused", 7, 9, 2),))]),
        (FLOOD, False, [block(4, inputs=(sent(2),), events=(("refused", 7, 9, 1),))]),
        (FLOOD, False, [block(4, inputs=(sent(2),), steps=((2, "step", 1, "ok"), (1, "step", 9, "ok")))]),
        (FLOOD, False, [block(3, steps=((2, "step", 2, "ok"),)), block(4, inputs=(sent(2),))]),
        (FLOOD, False, [block(4, inputs=(sent(2, 8),), steps=((2, "step", 2, "ok"),))]),
        (TASKS, True, [block(4, inputs=(submitted("a"),), events=(("task_done", 7, 2, "a"),))]),
        (TASKS, False, [block(4, inputs=(submitted("a"),), events=(("task_done", 7, 2, "b"),))]),
        (GRAPH.format("cycle"), True, [block(4, inputs=(submitted("a", "b"),), events=(CYCLE,))]),
        (GRAPH.format("cycle"), False, [block(4, inputs=(submitted("a", "b"),), events=(UNKNOWN,))]),
        (GRAPH.format("late"), False, [block(4, inputs=(submitted("a"),), events=(UNKNOWN, ("task_done", 7, 2, "a")))]),
        (
            GRAPH.format("failing"),
            True,
            [block(4, inputs=(submitted("a"),), events=(("task_failed", 7, 2, "a", "x"),))],
        ),
        (GRAPH.format("failing"), False, [block(4, inputs=(submitted("a"),), events=(("task_done", 7, 2, "a"),))]),
        (GRAPH.format("deep"), False, [block(4, inputs=(submitted("a"),))]),
        (RELOAD.format("no"), True, [block(4, inputs=(RELOADED,), steps=((2, "reload", 0, "layout"),))]),
        (RELOAD.format("no"), False, [block(4, inputs=(RELOADED,), steps=((2, "step", 0, "ok"),))]),
        (RELOAD.format("no"), False, [block(4, steps=((2, "reload", 0, "ok"),))]),
        (RELOAD.format("no"), False, [block(4, inputs=(OTHERS, RELOADED), steps=((2, "reload", 0, "ok"),))]),
        (RELOAD.format("trap"), True, [block(4, inputs=(RELOADED,), steps=((2, "reload", 0, "trap:injected"),))]),
        (RELOAD.format("trap"), False, [block(4, inputs=(RELOADED,), steps=((2, "reload", 0, "ok"),))]),
        (RELOAD.format("fuel"), False, [block(5, inputs=(RELOADED,), steps=((2, "reload", 0, "fuel"),))]),
    ],
)
def test_what_counts_is_what_the_journal_says_of_the_fault_s_own_inputs(
    fault: str, met: bool, blocks: list[Block]
) -> None:
    plan = Plan(scenario="hello", seed=1, inputs=(), faults=(parse_fault(fault),))
    assert effective(plan, [Done(tick=4, first=1, inputs=1)], [], {}, Told(blocks, {1: 0})) == {0: met}
    assert effective(plan, [], [], {}, Told(blocks, {1: 0})) == {0: False}


def test_a_pool_of_the_size_that_it_has_was_not_resized() -> None:
    done = checked("ledger", "pool.resize@tick:9,workers=2")
    assert done.effective == {0: False} and done.history.injections


def test_a_reload_of_an_agent_that_is_gone_does_not_count_and_is_no_failure() -> None:
    plan = planned("upgrade", "agent.reload@tick:41,agent:2,version=2")
    last = plan.inputs[-1].n
    ended = Input(Operate("terminate", 2), last + 1, plan.inputs[0].source, 30)
    inputs = sorted([*plan.inputs, ended], key=lambda item: item.tick)
    numbered = tuple(replace(item, n=n) for n, item in enumerate(inputs, 1))
    done = Checker(get("upgrade")).check(replace(plan, inputs=numbered))
    assert done.effective == {0: False} and "I32" not in done.failed and "I36" not in done.failed


@pytest.mark.parametrize("what", NAMES)
def test_a_hostile_name_acts_on_no_terminal_and_keeps_its_line(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    usual = here(capsys, "state", "hello", "--tick", "3")
    ended = here(capsys, "state", "hello", "--fault", f"observer.hostile_text@agent:1,what={what}", "--tick", "3")
    assert ended.code == usual.code == 0 and ended.out != usual.out
    assert len(ended.out.splitlines()) == len(usual.out.splitlines()) == ended.out.count("\n")
    unseen = [char for char in ended.out if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") and char != "\n"]
    assert unseen == []


def test_a_refusal_that_nobody_read_as_its_step_was_cancelled_before_it_ran_is_accounted_for() -> None:
    """Its number is the refused reading's own; the inbox is in the journal alone, as the worker died before it ran."""
    asked = Input(Send(1, bytes.fromhex("01000000020000000000000072")), 1, "user", 1)
    faults = tuple(map(parse_fault, ("step.cancel@tick:2,agent:1", "worker.kill@tick:2,agent:1,point:idle")))
    plan = Plan(scenario="readings", seed=7, inputs=(asked,), faults=faults, physical=Physical(), last_tick=3)
    done = Checker(get("readings")).check(plan)
    assert done.effective == {0: True, 1: True} and done.failed == ()
    (step,) = [
        s for b in journal.read(done.history.journal).lines for s in b.block.steps if s.status == "decree:cancelled"
    ]
    assert step.inbox and not [e for e in done.history.guests if (e.tick, e.agent) == (2, 1)]
