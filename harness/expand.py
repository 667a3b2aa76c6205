"""From picks to addresses: a draft's integers become faults at events that exist in the twin.

The twin runs once per workload; what happened in it (steps with their host calls, published and read versions, blocks)
is the list from which addresses are taken. A recipe is one way to hit something with a kind of fault; which kinds a
run draws from is its mix (`faults.profiles`).
"""

from __future__ import annotations

from msgspec.structs import replace

from faults.budget import check
from faults.catalogue import kind_of
from faults.kinds import KINDS
from faults.model_kinds import BITS, OUTPUTS, PLACES, SWAPS
from faults.plan import Fault, Plan
from faults.profiles import Mix, everything, find
from harness import aims
from harness.clock_aims import CLOCK_AIMS
from harness.combined_aims import COMBINED_AIMS
from harness.disk_recipes import DISK_RECIPES
from harness.events import Chooser, Events, Recipe, RequestEvent, StepEvent, at_step, events_of, step_of
from harness.recipes import RECIPES, byte_classes
from harness.repair_aims import REPAIR_AIMS
from harness.worker_aims import WORKER_AIMS, kill_together
from harness.workload_aims import WORKLOAD_AIMS
from runtime.errors import Refused
from runtime.physical import MS, Physical
from runtime.second import MILLION
from scenarios.strategies import PICK_KINDS, Draft

__all__ = [
    "AIMS",
    "CHECKED",
    "STRESS",
    "TRANSPARENT",
    "Chooser",
    "Events",
    "Recipe",
    "RequestEvent",
    "StepEvent",
    "aimed",
    "checked",
    "events_of",
    "expand",
    "possible",
    "within_budget",
]

PHASES = ("admit", "dispatch", "await", "commit", "sync", "release", "snapshot")
POINTS = ("before", "within", "after")
DIRECTIONS = ("work", "done", "work", "done", "inputs", "release")
WORKER_FRAMES = ("work", "done", "work", "done", "inputs")  # a client drops a second release without a word
DEVICE_PHASES = ("generation", "generation", "idle", "load")
REMOVALS = ("exit", "exit", "failure", "hang", "late")
WRONG = ("token", "logits", "kv")
MODES = ("flip", "flip", "flip", "truncate", "length")


