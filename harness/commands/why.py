"""`wasm-engine why`: the faults a failure needs, the first difference, the component to blame, and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from harness import builds
from harness.commands.common import build_option, elsewhere, examples, json_option, print_json
from harness.diagnosis.explain import Why, explain
from harness.diagnosis.necessity import RUNS_MAX
from harness.diagnosis.picture import timeline
from reports.timeline import render
from reports.words import milliseconds, plain
from runtime.errors import Refused

EXIT = {"FIXED": 0, "FAILED": 1}
PICTURE = "why.html"
SIDE_MAX = 300
BECAUSE_MAX = 3


@click.command(
    short_help="Why a recorded case fails: faults, first difference, component, picture.",
    epilog=examples(
        "wasm-engine why out/latest/cases/ledger-twin-0123456789",
        "wasm-engine why CASE --build ../other-checkout --out why.html --json",
    ),
)
@click.argument("case", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help=f"The picture; {PICTURE} in the case by default."
)
@click.option("--no-picture", is_flag=True, help="Write no file.")
@click.option(
    "--runs", type=click.IntRange(0, 10_000), metavar="N", default=RUNS_MAX, show_default=True, help="Runs, at most."
)
@build_option
@json_option
def why(case: Path, out: Path | None, no_picture: bool, runs: int, build: str, as_json: bool) -> int:
    """Say why CASE fails: which of its faults are necessary, the first record in which the run differs from its twin,
    the component to blame, the chain of events from fault to failure; and draw it over virtual time.

    Exit 1 with the reasons; 0 when the case does not fail on this build (FIXED), which leaves nothing to explain.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    found = explain(case, runs)
    picture = ""
    if found.outcome == "FAILED" and not no_picture:
        picture = str(_draw(found, case, out))
    if as_json:
        print_json(told(found) | {"picture": picture})
    else:
        _print(found)
        if picture:
            print(f"picture: {picture}")
    return EXIT[found.outcome]


def _draw(found: Why, case: Path, out: Path | None) -> Path:
    folder = case if case.is_dir() else case.parent
    path = out or folder / PICTURE
    replay = f"wasm-engine replay {folder}"
    if builds.current():
        replay += f" --build {builds.current()}"
    page = render(timeline(found, f"{found.checked.plan.scenario} ({folder.name})", replay))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, "utf-8")
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", str(path), "give another --out") from None
    return path


def told(found: Why) -> dict[str, Any]:
    """What `why --json` prints, but for the picture's path."""
    faults = found.checked.plan.faults
    needs = found.necessity

    def texts(indices: tuple[int, ...]) -> list[str]:
        return [str(faults[index]) for index in indices]

    return {
        "outcome": found.outcome,
        "oracle": found.oracle,
        "failed_oracles": list(found.checked.failed),
        "necessary": texts(needs.necessary),
        "needless": texts(needs.needless),
        "untried": texts(needs.untried),
        "necessary_alone_fail": needs.alone,
        "runs": needs.runs,
        "difference": {**msgspec.to_builtins(found.difference), "place": found.difference.place}
        if found.outcome == "FAILED"
        else None,
        "component": found.suspects[0].component if found.suspects else "",
        "suspects": msgspec.to_builtins(found.suspects),
        "chain": msgspec.to_builtins(found.chain),
        "notes": found.notes,
    }


def _print(found: Why) -> None:
    if found.outcome == "FIXED":
        print("FIXED    it does not fail on this build, so there is nothing to explain; --build names another")
        for note in found.notes:
            print(f"note     {note}")
        return
    print(f"FAILED   {found.oracle}: {plain(next(iter(found.checked.findings[found.oracle].evidence), ''), SIDE_MAX)}")
    _print_faults(found)
    print(f"differs  {found.difference.place}" + "".join(f", {field}" for field in found.difference.fields))
    if found.difference.here or found.difference.there:
        print(f"  here   {plain(found.difference.here or 'nothing', SIDE_MAX)}")
        print(f"  twin   {plain(found.difference.there or 'nothing', SIDE_MAX)}")
    for place, suspect in enumerate(found.suspects[:3], 1):
        print(f"blame {place}  {suspect.component} ({suspect.permille / 10:.0f}%)")
        for line in suspect.because[:BECAUSE_MAX]:
            print(f"         - {plain(line, SIDE_MAX)}")
    for link in found.chain:
        at = f"{milliseconds(link.at)} ms" if link.at >= 0 else ""
        more = f" (and {link.times - 1} more)" if link.times > 1 else ""
        print(f"{link.kind:<10} {at:>14}  {plain(link.text, SIDE_MAX)}{more}")
    for note in found.notes:
        print(f"note     {note}")


def _print_faults(found: Why) -> None:
    faults, needs = found.checked.plan.faults, found.necessity
    if not faults:
        print("faults   none: it fails without any fault")
    for index in needs.necessary:
        print(f"faults   necessary: {faults[index]}")
    for index in needs.needless:
        print(f"faults   not needed: {faults[index]}")
    if needs.untried:
        print(f"faults   not tried: {len(needs.untried)}")
    if needs.alone is False:
        print("faults   those that are necessary alone do not make it fail: others can stand in for each other")
