"""Recipes for faults of links, shared memory and modules: how a pick's integers become addresses and parameters.

Rates, windows and times are those of the catalogue where the simulated run is long enough for them: it lasts some
50 ms of virtual time, so a link that the catalogue stops for seconds is stopped for as long as a lease or two.
"""

from __future__ import annotations

from faults.catalogue import kind_of
from faults.memory_kinds import STUCK_STORES_MAX
from faults.module_kinds import MODULE_KINDS
from faults.pipe_kinds import WAYS
from faults.plan import Fault
from faults.signed_kinds import SIGNED_KINDS
from faults.wasm_kinds import FUEL_TOP, MISUSES, TRAPS, VALUES
from harness.events import Chooser, Events, Recipe, at_step, step_of
from runtime.buffers import CHUNK, HEAD
from runtime.physical import MS

_VERBS = ("lose", "lose", "duplicate", "delay", "corrupt")
_PERCENT = {"lose": 30, "duplicate": 50, "delay": 50, "corrupt": 33}  # the catalogue's highest rates
_BURST = 80  # a frame after one that was hit, in percent


def exponential(drawn: int, mean: int) -> int:
    """An exponentially distributed number with this mean, by integers alone, of 32 random bits.

    The place of the first one bit is geometric with a half; what follows it is spread evenly: -log2 of a uniform
    number, in straight pieces. The mean of that is 1.5 instead of 1/ln 2 = 1.44.
    """
    bits = drawn & 0xFFFFFFFF
    zeros = 32 - bits.bit_length()
    rest = (bits << zeros + 1) & 0xFFFFFFFF
    return mean * ((zeros << 16) + 65_536 - (rest >> 16)) // (3 << 15)


