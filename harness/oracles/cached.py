"""The caches (I23): in their budgets, the least recent leaves, what is used stays, reloads are equal.

This is the cache of compiled modules; that of models is judged in `harness.oracles.cached_models`.

No run fills a cache, so each run tries the runtime's own, small, over a folder and a compiler of the harness: modules
are asked for and let go in an order drawn from the run's seed, while files of the folder are damaged, swapped, forged.
Compared are what the asker knows (what it asked for and still holds), what the cache notes, and what the folder and the
compiler saw. Against: a wrong victim, bytes that are not counted, code that is used unverified.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from harness.adapters.folder import CompilerEvent, FolderEvent, ObservedCompiler, Seen, SimFolder, digest
from harness.oracles import cached_models
from harness.oracles.judged import Judged
from harness.oracles.verdict import Unjudged
from runtime.lru import CacheEvent, Key, Pin
from runtime.wasm.artefacts import Artefacts
from runtime.wasm.compiled import ModuleCache
from runtime.wasm.text import assemble

TRIALS = 8  # different ones; a process makes each once
STEPS = 70
MODULES = 7
MEMORY, DISK = 60_000, 110_000  # bytes: three or four modules, and five or six
_KEY, _FOREIGN = b"the key of a trial", b"the key of another"


class Asked(NamedTuple):
    """The asker wants `key`, whose source has this sha256."""

    key: Key
    wasm: str


class Let(NamedTuple):
    """The asker no longer uses what it was given by this number."""

    number: int


class Given(NamedTuple):
    """The asker has what it asked for, and uses it from now on. What was passed on is its own, and no entry's."""

    key: Key
    number: int


class Ended(NamedTuple):
    """The asker's process ends; the next one has an empty memory, and the same folder."""


def lru(run: Judged) -> list[str]:
    """I23, on trials by the run's seed and on what its devices held; a run that loaded no module says nothing."""
    if not run.journal.blocks or not run.crossings:
        raise Unjudged("no module was loaded, or the journal does not say what for")
    seed = run.history.plan.seed
    return [*_tried(seed % TRIALS), *cached_models.tried(seed % cached_models.TRIALS), *cached_models.held(run)]


@lru_cache(maxsize=TRIALS)
def _tried(number: int) -> tuple[str, ...]:
    seen: Seen = []
    try:
        _trial(number, seen)
    except Exception as error:
        return (f"trial {number}: {type(error).__name__} after event {len(seen)}: {error}",)
    return tuple(f"trial {number}: {line}" for line in (*wrong(seen), *wrong_on_disk(seen, DISK)))


# --- what is compared -------------------------------------------------------------------------------------------------


def wrong(seen: Sequence[object]) -> list[str]:
    """What the cache did that the asker's own account does not call for."""
    kept: OrderedDict[Key, int] = OrderedDict()
    used: dict[int, Key] = {}
    found: list[str] = []
    known: dict[str, set[str]] = {}
    asked, evicted = "", 0
    for index, event in enumerate(seen):
        where = f"event {index}"
        if isinstance(event, Asked):
            asked, evicted = event.wasm, 0
        elif isinstance(event, Given):
            if event.key in kept:
                used[event.number] = event.key
        elif isinstance(event, Let):
            used.pop(event.number, None)
        elif isinstance(event, Ended):
            kept.clear()
            used.clear()
        elif isinstance(event, CompilerEvent):
            if event.op == "compiled":
                known.setdefault(event.wasm, set()).add(event.code)
            elif event.code not in known.get(asked, ()):
                found.append(f"{where}: code {event.code[:12]} is loaded, which is not what {asked[:12]} compiles to")
        elif isinstance(event, CacheEvent):
            found += [f"{where}: {what}" for what in _noted(event, kept, set(used.values()), evicted)]
            evicted = event.size if event.op == "evicted" else evicted
    return found


