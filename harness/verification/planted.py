"""Does `verify` find what is known to be there? Each planted leak, run as a build, must be located and named."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from faults.leaks import Leak, plant_leak
from harness import builds
from runtime.errors import Refused

SECONDS_MAX = 300


class Shown(Struct, frozen=True, kw_only=True):
    """What became of one leak: whether the record that was named is the one it is in, and its class the right one."""

    name: str
    title: str
    class_: str
    found_class: str = ""
    place: str = ""
    here: str = ""
    there: str = ""
    axis: str = ""
    located: bool = False
    named: bool = False
    seconds: float = 0.0
    reason: str = ""


def show(leak: Leak, seed: int = 1) -> Shown:
    """Plant one leak, verify its scenario on that build in a child, and compare what is reported."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wasm-engine-leak-") as temporary:
        try:
            folder = plant_leak(leak, builds.ROOT / "runtime", Path(temporary))
        except Refused as refused:
            return _shown(leak, reason=f"stale: {refused}")
        arguments = ["verify", leak.scenario, "--seed", str(seed), "--json"]
        command = builds.command("harness.cli", arguments, str(folder))
        try:
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS_MAX)
            answer = json.loads(ended.stdout)
        except (ValueError, subprocess.TimeoutExpired) as error:
            return _shown(leak, reason=f"no report: {type(error).__name__}")
    seconds = round(time.monotonic() - started, 2)
    if ended.returncode != 11 or not answer.get("divergence"):
        return _shown(leak, seconds=seconds, reason=f"not found: exit code {ended.returncode}")
    return judged(leak, answer["divergence"], seconds)


def judged(leak: Leak, found: dict[str, Any], seconds: float = 0.0) -> Shown:
    """The reported divergence against what was planted."""
    sides = (found["here"]["record"], found["there"]["record"])
    located = (found["part"], found["section"]) == (leak.part, leak.section)
    return _shown(
        leak,
        found_class=found["class"],
        place=f"{found['part']} block {found['block']} {found['section']} {found['index']} {found['field']}".strip(),
        here=sides[0],
        there=sides[1],
        axis=found["axis"],
        located=located and all(leak.shows in side for side in sides),
        named=found["class"] == leak.class_,
        seconds=seconds,
        reason="; ".join(found["why"]),
    )


def _shown(leak: Leak, **fields: Any) -> Shown:
    return Shown(name=leak.name, title=leak.title, class_=leak.class_, **fields)


def summary(shown: list[Shown]) -> dict[str, Any]:
    """What `verify --leaks --json` prints."""
    rows = [
        {
            "name": one.name,
            "class": one.class_,
            "found_class": one.found_class,
            "place": one.place,
            "axis": one.axis,
            "here": one.here,
            "there": one.there,
            "located": one.located,
            "named": one.named,
            "seconds": one.seconds,
            "why": one.reason,
        }
        for one in shown
    ]
    return {
        "leaks": len(shown),
        "located": sum(one.located for one in shown),
        "named": sum(one.named for one in shown),
        "rows": rows,
    }
