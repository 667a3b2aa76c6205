"""`wasm-engine tenants`: what each tenant of a run took, and where its quotas held it back (TEN-1)."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from rich.console import Console

from harness.commands.common import (
    build_option,
    elsewhere,
    examples,
    json_option,
    print_json,
    seed_option,
    workers_option,
)
from harness.commands.show import table_of
from harness.kept import find
from harness.tenancy import CAUSES, Account, accounts
from runtime import journal
from runtime.errors import Refused


@click.command(
    short_help="What each tenant of a run took, and where its quotas held it back.",
    epilog=examples("wasm-engine tenants noisy", "wasm-engine tenants out/latest/cases/noisy-I18-0123456789 --json"),
)
@click.argument("run")
@click.option("--fault", "faults", multiple=True, metavar="SPEC", help="A typed fault, where RUN is a scenario.")
@seed_option
@workers_option
@build_option
@json_option
def tenants(run: str, faults: tuple[str, ...], seed: int, workers: int, build: str, as_json: bool) -> int:
    """Account for each tenant of RUN, from the journal alone: steps, granted fuel, messages, refusals, deferrals.

    RUN is a case, a folder of `run --keep`, a plan's file, or a scenario, which is run anew.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    kept = find(run, seed, faults, workers)
    found = accounts([line.block for line in journal.read(kept.journal).lines])
    if not found:
        raise Refused("the run has no tenants", run, "declare them in its configuration, as `noisy` does")
    if as_json:
        print_json({"run": kept.name, "tenants": [_told(account) for account in found]})
    else:
        _print(found)
    return 0


def _told(account: Account) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(account)
    return told


def _print(found: list[Account]) -> None:
    table = table_of(
        "tenant", "agents", "steps", "failed", "fuel", "messages", "refused", "waited", "at most in a tick"
    )
    for one in found:
        waited = ", ".join(f"{one.deferred[why]} for {why}" for why in CAUSES if one.deferred[why])
        refused = f"{one.refused['quota']} by quota, {one.refused['other']} else"
        busiest = " ".join(f"{what} {number}" for what, number in one.busiest.items())
        agents = f"{one.agents}" + (f" (+{one.refused_agents} refused)" if one.refused_agents else "")
        numbers = (one.steps, one.failed, one.fuel, one.messages)
        table.add_row(one.name, agents, *map(str, numbers), refused, waited or "-", busiest)
    Console().print(table)
