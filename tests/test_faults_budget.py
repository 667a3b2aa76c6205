"""Plans that nothing could survive are refused with the reason; everything below the limit is let through."""

from __future__ import annotations

from typing import Any

import pytest

from faults.budget import (
    FAULTS_MAX,
    ORCHESTRATOR_KILLS_MAX,
    SAME_FRAME_MAX,
    SAME_VERSION_MAX,
    SILENT_DEVICES_MAX,
    check,
    workers_lost_to_silence,
)
from faults.plan import Fault, Plan, parse_fault
from faults.worker_budget import DECREES_MAX
from runtime.errors import Refused
from runtime.physical import MS, Physical


def a_plan(*texts: str, **physical: Any) -> Plan:
    faults = tuple(parse_fault(text) for text in texts)
    return Plan(scenario="hello", seed=1, inputs=(), faults=faults, physical=Physical(**physical))


KILLS = [f"worker.kill@tick:3,agent:1,hostcall:{number}" for number in range(1, 9)]


@pytest.mark.parametrize(
    "texts",
    [
        [],
        KILLS[:3],
        [*KILLS[:2], "worker.stall@tick:3,agent:1"],
        [*KILLS[:3], "worker.kill@tick:3,agent:2", "worker.kill@tick:4,agent:1"],
        [*KILLS[:3], "frame.lose@tick:3,agent:1,direction:work", "frame.lose@tick:3,agent:1,direction:done"],
        ["orchestrator.kill@tick:1,phase:sync"] * ORCHESTRATOR_KILLS_MAX,
        ["frame.lose@direction:release,block:2"] * SAME_FRAME_MAX,
        [f"frame.lose@direction:inputs,occurrence:{n}" for n in range(1, SAME_FRAME_MAX + 1)],
        [f"frame.lose@direction:inputs,occurrence:{n}" for n in range(1, 60, 2)],
        [f"frame.duplicate@direction:inputs,occurrence:{n}" for n in range(1, 60)],
        ["buffer.flip@buffer:0,version:1"] * SAME_VERSION_MAX,
        ["disk.lose@crash:1", "disk.tear@crash:2"],
        [f"agent.trap@tick:{tick},agent:1,hostcall:1" for tick in range(50)],
        ["gpu.remove@tick:3"] * 40 + ["gpu.remove@tick:3,how=late"] * (SILENT_DEVICES_MAX - 1) + ["gpu.slow@tick:3"],
        ["model.load_fail@device:cpu,attempts=5", "model.load_fail@device:cpu,attempts=3"],
        ["model.load_fail@device:accel,attempts=5"] * 9,
        [*KILLS[:2], "repair.kill@tick:3,agent:1,during:replay"],
        [f"repair.kill@request:{n},during:failover" for n in range(40)],
        ["worker.crash_loop@tick:3,agent:1,times=3"],
        ["worker.crash_loop@tick:3,agent:1,times=20,calls=2", KILLS[0]],
        ["worker.oom@agent:1", "worker.oom@agent:1,occurrence:2", KILLS[0], "worker.oom@agent:2"],
        ["worker.spawn_fail@tick:3,attempts=5"] * 2,
        [
            "task.poison@tick:3,agent:1,hostcall:1",
            "worker.kill@tick:3,agent:2",
            "worker.crash_loop@tick:9,agent:1,times=2",
        ],
        [f"task.hang@tick:3,agent:{agent},hostcall:1" for agent in range(DECREES_MAX)],
    ],
)
def test_a_plan_within_the_budget_is_let_through(texts: list[str]) -> None:
    check(a_plan(*texts))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["gpu.remove@tick:3,how=hang", "gpu.slow@tick:3"] * 4, "devices would be silent or slow 8 times"),
        (["model.load_fail@device:cpu,attempts=5"] * 2, "10 loads would fail on the CPU; at most 8"),
        (["gpu.wrong@tick:3"], "a device would compute wrong unseen; set physical.check_answers in the plan"),
        (["worker.wrong@tick:3"], "a worker would compute wrong unseen; set physical.check_ppm to 1000000 in the plan"),
        (["worker.crash_loop@tick:3,agent:1,times=4"], "any tick, agent 1: this step would lose 4 workers"),
        (
            [
                "worker.crash_loop@tick:3,agent:1,times=9,calls=2",
                "worker.kill@tick:7,agent:2",
                "worker.zombie@tick:7,agent:2",
            ],
            "tick 7, agent 2: this step would lose 4 workers",
        ),
        (["worker.crash_loop@tick:3,agent:1,calls=2"] * 2, "any tick, agent 1: this step would lose 4 workers"),
        ([*KILLS[:3], "worker.oom@agent:1"], "tick 3, agent 1: this step would lose 4 workers"),
        ([*KILLS[:3], "worker.oom@tick:3,agent:1"], "this step would lose 4 workers"),
        (
            [f"worker.oom@agent:1,occurrence:{n}" for n in range(1, 5)],
            "any tick, agent 1: this step would lose 4 workers",
        ),
        (["worker.spawn_fail@tick:3,attempts=5"] * 3, "15 starts of workers would fail; at most 10"),
        (
            [f"task.hang@tick:{t},agent:1,hostcall:1" for t in range(DECREES_MAX + 1)],
            "4 steps would be ended by decree",
        ),
        (
            ["task.poison@tick:3,agent:1,hostcall:1", "worker.stall@tick:3,agent:1"],
            "worker.stall may strike a step with",
        ),
        (
            ["task.poison@tick:3,agent:1,hostcall:1", "task.hang@tick:3,agent:1,hostcall:9"],
            "task.hang may strike a step",
        ),
        (
            ["task.hang@tick:3,agent:1,hostcall:1", "worker.crash_loop@tick:9,agent:2,times=2"],
            "worker.crash_loop may strike a step with a task.hang; leave one of them out",
        ),
        (
            ["task.hang@tick:3,agent:1,hostcall:1", "worker.oom@agent:1"],
            "worker.oom may strike a step with a task.hang",
        ),
        (KILLS[:4], "tick 3, agent 1: this step would lose 4 workers; at most 3 (lost_workers_max - 1)"),
        ([*KILLS[:3], "worker.stall@tick:3,agent:1"], "this step would lose 4 workers"),
        (
            [*KILLS[:3], *[f"frame.lose@tick:3,agent:1,direction:work,occurrence:{n}" for n in (1, 2, 3)]],
            "this step would lose 4 workers",
        ),
        ([*KILLS[:3], "frame.delay@tick:3,agent:1,direction:done,for=20ms"], "this step would lose 4 workers"),
        (
            [f"frame.corrupt@tick:3,agent:1,direction:done,occurrence:{n}" for n in range(1, 90)],
            "this step would lose",
        ),
        (["orchestrator.kill@tick:1,phase:sync"] * (ORCHESTRATOR_KILLS_MAX + 1), "33 ends of the orchestrator"),
        (["disk.sync_error@tick:1,file:journal"] * (ORCHESTRATOR_KILLS_MAX + 1), "33 ends of the orchestrator"),
        (["frame.lose@direction:release,block:2"] * (SAME_FRAME_MAX + 1), "9 faults at block 2"),
        (
            [f"frame.lose@direction:inputs,occurrence:{n}" for n in range(4, SAME_FRAME_MAX + 5)],
            "9 client frames in a row would be hit, from number 4",
        ),
        (["buffer.flip@buffer:0,version:1"] * (SAME_VERSION_MAX + 1), "9 faults at buffer 0, version 1"),
        (["disk.lose@crash:1", "disk.tear@crash:1"], "2 faults at crash 1; at most 1; a crash leaves one disk"),
        (["disk.tear@crash:1", "disk.tear@crash:1"], "2 faults at crash 1"),
        (["agent.trap@tick:1,agent:1,hostcall:1"] * (FAULTS_MAX + 1), "10001 faults"),
    ],
)
def test_a_plan_that_nothing_could_survive_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(Refused) as refused:
        check(a_plan(*texts))
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_the_budget_follows_the_plans_own_physical_options() -> None:
    check(a_plan(*KILLS[:5], lost_workers_max=6))
    with pytest.raises(Refused):
        check(a_plan(KILLS[0], lost_workers_max=1))


@pytest.mark.parametrize("option", ["workers", "lost_workers_max", "resend_ns", "lease_ns", "sync_ahead"])
@pytest.mark.parametrize("value", [0, -1, 10**18])
def test_physical_options_out_of_bounds_are_refused(option: str, value: int) -> None:
    with pytest.raises(Refused, match=f"{option} is {value}"):
        check(a_plan(**{option: value}))


def test_a_fault_built_by_hand_is_checked_against_the_catalogue() -> None:
    plan = Plan(scenario="hello", seed=1, inputs=(), faults=(Fault(kind="worker.kill", at={"tick": 1}),))
    with pytest.raises(Refused, match="is not addressed by tick"):
        check(plan)


def test_silence_costs_a_worker_when_every_send_within_a_lease_goes_unanswered() -> None:
    physical = Physical(lease_ns=20 * MS, resend_ns=5 * MS)
    # Sent at 0, 5 and 15 ms of a lease of 20; at 0, 5, 15 and 35 of one of 40; five times within one of 80.
    assert [workers_lost_to_silence(n, physical) for n in (0, 2, 3, 6, 7, 11, 12)] == [0, 0, 1, 1, 2, 2, 3]
