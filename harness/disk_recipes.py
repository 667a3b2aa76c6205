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


def _of_crash(kind: str, *keys: str) -> Recipe:
    """Damage that a successor meets: of a crash that the plan has, or of one that comes with it."""

    def recipe(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...]:
        kills = sum(fault.kind == "orchestrator.kill" for fault in so_far)
        brought = () if kills and chooser.below(4) else (_kill(events, chooser),)
        at: dict[str, int | str] = {"crash": kills + 1 if brought else 1 + chooser.below(kills)}
        if kind not in ("journal.forge", "snapshot.damage"):
            at["file"] = _damaged(events, chooser, kind)
        with_ = {key: _value(key, chooser) for key in keys}
        return (*brought, Fault(kind=kind, at=at, with_=with_))

    return recipe


def _kill(events: Events, chooser: Chooser) -> Fault:
    """Not at the very beginning, so that there is something to damage."""
    late = events.ticks[len(events.ticks) // 4 :]
    at: dict[str, int | str] = {"tick": late[chooser.below(len(late))], "phase": STALLED[chooser.below(len(STALLED))]}
    return Fault(kind="orchestrator.kill", at=at)


def _damaged(events: Events, chooser: Chooser, kind: str) -> str:
    files = ("journal", "journal") if kind == "disk.rollback" else ("journal", "journal", "watermark", "snapshot")
    if events.writing or events.requests:
        files = (*files, "blobs")
    return files[chooser.below(len(files))]


_WORDS = {
    "forged": ("splice", "cut", "swap", "dup", "rechain", "rechain", "rechain"),
    "what": ("agent", "state", "state"),
    "spoilt": ("flip", "cut", "future", "older", "stale", "ahead"),
}
_BELOW = {"at": 1 << 20, "bytes": 600, "share": 100, "chunk": 5, "block": 1 << 10, "sectors": 1 << 10, "pick": 4}


def _value(key: str, chooser: Chooser) -> int | str:
    if key in _WORDS:
        return _WORDS[key][chooser.below(len(_WORDS[key]))]
    return chooser.below(_BELOW[key]) + (key in ("bytes", "block", "sectors"))


def _renamed(recipe: Recipe, **names: str) -> Recipe:
    """The same with parameters under the names that the kind gives them."""

    def renamed(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...]:
        made = recipe(events, chooser, so_far)
        faults = made if isinstance(made, tuple) else (made,) if made else ()
        return tuple(
            Fault(kind=f.kind, at=f.at, with_={names.get(key, key): value for key, value in f.with_.items()})
            for f in faults
        )

    return renamed


def misdirect_write(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    at: dict[str, int | str] = {"tick": _tick(events, chooser), "file": _file(events, chooser, "snapshot")}
    how = ("phantom", "elsewhere")[chooser.below(2)]
    return Fault(kind="disk.misdirect", at=at, with_={"how": how, "sectors": _value("sectors", chooser)})


DISK_RECIPES: dict[str, tuple[Recipe, ...]] = {
    "orchestrator.stall": (stall_orchestrator,),
    "disk.slow": (slow_disk,),
    "disk.sync_error": (fail_sync,),
    "disk.full": (fill_disk,),
    "disk.read_error": (_of_crash("disk.read_error", "at"),),
    "disk.misdirect": (misdirect_write, _of_crash("disk.misdirect", "sectors", "at")),
    "disk.rot": (_of_crash("disk.rot", "at", "bytes"),),
    "disk.rollback": (_of_crash("disk.rollback", "share", "chunk"),),
    "journal.forge": (_renamed(_of_crash("journal.forge", "forged", "block"), forged="how"),),
    "snapshot.damage": (_renamed(_of_crash("snapshot.damage", "what", "spoilt", "pick"), spoilt="how"),),
}
