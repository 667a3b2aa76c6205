"""`wasm-engine tenants`: what each tenant took, from the journal alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import here

from harness.check import COMPONENTS
from harness.oracles import ORACLES


def test_each_tenant_has_its_account_beside_its_quotas(capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "tenants", "noisy", "--json")
    assert ended.code == 0
    craft, noisy, rest = ended.json["tenants"]
    assert (craft["name"], craft["agents"], craft["failed"], craft["deferred"]) == (
        "craft", 4, 0, {"tasks": 0, "fuel": 0, "share": 0},
    )  # fmt: skip
    assert (noisy["agents"], noisy["refused_agents"]) == (6, 1) and rest["agents"] == 0
    assert noisy["failed"] > 20 and noisy["refused"]["quota"] > 100 and noisy["deferred"]["tasks"] > 0
    assert 0 < noisy["busiest"]["steps"] <= noisy["quota"]["tasks"]
    assert 0 < noisy["busiest"]["fuel"] <= noisy["quota"]["fuel"]


def test_what_the_well_behaved_tenant_took_is_the_same_whoever_is_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    plain = here(capsys, "tenants", "noisy", "--json").json["tenants"][0]
    killed = here(
        capsys, "tenants", "noisy", "--json", "--workers", "3",
        "--fault", "worker.kill@tick:9,agent:6,point:after",
    ).json["tenants"][0]  # fmt: skip
    assert plain == killed


def test_the_table_names_tenants_and_what_was_short(capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "tenants", "noisy")
    assert ended.code == 0 and all(word in ended.out for word in ("craft", "noisy", "(none)"))


def test_a_kept_run_is_accounted_as_a_fresh_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert here(capsys, "run", "noisy", "--keep", str(tmp_path / "k")).code == 0
    kept = here(capsys, "tenants", str(tmp_path / "k"), "--json").json["tenants"]
    assert kept == here(capsys, "tenants", "noisy", "--json").json["tenants"]


@pytest.mark.parametrize(
    ("run", "words"), [("hello", "no tenants"), ("nothing", "no such run"), ("noisy --fault worker.kill@tik:3", "")]
)
def test_a_run_without_tenants_and_what_is_no_run_are_refused_in_one_line(
    run: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = here(capsys, "tenants", *run.split())
    assert ended.code == 4 and not ended.out and words in ended.err and len(ended.err.strip().splitlines()) == 1


def test_every_oracle_points_at_a_component() -> None:
    assert set(ORACLES) <= set(COMPONENTS), "a finding of one that does not ends in a harness error"
