"""`wasm-engine shrink`: a recorded failure, made as small as it gets."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from harness.commands.common import (
    build_option,
    duration,
    elsewhere,
    examples,
    given,
    good_option,
    json_option,
    print_json,
)
from harness.minimal import AGAIN, ENDED, FAILED, FIXED, FLAKY, Limits, Minimal, Size, minimal, replay_command
from harness.trials import Good

RUNS = 400
EXIT = {FIXED: 0, FAILED: 1, ENDED: 1, FLAKY: 11}
NEWS_EVERY_S = 1.0


@click.command(
    short_help="Make a recorded failure as small as it gets.",
    epilog=examples(
        "wasm-engine shrink out/latest/cases/ledger-twin-0123456789",
        "wasm-engine shrink CASE --runs 1000 --time 10m --oracle I8",
        "wasm-engine shrink CASE --build ../other-checkout --good - --json",
    ),
)
@click.argument("case", type=click.Path(path_type=Path))
@click.option("--oracle", callback=given, metavar="ID", help="The one to keep; the most telling by default.")
@click.option(
    "--runs", type=click.IntRange(1, 1_000_000), metavar="N", default=RUNS, show_default=True, help="At most."
)
@click.option("--time", "seconds", callback=duration, metavar="T", default="5m", show_default=True, help="At most.")
@build_option
@good_option
@json_option
def shrink(case: Path, oracle: str, runs: int, seconds: float, build: str, good: str, as_json: bool) -> int:
    """Shrink CASE to the fewest faults, inputs and ticks with which the same oracle fails it, then to small values.

    What is left is run 10 more times, in other interpreters. The new case stands beside the old one. Exit 1 when it
    fails 10 of 10 times (as its replay does), 0 when the case is FIXED on this build, 11 when it fails now and then.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    latest: list[Size] = []
    try:
        with Good(good) if good else contextlib.nullcontext() as known:
            found = minimal(case, oracle, Limits(runs, seconds), _news(latest), known)
    except KeyboardInterrupt:
        if latest:
            print(f"interrupted; the best so far ({_text(latest[-1])}) is a case beside {case}", file=sys.stderr)
        raise
    if as_json:
        print_json(
            {**msgspec.to_builtins(found), "again": f"{found.again} of {AGAIN}", "replay": replay_command(found)}
        )
    else:
        _print(found)
    return EXIT[found.outcome]


def _news(latest: list[Size]) -> Callable[[Size], None]:
    """Tells of smaller cases on stderr, of no more than one in a second."""
    told = 0.0

    def news(size: Size) -> None:
        nonlocal told
        latest.append(size)
        if time.monotonic() - told >= NEWS_EVERY_S:
            told = time.monotonic()
            print(f"smaller: {_text(size)}", file=sys.stderr, flush=True)

    return news


def _text(size: Size) -> str:
    words = (("fault", size.faults), ("input", size.inputs), ("tick", size.ticks))
    return ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for word, n in words)


def _print(found: Minimal) -> None:
    if found.outcome == FIXED:
        print(f"FIXED   {found.oracle} does not fail it on this build, in {AGAIN} runs; nothing to shrink")
        return
    if found.outcome == ENDED:
        print(f"ENDED   its run ends the interpreter, or never ends, before {found.oracle} can judge it; not shrunk")
        return
    if found.outcome == FLAKY:
        print(f"FLAKY   {found.oracle} fails it {found.again} of {AGAIN} times: this build is not deterministic there")
        return
    print(f"FAILED  {found.oracle}, {found.again} of {AGAIN} times; {found.runs} runs to shrink it")
    print(f"before  {_text(found.before)}")
    print(f"after   {_text(found.after)}{'' if found.whole else ' (a limit ended the search; give more runs or time)'}")
    for fault in found.faults:
        print(f"        {fault}")
    print(f"        fingerprint {found.fingerprint}")
    print(f"replay it: {replay_command(found)}")
