"""The observer at the module's side: what went into each crossing and what the module did, as it was.

It stands outside of fault wrappers, so it sees what the worker sees; it changes nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from faults.deaths import WorkerDied
from harness.adapters.artifacts import load_event
from harness.history import GuestCall, GuestEvent, LoadEvent, ReplayEvent
from runtime.carried import pack
from runtime.errors import ModuleRefused
from runtime.frames import StepArguments
from runtime.ports import Guest, Guests, GuestStep, Replayed
from runtime.state import AgentSpec

_encode = msgspec.msgpack.Encoder().encode


class ObservedGuest:
    __slots__ = (
        "_ended", "_fresh", "_incarnation", "_inner", "_log", "_memory", "_module", "_now", "_reloaded", "_run",
        "_state", "_worker",
    )  # fmt: skip

    def __init__(
        self,
        inner: Guest,
        worker: int,
        incarnation: int,
        now: Callable[[], int],
        log: list[GuestEvent | ReplayEvent],
        ended: Callable[[], None] = lambda: None,
        module: str = "",
        reloaded: set[int] | None = None,
    ) -> None:
        self._inner, self._worker, self._incarnation = inner, worker, incarnation
        self._now, self._log, self._ended = now, log, ended
        self._run, self._memory = inner.run, inner.memory
        self._module, self._reloaded = module, set() if reloaded is None else reloaded
        self._fresh = True
        self._state = ""

    def run(self, arguments: StepArguments) -> GuestStep:
        if self._reloaded or arguments.carried is not None:
            self._look(arguments)
        try:
            step = self._run(arguments)
        except WorkerDied:
            self._note(arguments, "died", (), -1, -1)
            raise
        status, _, fuel, effects, size = step
        if size < 0:
            size = len(self._memory())
        if effects is not None:  # nearly every step; `_note` without the call
            self._log.append(
                GuestEvent(
                    self._now(), self._worker, self._incarnation, arguments.agent, arguments.kind, arguments.tick,
                    bytes(arguments.inbox), status, effects, self._fresh, arguments.fuel, fuel, size, self._module,
                    self._state,
                )
            )  # fmt: skip
            self._fresh = False
            return step
        self._note(arguments, step.status, _made(step, self._memory()), step.fuel, size)
        return step

    def replay(self, records: Sequence[bytes | msgspec.Raw], fuel: int) -> Replayed | None:
        if self._reloaded:
            return None  # the next crossing is looked at by itself
        done = self._inner.replay(records, fuel)
        if done is None:
            return None
        memory = self._memory()
        failed = None if done.failed is None else (done.failed.status, _made(done.failed, memory))
        self._log.append(
            ReplayEvent(
                self._now(), self._worker, self._incarnation, records, done.made, failed, self._fresh, fuel, done.fuel,
                len(memory), self._module,
            )
        )  # fmt: skip
        self._fresh = False
        return done

    def _note(
        self, arguments: StepArguments, status: str, made: bytes | tuple[GuestCall, ...], used: int, memory: int
    ) -> None:
        self._log.append(
            GuestEvent(
                self._now(),
                self._worker,
                self._incarnation,
                arguments.agent,
                arguments.kind,
                arguments.tick,
                bytes(arguments.inbox),
                status,
                made,
                self._fresh,
                arguments.fuel,
                used,
                memory,
                self._module,
                self._state,
            )
        )
        self._fresh = False

    def _look(self, arguments: StepArguments) -> None:
        """The state that a reload is given, and the one that the next crossing of its agent meets."""
        agent, self._state = arguments.agent, ""
        if arguments.carried is not None:
            self._state = hashlib.sha256(arguments.carried).hexdigest()
            self._reloaded.add(agent)
        elif agent in self._reloaded:
            inner = self._inner
            self._state = hashlib.sha256(pack(inner.types(), inner.globals(), inner.memory())).hexdigest()
            self._reloaded.discard(agent)

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
        ended, self._ended = self._ended, lambda: None  # a second close ends nothing
        ended()


def _made(step: GuestStep, memory: memoryview) -> bytes | tuple[GuestCall, ...]:
    """What a step did whose effects were not made inside the crossing."""
    if not step.calls:
        return ()
    size = len(memory)
    calls = [
        GuestCall(op, target, length, bytes(memory[pointer : pointer + length]) if pointer + length <= size else None)
        for op, target, pointer, length in step.calls
    ]
    if step.status == "ok" and all(call.data is not None for call in calls):
        return _encode([(call.op, call.target, call.data) for call in calls])
    return tuple(calls)


class ObservedGuests:
    """The `Guests` port of one worker, observed: `loads` gets what each instance is made of.

    `instances` counts the open ones, by (worker, agent).
    """

    def __init__(
        self,
        inner: Guests,
        worker: int,
        incarnation: int,
        now: Callable[[], int],
        log: list[GuestEvent | ReplayEvent],
        instances: Counter[tuple[int, int]] | None = None,
        loads: list[LoadEvent] | None = None,
    ) -> None:
        self._inner, self._worker, self._incarnation = inner, worker, incarnation
        self._now, self._log = now, log
        self._instances = Counter() if instances is None else instances
        self._loads: list[LoadEvent] = [] if loads is None else loads
        self._reloaded: set[int] = set()  # agents; membership only, never iterated

    def instantiate(self, agent: int, spec: AgentSpec, wasm: bytes, libraries: Sequence[bytes] = ()) -> Guest:
        try:
            inner = self._inner.instantiate(agent, spec, wasm, libraries)
        except ModuleRefused as refused:
            self._loaded(agent, spec, wasm, libraries, refused.check)
            raise
        self._loaded(agent, spec, wasm, libraries, "")
        key = (self._worker, agent)
        self._instances[key] += 1

        def ended() -> None:
            self._instances[key] -= 1

        return ObservedGuest(
            inner, self._worker, self._incarnation, self._now, self._log, ended, spec.module, self._reloaded
        )

    def _loaded(self, agent: int, spec: AgentSpec, wasm: bytes, libraries: Sequence[bytes], refused: str) -> None:
        """The module and its libraries; where one of them was refused by its digest, the others were not."""
        named = [(spec.module, wasm)]
        named += [(each.module, data) for each, data in zip(spec.libraries or (), libraries, strict=True)]
        events = [load_event(self._now(), "made", "worker", self._worker, agent, *each, refused) for each in named]
        altered = [event for event in events if event.digest != event.name]
        if refused == "digest" and altered and len(events) > 1:
            events = [event if event in altered else event._replace(refused="beside") for event in events]
        self._loads += events
