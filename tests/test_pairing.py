"""All pairs of kinds: a cover that holds each, plans that hold what they are about, and a count of what met."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from cli_kit import here
from hypothesis import given
from hypothesis import strategies as st

from faults.kinds import KINDS
from faults.profiles import find, from_toml
from harness import pairing
from harness.check import Checker
from harness.plans import accept
from harness.runner import pair_run
from reports import Meta, RunRow, load, summary
from runtime.physical import Physical
from scenarios import get

FEW = from_toml(
    b'name = "few"\ntitle = "t"\nfaults = [1, 3]\n[weights]\ndefault = 0\n'
    b'"worker.kill" = 1\n"frame.lose" = 1\n"orchestrator.kill" = 1\n"disk.tear" = 1\n"gpu.oom" = 1\n'
)
KINDS_OF_HELLO = ("disk.tear", "frame.lose", "orchestrator.kill", "worker.kill")


@given(st.lists(st.sampled_from([kind.slug for kind in KINDS]), unique=True, max_size=len(KINDS)))
def test_each_pair_is_in_a_set_of_the_cover_and_has_runs_of_its_own(kinds: list[str]) -> None:
    chosen = tuple(kinds)
    sets = pairing.sets_of(chosen)
    pairs = list(combinations(sorted(kinds), 2))
    assert pairing.pairs_of(chosen) == pairs
    assert {pair for one in sets for pair in pairing.pairs_of(one)} == set(pairs)
    assert all(len(set(one)) == len(one) <= pairing.SET_SIZE for one in sets)
    assert len(sets) <= max(len(pairs), 1)
    for attempt in (1, 2, pairing.ATTEMPTS):
        for pair in pairs[:: max(1, len(pairs) // 5)]:
            assert pairing.kinds_of_run(chosen, pairing.run_of(chosen, pair, attempt)) == (pair, attempt)
    for n, one in enumerate(sets):
        assert pairing.kinds_of_run(chosen, n) == (one, 0)


def test_a_cover_is_far_smaller_than_the_pairs() -> None:
    kinds = tuple(f"a.k{n}" for n in range(30))
    assert len(pairing.sets_of(kinds)) < len(pairing.pairs_of(kinds)) // 4


def test_only_kinds_that_can_happen_there_and_that_the_profile_draws_are_paired() -> None:
    checker = Checker(get("hello"))
    assert set(pairing.possible_kinds(checker, FEW, 1)) == set(KINDS_OF_HELLO)
    assert pairing.possible_kinds(checker, find("none"), 1) == ()
    stress = pairing.possible_kinds(checker, find("stress"), 1)
    assert "buffer.flip" not in stress and not any(slug.startswith("gpu.") for slug in stress)
    assert {k.slug for k in KINDS if k.class_ == "failstop"}.isdisjoint(stress)


def test_a_plan_holds_the_kinds_that_it_is_about_and_is_the_same_again() -> None:
    checker, again = Checker(get("hello")), Checker(get("hello"))
    kinds = pairing.possible_kinds(checker, FEW, 1)
    numbers = [0, *(pairing.run_of(kinds, ("frame.lose", "worker.kill"), attempt) for attempt in (1, 2, 5))]
    plans = [pairing.pair_plan(checker, FEW, 1, n, Physical()) for n in numbers]
    assert plans == [pairing.pair_plan(again, FEW, 1, n, Physical()) for n in numbers]
    assert all(accept(plan, "") is plan for plan in plans)
    assert {fault.kind for fault in plans[0].faults} == set(KINDS_OF_HELLO)
    assert all({fault.kind for fault in plan.faults} == {"frame.lose", "worker.kill"} for plan in plans[1:])
    assert len({plan.seed for plan in plans}) == 4 and len(plans[3].faults) > len(plans[1].faults)


def test_what_computes_wrong_is_paired_only_where_everything_is_checked() -> None:
    checker = Checker(get("assistants"))
    stress = find("stress")
    kinds = pairing.possible_kinds(checker, stress, 1)
    plan = pairing.pair_plan(checker, stress, 1, pairing.run_of(kinds, ("frame.lose", "gpu.wrong"), 1), Physical())
    assert plan.physical.check_answers and accept(plan, "") is plan


def test_a_pair_has_met_only_where_both_took_effect_in_one_run() -> None:
    runs = [("hello", {"a": 1, "b": 0, "c": 2}), ("hello", {"b": 1}), ("ledger", {"c": 1, "d": 1})]
    assert pairing.met(runs) == {("a", "c"), ("c", "d")}


def row(run: int, fired: dict[str, int], scenario: str = "hello") -> RunRow:
    planned = dict.fromkeys(("a", "b", "c"), 3) | fired
    return RunRow(
        run=run, scenario=scenario, seed=1, workers=2, verdict="PASS", faults_planned=planned, faults_fired=fired
    )


def test_a_report_counts_pairs_among_what_could_have_met() -> None:
    rows = [row(0, {"a": 1, "b": 1}), row(1, {"c": 1})]
    assert summary.pairs(rows, Meta()) == (3, 1, (("a", "c"), ("b", "c")))
    known = Meta(pairs=(("a", "b"), ("a", "z")))
    assert summary.pairs(rows, known) == (2, 1, (("a", "z"),))
    assert summary.pairs([], Meta()) == (0, 0, ())


def test_stress_covers_the_pairs_and_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "few.toml"
    file.write_text('name = "few"\ntitle = "t"\nfaults = [1, 3]\n[weights]\ndefault = 0\n"worker.kill" = 1\n'
                    '"frame.lose" = 1\n"orchestrator.kill" = 1\n')  # fmt: skip
    common = ("stress", "hello", "--pairs", "--profile", str(file), "--jobs", "1", "--store", str(tmp_path))
    told = here(capsys, *common, "--json")
    assert told.code == 0 and told.json["pairs"] == {"possible": 3, "covered": 3, "missing": []}
    results = load(tmp_path / "latest")
    assert len(results.meta.pairs) == 3 and not results.meta.random
    first = results.runs.iloc[0]
    words = str(first["replay"]).split()[1:]
    assert "--pairs" in words
    assert here(capsys, *words, "--store", str(tmp_path)).code in (0, 12)
    assert list(load(tmp_path / "latest").runs["plan_digest"]) == [first["plan_digest"]]
    assert "covered: all 3 pairs were met" in here(capsys, *common).out


def test_a_pair_that_never_met_is_named_and_is_no_pass(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "never.toml"
    file.write_text('name = "never"\ntitle = "t"\nfaults = [1, 3]\n[weights]\ndefault = 0\n"worker.kill" = 1\n'
                    '"frame.delay" = 1\n[ranges."frame.delay"]\nfor = ["1us", "2us"]\n')  # fmt: skip
    common = ("stress", "hello", "--pairs", "--profile", str(file), "--jobs", "1", "--store", str(tmp_path))
    ended = here(capsys, *common, "--runs", "3")
    assert ended.code == 12 and "never together: frame.delay and worker.kill" in ended.out
    assert "not covered: 1 of 1 pairs were not met in 3 runs" in ended.out
    both = here(capsys, *common, "--until-covered")
    assert both.code == 4 and "give one of them" in both.err


def test_a_run_of_a_pair_is_judged_like_any_other() -> None:
    checked = pair_run(Checker(get("hello")), 1, 0, profile=FEW)
    assert checked.row.verdict in ("PASS", "IDLE") and checked.row.judged


def profile_of(folder: Path, *kinds: str, more: str = "") -> str:
    file = folder / "each.toml"
    weights = "".join(f'"{kind}" = 1\n' for kind in kinds)
    file.write_text(f'name = "each"\ntitle = "t"\nfaults = [1, 3]\n[weights]\ndefault = 0\n{weights}{more}')
    return str(file)


def test_each_kind_strikes_as_often_as_asked_and_each_run_can_be_repeated(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    profile = profile_of(tmp_path, "worker.kill", "frame.lose", "orchestrator.kill")
    common = ("stress", "hello", "--each", "9", "--profile", profile, "--jobs", "1", "--store", str(tmp_path))
    told = here(capsys, *common, "--json")
    assert told.code == 0 and told.json["short_of_each"] == {}
    assert all(told.json["faults_fired"][kind] >= 9 for kind in ("worker.kill", "frame.lose", "orchestrator.kill"))
    runs = load(tmp_path / "latest").runs
    assert not runs["run"].duplicated().any() and len(runs) > 1, "the cover alone does not give so many"
    last = runs.iloc[-1]
    assert here(capsys, *str(last["replay"]).split()[1:], "--store", str(tmp_path)).code in (0, 12)
    assert list(load(tmp_path / "latest").runs["plan_digest"]) == [last["plan_digest"]]
    again = here(capsys, *common, "--json").json
    assert again["runs"] == told.json["runs"] and again["faults_fired"] == told.json["faults_fired"]


def test_a_kind_that_strikes_too_seldom_is_named_and_is_no_pass(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    never = '[ranges."frame.delay"]\nfor = ["1us", "2us"]\n'
    profile = profile_of(tmp_path, "worker.kill", "frame.delay", more=never)
    common = ("stress", "hello", "--each", "2", "--profile", profile, "--jobs", "1", "--store", str(tmp_path))
    ended = here(capsys, *common, "--runs", "6")
    assert ended.code == 12 and "frame.delay: 0 of 2" in ended.out
    assert "not covered: 1 of 2 kinds of faults were not effective 2 times in 6 runs" in ended.out
    both = here(capsys, *common, "--until-covered")
    assert both.code == 4 and "--until-covered and --each at once" in both.err
