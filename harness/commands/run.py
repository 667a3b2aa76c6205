"""`wasm-engine run`: one run of a scenario, judged against its twin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

import click
from click.core import ParameterSource
from msgspec.structs import replace

from faults.plan import Plan, parse_fault, plan_from_json
from harness import kept
from harness.adapters.accelerators import SIM_ACCEL
from harness.check import DEEP, Checked, Checker, summary, transparent
from harness.commands.common import (
    build_option,
    config_option,
    elsewhere,
    examples,
    json_option,
    own_workers,
    print_json,
    seed_option,
    under,
    workers_option,
)
from harness.commands.telemetry import telemetry_option, telemetry_to
from harness.devices import Chosen, choose, served, told
from harness.plans import accept
from runtime.errors import Refused
from scenarios import get

EXIT = {"PASS": 0, "FAIL": 1, "UNKNOWN": 12, "IDLE": 12}
SHORT = 16
STDIN = Path("-")


@click.command(
    short_help="One run of a scenario, judged against its twin.",
    epilog=examples(
        "wasm-engine run hello",
        'wasm-engine run ledger --fault "worker.kill@tick:41,agent:3,hostcall:2"',
        'wasm-engine run ledger --fault "orchestrator.kill@tick:60,phase:sync" --workers 7 --json',
        "wasm-engine run frames --plan plan.json --no-faults",
        "wasm-engine run ledger --keep out/kept",
        "wasm-engine run ledger --telemetry ledger.jsonl",
        "wasm-engine run ./my-scenario.toml --config engine.toml",
        "wasm-engine run assistants --device auto",
    ),
)
@click.argument("scenario")
@seed_option
@click.option("--fault", "faults", multiple=True, metavar="SPEC", help="A typed fault; see `wasm-engine faults`.")
@click.option("--no-faults", is_flag=True, help="Leave out all faults, typed ones and the plan's.")
@workers_option
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path),
    help="Run the plan in this JSON file; - reads it from stdin.",
)
@click.option("--deep", is_flag=True, help=f"Also judge by the oracles that need further runs ({', '.join(DEEP)}).")
@click.option("--keep", default="", metavar="DIR", help="Write plan, journal, trace and blobs there.")
@click.option(
    "--device",
    default="",
    metavar="NAME",
    help="Where inference runs: simulated (the default), cpu, auto, or one of `wasm-engine devices`.",
)
@telemetry_option
@config_option
@build_option
@json_option
def run(
    scenario: str,
    seed: int,
    faults: tuple[str, ...],
    no_faults: bool,
    workers: int,
    plan_file: Path | None,
    deep: bool,
    keep: str,
    device: str,
    telemetry: Path | None,
    config: Path | None,
    build: str,
    as_json: bool,
) -> int:
    """Run SCENARIO once under a virtual clock, with typed faults or a plan's, and judge it against its twin.

    SCENARIO is a built-in one's name, or the path of a scenario's .toml file (docs/scenarios.md), whose own faults
    it has where none are typed.

    The evidence is simulated: no process, disk or device of this machine fails. With --device a real device computes
    what the run's accelerator answers, if it gives the golden answers; else the CPU serves, and the reason is told.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    plan = plan_asked(under(scenario, config), seed, faults, no_faults, workers, plan_file)
    described = get(plan.scenario)
    chosen = choose(described, device)
    for line in chosen.lines():
        print(line, file=sys.stderr)
    with telemetry_to(telemetry) as hook:
        checked = Checker(described, chosen.timing).check(plan, deep=deep, hook=hook)
    if keep:
        kept.keep(checked.history, described, Path(keep))
    if as_json:
        print_json(summary(checked) | told(chosen, checked.history))
        _evidence(checked, sys.stderr)
    else:
        _print(checked, chosen)
    return EXIT[checked.row.verdict]


