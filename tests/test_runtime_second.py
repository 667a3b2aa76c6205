"""Second executions: what two, three and more answers to one step lead to, and that a run with them is the same."""

from __future__ import annotations

import pytest
from runtime_kit import play, told, twin

from harness.simulation import journal_digest
from runtime.frames import Result
from runtime.second import Checks, same
from runtime.state import Effect, StepRecord


def record(agent: int = 1, tick: int = 7) -> StepRecord:
    return StepRecord(
        agent=agent,
        n=3,
        kind="step",
        tick=tick,
        now_ms=0,
        random_key=0,
        agents=2,
        topics=0,
        buffers=0,
        models=0,
        send_limit=1,
        max_payload=1,
        snapshot=False,
        inbox=(),
        views=(),
        grants=(),
    )


def result(payload: bytes = b"right", status: str = "ok", state: str = "s") -> Result:
    return Result(1, 3, status, (Effect("output", 0, payload),), None, 0, 0, state=state)


def checks(ppm: int = 1_000_000) -> Checks:
    made = Checks(ppm)
    made.open([record()])
    return made


RIGHT, WRONG, ODD = result(), result(b"wrong"), result(b"other")


def test_two_answers_that_agree_settle_the_first() -> None:
    made = checks()
    assert made.take(RIGHT, 1).ask == "second" and made.waiting(1)
    ruling = made.take(result(), 2)
    assert ruling.settled is RIGHT and not ruling.wrong and ruling.suspect == -1 and not made.waiting(1)


@pytest.mark.parametrize(("first", "second", "wrong"), [(WRONG, RIGHT, (1,)), (RIGHT, WRONG, (2,))])
def test_when_two_answers_differ_a_third_decides_and_whoever_stands_alone_is_wrong(
    first: Result, second: Result, wrong: tuple[int, ...]
) -> None:
    made = checks()
    made.take(first, 1)
    ruling = made.take(second, 2)
    assert ruling.settled is None and (ruling.ask, ruling.suspect) == ("third", 1)
    assert not made.waiting(1), "the step itself runs again, not its check"
    ruling = made.take(RIGHT, 3)
    assert ruling.settled is RIGHT and ruling.wrong == wrong and ruling.ask == ""


def test_when_all_three_differ_nothing_is_settled_and_the_newest_is_checked() -> None:
    made = checks()
    for answer, worker in ((WRONG, 1), (ODD, 2)):
        made.take(answer, worker)
    ruling = made.take(RIGHT, 3)
    assert ruling.settled is None and ruling.wrong == (1, 2) and ruling.ask == "second"
    assert made.take(result(), 4).settled is RIGHT


@pytest.mark.parametrize("other", [result(b"rigHt"), result(status="trap:x"), result(state="t")])
def test_an_effect_a_status_or_the_state_may_differ(other: Result) -> None:
    assert same(RIGHT, result()) and not same(RIGHT, other)


def test_a_step_that_is_not_sampled_is_settled_at_once() -> None:
    assert checks(0).take(WRONG, 1).settled is WRONG


def test_the_share_is_of_all_steps_and_depends_on_the_step_alone() -> None:
    made = Checks(100_000)
    steps = [record(agent, tick) for tick in range(400) for agent in range(10)]
    drawn = []
    for tick in range(400):
        made.open(steps[tick * 10 : tick * 10 + 10])
        drawn += [made.take(Result(agent, 3, "ok", (), None, 0, 0), 1).ask == "second" for agent in range(10)]
    assert 320 < sum(drawn) < 480  # 400 expected, four standard deviations on either side


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_run_in_which_every_step_is_checked_has_the_same_journal(workers: int) -> None:
    history = play("frames", workers=workers, check_ppm=1_000_000)
    steps = len(twin("frames").guests)
    assert history.finished and journal_digest(history) == journal_digest(twin("frames"))
    assert len(told(history, "checked")) == steps and not told(history, "disagreed")
    assert len(history.stores) == len(twin("frames").stores), "a second execution writes nothing"


def test_a_check_that_loses_its_worker_is_asked_for_again() -> None:
    tick = next(event.tick for event in twin("hello").guests if event.agent == 1 and event.kind == "step")
    fault = f"worker.kill@tick:{tick},agent:1,hostcall:1"
    history = play("hello", fault, fault, "worker.kill@tick:0,agent:0,point:after", check_ppm=1_000_000)
    assert history.finished and journal_digest(history) == journal_digest(twin("hello"))
    assert len(told(history, "lost")) == 3
