"""INF-1 on devices that are no CPU: `make gpu` runs this where one is; elsewhere each is skipped with the reason.

Nothing else is skipped in these tests: without such a device there is nothing to compare.
"""

from __future__ import annotations

import functools

import pytest
from cli_kit import here

from faults.plan import Plan
from harness.check import Checker
from harness.devices import choose, cpu_alone, served
from harness.simulation import journal_digest, simulate
from runtime.inference.admission import Admission, admit
from runtime.inference.providers import CPU_EXECUTION, KNOWN
from scenarios import get
from scenarios.goldens import golden_of
from scenarios.models import REFERENCE, SMALL, build, digest

DEVICES = [provider for provider in KNOWN if provider.execution != CPU_EXECUTION]


@functools.cache
def _here(name: str) -> list[Admission]:
    provider = next(one for one in DEVICES if one.name == name)
    return admit(provider, {digest(shape): build(shape) for shape in (SMALL, REFERENCE)}, golden_of)


@pytest.fixture(params=[provider.name for provider in DEVICES])
def device(request: pytest.FixtureRequest) -> str:
    """Each device that is no CPU; one that cannot even begin here is skipped, one that answers otherwise is not."""
    name = str(request.param)
    refused = next((one for one in _here(name) if one.stage in ("offered", "session", "process")), None)
    if refused is not None:
        pytest.skip(refused.line())
    return name


def test_it_gives_the_golden_answers_with_every_node_placed_on_it(device: str) -> None:
    for found in _here(device):
        assert found.admitted, found.line()
        assert found.nodes > 100 and found.latency is not None


def test_assistants_has_the_journal_of_the_cpu(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "run", "assistants", "--device", device, "--json")
    told = ended.json
    assert (ended.code, told["verdict"], told["device"]["evidence"]) == (0, "PASS", "physical")
    assert told["device"]["name"] == device and set(told["device"]["served"]) == {"1"}
    scenario = get("assistants")
    plan = Plan(scenario="assistants", seed=1, inputs=scenario.workload(1), physical=scenario.options())
    alone = simulate(scenario, plan, cpu_alone())
    assert told["journal_digest"] == journal_digest(alone)
    assert set(served(alone).requests) == {0}


def test_it_is_lost_and_comes_back_with_the_same_journal(device: str) -> None:
    from device_kit import struck

    chosen = choose(get("assistants"), device)
    hook, machine = struck(chosen.timing, 9, at=10)
    scenario = get("assistants")
    plan = Plan(scenario="assistants", seed=1, inputs=scenario.workload(1), physical=scenario.options())
    checked = Checker(scenario, chosen.timing).check(plan, hook=hook)
    assert checked.row.verdict == "PASS" and checked.row.journal_digest == checked.row.twin_digest
    assert set(served(checked.history).requests) == {0, 1} and len(machine.started) >= 2