def plan_asked(
    name: str, seed: int, faults: tuple[str, ...], no_faults: bool, workers: int, plan_file: Path | None
) -> Plan:
    """The plan that the options of a command mean; raises Refused."""
    scenario = get(name)
    name = scenario.name
    if plan_file is None:
        faults = faults or scenario.faults
        physical = scenario.options(own_workers(workers, [name]))
        plan = Plan(scenario=name, seed=seed, inputs=scenario.workload(seed), physical=physical)
    else:
        try:
            text = sys.stdin.buffer.read() if plan_file == STDIN else plan_file.read_bytes()
        except OSError as error:
            raise Refused(f"cannot be read: {error.strerror}", str(plan_file), "give a plan's JSON file") from None
        plan = plan_from_json(text, str(plan_file))
        if plan.scenario != name:
            raise Refused(f"a plan for {plan.scenario!r}, not for {name!r}", str(plan_file), "name its scenario")
        plan = _overridden(plan, workers)
    typed = tuple(parse_fault(fault) for fault in faults)
    plan = replace(plan, faults=() if no_faults else plan.faults + typed)
    return accept(plan, str(plan_file or ""))


def _overridden(plan: Plan, workers: int) -> Plan:
    """The plan with what was typed beside it: the number of workers may be another, the seed is the plan's."""
    source = click.get_current_context().get_parameter_source
    if source("seed") is ParameterSource.COMMANDLINE:
        raise Refused("a plan has its own seed", "--seed", "leave out --seed, or --plan")
    if source("workers") is ParameterSource.COMMANDLINE:
        return replace(plan, physical=replace(plan.physical, workers=workers))
    return plan


def _print(checked: Checked, chosen: Chosen) -> None:
    row = checked.row
    same = row.journal_digest == row.twin_digest != ""
    relation = "equal to the run without faults" if same else "DIFFERS from the run without faults"
    if not checked.plan.faults:
        relation = f"{row.ticks} blocks, {row.agent_steps} steps, {row.messages} messages"
    elif not all(transparent(fault.kind) for fault in checked.plan.faults):
        relation = relation.replace("without faults", "with the visible faults alone")
    print(f"journal  {row.journal_digest[:SHORT] or 'unverifiable':<{SHORT}}   {relation}")
    print(f"trace    {row.trace_digest[:SHORT]}   {story(checked)}")
    if chosen.physical:
        by = served(checked.history)
        print(
            f"device   {chosen.name:<{SHORT}}   physical: served {by.requests.get(SIM_ACCEL, 0)} requests of "
            f"{sum(by.requests.values())}, lost {by.lost} times"
        )
    for index, fault in enumerate(checked.plan.faults):
        if not checked.effective[index]:
            print(f"no effect: {fault}")
    _evidence(checked, sys.stdout)
    judged = f"{len(row.judged)} oracles judged"
    print(f"{row.verdict:<8} {judged}, simulated: {row.virtual_ns / 1e6:.1f} ms of virtual time")


def _evidence(checked: Checked, file: IO[str]) -> None:
    """What the oracles found; with --json it goes to stderr, as stdout holds one object."""
    for finding in checked.findings.values():
        for line in finding.evidence:
            print(f"{finding.verdict} {finding.oracle}: {line}", file=file)
    if checked.history.failure:
        print(f"stopped: {checked.history.failure_detail}", file=file)


def story(checked: Checked) -> str:
    """What happened physically, in a line."""
    row, history = checked.row, checked.history
    parts = []
    if row.workers_lost:
        parts.append(f"{row.workers_lost} worker{'s' if row.workers_lost > 1 else ''} lost")
    if row.steps_redone:
        parts.append(f"{row.steps_redone} step{'s' if row.steps_redone > 1 else ''} redone")
    blocks = [str(r.fields["block"]) for r in history.trace if r.kind == "recovered"]
    if blocks:
        parts.append(f"orchestrator recovered from block {', '.join(blocks)}")
    devices = sum(r.kind == "device_lost" for r in history.trace)
    if devices:
        parts.append(f"{devices} device{'s' if devices > 1 else ''} lost")
    repaired = sum(r.kind == "repaired" for r in history.trace)
    if repaired:
        parts.append(f"{repaired} buffer{'s' if repaired > 1 else ''} repaired")
    failed = sum(r.kind == "failed" for r in history.trace)
    if failed:
        parts.append(f"{failed} step{'s' if failed > 1 else ''} failed and contained")
    resent = sum(r.kind == "resent" for r in history.trace)
    if resent:
        parts.append(f"{resent} frame{'s' if resent > 1 else ''} sent again")
    return ", ".join(parts) or "nothing was lost"
