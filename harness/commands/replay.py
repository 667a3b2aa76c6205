"""`wasm-engine replay`: a recorded case, run again."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from harness import cases
from harness.commands.common import build_option, elsewhere, examples, json_option, print_json

EXIT = {"FIXED": 0, "FAILED": 1, "DIVERGED": 11}


@click.command(
    short_help="Run a recorded case again: FIXED, FAILED or DIVERGED.",
    epilog=examples(
        "wasm-engine replay out/latest/cases/ledger-twin-0123456789",
        "wasm-engine replay CASE --build ../other-checkout",
    ),
)
@click.argument("case", type=click.Path(path_type=Path))
@build_option
@json_option
def replay(case: Path, build: str, as_json: bool) -> int:
    """Run CASE again: FIXED (exit 0), FAILED (1), or DIVERGED (11: same build, other trace)."""
    code = elsewhere(build)
    if code is not None:
        return code
    replayed = cases.replay(case)
    if as_json:
        print_json(msgspec.to_builtins(replayed))
    else:
        print(f"{replayed.outcome}   recorded: {', '.join(replayed.expected_oracles) or 'unknown'}", end="")
        print(f"; now: {', '.join(replayed.failed_oracles) or 'none'}")
        for line in replayed.mismatches:
            print(f"not as recorded: {line}")
        for oracle in replayed.failed_oracles:
            for line in replayed.evidence.get(oracle, []):
                print(f"FAIL {oracle}: {line}")
    return EXIT[replayed.outcome]
