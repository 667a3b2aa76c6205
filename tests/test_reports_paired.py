"""The statistics of pairs: exact, adjusted, repeatable, and seldom wrong about two builds that are the same."""

from __future__ import annotations

import random

import pytest
from pairs_kit import FINGERPRINT, failure, failures_of, pair

from reports import paired
from reports.paired import ALPHA, analyse, bootstrap, fewest, holm, mcnemar
from reports.pairs import Failure, Pair


@pytest.mark.parametrize(
    ("new", "fixed", "p"), [(0, 0, 1.0), (1, 0, 0.5), (5, 0, 1 / 32), (0, 5, 1.0), (4, 1, 6 / 32), (3, 3, 42 / 64)]
)
def test_mcnemar_is_the_exact_binomial_tail_of_the_pairs_that_differ(new: int, fixed: int, p: float) -> None:
    assert mcnemar(new, fixed) == pytest.approx(p)


def test_holm_multiplies_the_smallest_by_all_and_never_orders_the_other_way() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_an_interval_is_the_same_for_the_same_values_and_holds_their_mean() -> None:
    values = [float(n % 7) for n in range(200)]
    low, high = bootstrap(values)
    assert (low, high) == bootstrap(values) and low < sum(values) / 200 < high
    assert bootstrap([1.0] * 9) == (1.0, 1.0) and bootstrap([0.0, 0.0, 5.0], median=True)[0] == 0.0


def test_twelve_plans_that_fail_on_head_alone_are_a_new_finding_and_three_are_rare() -> None:
    many = [pair(n, head="FAIL" if n < 12 else "PASS") for n in range(100)]
    found = analyse(many, failures_of(many))
    assert [f.status for f in found.findings] == ["New"] and found.worse == ("failure_rate", FINGERPRINT)
    few = [pair(n, head="FAIL" if n < 3 else "PASS") for n in range(100)]
    found = analyse(few, failures_of(few))
    assert [f.status for f in found.findings] == ["Rare"] and found.worse == () and found.findings[0].undecided


def test_what_fails_on_both_is_ongoing_and_what_failed_on_base_alone_is_resolved() -> None:
    both = [pair(n, base="FAIL", head="FAIL") if n < 20 else pair(n) for n in range(100)]
    assert [f.status for f in analyse(both, failures_of(both)).findings] == ["Ongoing"]
    gone = [pair(n, base="FAIL" if n < 6 else "PASS") for n in range(100)]
    [finding] = analyse(gone, failures_of(gone)).findings
    assert (finding.status, finding.undecided, finding.base, finding.head) == ("Resolved", False, 6, 0)
    once = [pair(n, base="FAIL" if n < 1 else "PASS") for n in range(100)]
    [finding] = analyse(once, failures_of(once)).findings
    assert (finding.status, finding.undecided) == ("Rare", False)


def test_a_new_bug_is_seen_beside_one_that_was_mended_although_as_many_plans_fail() -> None:
    pairs = [pair(n, "FAIL" if n % 2 else "PASS", "PASS" if n % 2 else "FAIL") for n in range(40)]
    told = [failure(n, "base", "I8/broker/-") if n % 2 else failure(n, "head") for n in range(40)]
    found = analyse(pairs, told)
    assert found.worse == (FINGERPRINT,) and {f.status for f in found.findings} == {"New", "Resolved"}


def test_an_ongoing_finding_that_is_much_more_frequent_on_head_is_worse() -> None:
    pairs = [pair(n, "FAIL" if n == 0 else "PASS", "FAIL" if n < 30 else "PASS") for n in range(100)]
    found = analyse(pairs, failures_of(pairs))
    assert found.findings[0].status == "Ongoing" and FINGERPRINT in found.worse


def test_recoveries_that_take_a_tenth_longer_in_most_plans_are_worse_and_a_little_longer_is_not() -> None:
    assert analyse([pair(n, head_ms=6) for n in range(40)], []).worse == ("recovery_ms",)
    slower = analyse([pair(n, base_ms=100, head_ms=105) for n in range(40)], [])
    assert slower.worse == () and slower.metrics[1].difference == 5.0


def test_a_plan_that_was_not_judged_or_idle_on_both_is_no_pair() -> None:
    pairs = [pair(0, "UNKNOWN", "FAIL"), pair(1, "IDLE", "IDLE"), pair(2, "IDLE", "FAIL"), pair(3)]
    assert analyse(pairs, failures_of(pairs)).judged == 2


def test_the_fewest_pairs_are_those_in_which_all_worse_would_be_seen() -> None:
    needed = fewest(3)
    worst = [pair(n, head="FAIL") for n in range(needed)]
    assert analyse(worst, failures_of(worst)).worse
    assert not analyse(worst[1:], failures_of(worst[1:])).worse


def test_two_builds_that_are_the_same_are_called_worse_in_at_most_one_comparison_of_a_hundred() -> None:
    """Failures and recovery times of one build, given to either side by a coin: what chance alone makes of them."""
    coin, comparisons, wrong = random.Random(5), 1500, 0
    kinds = ("I15/buffers/buffer.flip", "I28/durability/disk.lose", "twin/orchestrator/worker.kill")
    for _ in range(comparisons):
        pairs, told = [], []
        for n in range(60):
            pairs.append(_tossed(coin, n, told, kinds))
        wrong += bool(paired.analyse(pairs, told).worse)
    assert wrong <= comparisons * ALPHA


def _tossed(coin: random.Random, n: int, told: list[Failure], kinds: tuple[str, ...]) -> Pair:
    """A plan in which each side fails or is slow by chance, both with the same chances."""
    verdicts = ["FAIL" if coin.random() < 0.2 else "PASS" for _ in range(2)]
    times = [coin.choice((5, 5, 9)) for _ in range(2)]
    for side, verdict in zip(("base", "head"), verdicts, strict=True):
        if verdict == "FAIL":
            told.append(failure(n, side, coin.choice(kinds)))  # type: ignore[arg-type]
    return pair(n, verdicts[0], verdicts[1], *times)  # type: ignore[arg-type]
