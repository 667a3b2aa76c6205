"""The first difference of two journals: the right block and place, and only what both can know between versions."""

from __future__ import annotations

import json
from typing import Any

from harness.check import Checker
from harness.differences import first_difference
from scenarios import get
from scenarios.strategies import draft_from_seed


def journal(*bodies: Any, version: int = 1) -> bytes:
    lines: list[Any] = [{"header": {"versions": {"journal": version}}, "sum": "0"}]
    lines += [{"block": n, "body": body, "hash": str(n), "prev": ""} for n, body in enumerate(bodies, 1)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_the_place_is_named_and_links_of_the_chain_are_no_difference() -> None:
    base = journal({"tick": 1, "steps": []}, {"tick": 4, "steps": [{"status": "ok", "effects": [["send", 1, "x"]]}]})
    head = journal({"tick": 1, "steps": []}, {"tick": 4, "steps": [{"status": "ok", "effects": [["send", 2, "x"]]}]})
    found = first_difference(base, head)
    assert found is not None and (found.block, found.tick, found.path) == (2, 4, "steps[0].effects[0][1]")
    assert (found.base, found.head) == ("1", "2")
    assert first_difference(base, base.replace(b'"hash": "2"', b'"hash": "3"')) is None


def test_a_block_that_one_side_lacks_is_the_first_difference() -> None:
    found = first_difference(journal({"tick": 1}), journal({"tick": 1}, {"tick": 9}))
    assert found is not None and (found.block, found.tick, found.path, found.base) == (2, 9, "", "")


def test_keys_that_one_version_has_are_left_out_between_versions_and_count_within_one() -> None:
    old, new = {"tick": 1, "root": ""}, {"tick": 1, "root": "", "tenant": 0}
    assert first_difference(journal(old), journal(new, version=2)) is None
    found = first_difference(journal(old), journal(new))
    assert found is not None and (found.path, found.base, found.head) == ("tenant", "", "0")


def test_longer_positional_records_of_another_version_are_compared_as_far_as_both_go() -> None:
    old, new = {"events": [["send", 1]]}, {"events": [["send", 1, 7]]}
    assert first_difference(journal(old), journal(new, version=2)) is None
    more = {"events": [["send", 1, 7], ["send", 2, 8]]}
    found = first_difference(journal(old), journal(more, version=2))
    assert found is not None and found.path == "events[1]"


def test_a_line_that_is_no_json_differs_from_one_that_is_and_true_is_not_one() -> None:
    good = journal({"tick": 1})
    assert first_difference(good, good[:-5]) is not None
    assert first_difference(journal({"a": True}), journal({"a": 1})) is not None


def test_two_runs_of_one_plan_say_the_same_and_another_workload_does_not() -> None:
    from faults.plan import Plan
    from runtime.physical import Physical

    def run(n: int, workers: int) -> bytes:
        draft = draft_from_seed("hello", 1, n)
        plan = Plan(scenario="hello", seed=draft.seed, inputs=draft.inputs, physical=Physical(workers=workers))
        return Checker(get("hello")).clean(plan).journal

    assert first_difference(run(0, 2), run(0, 3)) is None
    found = first_difference(run(0, 2), run(1, 2))
    assert found is not None and found.block >= 1
