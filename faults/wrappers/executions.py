"""Executions under fault: no memory left, host calls that kill or never return, results that are wrong and look right.

Guards what the runtime does about work that cannot be finished (decrees) and about work that is finished wrongly
(second executions). A poisoned step is poisoned each time it runs; a wrong result is computed once, by whoever runs the
step first, so that a second execution elsewhere is right.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw
from msgspec.structs import replace

from faults.deaths import WorkerDied, WorkerHung
from faults.injector import Fields, Injector
from faults.plan import Fault
from faults.streams import draw
from faults.wrappers.guests import STOPPED
from runtime.frames import StepArguments, arguments_of
from runtime.ports import Guest, Guests, GuestStep, Replayed
from runtime.state import AgentSpec

KINDS = ("worker.oom", "worker.wrong", "task.poison", "task.hang")
_ENDLESS = ("task.poison", "task.hang")
_WHOLE_STEPS = ("step", "init")


class StruckGuests:
    """The instances of one worker; a plan without these kinds needs no such wrapper (`strikes`)."""

    def __init__(self, inner: Guests, injector: Injector, worker: int) -> None:
        self._inner, self._injector, self._worker = inner, injector, worker
        self._all = bool(injector.faults("worker.wrong"))  # a share of all steps may be struck
        self._agents = {fault.number("agent") for _, fault in injector.faults("worker.oom", *_ENDLESS)}

    @staticmethod
    def strikes(faults: Sequence[Fault]) -> bool:
        return any(fault.kind in KINDS for fault in faults)

    def instantiate(self, agent: int, spec: AgentSpec, wasm: bytes, libraries: Sequence[bytes] = ()) -> Guest:
        occurrence = self._injector.count("instantiate", agent)
        for index, fault in self._injector.armed("worker.oom"):
            here = "tick" not in fault.at and fault.number("agent") == agent
            if here and fault.number("occurrence") == occurrence:
                self._injector.fire(index, {"worker": self._worker, "agent": agent, "occurrence": occurrence})
                raise WorkerDied(self._worker)
        guest = self._inner.instantiate(agent, spec, wasm, libraries)
        if not self._all and agent not in self._agents:
            return guest  # nothing of the plan can strike within a step of this agent
        return StruckGuest(guest, self._injector, self._worker)


class StruckGuest:
    """One instance."""

    def __init__(self, inner: Guest, injector: Injector, worker: int) -> None:
        self._inner, self._injector, self._worker = inner, injector, worker

    def run(self, arguments: StepArguments) -> GuestStep:
        at, index, fault = self._endless(arguments)
        stops = [stop for stop in (arguments.stop_at, at) if stop]
        # Where a result may be altered, it is still in the module's memory when it is.
        listed = arguments.listed or bool(self._injector.faults("worker.wrong"))
        step = self._inner.run(replace(arguments, stop_at=min(stops, default=0), listed=listed))
        if fault is not None and step.status == STOPPED and at == min(stops):
            self._tell(index, {**self._about(arguments), "hostcall": at})
            raise (WorkerHung if fault.kind == "task.hang" else WorkerDied)(self._worker)
        for number, _ in self._injector.armed_at("worker.oom", arguments.tick, arguments.agent):
            self._injector.fire(number, self._about(arguments))
            raise WorkerDied(self._worker)
        if step.status == "ok" and arguments.kind in _WHOLE_STEPS:
            self._miscompute(arguments, step)
        return step

    def replay(self, records: Sequence[bytes | Raw], fuel: int) -> Replayed | None:
        """One by one where anything may still strike within one of these steps, or where executions are counted."""
        first, last = arguments_of(records[0]), arguments_of(records[-1])
        if self._injector.faults("worker.wrong"):
            return None
        kinds = [*self._injector.armed("worker.oom"), *self._injector.faults(*_ENDLESS)]
        here = [fault.number("tick") for _, fault in kinds if fault.number("agent") == first.agent]
        if any(first.tick <= tick <= last.tick for tick in here):
            return None
        return self._inner.replay(records, fuel)

    def memory(self) -> memoryview:
        return self._inner.memory()

    def globals(self) -> list[int]:
        return self._inner.globals()

    def types(self) -> Sequence[int]:
        return self._inner.types()

    def restore(self, memory: bytes, globals: Sequence[int]) -> None:
        self._inner.restore(memory, globals)

    def close(self) -> None:
        self._inner.close()

    def _endless(self, arguments: StepArguments) -> tuple[int, int, Fault | None]:
        """(host call, index, fault) of the first call of this step that nobody survives; (0, -1, None) for none."""
        found: tuple[int, int, Fault | None] = (0, -1, None)
        for index, fault in self._injector.faults(*_ENDLESS):
            step = fault.number("tick"), fault.number("agent")
            call = fault.number("hostcall")
            if step == (arguments.tick, arguments.agent) and (found[2] is None or call < found[0]):
                found = call, index, fault
        return found

    def _miscompute(self, arguments: StepArguments, step: GuestStep) -> None:
        """Flip one bit, in what the step did or in what it leaves; one fault for a step: a second could undo it."""
        first = self._injector.count("executed", arguments.tick, arguments.agent) == 1
        for index, fault in self._injector.faults("worker.wrong") if first else ():
            if not self._wrong_now(index, fault, arguments):
                continue
            memory = self._inner.memory()
            passed = [c for c in step.calls if c.length and c.pointer + c.length <= len(memory)]
            what = str(fault.get("what")) if passed else "state"
            pick = draw(self._injector.seed, "worker.wrong", str(fault), arguments.tick, arguments.agent)
            if what == "effect":
                call = passed[pick % len(passed)]
                place = call.pointer + (pick >> 8) % call.length
            else:
                place = len(memory) - 1
            memory[place] ^= 1 << (pick & 7)
            self._tell(index, {**self._about(arguments), "what": what})
            return

    def _wrong_now(self, index: int, fault: Fault, arguments: StepArguments) -> bool:
        tick, agent = fault.number("tick"), fault.number("agent")
        if "agent" in fault.at:
            return (tick, agent) == (arguments.tick, arguments.agent)
        if arguments.tick < tick:
            return False
        share = draw(self._injector.seed, "worker.wrong share", str(fault), arguments.tick, arguments.agent)
        return share % fault.number("one_in") == 0

    def _about(self, arguments: StepArguments) -> Fields:
        return {"worker": self._worker, "tick": arguments.tick, "agent": arguments.agent}

    def _tell(self, index: int, fields: Fields) -> None:
        if self._injector.is_armed(index):
            self._injector.fire(index, fields)
        else:
            self._injector.note(index, fields)
