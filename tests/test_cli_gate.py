"""`gate` over what the commands really wrote: limit and actual for each, and an exit code that a pipeline can use."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli_kit import ROOT, build, here, refused

from harness import gating
from reports import load
from reports.metrics import METRICS

TORN = ("buffers.py", "    if google_crc32c.value(data) != view.crc:\n", "    if len(data) != view.length:\n")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign on a build that lost a check, and so failed."""
    from cli_kit import child

    folder = tmp_path_factory.mktemp("campaign")
    place = build(folder / "build", TORN)
    ended = child("stress", "frames", "--runs", "24", "--jobs", "1", "--store", str(folder), "--build", str(place))
    assert ended.code == 1, ended.err
    return folder / "latest"


def gate(folder: Path, *limits: str, waived: Iterable[str] = (), days: int = 1, min_runs: int = 0) -> str:
    expires = (datetime.now(UTC) + timedelta(days=days)).date()
    text = f"min_runs = {min_runs}\ngates = {json.dumps(list(limits))}\n"
    for one in waived:
        text += f'[[waivers]]\nfingerprint = "{one}"\nreason = "known"\nexpires = {expires}\n'
    path = folder / "gate.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_a_breach_is_exit_10_with_limit_and_actual(
    campaign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = here(capsys, "gate", gate(tmp_path, "runs.failed == 0", "runs.total >= 24"), str(campaign), "--json")
    assert ended.code == 10 and ended.json["verdict"] == "BREACHED"
    failed, total = ended.json["gates"]
    assert failed["verdict"] == "BREACHED" and failed["limit"] == 0 and failed["actual"] >= 1
    assert (total["verdict"], total["limit"], total["actual"]) == ("PASSED", 24, 24)
    shown = here(capsys, "gate", str(tmp_path / "gate.toml"), str(campaign))
    assert shown.code == 10 and "BREACHED" in shown.out and "runs.failed == 0" in shown.out
    told = here(capsys, "gate", str(tmp_path / "gate.toml"), str(campaign), "--markdown")
    assert told.code == 10 and told.out.startswith("# BREACHED\n") and "| runs.failed == 0 | 0 |" in told.out


def test_a_waiver_lets_its_own_finding_through_until_it_expires(
    campaign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = load(campaign)
    from reports.metrics import load_runs

    known = gating.fingerprints(load_runs(campaign)[0], results.folder)
    prints = sorted(set(known.values()))
    assert prints and len(known) == results.counts.failed
    limits = ("runs.failed == 0", "findings.total == 0")
    good = here(capsys, "gate", gate(tmp_path, *limits, waived=prints), str(campaign), "--json")
    assert good.code == 0 and sum(one["runs"] for one in good.json["waivers"]) == len(known), good
    expired = here(capsys, "gate", gate(tmp_path, *limits, waived=prints, days=-1), str(campaign))
    assert expired.code == 10 and "expired" in expired.out and "does not count" in expired.out
    other = here(capsys, "gate", gate(tmp_path, *limits, waived=["I8/broker/frame.lose"]), str(campaign))
    assert other.code == 10 and "it covers nothing" in other.out


def test_too_few_runs_and_what_was_not_measured_are_exit_12(
    campaign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = here(capsys, "gate", gate(tmp_path, "runs.total > 0", min_runs=1000), str(campaign))
    assert few.code == 12 and "24 runs, at least 1,000 wanted" in few.out
    none = here(capsys, "gate", gate(tmp_path, "mutants.killed_share >= 0.95"), str(campaign))
    assert none.code == 12 and "mutants.killed_share was not measured in this run" in none.out


def test_results_of_prove_verify_and_compare_are_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proven = tmp_path / "prove"
    options = ("--mutant", "torn_buffer_accepted", "--runs", "60", "--clean-runs", "4", "--jobs", "1")
    assert here(capsys, "prove", *options, "--store", str(proven)).code == 0
    limits = gate(tmp_path, "mutants.killed_share >= 0.95", "false_alarms.count == 0", "mutants.median_runs < 60")
    assert here(capsys, "gate", limits, str(proven)).code == 0
    verified = tmp_path / "verified.json"
    verified.write_text(json.dumps({"equal": False, "axes": {"workers": {"equal": False, "digests": ["a", "b"]}}}))
    assert here(capsys, "gate", gate(tmp_path, "determinism.mismatches == 0"), str(verified)).code == 10
    store = ("--jobs", "1", "--scenario", "hello", "--runs", "2", "--store", str(tmp_path / "out"))
    assert here(capsys, "compare", "-", "-", *store).code == 12
    limits = gate(tmp_path, "failures.new == 0", "journals.different == 0", "findings.new + findings.rare == 0")
    assert here(capsys, "gate", limits, str(tmp_path / "out" / "latest")).code == 0


def test_wrong_input_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = gate(tmp_path, "runs.total > 0")
    refused(here(capsys, "gate", good, str(tmp_path)), "no result here")
    refused(here(capsys, "gate", str(tmp_path / "none.toml"), str(tmp_path)), "cannot be read")
    bad = gate(tmp_path, "runs.totl > 0", "nonsense")
    refused(here(capsys, "gate", bad, str(tmp_path)), "unknown metric 'runs.totl', near it are runs.total", "nonsense")
    assert here(capsys, "gate", good, str(tmp_path), "--json", "--markdown").code == 4
    for text in ("{", "[]", '{"axes": 3}', '{"summary": {}}', "[" * 100_000):
        (tmp_path / "damaged.json").write_text(text)
        refused(here(capsys, "gate", gate(tmp_path, "runs.total > 0"), str(tmp_path / "damaged.json")), "damaged.json")


def test_the_page_on_gates_explains_every_metric() -> None:
    page = (ROOT / "docs" / "gate.md").read_text("utf-8")
    assert set(re.findall(r"(?m)^\| `([\w.]+)` \|", page)) == set(METRICS)
    for name, meaning in METRICS.items():
        assert f"| `{name}` | {meaning} |" in page