def reorder(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of(events.steps, chooser)
    if step is None:
        return None
    window = 1 + chooser.below(20)
    direction = ("work", "done", "release")[chooser.below(3)]
    if direction == "release":
        at: dict[str, int | str] = {"direction": direction, "block": 1 + chooser.below(events.blocks)}
    else:
        at, window = {**at_step(step), "direction": direction}, 1 + window % 3  # one frame at a time is on its way
    return Fault(kind="frame.reorder", at=at, with_={"window": window, "for": (6 + chooser.below(60)) * MS})


def make_noise(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    tick = events.ticks[chooser.below(len(events.ticks))]
    verb = _VERBS[chooser.below(len(_VERBS))]
    directions = ("work", "done") if verb == "duplicate" else ("work", "done", "release")
    with_: dict[str, int | str] = {"verb": verb, "percent": 1 + chooser.below(_PERCENT[verb])}
    with_["burst"] = _BURST * chooser.below(2)
    with_["ticks"] = 1 + chooser.below(20)
    if verb == "delay":
        with_["for"] = min(19 * MS, 5 * MS + exponential(chooser.below(1 << 32), 5 * MS))
    return Fault(
        kind="link.noise", at={"tick": tick, "direction": directions[chooser.below(len(directions))]}, with_=with_
    )


def clog(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    tick = events.ticks[chooser.below(len(events.ticks))]
    with_: dict[str, int | str] = {"percent": 1 + chooser.below(100), "swizzle": ("yes", "no")[chooser.below(2)]}
    with_["for"] = min(200 * MS, 6 * MS + exponential(chooser.below(1 << 32), 20 * MS))
    return Fault(kind="link.clog", at={"tick": tick}, with_=with_)


def partition(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of(events.steps, chooser)
    if step is None:
        return None
    at: dict[str, int | str] = at_step(step) if chooser.below(4) else {"tick": step.tick}
    with_: dict[str, int | str] = {"way": WAYS[chooser.below(len(WAYS))]}
    with_["for"] = min(200 * MS, 2 * MS + exponential(chooser.below(1 << 32), 15 * MS))
    return Fault(kind="link.partition", at=at, with_=with_)


def stall_client(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    with_: dict[str, int | str] = {"how": ("slow", "away")[chooser.below(2)]}
    with_["for"] = min(200 * MS, 12 * MS + exponential(chooser.below(1 << 32), 20 * MS))
    return Fault(kind="client.stall", at={"block": 1 + chooser.below(events.blocks)}, with_=with_)


def break_pipe(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of(events.steps, chooser)
    if step is None:
        return None
    error = ("epipe", "short_write")[chooser.below(2)]
    with_: dict[str, int | str] = {"error": error}
    if error == "short_write":
        with_["byte"] = chooser.below(1 << 12)
    return Fault(kind="pipe.errno", at=at_step(step), with_=with_)


def abandon(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of(events.writing or events.steps, chooser)
    if step is None:
        return None
    return Fault(kind="lock.abandon", at={**at_step(step), "point": ("after", "idle")[chooser.below(2)]})


def byte_classes(length: int) -> tuple[int, ...]:
    """Where a write of so many bytes can end, one of each sort: in every field of the head, at every chunk's edges."""
    fields = (0, 1, 8, 9, 16, 20, 24, HEAD - 1, HEAD)  # mark, version, length, checksum, padding
    whole = HEAD + length
    chunks = [HEAD + edge + beside for edge in range(0, length + 1, CHUNK) for beside in (-1, 0, 1)]
    second = [whole + place for place in (-1, 0, 1, 7, 8, 9, 16, 20, 24, HEAD - 1, HEAD)]  # the head's second store
    return tuple(sorted({place for place in (*fields, *chunks, *second) if 0 <= place <= whole + HEAD}))


def _version(events: Events, chooser: Chooser) -> dict[str, int | str] | None:
    if not events.read:
        return None
    buffer, version = events.read[chooser.below(len(events.read))]
    return {"buffer": buffer, "version": version}


def tear_read(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    """A version is loaded twice by each of its readers: its head, then its bytes."""
    at = _version(events, chooser)
    if at is None:
        return None
    at["occurrence"] = (1, 2, 2, 3, 3, 4)[chooser.below(6)]
    with_: dict[str, int | str] = {"byte": chooser.below(1 << 16), "half": ("second", "first")[chooser.below(2)]}
    return Fault(kind="buffer.torn_read", at=at, with_=with_)


def stick_byte(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    at = _version(events, chooser)
    if at is None:
        return None
    byte = chooser.below(1 << 16)
    return Fault(kind="buffer.stuck", at=at, with_={"byte": byte, "stores": 1 + chooser.below(STUCK_STORES_MAX)})


def zero_page(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    at = _version(events, chooser)
    if at is None:
        return None
    byte = chooser.below(1 << 16)
    return Fault(kind="buffer.zero", at=at, with_={"byte": byte, "length": 1 + chooser.below(4096)})


def run_into_trap(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of([s for s in events.steps if s.kind == "step"], chooser)
    if step is None:
        return None
    return Fault(kind="wasm.trap", at=at_step(step), with_={"code": TRAPS[chooser.below(len(TRAPS))]})


def starve(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    """Less fuel than the twin's step used, so that it runs out somewhere in it."""
    step = step_of([s for s in events.steps if s.kind == "step" and s.fuel > 0], chooser)
    if step is None:
        return None
    return Fault(kind="agent.fuel_out", at=at_step(step), with_={"fuel": chooser.below(min(step.fuel, FUEL_TOP + 1))})


def refuse_growth(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of([s for s in events.steps if s.kind == "step"], chooser)
    if step is None:
        return None
    pages = (1, 1, 2, 65_535)[chooser.below(4)]
    return Fault(kind="wasm.grow_refused", at=at_step(step), with_={"pages": pages})


def misuse(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of([s for s in events.calling or events.steps if s.kind == "step"], chooser)
    if step is None:
        return None
    what, values = MISUSES[chooser.below(len(MISUSES))], (*VALUES, "edge", "edge")
    return Fault(
        kind="agent.misuse", at=at_step(step), with_={"what": what, "value": values[chooser.below(len(values))]}
    )


def _at_a_load(slug: str) -> Recipe:
    """An agent's step that waits for a module; which one, by the kind's own parameter."""
    [key] = kind_of(slug).params

    def recipe(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
        step = step_of([s for s in events.steps if s.kind == "step"], chooser)
        if step is None:
            return None
        value = key.words[chooser.below(len(key.words))] if key.words else chooser.below(key.high + 1)
        return Fault(kind=slug, at=at_step(step), with_={key.name: value})

    return recipe


RECIPES: dict[str, tuple[Recipe, ...]] = {
    "frame.reorder": (reorder,),
    "link.noise": (make_noise,),
    "link.clog": (clog,),
    "link.partition": (partition,),
    "client.stall": (stall_client,),
    "pipe.errno": (break_pipe,),
    "lock.abandon": (abandon,),
    "buffer.torn_read": (tear_read,),
    "buffer.stuck": (stick_byte,),
    "buffer.zero": (zero_page,),
    "wasm.trap": (run_into_trap,),
    "agent.fuel_out": (starve,),
    "wasm.grow_refused": (refuse_growth,),
    "agent.misuse": (misuse,),
    **{kind.slug: (_at_a_load(kind.slug),) for kind in (*SIGNED_KINDS, *MODULE_KINDS)},
}  # buffer.stale_handle and buffer.second_writer: by their address forms
