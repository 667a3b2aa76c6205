"""Drafts are drawn within their bounds, and a campaign's n-th draft is the same everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.plan import Plan
from runtime.errors import Refused
from runtime.state import Operate, Reload, Send
from scenarios import SCENARIOS, get
from scenarios.strategies import ADD, DROP, REPLACE, RETIME, Draft, draft_from_seed, edited, plans

ROOT = Path(__file__).parent.parent
NAMES = [*SCENARIOS, "edges"]

_DIGESTS = """
import hashlib, msgspec, sys
from scenarios.strategies import draft_from_seed
for name in ("hello", "ledger", "frames"):
    for n in range(2):
        print(hashlib.sha256(msgspec.json.encode(draft_from_seed(name, 5, n))).hexdigest())
"""


@given(st.sampled_from(NAMES).flatmap(plans))
def test_drafts_stay_within_the_scenarios_bounds(draft: Draft) -> None:
    scenario = get(draft.scenario)
    assert [item.n for item in draft.inputs] == list(range(1, len(draft.inputs) + 1))
    ticks = [item.tick for item in draft.inputs]
    assert ticks == sorted(ticks)
    assert all(0 < tick < scenario.config(draft.seed).last_tick for tick in ticks)
    assert all(
        isinstance(i.action, Send | Reload | Operate) and i.action.agent < len(scenario.agents) for i in draft.inputs
    )
    assert 3 <= len(draft.picks) <= 12
    assert {len(pick) for pick in draft.picks} == {7}
    assert all(value >= 0 for pick in draft.picks for value in pick)


@pytest.mark.parametrize("name", NAMES)
def test_a_drafts_inputs_survive_json_inside_a_plan(name: str) -> None:
    draft = draft_from_seed(name, 1, 0)
    plan = Plan(scenario=name, seed=draft.seed, inputs=draft.inputs)
    data = msgspec.json.encode(plan)
    assert msgspec.json.decode(data, type=Plan) == plan
    assert msgspec.json.encode(msgspec.json.decode(data, type=Plan)) == data


def test_different_seeds_runs_and_scenarios_give_different_drafts() -> None:
    drafts = [draft_from_seed(name, seed, n) for name in NAMES for seed in (1, 2) for n in range(5)]
    assert len({msgspec.json.encode((d.seed, d.picks)) for d in drafts}) == len(drafts)


def test_a_draft_does_not_depend_on_what_was_drawn_before() -> None:
    alone = draft_from_seed("ledger", 4, 2)
    for n in range(2):
        draft_from_seed("ledger", 4, n)
    assert draft_from_seed("ledger", 4, 2) == alone


def test_drafts_are_equal_across_processes_and_hash_seeds_and_leave_no_file(tmp_path: Path) -> None:
    printed = set()
    for hash_seed in ("0", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", _DIGESTS],
            check=False,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)
    assert len(printed) == 1
    assert len(printed.pop().split()) == 6
    assert list(tmp_path.iterdir()) == []


def test_half_of_the_drafts_keep_at_least_the_whole_workload_less_their_edits() -> None:
    sizes = [len(draft_from_seed("ledger", 1, n).inputs) for n in range(40)]
    assert sum(size > 240 for size in sizes) >= 10
    assert sum(size < 200 for size in sizes) >= 5


def test_the_number_of_faults_can_be_chosen() -> None:
    assert {len(draft_from_seed("hello", 1, n, 1, 1).picks) for n in range(5)} == {1}


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(Refused, match="use one of"):
        plans("helo")
    with pytest.raises(Refused, match="use one of"):
        draft_from_seed("helo", 1, 1)


def test_a_failure_shrinks_to_few_inputs_and_the_fewest_picks() -> None:
    smallest = hypothesis.find(
        plans("hello"),
        lambda draft: any(item.tick >= 5 for item in draft.inputs),
        settings=hypothesis.settings(max_examples=300, database=None),
    )
    assert len(smallest.picks) == 3
    assert len(smallest.inputs) <= 2


def test_edits_add_drop_retime_and_replace_orders() -> None:
    orders = [(1, 10), (2, 20)]
    assert edited(orders, [(ADD, 0, (3, 30))]) == [(1, 10), (2, 20), (3, 30)]
    assert edited(orders, [(DROP, 3, (9, 9))]) == [(1, 10)]
    assert edited(orders, [(RETIME, 0, (9, 90))]) == [(9, 10), (2, 20)]
    assert edited(orders, [(REPLACE, 0, (9, 90))]) == [(9, 90), (2, 20)]
    assert edited([], [(DROP, 5, (9, 90))]) == [(9, 90)]
