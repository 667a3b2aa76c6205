"""What a divergence comes from: by the axes on which it shows, by targeted runs, and last by the look of the values."""

from __future__ import annotations

from typing import Any

import pytest
from oracles_kit import World, world

from harness.verification import classes
from harness.verification.axes import AXES, Unequal, Variant, Verified, compare
from harness.verification.classes import agree, classify, look_of, worst
from harness.verification.divergence import Divergence
from harness.verification.sample import Sample


def divergence(here: Any = 1, there: Any = 2, block: int = 3, record: int = 0) -> Divergence:
    return Divergence(
        part="journal",
        block=block,
        record=record,
        section="steps",
        index=0,
        field="n",
        here="",
        there="",
        value_here=here,
        value_there=there,
        probes=0,
    )


LOOKS = [
    (["a", "b", "c"], ["c", "a", "b"], classes.ORDER),
    ("a, b", "b, a", classes.ORDER),
    ("0.6000000000000001", "0.6", classes.FLOAT),
    ("1e400", "2", ""),
    ("0.5", "0.25", ""),
    (140_245_678_901_232, 140_245_678_905_344, classes.ADDRESS),
    ("<object object at 0x7f001122>", "<object object at 0x7f334455>", classes.ADDRESS),
    ("<object object at 0x7f001122>", "<other object at 0x7f334455>", ""),
    (140_245_678_901_233, 140_245_678_905_344, ""),
    (["a"], ["a"], ""),
    ([1, 2], [1, 3], ""),
    (1, 2, ""),
    (None, None, ""),
    (True, False, ""),
]


@pytest.mark.parametrize(("here", "there", "class_"), LOOKS)
def test_values_are_taken_for_what_they_look_like_and_for_nothing_more(here: Any, there: Any, class_: str) -> None:
    assert look_of(divergence(here, there))[0] == class_


def run(number: int = 0, failure: str = "") -> Sample:
    made: World = world()
    made.step(3, 1)["n"] += number
    return Sample(made.history().journal, None, failure)


def test_runs_agree_only_up_to_the_record_in_question() -> None:
    assert agree([run(), run()], divergence())
    assert not agree([run(), run(1)], divergence(block=3, record=2))
    assert agree([run(), run(1)], divergence(block=2)), "they differ later"
    assert not agree([run()], divergence()), "one run agrees with nobody"
    assert not agree([run(), run(0, "liveness")], divergence())


def verified(*unequal: str, value: Any = "x") -> Verified:
    plain = [(Variant("repetition", "run 1", "plain"), run())]
    others = [(Variant(axis, "other", "plain"), run(int(axis in unequal))) for axis in AXES]
    return compare([*plain, *others], {})


@pytest.mark.parametrize(
    ("axes", "class_"),
    [
        (("hash seed",), classes.ORDER),
        (("hash seed", "workers"), classes.ORDER),
        (("collector",), classes.COLLECTOR),
        (("wall clock", "faults"), classes.CLOCK),
        (("host speed",), classes.HOST),
        (("observers",), classes.OBSERVED),
        (("workers", "worker speeds"), classes.ARRIVAL),
        (("faults",), classes.ARRIVAL),
        (("machine",), classes.MACHINE),
    ],
)
def test_the_axis_that_says_most_decides(axes: tuple[str, ...], class_: str) -> None:
    made = verified(*axes)
    assert not made.equal and {name for name, axis in made.axes.items() if not axis.equal} == set(axes)
    found = worst(made)
    assert found is not None
    said = classify(None, made, found)  # type: ignore[arg-type]  # no run is made where an axis decides
    assert said.class_ == class_ and axes[0] in said.why[0]


def test_equal_runs_are_equal_on_every_axis_and_have_no_worst() -> None:
    made = verified()
    assert made.equal and worst(made) is None and set(made.axes) == set(AXES)


def test_a_sum_in_another_order_is_a_float_and_not_an_arrival() -> None:
    found = Unequal(Variant("workers", "7", "plain"), divergence("0.6000000000000001", "0.6"), "")
    made = verified("workers")._replace(unequal=[found])
    assert classify(None, made, found).class_ == classes.FLOAT  # type: ignore[arg-type]


def test_a_run_that_failed_makes_its_axis_unequal_even_where_its_journal_does_not_differ() -> None:
    plain = (Variant("repetition", "run 1", "plain"), run())
    made = compare([plain, (Variant("faults", "faults 1", "plain"), run(0, "replay: differs"))], {})
    assert not made.axes["faults"].equal and made.unequal[0].failure == "replay: differs"


def test_a_trace_counts_on_the_axes_that_compare_traces_and_on_no_other() -> None:
    journal = world().history().journal
    plain = (Variant("repetition", "run 1", "plain"), Sample(journal, b'{"at":1}\n'))
    for axis, counts in (("hash seed", True), ("process", True), ("idle faults", True), ("workers", False)):
        made = compare([plain, (Variant(axis, "other", "plain"), Sample(journal, b'{"at":2}\n'))], {})
        assert made.axes[axis].equal is not counts
