"""Module instances under fault: a worker that dies in mid-call, a step that traps, misuses the host or lacks fuel.

Guards redo after a loss (transparent) and containment (visible). The visible ones depend on the logical step alone, so
they come out the same when the step is run again, replayed, or placed elsewhere; nothing counts how often they ran.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw, Struct
from msgspec.structs import replace

from faults.deaths import WorkerDied
from faults.injector import Fields, Injector
from faults.plan import Fault
from faults.wrappers import intruders
from faults.wrappers.intruders import FUEL_REASON, Intruder
from runtime.frames import StepArguments, arguments_of
from runtime.ports import Guest, Guests, GuestStep, Replayed
from runtime.state import AgentSpec

STOPPED = "stopped"  # the status of a step that was ended by `stop_at`
TRAP_REASON = "trap:injected"
POINTER_REASON = "bad_pointer"
BAD_POINTER = 0xFFFFFFFC
STEP_KINDS = ("agent.trap", "agent.bad_pointer", *intruders.KINDS)  # visible ones, each with its endings
RELOAD = "agent.reload"
_IN_STEPS = ("worker.kill", RELOAD, *STEP_KINDS)
_STRUCK = {"no": (), "trap": (TRAP_REASON,), "fuel": (FUEL_REASON,)}


def endings(fault: Fault) -> tuple[str, ...]:
    """The statuses that a step may have in the journal when a visible fault of these wrappers struck it.

    None for a reload that is not struck: how it ends is its module's affair.
    """
    if fault.kind == RELOAD:
        return _STRUCK[str(fault.get("struck"))]
    own = {"agent.trap": (TRAP_REASON,), "agent.bad_pointer": (POINTER_REASON,)}
    return own.get(fault.kind) or intruders.endings(fault)


class WorkerSite(Struct):
    """Where a worker is: the step it last entered, and the bytes it has stored into shared segments since."""

    worker: int
    tick: int = -1
    agent: int = -1
    stored: int = 0


class VisibleFaults:
    """Visible faults by step; `faults` is the plan's whole list, so that an index is the one of the plan."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._traps: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._pointers: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._intruders: dict[tuple[int, int], tuple[int, Fault]] = {}
        self._reloads: dict[tuple[int, int], tuple[int, str]] = {}
        # Where a copy may be torn, every step must be followed: the wrapper of the memory knows it from here alone.
        self.all = any("byte" in fault.at for fault in faults)
        self._agents = {fault.number("agent") for fault in faults if fault.kind in _IN_STEPS}
        # The steps in which anything may strike: asked for every step of these agents. Membership only.
        self.places = {(f.number("tick"), f.number("agent")) for f in faults if f.kind in _IN_STEPS}
        self._ticks: dict[int, tuple[int, ...]] = {}
        for tick, agent in sorted(self.places):
            self._ticks[agent] = (*self._ticks.get(agent, ()), tick)
        for index, fault in enumerate(faults):
            table = {"agent.trap": self._traps, "agent.bad_pointer": self._pointers}.get(fault.kind)
            step = (fault.number("tick"), fault.number("agent"))
            if fault.kind in intruders.KINDS:
                self._intruders.setdefault(step, (index, fault))  # one to a step: the first of the plan
            if fault.kind == RELOAD and endings(fault):
                self._reloads.setdefault(step, (index, str(fault.get("struck"))))
            if table is not None:
                table.setdefault(step, []).append((fault.number("hostcall"), index))

    def concerns(self, agent: int) -> bool:
        """Whether any fault of the plan can strike within a step of this agent."""
        return self.all or agent in self._agents

    def at(self, tick: int, agent: int) -> bool:
        """Whether any visible fault addresses this step."""
        step = tick, agent
        return step in self._traps or step in self._pointers or step in self._intruders or step in self._reloads

    def ticks(self, agent: int) -> tuple[int, ...]:
        """The ticks in which anything of the plan may strike within a step of this agent, in order."""
        return self._ticks.get(agent, ())

    def intruder(self, arguments: StepArguments) -> tuple[int, Fault] | None:
        """The fault that takes this step over, or its fuel."""
        return self._intruders.get((arguments.tick, arguments.agent)) if arguments.kind == "step" else None

    def reload(self, arguments: StepArguments) -> tuple[int, str]:
        """(fault, how it is struck) of a reload's step; (-1, "") for none."""
        found = self._reloads.get((arguments.tick, arguments.agent)) if arguments.kind == "reload" else None
        return found or (-1, "")

    def trap(self, arguments: StepArguments) -> tuple[int, int]:
        """(host call, fault) of the first trap of this step; (0, -1) for none."""
        return min(self._of(self._traps, arguments), default=(0, -1))

    def pointers(self, arguments: StepArguments) -> list[tuple[int, int]]:
        """(number of the call with an effect, fault) for each bad pointer of this step."""
        return self._of(self._pointers, arguments)

    def _of(
        self, table: dict[tuple[int, int], list[tuple[int, int]]], arguments: StepArguments
    ) -> list[tuple[int, int]]:
        return table.get((arguments.tick, arguments.agent), []) if arguments.kind == "step" else []


