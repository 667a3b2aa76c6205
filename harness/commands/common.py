"""What the commands share: options, builds, one JSON object, progress on stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harness import builds
from runtime.errors import Refused
from scenarios import get
from scenarios.files import known

Function = TypeVar("Function", bound=Callable[..., Any])

SEED_MAX = 2**32 - 1

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")


def given(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    """An empty value is a variable that was not set, not a wish for the default."""
    if value is not None and not value.strip():
        raise click.BadParameter("is empty; give a value or leave the option out", context, parameter)
    return value or ""


build_option = click.option(
    "--build", metavar="PATH", callback=given, help="A folder with another `runtime` package to put under test."
)
good_option = click.option(
    "--good",
    metavar="PATH",
    callback=given,
    help="A build that is right, - for this harness's own: what is left of a case must pass there.",
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(0, SEED_MAX),
    metavar="N",
    default=1,
    show_default=True,
    help="What everything is drawn from.",
)
workers_option = click.option(
    "--workers", type=click.IntRange(1, 64), metavar="N", default=2, show_default=True, help="Simulated workers."
)


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Run under the configuration in this TOML file (docs/configuration.md).",
)


def under(name: str, configuration: Path | None) -> str:
    """The name of a scenario, under the configuration if one is given; raises Refused."""
    scenario = get(name)
    return scenario.name if configuration is None else known.under(scenario, configuration).name


def own_workers(workers: int, names: Sequence[str]) -> int:
    """The number of workers where it was typed; else that of the scenarios' configurations, which must be one."""
    if click.get_current_context().get_parameter_source("workers") is not ParameterSource.DEFAULT:
        return workers
    own = sorted({get(name).options().workers for name in names})
    if len(own) > 1:
        raise Refused(f"the scenarios' configurations say {' and '.join(map(str, own))} workers", "", "give --workers")
    return own[0] if own else workers


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_DURATION = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)(ms|s|m|h)?")


def duration(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """Seconds, from `90s`, `1.5m`, `2h`, `500ms` or a plain number of seconds; more than none."""
    match = _DURATION.fullmatch(value.strip())
    seconds = float(match[1]) * _UNITS[match[2] or ""] if match else 0.0
    if seconds <= 0:
        raise click.BadParameter(f"{value!r} is no time to spend; write 60s, 5m or 1h", context, parameter)
    return seconds


def examples(*lines: str) -> str:
    """An epilog with examples, one a line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def elsewhere(build: str) -> int | None:
    """Run this same command on the build, in a child interpreter; its exit code, or None when we are there already."""
    if not build:
        return None
    folder = str(builds.folder_of(build))
    if builds.current() == folder:
        return None
    return builds.run_on(folder, "harness.cli", present().arguments)


class Call(NamedTuple):
    """One call of `wasm-engine`: what was typed, and where its answer goes."""

    arguments: tuple[str, ...]
    out: IO[str]


def present() -> Call:
    """The call that this command serves."""
    call: Call = click.get_current_context().find_root().obj
    return call


def print_json(value: object) -> None:
    present().out.write(json.dumps(value, indent=1) + "\n")


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on stderr, or a plain line for every tenth when it is no terminal; call with the latest news."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain(title, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total)

        def step(news: str) -> None:
            bar.update(task, advance=1, description=f"{title} {news}")

        yield step


def _plain(title: str, total: int) -> Callable[[str], None]:
    done = 0

    def step(news: str) -> None:
        nonlocal done
        done += 1
        if done == total or done * 10 // total > (done - 1) * 10 // total:
            print(f"{title} {done}/{total} {news}".rstrip(), file=sys.stderr, flush=True)

    return step
