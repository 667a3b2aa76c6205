"""`wasm-engine verify`: what must not matter is varied; the first record that it changes is found and named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import click
from rich.console import Console
from rich.table import Table

from faults.leaks import LEAKS, Leak
from harness.builds import current
from harness.commands.common import (
    build_option,
    config_option,
    elsewhere,
    examples,
    json_option,
    present,
    print_json,
    seed_option,
    under,
)
from harness.plans import NAMES, default_plan
from harness.verification import exports, planted
from harness.verification.exports import Exported
from harness.verification.report import Report, report_of, told
from runtime.errors import Refused

FAILED, UNEQUAL = 1, 11
ALL = "all"


@click.command(
    short_help="Vary what must not matter; name the first record that it changes.",
    epilog=examples(
        "wasm-engine verify hello",
        "wasm-engine verify --json",
        "wasm-engine verify ledger --export ledger.json",
        "wasm-engine verify ledger --against from-the-other-machine.json",
        "wasm-engine verify ledger --build ../other-checkout",
        "wasm-engine verify --leaks",
    ),
)
@click.argument("name", required=False, metavar="[SCENARIO]")
@click.option("--scenario", "option", metavar="NAME", help="The same as the argument; `all` is every scenario.")
@click.option("--export", "out", type=click.Path(path_type=Path), metavar="FILE", help="Write the journals' chains.")
@click.option(
    "--against", type=click.Path(path_type=Path), metavar="FILE", help="Compare with what another machine exported."
)
@click.option("--leaks", is_flag=True, help="Plant known leaks in copies of the runtime; each must be found and named.")
@click.option("--leak", "only", multiple=True, metavar="NAME", help="Only this planted leak; may be repeated.")
@seed_option
@config_option
@build_option
@json_option
def verify(
    name: str | None,
    option: str | None,
    out: Path | None,
    against: Path | None,
    leaks: bool,
    only: tuple[str, ...],
    seed: int,
    config: Path | None,
    build: str,
    as_json: bool,
) -> int:
    """Run SCENARIO (every one by default) over and over: in other processes, under other hash seeds, clocks, numbers
    and speeds of workers, devices, orders of events, observers, with and without faults; all journals must be equal.

    Exit 0 when they are, 11 when not, 1 when the build cannot finish the plain run. Each axis says whether what was
    varied was simulated or physical.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    if leaks or only:
        if current() or name or option or out or against:
            raise Refused("planted leaks are shown on this build alone", "--leaks", "leave the other options out")
        return _show([_leak(one) for one in only] or list(LEAKS), seed, as_json)
    if name and option and name != option:
        raise Refused(f"two scenarios, {name!r} and {option!r}", "--scenario", "give one of them")
    wanted = name or option or ALL
    names = [under(one, config) for one in NAMES] if wanted == ALL else [under(wanted, config)]
    others = _others(against, names, seed)
    if out is not None:
        _writable(out)
    reports, found = _reports(names, seed, others)
    if out is not None and not any(report.failure for report in reports):
        exports.write(out, found)
    if as_json:
        print_json(told(reports))
    else:
        for report in reports:
            _print(report)
    if any(report.failure for report in reports):
        return FAILED
    return 0 if all(report.equal for report in reports) else UNEQUAL


def _others(path: Path | None, names: list[str], seed: int) -> dict[str, tuple[str, Exported]]:
    """The other machine's journals by scenario; every scenario that is verified must be there."""
    if path is None:
        return {}
    export = exports.read(path)
    label = " ".join(export.machine.get(key, "?")[:40] for key in ("system", "machine", "python"))
    found = {one.scenario: (label, one) for one in export.scenarios}
    for name in names:
        if name not in found:
            todo = f"verify one of {', '.join(one for one in found if one in NAMES) or 'those in it'}"
            raise Refused(f"it has no journal of {name!r}", str(path), todo)
        exports.comparable(found[name][1], default_plan(name, seed), str(path))
    return found


def _writable(path: Path) -> None:
    """Refuse a bad place before the runs, not after them."""
    if path.is_dir() or not path.parent.is_dir():
        raise Refused("no file can be written there", str(path), "give another --export")


def _reports(
    names: list[str], seed: int, others: dict[str, tuple[str, Exported]]
) -> tuple[list[Report], list[Exported]]:
    reports, found = [], []
    for name in names:
        plan = default_plan(name, seed)
        other = others.get(name)
        against = (other[0], exports.sample_of(other[1])) if other else None
        report, plain = report_of(plan, against, _news(name))
        print(f"verify: {name}: {'equal' if report.equal else 'UNEQUAL'}", file=sys.stderr, flush=True)
        reports.append(report)
        found.append(exports.exported(plan, plain, report.equal))
    return reports, found


def _news(name: str) -> Callable[[str], None]:
    console = Console(stderr=True)

    def news(what: str) -> None:
        if console.is_terminal:
            console.print(f"verify: {name}: {what}", end="\r", soft_wrap=False)

    return news


def _print(report: Report) -> None:
    if report.failure:
        print(f"{report.scenario}, seed {report.seed}: the plain run fails: {report.failure}", file=_out())
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("axis", "equal", "evidence", "runs", "what was varied"):
        table.add_column(column)
    for name, axis in report.axes.items():
        table.add_row(name, "yes" if axis.equal else "NO", axis.evidence, str(len(axis.digests)), axis.note)
    print(f"{report.scenario}, seed {report.seed}: {'equal on every axis' if report.equal else 'UNEQUAL'}", file=_out())
    Console(file=_out()).print(table)
    found = report.divergence
    if found is None:
        return
    place = f"{found.part} block {found.block}, {found.section} {found.index}"
    print(f"first difference ({found.axis}, {found.variant}): {place}{found.field and ', ' + found.field}", file=_out())
    print(f"  {found.here.run}\n    {found.here.record or 'nothing'}", file=_out())
    print(f"  {found.there.run}\n    {found.there.record or 'nothing'}", file=_out())
    print(f"class: {found.class_}", file=_out())
    for line in found.why:
        print(f"  {line}", file=_out())


def _out() -> IO[str]:
    return present().out


def _leak(name: str) -> Leak:
    for leak in LEAKS:
        if leak.name == name:
            return leak
    raise Refused(f"unknown leak {name!r}", "--leak", f"there is {', '.join(leak.name for leak in LEAKS)}")


def _show(leaks: list[Leak], seed: int, as_json: bool) -> int:
    shown = []
    for leak in leaks:
        one = planted.show(leak, seed)
        word = "found" if one.located and one.named else "NOT SHOWN"
        print(f"verify: {leak.name}: {word} ({one.seconds} s)", file=sys.stderr, flush=True)
        shown.append(one)
    if as_json:
        print_json(planted.summary(shown))
    else:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for column in ("leak", "class", "named as", "located", "where"):
            table.add_column(column)
        for one in shown:
            table.add_row(one.name, one.class_, one.found_class or "-", "yes" if one.located else "NO", one.place)
        Console(file=_out()).print(table)
        for one in shown:
            if not (one.located and one.named):
                print(f"{one.name}: {one.reason}", file=_out())
    return 0 if all(one.located and one.named for one in shown) else FAILED
