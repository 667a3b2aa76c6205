"""Recipes for faults of the disk: which file, when, for how long; each within what its kind allows."""

from __future__ import annotations

from faults.plan import Fault
from harness.events import Chooser, Events, Recipe
from runtime.physical import MS

STALLED = ("commit", "sync", "dispatch", "release", "snapshot")


def _file(events: Events, chooser: Chooser, *more: str) -> str:
    """Mostly what every tick writes; blobs only where something is long enough to be one."""
    files = ("journal", "journal", "watermark", "watermark", *more)
    if events.writing or events.requests:
        files = (*files, "blobs")
    return files[chooser.below(len(files))]


def _tick(events: Events, chooser: Chooser) -> int:
    return events.ticks[chooser.below(len(events.ticks))]


def _when(events: Events, chooser: Chooser, so_far: list[Fault], file: str) -> dict[str, int | str]:
    """In some tick; where the plan kills the orchestrator, one time in three in a recovery."""
    kills = sum(fault.kind == "orchestrator.kill" for fault in so_far)
    if kills and chooser.below(3) == 0:
        return {"crash": 1 + chooser.below(kills), "file": file}
    return {"tick": _tick(events, chooser), "file": file}


def _while(chooser: Chooser) -> int:
    """Mostly up to 100 ms, now and then up to a second."""
    return (1 + chooser.below(1000 if chooser.below(8) == 0 else 100)) * MS


def slow_disk(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    at = _when(events, chooser, so_far, _file(events, chooser))
    return Fault(kind="disk.slow", at=at, with_={"for": _while(chooser)})


def fail_sync(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    return Fault(
        kind="disk.sync_error", at=_when(events, chooser, so_far, _file(events, chooser, "snapshot", "directory"))
    )


def fill_disk(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    at = _when(events, chooser, so_far, _file(events, chooser, "snapshot"))
    fits = chooser.below(2000) if chooser.below(3) else 0
    return Fault(kind="disk.full", at=at, with_={"fits": fits, "for": (1 + chooser.below(100)) * MS})


def stall_orchestrator(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    at: dict[str, int | str] = {"tick": _tick(events, chooser), "phase": STALLED[chooser.below(len(STALLED))]}
    return Fault(kind="orchestrator.stall", at=at, with_={"for": _while(chooser)})


DISK_RECIPES: dict[str, tuple[Recipe, ...]] = {
    "orchestrator.stall": (stall_orchestrator,),
    "disk.slow": (slow_disk,),
    "disk.sync_error": (fail_sync,),
    "disk.full": (fill_disk,),
}