def kill_worker(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of(events.steps, chooser)
    if step is None:
        return None
    point = chooser.below(4)
    if point == 0:
        return Fault(kind="worker.kill", at=at_step(step))
    if point == 1:
        return Fault(kind="worker.kill", at={**at_step(step), "point": "after"})
    step = step_of(events.calling, chooser) or step
    return Fault(kind="worker.kill", at={**at_step(step), "hostcall": 1 + chooser.below(max(1, step.calls))})


def tear_copy(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of(events.writing, chooser)
    if step is None:
        return None
    if chooser.below(2):
        return Fault(kind="worker.kill", at={**at_step(step), "byte": chooser.below(step.stored + 64)})
    classes = byte_classes(step.stored)
    return Fault(kind="worker.kill", at={**at_step(step), "byte": classes[chooser.below(len(classes))]})


def stall_worker(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of(events.steps, chooser)
    if step is None:
        return None
    held = 0 if chooser.below(2) else (25 + chooser.below(100)) * MS
    return Fault(kind="worker.stall", at=at_step(step), with_={"for": held} if held else {})


def _frame(verb: str) -> Recipe:
    def recipe(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
        step = step_of(events.steps, chooser)
        if step is None:
            return None
        directions = WORKER_FRAMES if verb == "duplicate" else DIRECTIONS
        direction = directions[chooser.below(len(directions))]
        at: dict[str, int | str] = {"direction": direction}
        if direction in ("work", "done"):
            at |= at_step(step)
        elif direction == "release":
            at["block"] = 1 + chooser.below(events.blocks)
        else:
            at["occurrence"] = 1 + chooser.below(4)
        with_: dict[str, int | str] = {}
        if verb == "delay":
            with_["for"] = (6 + chooser.below(60)) * MS
        elif verb == "duplicate":
            with_["for"] = chooser.below(3) * MS
        elif verb == "corrupt":
            with_ = {"bit": chooser.below(1 << 20), "mode": MODES[chooser.below(len(MODES))]}
        return Fault(kind=f"frame.{verb}", at=at, with_=with_)

    return recipe


def flip_buffer(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    if not events.read:
        return None
    buffer, version = events.read[chooser.below(len(events.read))]
    bit, bits = chooser.below(1 << 16), 1 + chooser.below(64)
    return Fault(kind="buffer.flip", at={"buffer": buffer, "version": version}, with_={"bit": bit, "bits": bits})


def kill_orchestrator(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    if chooser.below(8) == 7 and any(f.kind == "orchestrator.kill" for f in so_far):
        at: dict[str, int | str] = {"after": 1, "call": 1 + chooser.below(60)}
    else:
        tick = events.ticks[chooser.below(len(events.ticks))]
        at = {"tick": tick, "phase": PHASES[chooser.below(len(PHASES))]}
    return Fault(kind="orchestrator.kill", at={**at, "point": POINTS[chooser.below(3)]})


def trap_agent(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of(events.calling, chooser)
    if step is None:
        return None
    return Fault(kind="agent.trap", at={**at_step(step), "hostcall": 1 + chooser.below(step.calls)})


def pass_bad_pointer(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of(events.calling, chooser)
    if step is None:
        return None
    return Fault(kind="agent.bad_pointer", at=at_step(step), with_={"hostcall": 1 + chooser.below(step.calls)})


def _request(events: Events, chooser: Chooser) -> RequestEvent | None:
    return events.requests[chooser.below(len(events.requests))] if events.requests else None


def remove_device(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    """An accelerator gone at a request, or while it loads a model: at first, or after it went before."""
    one = _request(events, chooser)
    if one is None:
        return None
    how, phase = REMOVALS[chooser.below(len(REMOVALS))], DEVICE_PHASES[chooser.below(len(DEVICE_PHASES))]
    with_: dict[str, int | str] = {"how": how, "for": chooser.below(60) * MS}
    if phase == "load":
        starts = [0, *(fault.number("tick") for fault in so_far if fault.kind == "gpu.remove" and "tick" in fault.at)]
        return Fault(kind="gpu.remove", at={"tick": starts[chooser.below(len(starts))], "phase": phase}, with_=with_)
    if chooser.below(3):
        return Fault(kind="gpu.remove", at={"tick": one.tick, "phase": phase}, with_=with_)
    return Fault(kind="gpu.remove", at={"request": one.request, "phase": phase}, with_=with_)


def flap_device(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    """A second removal soon after one that the plan has; the first one where it has none."""
    gone = [fault for fault in so_far if fault.kind == "gpu.remove"]
    if not gone:
        return remove_device(events, chooser, so_far)
    first = gone[chooser.below(len(gone))]
    at = max([first.number("tick"), *(r.tick for r in events.requests if r.request == first.number("request"))])
    how = REMOVALS[chooser.below(len(REMOVALS))]
    return Fault(
        kind="gpu.remove", at={"tick": at + chooser.below(4)}, with_={"how": how, "for": chooser.below(30) * MS}
    )


def miss_device(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    one = _request(events, chooser)
    if one is None:
        return None
    tick = 0 if chooser.below(2) else one.tick
    return Fault(kind="gpu.absent", at={"tick": tick}, with_={"for": (1 + chooser.below(60)) * MS})


def _batch(kind: str) -> Recipe:
    def recipe(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
        one = _request(events, chooser)
        if one is None:
            return None
        # A request may be the CPU's when its turn comes; a tick waits for the accelerator to be back.
        form = chooser.below(4)
        at: dict[str, int | str] = {"request": one.request} if form == 0 else {"tick": one.tick}
        if form == 1:
            at["agent"] = one.agent
        with_: dict[str, int | str] = {}
        if kind == "gpu.slow":
            with_["factor"] = 2 + chooser.below(49) if chooser.below(4) else 200 + chooser.below(800)
        elif kind == "gpu.wrong":
            with_["what"] = WRONG[chooser.below(len(WRONG))]
        elif kind == "model.bad_output":
            with_ |= {"what": OUTPUTS[chooser.below(len(OUTPUTS))], "of": PLACES[chooser.below(len(PLACES))]}
        return Fault(kind=kind, at=at, with_=with_)

    return recipe


def evict_models(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    """Only where there are others to leave."""
    one = _request(events, chooser)
    if one is None or events.models < 2:
        return None
    at: dict[str, int | str] = {"request": one.request} if chooser.below(4) == 0 else {"tick": one.tick}
    return Fault(kind="model.evict", at=at, with_={"for": chooser.below(20) * MS})


def _load(kind: str, **params: int | tuple[str, ...]) -> Recipe:
    """The first loads of a device; `params` are further ones, below a number or one of these words."""

    def recipe(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
        if not events.requests:
            return None
        device = ("accel", "accel", "cpu")[chooser.below(3)]
        with_: dict[str, int | str] = {"attempts": 1 + chooser.below(5)}
        for name, values in params.items():
            with_[name] = chooser.below(values) if isinstance(values, int) else values[chooser.below(len(values))]
        return Fault(kind=kind, at={"device": device}, with_=with_)

    return recipe


# How each kind is aimed at events that exist, one of these at random; a kind that is not here is aimed by its address
# forms alone (`harness.aims`), so that one that is added to the catalogue is drawn without a line here.
AIMS: dict[str, tuple[Recipe, ...]] = {
    "worker.kill": (kill_worker, kill_worker, kill_worker, tear_copy, kill_together),
    "worker.stall": (stall_worker,),
    "frame.lose": (_frame("lose"),),
    "frame.duplicate": (_frame("duplicate"),),
    "frame.delay": (_frame("delay"),),
    "frame.corrupt": (_frame("corrupt"),),
    "buffer.flip": (flip_buffer,),
    "orchestrator.kill": (kill_orchestrator,),
    "agent.trap": (trap_agent,),
    "agent.bad_pointer": (pass_bad_pointer,),
    "gpu.remove": (remove_device, remove_device, flap_device),
    "gpu.absent": (miss_device,),
    "gpu.oom": (_batch("gpu.oom"),),
    "gpu.slow": (_batch("gpu.slow"),),
    "gpu.wrong": (_batch("gpu.wrong"),),
    "model.load_fail": (_load("model.load_fail"),),
    "model.flip": (_load("model.flip", bit=BITS),),
    "model.swap": (_load("model.swap", what=SWAPS),),
    "model.bad_output": (_batch("model.bad_output"),),
    "model.evict": (evict_models,),
    **RECIPES,
    **DISK_RECIPES,
}

AIMS |= WORKER_AIMS
AIMS |= REPAIR_AIMS
AIMS |= CLOCK_AIMS
AIMS |= WORKLOAD_AIMS
AIMS |= {slug: AIMS[slug] * 3 + more for slug, more in COMBINED_AIMS.items()}

STRESS = everything(find("stress"), "transparent", "visible", "workload")
TRANSPARENT = everything(find("transparent"))
CHECKED = everything(find("measured"))  # only where every answer is checked (`checked`)


def checked(physical: Physical) -> Physical:
    """The options under which everything that is computed is computed a second time."""
    return replace(physical, check_answers=True, check_ppm=MILLION)


def aimed(slug: str, events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...]:
    """Faults of this kind at an event that exists; none where there is no such event.

    One that belongs to a crash brings a crash with it where the plan has none to spare.
    """
    recipes = AIMS.get(slug)
    if recipes:
        found = recipes[chooser.below(len(recipes))](events, chooser, so_far)
        return (found,) if isinstance(found, Fault) else found or ()
    fault = aims.by_form(kind_of(slug), events, chooser, so_far)
    if fault is None and aims.is_of_crash(kind_of(slug)):
        kill = kill_orchestrator(events, chooser, so_far)
        fault = aims.by_form(kind_of(slug), events, chooser, [*so_far, kill]) if kill else None
        return (kill, fault) if kill and fault else ()
    return (fault,) if fault else ()


def possible(events: Events) -> tuple[str, ...]:
    """The kinds that can be aimed at something in a run with these events, in the catalogue's order."""
    there = [kind.slug for kind in KINDS if events.requests or not aims.needs_requests(kind)]
    return tuple(slug for slug in there if aimed(slug, events, Chooser(()), []))


def expand(draft: Draft, events: Events, physical: Physical, mix: Mix = STRESS) -> Plan:
    """The draft as a plan, within the fault budget: a fault that would exceed it is left out."""
    plan = Plan(scenario=draft.scenario, seed=draft.seed, inputs=draft.inputs, physical=physical)
    faults: list[Fault] = []
    mix = mix.only(possible(events))
    for pick in draft.picks:
        chooser = Chooser(pick[1:])
        slug = mix.pick(pick[0], PICK_KINDS)
        for fault in aimed(slug, events, chooser, faults) if slug else ():
            faults = within_budget(plan, faults, aims.narrowed(fault, mix, chooser))
    return replace(plan, faults=tuple(faults))


def within_budget(plan: Plan, faults: list[Fault], fault: Fault) -> list[Fault]:
    """The faults and this one, if it is new and a correct runtime can survive all of them together."""
    if fault in faults:
        return faults
    wider = [*faults, fault]
    try:
        check(replace(plan, inputs=(), faults=tuple(wider)))
    except Refused:
        return faults
    return wider
