"""Gates: a parser that reads nothing but comparisons, limits that cannot pass unseen, waivers that end."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from pairs_kit import ABOUT, FINGERPRINT, failures_of, pair, row

from reports import Meta, comparison, metrics
from reports.expressions import DEPTH_MAX, Malformed, parse
from reports.gate import judge, markdown, read
from reports.metrics import METRICS, OBSERVED
from runtime.errors import Refused

TODAY = date(2026, 6, 1)


def gate_file(folder: Path, text: str) -> Path:
    path = folder / "gate.toml"
    path.write_text(text, "utf-8")
    return path


def answered(folder: Path, expression: str, **values: float) -> str:
    gate = read(gate_file(folder, f"gates = [{expression!r}]"))
    named = {name.replace("__", "."): value for name, value in values.items()}
    return judge(gate, named, {}, TODAY).verdict


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("1 + 2 * 3 == 7", True),
        ("(1 + 2) * 3 == 9", True),
        ("10 - 4 - 3 == 3", True),
        ("-2 * 3 < -5", True),
        ("12 / 4 / 3 >= 1.0", True),
        ("1e-3 < 1E-2", True),
        ("95% == 0.95", True),
        ("1_000 != 1000", False),
        ("runs.failed / runs.total <= 0.1", True),
    ],
)
def test_an_expression_is_arithmetic_with_the_usual_order(text: str, holds: bool) -> None:
    assert parse(text).holds({"runs.failed": 1, "runs.total": 10}) is holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "runs.total",
        "runs.total < ",
        "< 3",
        "1 < 2 < 3",
        "runs.total = 3",
        "runs.total < 3 and 1 < 2",
        "__import__('os').system('id') < 1",
        "f(1) < 2",
        "runs.total < 1e-",
        "(runs.total < 3",
        "((1) < 3",
        "runs..total < 3",
        "runs.total < 0x10",
        "runs.total ** 2 < 3",
        "runs.total < 3; 4",
        "(" * (DEPTH_MAX + 2) + "1" + ")" * (DEPTH_MAX + 2) + " < 2",
        "1" * 600 + " < 2",
    ],
)
def test_anything_else_is_malformed_and_nothing_of_it_is_executed(text: str) -> None:
    with pytest.raises(Malformed):
        parse(text)


def test_everything_that_is_wrong_with_a_file_is_said_at_once(tmp_path: Path) -> None:
    path = gate_file(
        tmp_path,
        """
