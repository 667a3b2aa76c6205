"""Order statistics and intervals against values known from elsewhere."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import RunRow
from reports.statistics import percentile, spread, upper_bound, wilson
from reports.summary import sentence, trials
from reports.words import at_most, milliseconds, percent, plain


def test_no_failure_in_2995_runs_bounds_the_rate_below_one_in_a_thousand_and_in_2994_does_not() -> None:
    assert upper_bound(0, 2995) < 1e-3
    assert upper_bound(0, 2994) > 1e-3


def test_the_bound_without_failures_is_the_closed_form() -> None:
    for runs in (1, 7, 500):
        assert upper_bound(0, runs) == pytest.approx(1 - 0.05 ** (1 / runs), rel=1e-9)


def test_the_bound_agrees_with_a_published_clopper_pearson_value() -> None:
    # 95% one-sided upper limit for 1 in 10: the 0.95 quantile of Beta(2, 9).
    assert upper_bound(1, 10) == pytest.approx(0.3941633, abs=1e-6)


def test_a_build_that_always_fails_or_never_ran_has_no_better_bound_than_one() -> None:
    assert upper_bound(5, 5) == 1.0
    assert upper_bound(0, 0) == 1.0
    assert wilson(0, 0) == (0.0, 1.0)


def result(run: int, seed: int, verdict: Literal["PASS", "FAIL", "UNKNOWN", "IDLE"], scenario: str = "a") -> RunRow:
    return RunRow(run=run, scenario=scenario, seed=seed, workers=2, verdict=verdict)


def test_runs_that_share_a_workload_are_one_trial() -> None:
    rows = [result(n, n // 8, "PASS") for n in range(24)]
    assert trials(rows) == (3, 0, 24, 0)
    assert upper_bound(*reversed(trials(rows)[:2])) == pytest.approx(1 - 0.05 ** (1 / 3), rel=1e-9)
    assert trials(rows + [result(n, n // 8, "PASS", "b") for n in range(24)]) == (6, 0, 48, 0)
    assert trials([]) == (0, 0, 0, 0)


def test_a_workload_has_failed_when_any_of_its_runs_has() -> None:
    rows = [result(n, n // 8, "FAIL" if n in (8, 9, 15, 20) else "PASS") for n in range(32)]
    assert trials(rows) == trials(rows[::-1]) == (4, 2, 32, 4)
    assert sentence(trials(rows)) == (
        "2 of 4 independent workloads failed, in 32 runs of which 4 failed; "
        "runs that share a workload count as one trial."
    )


def test_a_workload_without_a_judged_run_is_no_trial() -> None:
    rows = [result(0, 0, "IDLE"), result(1, 1, "UNKNOWN"), result(2, 2, "PASS"), result(3, 2, "IDLE")]
    assert trials(rows) == (1, 0, 1, 0)


def test_the_wilson_interval_agrees_with_its_formula() -> None:
    z, n, p = 1.959963984540054, 50, 5 / 50
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert wilson(5, 50) == pytest.approx((middle - half, middle + half), rel=1e-9)


def test_percentiles_are_elements_of_the_sample() -> None:
    sample = list(range(1, 101))
    assert (percentile(sample, 50), percentile(sample, 99), percentile(sample, 100)) == (50, 99, 100)
    assert spread([30, 10, 20]) == (3, 20, 30, 30)
    assert spread([]) == (0, None, None, None)
    with pytest.raises(ValueError, match="needs a sample"):
        percentile([], 50)


@given(st.lists(st.integers(0, 10**15), min_size=1), st.integers(1, 100))
def test_at_least_the_asked_share_lies_at_or_below_a_percentile_and_less_lies_below(sample: list[int], p: int) -> None:
    value = percentile(sorted(sample), p)
    assert sum(x <= value for x in sample) * 100 >= p * len(sample)
    assert sum(x < value for x in sample) * 100 < p * len(sample)


def test_a_shown_bound_is_rounded_up_so_that_it_stays_a_bound() -> None:
    assert at_most(0.00150351) == "0.151%"
    assert percent(0.00150351) == "0.15%"
    assert at_most(1.0) == "100%"
    assert percent(0.0) == "0%"


def test_times_are_rounded_on_integers() -> None:
    assert milliseconds(1_234_567_499) == "1,234.567"
    assert milliseconds(1_500) == "0.002"
    assert milliseconds(-1_000_000) == "-1.000"
    assert milliseconds(None) == "–"


@given(st.text())
def test_plain_text_is_one_line_without_anything_hidden(text: str) -> None:
    assert plain(text).isprintable()


def test_what_could_act_on_a_terminal_is_shown_as_its_escape() -> None:
    assert plain("a\x1b[31m\n\u202eb\ud800") == "a\\x1b[31m\\n\\u202eb\\ud800"


def test_long_text_says_how_much_is_left_out() -> None:
    assert plain("x" * 1000, 10) == "x" * 10 + " … (990 more characters)"
