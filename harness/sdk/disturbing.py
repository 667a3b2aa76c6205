"""A written conversation under drawn faults: workers and orchestrator die, frames are lost, disks tear, and the agent
must do the same, byte for byte.

Guards against an agent, or a build of the runtime, whose steps are right only as long as nothing happens between them.
Run n is a function of the files and n alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from harness.api import Run, simulate
from harness.oracles import Verdict
from harness.sdk.conversations import Conversation
from harness.sdk.playing import NAME, as_scenario
from runtime.state import AgentSpec
from scenarios.strategies import PICK_INTEGERS, PICK_KINDS, Draft
from scenarios.streams import Stream

PROFILE = "transparent"
PICKS_MIN, PICKS_MAX = 2, 8


class Disturbed(NamedTuple):
    """Many runs of one conversation. `idle` are those in which no fault took effect; they are no evidence."""

    runs: int
    passed: int
    idle: int
    faults_fired: dict[str, int]
    failures: list[str]


def disturb(spec: AgentSpec, wasm: bytes, said: Conversation, runs: int, libraries: Sequence[bytes] = ()) -> Disturbed:
    """Plays the conversation `runs` times under faults that must not show; each failure names run, oracles, faults."""
    scenario = as_scenario(spec, wasm, said, libraries)
    inputs = scenario.workload(said.seed)
    verdicts: Counter[str] = Counter()
    fired: Counter[str] = Counter()
    failures: list[str] = []
    for n in range(runs):
        stream = Stream(said.seed, f"{NAME}/{n}")
        picks = tuple(
            (stream.between(0, PICK_KINDS - 1), *(stream.between(0, (1 << 32) - 1) for _ in range(PICK_INTEGERS)))
            for _ in range(stream.between(PICKS_MIN, PICKS_MAX))
        )
        run = simulate(scenario, Draft(NAME, said.seed, inputs, picks), profile=PROFILE)
        verdicts[run.verdict] += 1
        fired.update(run.faults_fired)
        if run.verdict in ("FAIL", "UNKNOWN"):
            failures.append(_told(n, run))
    return Disturbed(runs, verdicts["PASS"], verdicts["IDLE"], dict(sorted(fired.items())), failures)


def _told(n: int, run: Run) -> str:
    oracles = run.failed or tuple(o for o, finding in run.findings.items() if finding.verdict is Verdict.UNKNOWN)
    evidence = next((line for oracle in oracles for line in run.findings[oracle].evidence), "no evidence")
    return f"run {n}: {run.verdict} {', '.join(oracles)}: {evidence}; under {', '.join(map(str, run.plan.faults))}"
