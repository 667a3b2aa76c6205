"""`wasm-engine bench`: how fast this build is on this machine, against a floor and against a hand-written program."""

from __future__ import annotations

import sys

import click
import msgspec

from harness.bench.figures import table
from harness.bench.run import FULL, QUICK, measure
from harness.commands.common import build_option, elsewhere, examples, json_option, print_json

BREACHED = 10


@click.command(
    short_help="Measure speed, in one process and one run.",
    epilog=examples("wasm-engine bench", "wasm-engine bench --quick --json", "wasm-engine bench --gate"),
)
@click.option("--quick", is_flag=True, help="Fewer repetitions and smaller sizes; the work stays the same.")
@click.option("--gate", is_flag=True, help="Exit with 10 when a requirement is not met.")
@build_option
@json_option
def bench(quick: bool, gate: bool, build: str, as_json: bool) -> int:
    """Measure agent steps, messages and scenarios per second of CPU time, with and without faults.

    The same work (16 agents, 200 ticks, 6,400 messages) is also done by a bare floor and by a program written by hand.
    Run it on an idle machine; figures are CPU time, but neighbours still share its caches.
    """
    code = elsewhere(build)
    if code is not None:
        return code

    def news(what: str) -> None:
        print(f"bench: {what}", file=sys.stderr, flush=True)

    report = measure(QUICK if quick else FULL, quick, news)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        print(table(report))
    return BREACHED if gate and not report.met else 0
