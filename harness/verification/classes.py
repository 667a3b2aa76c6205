"""What a divergence comes from, by evidence: which axes differ, what targeted runs say, what the values look like.

Axes come first: what differs only with the hash seed is an order of sets or a hash, what differs only from an
interpreter's second run on is state left behind. Where plain repetition differs, fresh interpreters repeat the run with
one source of chance taken away (clocks frozen, entropy seeded, threads inline, memory at the same addresses), until the
record in question is the same in all of them: that source was it. The look of the values decides only what no run can,
and is told as such.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from harness.verification.axes import HOSTS, Bench, Unequal, Variant, Verified
from harness.verification.divergence import Divergence, first_divergence
from harness.verification.interpreters import Host
from harness.verification.sample import Sample

ORDER = "set or dict order"
ADDRESS = "id() or address"
CLOCK = "wall clock"
THREAD = "thread"
FLOAT = "float"
COLLECTOR = "garbage collection"
STATE = "state left from an earlier run"
RANDOM = "unseeded randomness"
ARRIVAL = "order of arrival"  # workers, speeds, devices, same-time events or faults show, and no float is in it
OBSERVED = "observer"
HOST = "host speed"
MACHINE = "machine"
UNEXPLAINED = "unexplained"

# Which axis says most about a difference, where several do.
PLAIN = ("repetition", "process")
PRECEDENCE = (
    *PLAIN,
    "hash seed",
    "collector",
    "wall clock",
    "host speed",
    "observers",
    "idle faults",
    "workers",
    "worker speeds",
    "same-time order",
    "devices",
    "faults",
    "machine",
)
BY_AXIS = {
    "hash seed": ORDER,
    "collector": COLLECTOR,
    "wall clock": CLOCK,
    "host speed": HOST,
    "observers": OBSERVED,
    "machine": MACHINE,
}
NEAR = 1e-6  # relative distance of two floats that are the same sum in another order
RUNS_EACH = 3  # of each targeted interpreter; there are two


class Classified(Struct, frozen=True, kw_only=True):
    """The class of a divergence, and the evidence for it, a line each."""

    class_: str
    why: tuple[str, ...]


def worst(verified: Verified) -> Unequal | None:
    """The run that says most about what is wrong; None when all are equal."""
    ordered = sorted(verified.unequal, key=lambda one: (PRECEDENCE.index(one.variant.axis), one.divergence.place))
    return ordered[0] if ordered else None


def classify(on: Bench, verified: Verified, found: Unequal) -> Classified:
    """The class of the divergence that `found` shows."""
    axes = sorted({one.variant.axis for one in verified.unequal}, key=PRECEDENCE.index)
    why = [
        f"differs over {', '.join(axes)}; equal over {', '.join(a for a in verified.axes if a not in axes) or 'none'}"
    ]
    axis = found.variant.axis
    if found.failure:
        why.append(f"the run failed: {found.failure}")
    if axis in PLAIN:
        return _of_chance(on, verified, found.divergence, why)
    look = look_of(found.divergence)
    why += look[1]
    if axis in BY_AXIS:
        class_ = FLOAT if axis == "machine" and look[0] == FLOAT else BY_AXIS[axis]
    else:
        class_ = FLOAT if look[0] == FLOAT else ARRIVAL
    return Classified(class_=class_, why=tuple(why))


def _of_chance(on: Bench, verified: Verified, divergence: Divergence, why: list[str]) -> Classified:
    """A difference between runs that nothing was varied between."""
    firsts, seconds = _by_turn(verified.samples)
    if agree(firsts, divergence):
        why.append(f"the first runs of {len(firsts)} fresh interpreters agree on this record")
        if agree(seconds, divergence):
            why.append(f"so do their second runs, which differ from the first: {len(seconds)} interpreters")
        return Classified(class_=STATE, why=tuple(why))
    for class_, host, said in _TARGETED:
        if all(agree(turn, divergence) for turn in _again(on, host)):
            why.append(f"{said}: {RUNS_EACH} runs in each of 2 fresh interpreters agree on this record, turn by turn")
            return Classified(class_=class_, why=tuple(why))
        why.append(f"{said}: they still differ")
    look, seen = look_of(divergence)
    if agree(_copies(on), divergence):
        why += ["copies of one process, at the same addresses, agree on this record", *seen]
        return Classified(class_=ORDER if look == ORDER else ADDRESS, why=tuple(why))
    why += ["copies of one process, at the same addresses, still differ", *seen]
    return Classified(class_=look if look == ADDRESS else UNEXPLAINED, why=tuple(why))


_TARGETED = (
    (CLOCK, Host(changes=("frozen",)), "with all clocks frozen"),
    (RANDOM, Host(changes=("seeded",)), "with the process's entropy seeded"),
    (THREAD, Host(changes=("inline",)), "with threads run inline, one after the other"),
)


def _by_turn(samples: Sequence[tuple[Variant, Sample]]) -> tuple[list[Sample], list[Sample]]:
    """The first and the second plain runs of interpreters that were started alike."""
    alike = [name for name, host in HOSTS.items() if host == Host()]
    turns: dict[str, list[Sample]] = {name: [] for name in alike}
    for variant, sample in samples:
        if variant.host in turns and variant.axis in PLAIN:
            turns[variant.host].append(sample)
    return [turn[0] for turn in turns.values() if turn], [turn[1] for turn in turns.values() if len(turn) > 1]


def _again(on: Bench, host: Host) -> list[list[Sample]]:
    """Runs of two interpreters, turn by turn: what goes on from run to run is the same in both."""
    interpreters = [on.start(host) for _ in range(2)]
    for interpreter in interpreters:
        for _ in range(RUNS_EACH):
            interpreter.ask(on.plain())
    return [[interpreter.answer() for interpreter in interpreters] for _ in range(RUNS_EACH)]


def _copies(on: Bench) -> list[Sample]:
    interpreter = on.start(Host())
    return [interpreter.run(on.plain(fork=True)) for _ in range(RUNS_EACH)]


def agree(samples: Sequence[Sample], divergence: Divergence) -> bool:
    """Whether all of these runs are equal up to this record, it included; a failed one agrees with none."""
    if len(samples) < 2 or any(sample.failure for sample in samples):
        return False
    for sample in samples[1:]:
        found = first_divergence(samples[0], sample)
        if found is not None and (found.part, found.place) <= (divergence.part, divergence.place):
            return False
    return True


# --- the look of values ---------------------------------------------------------------------------------------------

_HEX = re.compile(r"0x[0-9a-fA-F]{6,16}")
_DECIMAL = re.compile(r"-?[0-9]+\.[0-9]+(?:e-?[0-9]+)?")


def look_of(divergence: Divergence) -> tuple[str, list[str]]:
    """The class that two values look like, "" for none, and a line that says so."""
    here, there = divergence.value_here, divergence.value_there
    looks: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
        (ORDER, _permuted, "the same items in another order"),
        (FLOAT, _near, "fractions that differ in their last digits"),
        (ADDRESS, _addresses, "numbers of the size and alignment of addresses"),
    )
    for class_, test, said in looks:
        if test(here, there):
            return class_, [f"the values look like {said}"]
    return "", []


def _permuted(here: Any, there: Any) -> bool:
    if isinstance(here, str) and isinstance(there, str):
        here, there = (re.split(r"[\s,;]+", text) for text in (here, there))
    return isinstance(here, list) and isinstance(there, list) and here != there and _bag(here) == _bag(there)


def _bag(items: list[Any]) -> list[str]:
    return sorted(map(repr, items))


def _near(here: Any, there: Any) -> bool:
    texts = [str(value) for value in (here, there)]
    if not all(_DECIMAL.fullmatch(text) for text in texts):
        return False
    one, other = map(float, texts)
    return one != other and math.isclose(one, other, rel_tol=NEAR, abs_tol=NEAR)


def _addresses(here: Any, there: Any) -> bool:
    if isinstance(here, str) and isinstance(there, str):
        return bool(_HEX.search(here)) and _HEX.sub("0x", here) == _HEX.sub("0x", there)
    numbers = [value for value in (here, there) if isinstance(value, int) and not isinstance(value, bool)]
    return len(numbers) == 2 and all(1 << 24 <= number < 1 << 48 and number % 8 == 0 for number in numbers)