def _noted(event: CacheEvent, kept: OrderedDict[Key, int], pinned: set[Key], evicted: int) -> Iterator[str]:
    """One note of the cache, against `kept` (by recency), which is brought up to date."""
    name = event.key[1]
    if event.op == "hit":
        if event.key not in kept:
            yield f"{name} is found, and was not kept"
        else:
            kept.move_to_end(event.key)
    elif event.op == "missed" and event.key in kept:
        yield f"{name} is not found, and was kept"
    elif event.op == "evicted":
        free = [key for key in kept if key not in pinned]
        if event.key in pinned:
            yield f"{name} is evicted while it is used"
        elif not free or free[0] != event.key:
            yield f"{name} is evicted, the least recent is {free[0][1] if free else 'none'}"
        kept.pop(event.key, None)
    elif event.op == "kept":
        if evicted and sum(kept.values()) + evicted + event.size <= event.budget:
            yield f"{evicted} B were evicted for {name}, which fitted without"
        kept[event.key] = event.size
    elif event.op == "passed" and sum(kept.get(key, 0) for key in pinned) + event.size <= event.budget:
        yield f"{name} is not kept, and fits"
    if event.held > event.budget:
        yield f"{event.held} B are held, the budget is {event.budget}"
    if event.held != sum(kept.values()):
        yield f"{event.held} B are said to be held, there are {sum(kept.values())}"


def wrong_on_disk(seen: Sequence[object], budget: int) -> list[str]:
    """Files beyond the budget, and files that left although another was less recent."""
    recent: OrderedDict[str, None] = OrderedDict()
    found: list[str] = []
    last = ""
    for index, event in enumerate(seen):
        last = "" if isinstance(event, Asked) else last
        if not isinstance(event, FolderEvent):
            continue
        if event.op == "removed":
            if event.name != last and recent and next(iter(recent)) != event.name:
                found.append(f"event {index}: file {event.name[:12]} leaves, the least recent is another")
            recent.pop(event.name, None)
        else:
            recent.pop(event.name, None)
            recent[event.name] = None
        last = event.name if event.op == "read" else ""  # one that was read and is removed at once was bad
        if event.held > budget:
            found.append(f"event {index}: {event.held} B of files, the budget is {budget}")
    return found


# --- the trial --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _modules() -> tuple[bytes, ...]:
    """Modules whose code has different sizes."""
    texts = (f'(module (memory 1) (data (i32.const 0) "{"x" * 3000 * m}"))' for m in range(1, MODULES + 1))
    return tuple(assemble(text) for text in texts)


def _trial(number: int, seen: Seen) -> None:
    folder = SimFolder(seen)
    cache = _cache(folder, seen)
    held: list[tuple[int, Pin]] = []
    for step in range(STEPS):
        draw = hashlib.sha256(f"I23 {number} {step}".encode()).digest()
        for _ in range(min(len(held), (0, 1, 1, 2)[draw[0] % 4])):
            given, pin = held.pop(draw[1] % len(held))
            seen.append(Let(given))
            pin.release()
        if draw[2] % 3 == 0:
            damage(folder.files, draw[3:])
        if draw[8] % 16 == 0:  # the process ends, and the next one finds the folder
            held.clear()
            seen.append(Ended())
            cache = _cache(folder, seen)
        held.append((step, _asked(cache, draw[9] % MODULES, step, seen)))


def _cache(folder: SimFolder, seen: Seen) -> ModuleCache:
    artefacts = Artefacts(folder, _KEY, DISK)
    return ModuleCache(MEMORY, artefacts, compiler=ObservedCompiler(seen), note=seen.append)


def _asked(cache: ModuleCache, which: int, number: int, seen: Seen) -> Pin:
    wasm = _modules()[which]
    key = (digest(wasm), f"module {which}")
    seen.append(Asked(key, key[0]))
    _, pin = cache.use(key, lambda: wasm, lambda module: module)
    seen.append(Given(key, number))
    return pin


def damage(files: dict[str, bytes], draw: bytes) -> None:
    """One file is altered, cut, emptied, changed with another, or written under another key."""
    names = sorted(files)
    if not names:
        return
    name, other = names[draw[0] % len(names)], names[draw[1] % len(names)]
    data = files[name]
    how = draw[2] % 5
    if how == 0:
        at = int.from_bytes(draw[3:5], "big") % max(1, len(data) if draw[4] % 2 else min(len(data), 100))
        files[name] = data[:at] + bytes([data[at] ^ 1 << draw[4] % 8]) + data[at + 1 :] if data else b""
    elif how == 1:
        files[name] = data[: len(data) * draw[3] // 256]
    elif how == 2:
        files[name], files[other] = files[other], data
    elif how == 3:
        forged: Seen = []
        writer = SimFolder(forged)
        Artefacts(writer, _FOREIGN).put(name, data[-64:])
        files[name] = writer.files[name]
    else:
        files[name] = data[1:] + data[:1]