class FaultyGuests:
    """Instances of one worker, with faults. `visible` is shared by all workers of the run."""

    def __init__(self, inner: Guests, injector: Injector, site: WorkerSite, visible: VisibleFaults) -> None:
        self._inner, self._injector, self._site, self._visible = inner, injector, site, visible

    def instantiate(self, agent: int, spec: AgentSpec, wasm: bytes, libraries: Sequence[bytes] = ()) -> Guest:
        guest = self._inner.instantiate(agent, spec, wasm, libraries)
        if not self._visible.concerns(agent):
            return guest
        intruder = Intruder(self._inner, agent, spec, wasm, libraries)
        return FaultyGuest(guest, self._injector, self._site, self._visible, intruder)


class FaultyGuest:
    """One instance with faults; `_hostile` is the one that took its place for its last step."""

    def __init__(
        self,
        inner: Guest,
        injector: Injector,
        site: WorkerSite,
        visible: VisibleFaults,
        intruder: Intruder | None = None,
    ) -> None:
        self._inner, self._injector, self._site, self._visible = inner, injector, site, visible
        self._run_inner, self._places, self._followed = inner.run, visible.places, visible.all
        self._intruder = intruder
        self._hostile: Guest | None = None

    def run(self, arguments: StepArguments) -> GuestStep:
        tick, agent = arguments.tick, arguments.agent
        may_strike = (tick, agent) in self._places
        if may_strike or self._followed:
            site = self._site
            site.tick, site.agent, site.stored = tick, agent, 0
        if not may_strike or not self._strikes(tick, agent):
            return self._run_inner(arguments)
        site = self._site
        killed_at, kill = self._kill_of(arguments)
        trapped_at, trap = self._visible.trap(arguments)
        stops = [stop for stop in (arguments.stop_at, killed_at, trapped_at) if stop]
        stop = min(stops, default=0)
        pointers = self._visible.pointers(arguments)
        listed = bool(pointers) or self._visible.intruder(arguments) is not None
        fuel, starved = self._starved(arguments)
        reload, struck = self._visible.reload(arguments)
        if struck == "fuel":
            fuel = 1
        step = self._run(replace(arguments, stop_at=stop, listed=listed, fuel=fuel))
        if starved >= 0 and step.status == FUEL_REASON:
            self._injector.fire(starved, {**self._fields(0), "fuel": fuel})
            raise WorkerDied(site.worker)
        if step.status == STOPPED and stop == killed_at:
            self._injector.fire(kill, self._fields(stop))
            raise WorkerDied(site.worker)
        if step.status == STOPPED and stop == trapped_at:
            self._injector.note(trap, self._fields(stop))
            return step._replace(status=TRAP_REASON)
        if struck and step.status != STOPPED:
            return self._migrated(reload, struck, step)
        return self._bad_pointers(pointers, step)

    def replay(self, records: Sequence[bytes | Raw], fuel: int) -> Replayed | None:
        """One by one where anything may still strike within one of these steps."""
        agent = arguments_of(records[0]).agent
        ticks = self._visible.ticks(agent)
        if ticks:
            first, last = arguments_of(records[0]).tick, arguments_of(records[-1]).tick
            if any(first <= tick <= last and self._strikes(tick, agent) for tick in ticks):
                return None
        return self._inner.replay(records, fuel)

    def _strikes(self, tick: int, agent: int) -> bool:
        """Whether this step is struck by a visible fault, or by a death that has not come yet."""
        return self._visible.at(tick, agent) or self._injector.is_armed_at("worker.kill", tick, agent)

    def _migrated(self, reload: int, struck: str, step: GuestStep) -> GuestStep:
        """What is left of a migration that was struck: it traps when all is done, or had hardly any fuel."""
        if struck == "trap":
            step = step._replace(status=TRAP_REASON, calls=[], effects=None)
        if step.status in _STRUCK[struck]:
            self._injector.note(reload, self._fields(0))
        return step

    def _run(self, arguments: StepArguments) -> GuestStep:
        """The step by the agent's own module, or by what takes its place."""
        taken = self._visible.intruder(arguments)
        if taken is None or self._intruder is None:
            return self._inner.run(arguments)
        index, fault = taken
        if fault.kind == "agent.fuel_out":
            step = self._inner.run(replace(arguments, fuel=min(arguments.fuel, fault.number("fuel"))))
            if step.status == FUEL_REASON:
                self._injector.note(index, self._fields(0))
            return step
        forged = self._intruder.forged(fault)
        if forged is not None:
            step = self._inner.run(arguments)
            if step.status == "ok":
                step = step._replace(calls=[*step.calls, forged], effects=None)
                self._injector.note(index, self._fields(0))
            return step
        done = self._intruder.run(fault, arguments)
        if done is None:
            return self._inner.run(arguments)
        step, self._hostile = done
        if step.status != STOPPED:
            self._injector.note(index, self._fields(0))
        return step

    def memory(self) -> memoryview:
        return (self._hostile or self._inner).memory()

    def globals(self) -> list[int]:
        return self._inner.globals()

    def types(self) -> Sequence[int]:
        return self._inner.types()

    def restore(self, memory: bytes, globals: Sequence[int]) -> None:
        self._inner.restore(memory, globals)

    def close(self) -> None:
        self._inner.close()
        if self._hostile is not None:
            self._hostile.close()

    def _kill_of(self, arguments: StepArguments) -> tuple[int, int]:
        """(host call, fault) of the first death in this step; (0, -1) for none."""
        armed = self._injector.armed_at("worker.kill", arguments.tick, arguments.agent)
        kills = [(fault.number("hostcall"), index) for index, fault in armed if "hostcall" in fault.at]
        return min(kills, default=(0, -1))

    def _starved(self, arguments: StepArguments) -> tuple[int, int]:
        """(fuel, fault): after how much of it the first death of this step comes; all of it and -1 for none.

        Running out is how a step can be stopped at a check of its fuel; nobody sees that it did, as its worker is dead.
        """
        armed = self._injector.armed_at("worker.kill", arguments.tick, arguments.agent)
        found = [(fault.number("fuel"), index) for index, fault in armed if "fuel" in fault.at]
        if not found or min(found)[0] >= arguments.fuel or self._visible.intruder(arguments) is not None:
            return arguments.fuel, -1
        return min(found)

    def _bad_pointers(self, pointers: list[tuple[int, int]], step: GuestStep) -> GuestStep:
        if step.status != "ok" or not pointers:
            return step
        calls = list(step.calls)
        for number, index in pointers:
            if number <= len(calls):
                calls[number - 1] = calls[number - 1]._replace(pointer=BAD_POINTER)
                self._injector.note(index, self._fields(number))
        return step._replace(calls=calls)

    def _fields(self, hostcall: int) -> Fields:
        site = self._site
        return {"worker": site.worker, "tick": site.tick, "agent": site.agent, "hostcall": hostcall}
