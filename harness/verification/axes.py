"""The axes of determinism: what is varied, what must not change, and whether what varied was real or simulated.

Each scenario is run once, plainly, in a fresh interpreter; every other run is compared with that one: the journal on
every axis, the trace where only repetition, process or hash seed differ. `physical` is an axis on which something real
was varied (an interpreter, its clocks, its share of the processor, a reading process, another machine); on a
`simulated` one it exists only under the virtual clock. Runs of one interpreter follow each other; interpreters work
side by side.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from faults.plan import Plan, plan_to_json
from harness.verification.divergence import Divergence, first_divergence
from harness.verification.faulty import faulty_plans, removal_plans
from harness.verification.idle import idle_plan
from harness.verification.interpreters import Host, Interpreter, Request
from harness.verification.sample import Sample
from harness.verification.variation import Variation

SIMULATED, PHYSICAL = "simulated", "physical"
WORKERS = (1, 2, 4, 7)
SPEEDS = ((7, 1), (1, 7), (40, 3, 1))
ORDERS = (1, 2, 3)
OBSERVERS = (1, 4)
REPETITIONS = 3


class Axis(Struct, frozen=True, kw_only=True):
    """One axis' result. `digests` are the journals' by variant, `traces` the traces' where these count."""

    equal: bool
    evidence: str
    digests: dict[str, str]
    traces: dict[str, str] = {}
    note: str = ""


class Variant(NamedTuple):
    """One run of an axis: in which interpreter (a fresh one for each name), of which plan, varied how."""

    axis: str
    label: str
    host: str
    plan: str = "plain"
    variation: Variation = Variation()


class Kind(NamedTuple):
    """An axis: its evidence, whether traces are compared too, and what it says of itself."""

    evidence: str
    traces: bool
    note: str


AXES: dict[str, Kind] = {
    "repetition": Kind(SIMULATED, True, "again and again in one interpreter"),
    "process": Kind(PHYSICAL, True, "fresh interpreters with the same hash seed"),
    "hash seed": Kind(PHYSICAL, True, "fresh interpreters with other values of PYTHONHASHSEED"),
    "collector": Kind(PHYSICAL, False, "the cycle collector runs all the time, not at all in the plain run"),
    "wall clock": Kind(
        PHYSICAL, False, "an interpreter whose clocks are more than a year ahead and three times as fast"
    ),
    "host speed": Kind(PHYSICAL, False, "nice 19 on a single core, and real stalls between events"),
    "observers": Kind(PHYSICAL, False, "processes that tail the run's files while they are written"),
    "workers": Kind(SIMULATED, False, "other numbers of workers"),
    "worker speeds": Kind(SIMULATED, False, "workers of unequal speed, leases that run out included"),
    "devices": Kind(SIMULATED, False, "the CPU alone, and the simulated accelerator taken away in mid-run"),
    "same-time order": Kind(SIMULATED, False, "events of one moment of the virtual clock in another order"),
    "faults": Kind(SIMULATED, False, "transparent faults that took effect, and none"),
    "idle faults": Kind(SIMULATED, True, "a plan of faults that never strike, through all their wrappers"),
    "machine": Kind(PHYSICAL, False, "what was exported elsewhere; that it was made on another machine is not checked"),
}

HOSTS: dict[str, Host] = {
    "plain": Host(),
    "process 2": Host(),
    "process 3": Host(),
    "hash seed 1": Host(hash_seed="1"),
    "hash seed random": Host(hash_seed="random"),
    "wall clock": Host(changes=("shifted",)),
    "nice 19, one core": Host(nice=19, one_core=True),
}


def variants(plans: Sequence[str]) -> Iterator[Variant]:
    """Every run that is made; the first one is the plain run that all others are compared with."""
    yield Variant("repetition", "run 1", "plain")
    for number in range(2, REPETITIONS + 1):
        yield Variant("repetition", f"run {number}", "plain")
    for number in (2, 3):
        yield Variant("process", f"process {number}", f"process {number}")
        yield Variant("repetition", f"process {number}, run 2", f"process {number}")
    yield Variant("hash seed", "1", "hash seed 1")
    yield Variant("hash seed", "random", "hash seed random")
    yield Variant("collector", "eager", "process 3", variation=Variation(eager=True))
    yield Variant("wall clock", "a year ahead", "wall clock")
    yield Variant("host speed", "nice 19, one core", "nice 19, one core")
    yield Variant("host speed", "stalls", "nice 19, one core", variation=Variation(stalls=1))
    for count in OBSERVERS:
        yield Variant("observers", str(count), "process 2", variation=Variation(observers=count))
    for count in WORKERS:
        yield Variant("workers", str(count), "process 2", f"workers {count}")
    for slowness in SPEEDS:
        label = " : ".join(map(str, slowness))
        yield Variant("worker speeds", label, "process 2", variation=Variation(slowness=slowness))
    yield Variant("devices", "cpu", "process 3", variation=Variation(accelerator=False))
    for seed in ORDERS:
        yield Variant("same-time order", f"permutation {seed}", "process 3", variation=Variation(order=seed))
    for name in plans:
        if name.startswith("removal"):
            yield Variant("devices", f"accelerator, {name}", "process 3", name)
        elif name.startswith("faults"):
            yield Variant("faults", name, "process 2", name)
    yield Variant("faults", "off", "plain")
    yield Variant("idle faults", "none strikes", "process 2", "idle", Variation(hazards=False))
    if "faults 1" in plans:
        yield Variant("same-time order", "permutation 1, with faults", "process 3", "faults 1", Variation(order=1))