min_runs = -1
surplus = 1
gates = ["failure_rate.uper95 < 1e-3", "runs.total <", "1 < 2"]
[[waivers]]
fingerprint = "nothing"
reason = " "
[[waivers]]
fingerprint = "I15/buffers/buffer.flip"
reason = "known"
expires = "tomorrow"
""",
    )
    with pytest.raises(Refused) as caught:
        read(path)
    said = caught.value.what
    for word in (
        "min_runs",
        "surplus",
        "unknown metric 'failure_rate.uper95', near it are failure_rate.upper95",
        "'runs.total <': the end where a number or a metric is due",
        "names no metric",
        "waivers[0].fingerprint",
        "waivers[0].reason",
        "waivers[0].expires",
        "waivers[1].expires",
    ):
        assert word in said, word


def test_an_unknown_metric_of_a_file_that_is_otherwise_good_lists_near_names(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"unknown metric 'recovery_ms.p999', near it are recovery_ms\.p99"):
        read(gate_file(tmp_path, 'gates = ["recovery_ms.p999 < 3"]'))
    with pytest.raises(Refused, match=r"near it are mutants\.total"):
        read(gate_file(tmp_path, 'gates = ["mutants.zzzzzzzzzzzzzzzz < 3"]'))
    with pytest.raises(Refused, match=r"failure_rate\.…"):
        read(gate_file(tmp_path, 'gates = ["xyzzy < 3"]'))


@pytest.mark.parametrize(
    ("text", "reason"),
    [("gates = [", "not TOML"), ("gates = []", "gates"), ("min_runs = 3", "gates"), ("\xff", "TOML")],
)
def test_a_file_that_is_no_gate_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=reason):
        read(gate_file(tmp_path, text))
    with pytest.raises(Refused, match="cannot be read"):
        read(tmp_path / "none.toml")


def test_a_waiver_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    one = f'[[waivers]]\nfingerprint = "{FINGERPRINT}"\nreason = "x"\nexpires = 2027-01-01\n'
    with pytest.raises(Refused, match="waived twice"):
        read(gate_file(tmp_path, 'gates = ["runs.total > 0"]\n' + one + one))


def test_none_of_2995_trials_passes_a_thousandth_and_one_less_is_too_little_data(tmp_path: Path) -> None:
    limit = "failure_rate.upper95 < 1e-3"
    for trials, verdict in ((2995, "PASSED"), (2994, "TOO LITTLE DATA"), (100, "TOO LITTLE DATA")):
        assert answered(tmp_path, limit, runs__total=trials, **_rate(0, trials)) == verdict
    assert answered(tmp_path, limit, runs__total=5000, **_rate(1, 5000)) == "PASSED"
    assert answered(tmp_path, limit, runs__total=3000, **_rate(1, 3000)) == "TOO LITTLE DATA"
    assert answered(tmp_path, limit, runs__total=3000, **_rate(4, 3000)) == "BREACHED"


def _rate(failed: int, trials: int) -> dict[str, float]:
    rows = [row(n, "FAIL" if n < failed else "PASS") for n in range(trials)]
    found = metrics.of_runs(rows, Meta(), {}, set())
    return {f"failure_rate__{name}": found[f"failure_rate.{name}"] for name in ("observed", "upper95")}


def test_it_says_how_many_trials_a_bound_needs(tmp_path: Path) -> None:
    gate = read(gate_file(tmp_path, 'gates = ["failure_rate.upper95 < 1e-3"]'))
    values = {name.replace("__", "."): value for name, value in _rate(0, 40).items()}
    [judged] = judge(gate, {"runs.total": 40, **values}, {}, TODAY).gates
    assert judged.why == "nothing failed, but the bound needs 2,995 independent trials"
    assert judged.limit == 1e-3 and judged.actual is not None and 0.07 < judged.actual < 0.08


def test_what_was_not_measured_is_too_little_data_and_never_a_pass(tmp_path: Path) -> None:
    assert answered(tmp_path, "recovery_ms.p99 <= 20", runs__total=5) == "TOO LITTLE DATA"
    assert answered(tmp_path, "runs.failed / faults.fired < 1", runs__failed=0, faults__fired=0) == "TOO LITTLE DATA"


def test_a_breach_outranks_too_little_data_and_too_few_runs_are_too_little(tmp_path: Path) -> None:
    gate = read(gate_file(tmp_path, 'min_runs = 10\ngates = ["runs.failed == 0", "recovery_ms.p99 < 1"]'))
    assert judge(gate, {"runs.total": 5, "runs.failed": 1}, {}, TODAY).verdict == "BREACHED"
    enough = read(gate_file(tmp_path, 'min_runs = 10\n[gates]\n"no failures" = "runs.failed == 0"'))
    assert judge(enough, {"runs.total": 9, "runs.failed": 0}, {}, TODAY).verdict == "TOO LITTLE DATA"
    good = judge(enough, {"runs.total": 10, "runs.failed": 0}, {}, TODAY)
    assert (good.verdict, good.gates[0].name) == ("PASSED", "no failures")


def test_a_waiver_ends_with_its_day(tmp_path: Path) -> None:
    text = (
        f'gates = ["runs.total > 0"]\n[[waivers]]\nfingerprint = "{FINGERPRINT}"\nreason = "x"\nexpires = 2026-06-01\n'
    )
    [waiver] = read(gate_file(tmp_path, text)).waivers
    assert waiver.counts(date(2026, 6, 1)) and not waiver.counts(date(2026, 6, 2))
    answer = judge(read(tmp_path / "gate.toml"), {"runs.total": 1}, {}, date(2026, 6, 2))
    assert answer.waivers[0].expired and "expired on 2026-06-01, does not count" in markdown(answer)


def test_a_waived_failure_is_no_run_and_another_one_still_counts() -> None:
    rows = [row(0, "FAIL"), row(1, "FAIL"), *(row(n) for n in range(2, 20))]
    failing = {("ledger", 0): FINGERPRINT, ("ledger", 1): "I8/broker/frame.duplicate"}
    found = metrics.of_runs(rows, Meta(), failing, {FINGERPRINT})
    assert (found["runs.failed"], found["workloads.failed"], found["workloads.total"]) == (1, 1, 19)
    assert (found["findings.total"], found["findings.waived"], found["runs.total"]) == (1, 1, 20)


def test_runs_that_share_a_workload_are_one_trial() -> None:
    rows = [row(n, "PASS", seed=n // 8) for n in range(80)]
    found = metrics.of_runs(rows, Meta(), {}, set())
    assert (found["runs.judged"], found["workloads.total"]) == (80, 10)
    assert "failure_rate.upper95" not in metrics.of_runs(rows, Meta(random=False), {}, set())


def test_a_comparison_has_the_metrics_of_head_less_what_is_waived() -> None:
    pairs = [pair(n, head="FAIL" if n < 12 else "PASS") for n in range(60)]
    found = comparison.comparison(pairs, failures_of(pairs), ABOUT)
    told = metrics.of_comparison(found, set())
    assert (told["failures.new"], told["findings.new"], told["regressions.count"]) == (12, 1, 2)
    assert told["failure_rate.observed"] == 0.2 and told["failure_rate.base"] == 0.0
    waived = metrics.of_comparison(found, {FINGERPRINT})
    assert (waived["failures.new"], waived["findings.new"], waived["regressions.count"]) == (0, 0, 0)


def test_every_metric_that_a_result_has_is_in_the_list_and_each_bound_has_what_was_observed() -> None:
    proven = {"clean_runs": 9, "false_alarms": 0, "mutants": 4, "killed": 3, "survivors": ["x"], "stale": []}
    proven |= {"median_runs": 3, "median_seconds": 1.5, "rare": {"killed": 1, "mutants": 2}, "runs": 30}
    proven |= {"shrunk": {"share": 0.9}, "why": {"share": 0.8}}
    verified = {"equal": True, "axes": {"workers": {"equal": True, "digests": ["a", "b"]}}}
    pairs = [pair(n) for n in range(3)]
    have = [
        metrics.of_runs([row(0), row(1)], Meta(), {}, set()),
        metrics.of_comparison(comparison.comparison(pairs, [], ABOUT), set()),
        metrics.of_proving(proven),
        metrics.of_verification(verified),
    ]
    assert {name for one in have for name in one} <= set(METRICS)
    assert set(METRICS) - {name for one in have for name in one} == set()
    assert {*OBSERVED, *OBSERVED.values()} <= set(METRICS)
    assert (have[2]["mutants.few_events_share"], have[2]["mutants.named_first_share"]) == (0.9, 0.8)
    unasked = metrics.of_proving(proven | {"shrunk": {"share": None}, "why": {"share": None}})
    assert not {"mutants.few_events_share", "mutants.named_first_share"} & set(unasked)
    assert have[2]["mutants.killed_share"] == 0.75 and have[3]["determinism.mismatches"] == 0
