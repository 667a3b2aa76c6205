"""What instances are made of (I25, I35), on hand-made records: other bytes, other declarations, other ABI versions."""

from __future__ import annotations

from typing import Any

import pytest
from oracles_kit import MODULE, WASM, World, crossing, finding, refuses, step, world

from harness.adapters.artifacts import read, with_abi
from harness.history import LoadEvent
from harness.oracles import Verdict, loaded
from runtime.versions import ABI, ABI_MINOR
from runtime.wasm.abi import incompatible
from runtime.wasm.binary import declared_abi

OTHER = "0" * 64


def made_of(made: World, index: int, **changes: Any) -> None:
    made.loads[index] = made.loads[index]._replace(**changes)


@pytest.mark.parametrize("oracle", ["I25", "I35"])
def test_a_good_history_passes_and_one_without_loads_or_modules_is_not_judged(oracle: str) -> None:
    made = world()
    assert finding(oracle, made).verdict is Verdict.PASS
    assert finding(oracle, made, modules={}).verdict is Verdict.UNKNOWN
    made.loads = []
    assert finding(oracle, made).verdict is Verdict.UNKNOWN


# --- integrity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "changes", "named"),
    [
        (1, {"digest": OTHER}, "load event 1: worker 11 uses bytes with digest 000000000000 as"),
        (0, {"digest": OTHER}, "load event 1: worker 11 uses"),  # other bytes were given than were used
        (2, {"number": 13}, "which no artefact gave it"),
        (1, {"name": OTHER, "digest": OTHER}, "for agent 0, which declares another"),
        (1, {"refused": "digest"}, "by its digest, which is right"),
        (3, {"refused": "format"}, "worker 12 ran agent 1, of which no instance was made"),
        (3, {"place": "device"}, "which the run does not declare"),
    ],
)
def test_a_load_that_is_not_what_was_declared_and_given_is_named(
    index: int, changes: dict[str, Any], named: str
) -> None:
    made = world()
    made_of(made, index, **changes)
    refuses("I25", made, named)


def test_other_bytes_that_were_refused_are_no_finding() -> None:
    made = world()
    made.loads += [
        LoadEvent(2, "given", "worker", 14, -1, MODULE, OTHER, (), ""),
        LoadEvent(2, "made", "worker", 14, 0, MODULE, OTHER, (), "digest"),
    ]
    assert finding("I25", made).verdict is Verdict.PASS


# --- the ABI ----------------------------------------------------------------------------------------------------------


def foreign(made: World) -> None:
    """Agent 1's module is for ABI 2: it is refused at its only start."""
    made.bodies[0]["inputs"][2]["action"]["spec"] = {
        **made.bodies[0]["inputs"][2]["action"]["spec"], "module": OTHER
    }  # fmt: skip
    made_of(made, 2, name=OTHER, digest=OTHER, abi=("2",))
    made_of(made, 3, name=OTHER, digest=OTHER, abi=("2",), refused="abi")
    made.guests = [event for event in made.guests if event.agent != 1]
    for body in made.bodies:
        body["steps"] = [s for s in body["steps"] if s["agent"] != 1]
    made.bodies[0]["steps"].insert(1, step(1, 1, "init", status="refused:abi"))
    made.bodies[0]["events"] = [["failed", 1, "refused:abi"], ["lifecycle", 1, "starting", "quarantined"]]


def test_a_refusal_that_is_on_record_once_is_good() -> None:
    assert finding("I35", world(foreign)).verdict is Verdict.PASS


@pytest.mark.parametrize("version", ["2", "1.3", "0.1", "1.0.0.0", "x", "", "١"])
def test_an_instance_for_another_version_is_named(version: str) -> None:
    made = world()
    made_of(made, 1, abi=(version,))
    refuses("I35", made, "load event 1: worker 11 has an instance of a module for ABI")


def test_what_ran_of_a_refused_module_is_named() -> None:
    made = world(foreign)
    made.guests.append(crossing(1, 1))
    refuses("I35", made, "agent 1 ran")
    made = world(foreign)
    made.bodies[2]["steps"].append(step(1, 2))
    refuses("I35", made, "block 3: agent 1, whose ABI is another, has a step step with status ok, told 0 times")


@pytest.mark.parametrize("times", [0, 2])
def test_a_refusal_that_is_not_on_record_once_is_named(times: int) -> None:
    made = world(foreign)
    made.bodies[0]["events"][:1] = [["failed", 1, "refused:abi"]] * times
    refuses("I35", made, f"told {times} times")


def test_a_second_refusal_needs_a_second_start() -> None:
    made = world(foreign)
    made.bodies[1]["steps"].append(step(1, 2, "init", status="refused:abi"))
    made.bodies[1]["events"] += [["failed", 1, "refused:abi"]]
    refuses("I35", made, "block 2: agent 1")
    made.bodies[1]["events"] += [["lifecycle", 1, "quarantined", "starting"]]
    assert finding("I35", made).verdict is Verdict.PASS


def test_what_is_tried_may_never_run_here_whatever_version_this_is() -> None:
    assert not any(loaded.runs_here((version,), ABI) for version in loaded.FOREIGN)
    assert f"{ABI}.{ABI_MINOR + 1}" in loaded.FOREIGN, "the newest that is refused, next to the newest that is not"


@pytest.mark.parametrize("version", [*loaded.FOREIGN, "1", "1.0", "1.0.7", "01.0", "1.", "1.0.0.0"])
def test_the_oracles_reading_of_a_version_agrees_with_the_runtimes(version: str) -> None:
    assert loaded.MINOR == ABI_MINOR
    assert loaded.runs_here((version,), ABI) == (incompatible(version.encode()) == "")
    changed = with_abi(WASM, version)
    assert read(changed)[1] == (version,) and declared_abi(changed) == (version.encode(),)