class Unequal(NamedTuple):
    """A run that differs from the plain one, and where it does first."""

    variant: Variant
    divergence: Divergence
    failure: str


class Verified(NamedTuple):
    """All axes of one scenario, the runs that they rest on, and those that differ, in the order of the axes."""

    axes: dict[str, Axis]
    samples: list[tuple[Variant, Sample]]
    unequal: list[Unequal]

    @property
    def equal(self) -> bool:
        return all(axis.equal for axis in self.axes.values())


class Bench:
    """Makes runs of one scenario's plans in child interpreters, with all files in a folder that goes at the end."""

    def __init__(self, plain: Plan, stack: contextlib.ExitStack) -> None:
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wasm-engine-verify-")))
        self._stack = stack
        self._started = 0
        self._plans: dict[str, Path] = {}
        self.add("plain", plain)

    def add(self, name: str, plan: Plan) -> None:
        path = self.folder / f"plan-{len(self._plans):03}.json"
        path.write_text(plan_to_json(plan), "utf-8")
        self._plans[name] = path

    @property
    def plans(self) -> list[str]:
        return list(self._plans)

    def request(self, plan: str, variation: Variation, fork: bool = False) -> Request:
        return Request(plan=self._plans[plan], variation=variation, fork=fork)

    def plain(self, fork: bool = False) -> Request:
        return self.request("plain", Variation(), fork)

    def start(self, host: Host) -> Interpreter:
        """A fresh interpreter; it is ended with the bench."""
        self._started += 1
        return self._stack.enter_context(Interpreter(host, self.folder / f"{self._started:03}"))


@contextlib.contextmanager
def bench(plain: Plan) -> Iterator[Bench]:
    """A bench with the plain plan, and those that differ from it in what must not matter."""
    with contextlib.ExitStack() as stack:
        made = Bench(plain, stack)
        for count in WORKERS:
            made.add(f"workers {count}", replace(plain, physical=replace(plain.physical, workers=count)))
        for number, plan in enumerate(removal_plans(plain), 1):
            made.add(f"removal {number}", plan)
        for number, plan in enumerate(faulty_plans(plain), 1):
            made.add(f"faults {number}", plan)
        made.add("idle", idle_plan(plain))
        yield made


def verify(
    on: Bench, news: Callable[[str], None] = lambda what: None, against: tuple[str, Sample] | None = None
) -> Verified:
    """Make all runs of one scenario and compare them, and with another machine's export (its name, its journal)."""
    wanted = list(variants(on.plans))
    by_host: dict[str, list[Variant]] = {}
    for variant in wanted:
        by_host.setdefault(variant.host, []).append(variant)
    interpreters = {}
    for name, asked in by_host.items():
        interpreters[name] = on.start(HOSTS[name])
        for variant in asked:
            interpreters[name].ask(on.request(variant.plan, variant.variation))
    samples: dict[Variant, Sample] = {}
    for name, asked in by_host.items():
        for variant in asked:
            samples[variant] = interpreters[name].answer()
            news(f"{variant.axis} {variant.label}")
    notes = {"host speed": _share(interpreters["nice 19, one core"].got())}
    made = [(variant, samples[variant]) for variant in wanted]
    if against is not None:
        made.append((Variant("machine", against[0], ""), against[1]))
    return compare(made, notes)


def _share(got: dict[str, int] | None) -> str:
    """What the slow interpreter ran with, as it says itself."""
    got = got or {}
    return f"ran with nice {got.get('nice', 'not to be had')} on {got.get('cores', 'all')} core(s)"


def compare(samples: list[tuple[Variant, Sample]], notes: dict[str, str]) -> Verified:
    """The axes, from runs of which the first is the plain one."""
    plain = samples[0][1]
    axes: dict[str, Axis] = {}
    unequal: list[Unequal] = []
    for name, kind in AXES.items():
        own = [(variant, sample) for variant, sample in samples if variant.axis == name]
        if not own:
            continue
        for variant, sample in own:
            found = first_divergence(plain, sample, kind.traces)
            if found is None and sample.failure:
                found = _failed(plain)
            if found is not None:
                unequal.append(Unequal(variant, found, sample.failure))
        same = not any(one.variant.axis == name for one in unequal)
        axes[name] = Axis(
            equal=same and all(sample.journal_digest for _, sample in own) and bool(plain.journal_digest),
            evidence=kind.evidence,
            digests={variant.label: sample.journal_digest for variant, sample in own},
            traces={variant.label: sample.trace_digest for variant, sample in own} if kind.traces else {},
            note="; ".join([kind.note, *filter(None, [notes.get(name), *_told(plain, own, kind)])]),
        )
    return Verified(axes, samples, unequal)


def _told(plain: Sample, own: list[tuple[Variant, Sample]], kind: Kind) -> list[str]:
    """How many of the runs took another way, and what observers said of what they read."""
    said = [f"{variant.label}: {', '.join(sample.told)}" for variant, sample in own if sample.told]
    if not kind.traces and kind.evidence == SIMULATED:
        other = sum(sample.trace_digest != plain.trace_digest for _, sample in own)
        said.append(f"{other} of {len(own)} runs had another trace")
    return said


def _failed(plain: Sample) -> Divergence:
    """A run that ended early, with nothing in its journal that differs: the difference is behind its end."""
    return Divergence(
        part="journal",
        block=len(plain.links),
        record=0,
        section="end",
        index=0,
        field="",
        here="",
        there="",
        value_here=None,
        value_there=None,
        probes=0,
    )
