"""The pipeline: what its workflows contain in every default run, and that each kind of damage is noticed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from msgspec.structs import replace
from straight import run

from runtime.journal import Block, Event
from runtime.state import Submit
from scenarios import Outcome, get
from scenarios.pipeline import NAMES, PLAIN, PUBLISH, STAGES, UNKNOWN, job_of, text_of, value_of

SEEDS = range(1, 5)


@cache
def played(seed: int = 1) -> Outcome:
    return run(get("pipeline"), seed)


def judge(**damaged: object) -> list[str]:
    return get("pipeline").invariant(played()._replace(**damaged))  # type: ignore[arg-type]


def events(seed: int, kind: str) -> list[Event]:
    return [event for block in played(seed).blocks for event in block.events if event[0] == kind]


def without(drop: Callable[[Event], bool]) -> list[Block]:
    return [replace(b, events=tuple(e for e in b.events if not drop(e))) for b in played().blocks]


@pytest.mark.parametrize("seed", SEEDS)
def test_each_run_has_jobs_that_are_published_fail_skip_and_are_refused(seed: int) -> None:
    assert not get("pipeline").invariant(played(seed))
    published = [event for event in events(seed, "task_done") if str(event[3]).endswith("publish")]
    assert len(published) >= 4
    assert [event[4] for event in events(seed, "task_failed")] == ["trap:unreachable"] * 2
    assert [str(event[3]).split(".")[1] for event in events(seed, "task_skipped")] == ["merge", "publish"] * 2
    assert sorted(event[3] for event in events(seed, "refused_tasks")) == ["cycle", "itself", "unknown"]
    assert [event[1] for event in events(seed, "group_restart")] == ["ends", "line"]
    assert [event[1] for event in events(seed, "escalated")] == ["ends"]
    steps = [step for block in played(seed).blocks for step in block.steps]
    assert sum(effect.op == "infer" for step in steps for effect in step.effects) >= 20


def test_the_value_of_a_job_is_the_one_that_its_texts_alone_give() -> None:
    texts = tuple(text_of(1, 0, stage) for stage in STAGES)
    job = job_of(1, 0, (2, PLAIN, 0, 0))
    assert [task.payload[20:] for task in reversed(job)] == list(texts)
    other = (texts[0] + b"!", *texts[1:])
    assert value_of(texts) != value_of(other)


@pytest.mark.parametrize("what", range(PLAIN, UNKNOWN + 1))
def test_every_sort_of_job_runs_or_is_refused_and_keeps_the_invariant(what: int) -> None:
    scenario = get("pipeline")
    inputs = scenario.inputs(1, [(2, PLAIN, 0, 1), (3, what, 1, 2), (3, what, -1, 2), (60, PLAIN, 0, 4)])
    assert all(isinstance(item.action, Submit) for item in inputs)
    assert not scenario.invariant(run(scenario, 1, inputs))


def test_an_output_that_is_lost_repeated_or_altered_is_noticed() -> None:
    left = list(played().outputs)
    at = next(n for n, one in enumerate(left) if one.agent == PUBLISH and len(one.payload) == 32)
    assert judge(outputs=left[:at] + left[at + 1 :])
    assert any("is published again" in line for line in judge(outputs=[*left, left[at]]))
    payload = bytearray(left[at].payload)
    payload[-1] ^= 1
    changed = [*left[:at], replace(left[at], payload=bytes(payload)), *left[at + 1 :]]
    assert any("has another value than its texts give" in line for line in judge(outputs=changed))
    payload = bytearray(left[at].payload)
    payload[8] = 77
    changed = [*left[:at], replace(left[at], payload=bytes(payload)), *left[at + 1 :]]
    assert any("was never submitted" in line for line in judge(outputs=changed))


def test_a_task_that_was_done_and_not_published_is_noticed() -> None:
    name = f"0.{NAMES[PUBLISH]}"
    lines = judge(blocks=without(lambda event: event[0] == "task_done" and event[3] == name))
    assert any("jobs [0] are done or published, not both" in line for line in lines)


def test_a_step_that_did_other_than_its_model_is_noticed() -> None:
    blocks = list(played().blocks)
    place = next(n for n, block in enumerate(blocks) if any(e.op == "send" for s in block.steps for e in s.effects))
    steps = [replace(s, effects=tuple(e for e in s.effects if e.op != "send")) for s in blocks[place].steps]
    blocks[place] = replace(blocks[place], steps=tuple(steps))
    assert any("its model" in line for line in judge(blocks=blocks))
