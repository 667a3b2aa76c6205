"""Links as a whole under fault: clogged, cut, noisy, broken in mid-frame. A link is one worker's pipe, or the clients'.

Guards leases, resends and release cursors against what strikes many frames at once. Held frames come out in order when
their link goes on; what a cut link loses is gone. A closed end is never held back: it is the process that tells it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from msgspec import Struct

from faults.injector import Fields, Injector, Later, Step, Watch
from faults.pipe_kinds import NOISY_BLOCK_MAX, NOISY_STEP_MAX
from faults.plan import Fault
from faults.streams import draw
from faults.wrappers.frames import Delivery, corrupted
from faults.wrappers.glances import DoneGlance, WorkGlance, glance
from runtime.errors import FrameRefused
from runtime.frames import Inputs, Release, unpack
from runtime.ports import Arrival, Gateway, Workers

CLIENTS = -1  # the clients' link
_AT_WORKERS = ("frame.reorder", "link.clog", "link.partition", "pipe.errno", "lock.abandon")
_AT_CLIENTS = ("frame.reorder", "link.partition", "client.stall")  # where they name no agent
LINK_KINDS = (
    "frame.reorder",
    "link.noise",
    "link.clog",
    "link.partition",
    "client.stall",
    "pipe.errno",
    "lock.abandon",
)
NOTED_MAX = 64  # injections on record for one fault: the first ones show what it did
TO, FROM = "to", "from"
_LATER = {"delay", "duplicate"}
_End = tuple[int, str]  # link, direction


class _Waiting(Struct, eq=False):
    """A frame that is held back until `window` others have passed."""

    fault: int
    window: int
    deliver: Callable[[], None]
    passed: int = 0


def _step_of(fault: Fault) -> Step:
    return fault.number("tick"), fault.number("agent")


class _Noise(NamedTuple):
    """A noise by what is asked of it for every frame: from tick `first` to before `end`."""

    number: int
    fault: Fault
    direction: str
    first: int
    end: int


def _noise_of(index: int, fault: Fault) -> _Noise:
    first = fault.number("tick")
    return _Noise(index, fault, str(fault.get("direction")), first, first + fault.number("ticks"))


class Links:
    """What all links of an incarnation share: which are held or cut, and the noise on them.

    `tick_of` is the orchestrator's open tick: noise strikes workers' frames while its ticks are open.
    """

    def __init__(self, injector: Injector, later: Later, tick_of: Callable[[], int] | None = None) -> None:
        self.injector, self.later, self._tick_of = injector, later, tick_of
        self._watch = Watch(injector, [one for one in injector.faults(*_AT_WORKERS) if "tick" in one[1].at])
        self.alive: list[int] = []
        self.closed = False
        self.active = bool(injector.faults(*LINK_KINDS))
        self._noises = [_noise_of(index, fault) for index, fault in injector.faults("link.noise")]
        self._noisy = [(noise.first, noise.end) for noise in self._noises if noise.direction != "release"]
        self._releases_noised = len(self._noisy) < len(self._noises)
        self._at_clients = [index for index, fault in injector.faults(*_AT_CLIENTS) if "agent" not in fault.at]
        self._held: dict[_End, int] = {}  # -> the fault that holds it
        self._cut: dict[_End, int] = {}
        self._queues: dict[_End, deque[Callable[[], None]]] = {}
        self._waiting: dict[_End, list[_Waiting]] = {}
        self._hit: dict[tuple[int, _End], bool] = {}  # whether a noise took the last frame there

    def close(self) -> None:
        """The incarnation is dead: what is still held back is never delivered."""
        self.closed = True
        self._queues.clear()

    def _is_still(self, clients: bool) -> bool:
        """Whether nothing is held, cut or waiting on the clients' link, or on all others."""
        if not (self._held or self._cut or self._queues or self._waiting):
            return True
        ends = (*self._held, *self._cut, *self._queues, *self._waiting)
        return all((link == CLIENTS) is not clients for link, _ in ends)

    @property
    def is_idle(self) -> bool:
        """Whether no fault can concern a frame of a worker that passes now."""
        if self._tick_of is None or not self._is_still(clients=False):
            return False
        tick = self._tick_of()
        return self._watch.first > tick and not any(first <= tick < end for first, end in self._noisy)

    @property
    def is_idle_for_clients(self) -> bool:
        """Whether no fault can concern a frame of a client's that passes now."""
        injector = self.injector
        return (
            not self._releases_noised
            and self._is_still(clients=True)
            and not any(map(injector.is_armed, self._at_clients))
        )

    def begin(self, tick: int) -> None:
        """Something is sent in this tick: clogs that wait for it start."""
        for index, fault in self.injector.armed("link.clog"):
            if fault.number("tick") <= tick:
                self._clog(index, fault)

    def hold(self, link: int, ways: Sequence[str], index: int) -> None:
        for way in ways:
            self._held.setdefault((link, way), index)

    def cut(self, link: int, ways: Sequence[str], for_ns: int, index: int) -> None:
        for way in ways:
            if self._cut.setdefault((link, way), index) == index:
                self.later(for_ns, partial(self._heal, (link, way)))

    def _heal(self, end: _End) -> None:
        self._cut.pop(end, None)

    def release(self, link: int, ways: Sequence[str], index: int) -> None:
        for way in ways:
            if self._held.get((link, way)) != index:
                continue
            del self._held[link, way]
            queue = self._queues.pop((link, way), deque())
            while queue and not self.closed:
                queue.popleft()()

    def carry(self, link: int, way: str, about: Fields, deliver: Callable[[], None]) -> int | None:
        """Deliver now, later, or never; the fault that lost the frame, None where it is not lost."""
        end = (link, way)
        lost = self._cut.get(end)
        if lost is not None:
            self.note(lost, {**about, "way": way, "cut": 1})
            return lost
        holds = self._held.get(end)
        if holds is None:
            deliver()
            self._overtaken(end)
            return None
        self.note(holds, {**about, "way": way, "held": 1})
        self._queues.setdefault(end, deque()).append(deliver)
        return None

    def hold_back(self, steps: Sequence[Step], way: str, end: _End, about: Fields, deliver: Callable[[], None]) -> bool:
        """Whether a fault holds this one frame back; `steps` are (tick, agent), or (block, CLIENTS) of a release."""
        for index, fault in self.injector.armed("frame.reorder"):
            if fault.get("direction") != way:
                continue
            address = (fault.number("block"), CLIENTS) if way == "release" else _step_of(fault)
            if address not in steps:
                continue
            if self.injector.count("reorder", index) != fault.number("occurrence"):
                continue
            for_ns = fault.number("for")
            self.injector.fire(index, {**about, "direction": way, "for": for_ns})
            waiting = _Waiting(index, fault.number("window"), deliver)
            self._waiting.setdefault(end, []).append(waiting)
            self.later(for_ns, partial(self._go_on, end, waiting))
            return True
        return False

    def _overtaken(self, end: _End) -> None:
        """A frame has passed there: those that waited for so many go on behind it."""
        for waiting in self._waiting.get(end, [])[:]:
            waiting.passed += 1
            if waiting.passed == waiting.window:
                self._go_on(end, waiting)

    def _go_on(self, end: _End, waiting: _Waiting) -> None:
        here = self._waiting.get(end, [])
        if waiting in here and not self.closed:
            here.remove(waiting)
            if not here:
                del self._waiting[end]
            self.injector.note(waiting.fault, {"overtaken": waiting.passed})
            waiting.deliver()

    def note(self, index: int, fields: Fields) -> None:
        """What a fault did to one frame: it fires with the first one."""
        if self.injector.is_armed(index):
            self.injector.fire(index, fields)
        elif self.injector.count("noted", index) <= NOTED_MAX:
            self.injector.note(index, fields)

    def noise(self, direction: str, tick: int, key: Step, end: _End, frame: bytes, about: Fields) -> list[Delivery]:
        """What becomes of a frame on a noisy link; `key` names it, whatever link it takes."""
        deliveries: list[Delivery] = [(0, frame)]
        if direction != "release" and self._tick_of is not None:
            tick = max(tick, self._tick_of())
        for index, fault, way, begin, end_tick in self._noises:
            if way != direction or not begin <= tick < end_tick:
                continue
            occurrence = self.injector.count("noise", index, *key)
            chance = fault.number("percent")
            if self._hit.get((index, end)) and fault.number("burst"):
                chance = fault.number("burst")
            drawn = draw(self.injector.seed, "noise", str(fault), *key, occurrence)
            most = NOISY_BLOCK_MAX if direction == "release" else NOISY_STEP_MAX
            hit = drawn % 100 < chance and self.injector.count("noisy", index, *key) <= most
            self._hit[index, end] = hit
            if hit and deliveries:
                verb = str(fault.get("verb"))
                late = fault.number("for") if verb in _LATER else 0
                self.note(index, {**about, "direction": direction, "verb": verb, "for": late})
                deliveries = _noised(verb, late, drawn, deliveries)
        return deliveries

    def _clog(self, index: int, fault: Fault) -> None:
        """Stop a random subset of the links, one by one, and let them go on in another order."""
        links = [*self.alive, CLIENTS]
        seed, both = self.injector.seed, (TO, FROM)
        links.sort(key=lambda link: draw(seed, "clog", str(fault), self._name(link)))
        chosen = links[: max(1, len(links) * fault.number("percent") // 100)]
        for_ns = fault.number("for")
        pause = for_ns // (2 * len(chosen)) if fault.get("swizzle") == "yes" else 0
        self.injector.fire(index, {"links": len(chosen), "for": for_ns + pause * len(chosen)})
        for place, link in enumerate(chosen):
            if place * pause:
                self.later(place * pause, partial(self.hold, link, both, index))
            else:
                self.hold(link, both, index)
        chosen.sort(key=lambda link: draw(seed, "unclog", str(fault), self._name(link)))
        for place, link in enumerate(chosen):
            self.later(for_ns + place * pause, partial(self.release, link, both, index))

    def _name(self, link: int) -> int:
        """A link by its place among those there are: numbers of workers differ from run to run."""
        return self.alive.index(link) + 1 if link in self.alive else 0


def _noised(verb: str, late: int, drawn: int, deliveries: list[Delivery]) -> list[Delivery]:
    if verb == "lose":
        return []
    if verb == "delay":
        return [(delay + late, frame) for delay, frame in deliveries]
    if verb == "duplicate":
        return deliveries + [(delay + late, frame) for delay, frame in deliveries[:1]]
    mode = ("flip", "flip", "truncate", "length")[drawn >> 8 & 3]
    return [(delay, corrupted(frame, mode, drawn >> 16)) for delay, frame in deliveries]


class _Leases:
    """The steps of each lease that a worker was sent; frames are opened when somebody asks, as few do."""

    def __init__(self) -> None:
        self._steps: dict[tuple[int, int], tuple[Step, ...]] = {}  # (worker, lease) -> steps
        self._unopened: dict[int, list[bytes]] = {}  # by worker

    def keep(self, worker: int, frame: bytes) -> None:
        self._unopened.setdefault(worker, []).append(frame)

    def open(self, worker: int, work: WorkGlance) -> tuple[Step, ...]:
        """The steps of a frame that is sent now."""
        steps = tuple([(order.record.tick, order.record.agent) for order in work.orders])
        self._steps[worker, work.lease] = steps
        return steps

    def of(self, worker: int, lease: int) -> tuple[Step, ...]:
        """Nothing for a lease that was never sent."""
        unopened = self._unopened.get(worker)
        while (worker, lease) not in self._steps and unopened:
            work = glance(unopened.pop())
            if isinstance(work, WorkGlance):
                self.open(worker, work)
        return self._steps.get((worker, lease), ())


class LinkedWorkers:
    """The Workers port over links with faults; the wrapper of single frames stands outside of it."""

    def __init__(self, inner: Workers, links: Links) -> None:
        self._inner, self._links = inner, links
        self._leases = _Leases()
        self._ready: list[Arrival] = []
        self._silent: set[int] = set()  # dead workers of whose end nobody is told; membership only

    def spawn(self, worker: int) -> None:
        self._links.alive.append(worker)
        self._inner.spawn(worker)

    def kill(self, worker: int) -> None:
        if worker in self._links.alive:
            self._links.alive.remove(worker)
        if worker in self._silent:
            self._silent.discard(worker)
            self._ready.append(Arrival(worker, None))
        self._inner.kill(worker)

    def send(self, worker: int, frame: bytes) -> None:
        links = self._links
        if not links.active or links.is_idle:
            self._leases.keep(worker, frame)
            self._inner.send(worker, frame)
            return
        work = glance(frame)
        if not isinstance(work, WorkGlance):
            self._inner.send(worker, frame)
            return
        steps = self._leases.open(worker, work)
        about: Fields = {"worker": worker, "lease": work.lease, "incarnation": work.incarnation}
        links.begin(steps[0][0])
        struck = links.injector.addressed(steps)
        self._cut(worker, struck, about)
        if self._broken(worker, struck, frame, about) or self._abandoned("idle", worker, struck, about):
            return
        tick, agent = steps[0]
        for delay, copy in links.noise("work", tick, (tick, agent), (worker, TO), frame, about):
            deliver = partial(self._deliver, worker, copy)
            if links.hold_back(steps, "work", (worker, TO), about, deliver):
                continue
            if delay:
                links.later(delay, deliver)
            else:
                links.carry(worker, TO, about, deliver)

    def poll(self) -> list[Arrival]:
        arrivals = self._inner.poll()
        if not self._links.active or not (arrivals or self._ready):
            return arrivals
        if self._links.is_idle and not self._silent and not self._ready:
            return arrivals
        for arrival in arrivals:
            self._arrive(arrival)
        passed, self._ready = self._ready, []
        return passed

    def _arrive(self, arrival: Arrival) -> None:
        worker, frame = arrival
        links = self._links
        if frame is None:
            if worker not in self._silent:
                self._ready.append(arrival)
            return
        done = glance(frame)
        if not isinstance(done, DoneGlance) or not (steps := self._leases.of(worker, done.lease)):
            self._ready.append(arrival)
            return
        about: Fields = {"worker": worker, "lease": done.lease, "incarnation": done.incarnation}
        if self._abandoned("after", worker, links.injector.addressed(steps), about):
            return
        tick, agent = steps[0]
        for delay, copy in links.noise("done", tick, (tick, agent), (worker, FROM), frame, about):
            deliver = partial(self._late, Arrival(worker, copy))
            if links.hold_back(steps, "done", (worker, FROM), about, deliver):
                continue
            if delay:
                links.later(delay, deliver)
            else:
                links.carry(worker, FROM, about, deliver)

    def _late(self, arrival: Arrival) -> None:
        if not self._links.closed:
            self._ready.append(arrival)

    def _deliver(self, worker: int, frame: bytes) -> None:
        if not self._links.closed:
            self._inner.send(worker, frame)

    def _cut(self, worker: int, steps: Sequence[Step], about: Fields) -> None:
        injector = self._links.injector
        for tick, agent in steps:
            for index, fault in injector.armed_at("link.partition", tick, agent):
                for_ns = fault.number("for")
                injector.fire(index, {**about, "tick": tick, "agent": agent, "for": for_ns})
                self._links.cut(worker, ways_of(fault), for_ns, index)

    def _broken(self, worker: int, steps: Sequence[Step], frame: bytes, about: Fields) -> bool:
        """The pipe breaks in the middle of this frame: its end closes here, while the worker lives on."""
        injector = self._links.injector
        for tick, agent in steps:
            for index, fault in injector.armed_at("pipe.errno", tick, agent):
                error = str(fault.get("error"))
                injector.fire(index, {**about, "tick": tick, "agent": agent, "error": error})
                if error == "short_write":
                    self._inner.send(worker, frame[: fault.number("byte") % len(frame)])
                self._links.later(1, partial(self._late, Arrival(worker, None)))
                return True
        return False

    def _abandoned(self, point: str, worker: int, steps: Sequence[Step], about: Fields) -> bool:
        """The worker dies with what it holds, and its closed end is told only when it is killed."""
        injector = self._links.injector
        for tick, agent in steps:
            for index, fault in injector.armed_at("lock.abandon", tick, agent):
                if fault.get("point") == point:
                    injector.fire(index, {**about, "tick": tick, "agent": agent, "point": point})
                    self._silent.add(worker)
                    self._inner.kill(worker)
                    return True
        return False


def ways_of(fault: Fault) -> tuple[str, ...]:
    way = str(fault.get("way"))
    return (TO, FROM) if way == "both" else (way,)


class LinkedGateway:
    """The Gateway port over the clients' link; `tick_now` is the orchestrator's tick."""

    def __init__(self, inner: Gateway, links: Links, tick_now: Callable[[], int]) -> None:
        self._inner, self._links, self._tick_now = inner, links, tick_now
        self._ready: list[bytes] = []

    def poll(self) -> list[bytes]:
        frames, links = self._inner.poll(), self._links
        if not links.active or (links.is_idle_for_clients and not self._ready):
            return frames
        for frame in frames:
            self._cut()
            lost = links.carry(CLIENTS, FROM, {"worker": CLIENTS}, partial(self._ready.append, frame))
            if lost is not None:
                self._owe_inputs(lost, frame)
        passed, self._ready = self._ready, []
        return passed

    def send(self, frame: bytes) -> None:
        links = self._links
        passes = not links.active or links.is_idle_for_clients
        release = None if passes else self._release_of(frame)
        if release is None:
            self._inner.send(frame)
            return
        self._cut()
        self._stall(release.block)
        about: Fields = {"worker": CLIENTS, "block": release.block}
        key = (release.block, CLIENTS)
        for delay, copy in links.noise("release", release.tick, key, (CLIENTS, TO), frame, about):
            deliver = partial(self._deliver, copy)
            if links.hold_back([key], "release", (CLIENTS, TO), about, deliver):
                continue
            if delay:
                links.later(delay, deliver)
            else:
                links.carry(CLIENTS, TO, about, deliver)

    def _release_of(self, frame: bytes) -> Release | None:
        try:
            release = unpack(frame)
        except FrameRefused:
            return None
        return release if isinstance(release, Release) else None

    def _deliver(self, frame: bytes) -> None:
        if not self._links.closed:
            self._inner.send(frame)

    def _cut(self) -> None:
        injector = self._links.injector
        for index, fault in injector.armed("link.partition"):
            if "agent" not in fault.at and fault.number("tick") <= self._tick_now():
                for_ns = fault.number("for")
                injector.fire(index, {"worker": CLIENTS, "for": for_ns})
                self._links.cut(CLIENTS, ways_of(fault), for_ns, index)

    def _stall(self, block: int) -> None:
        links = self._links
        for index, fault in links.injector.armed("client.stall"):
            if fault.number("block") > block:
                continue
            for_ns = fault.number("for")
            links.injector.fire(index, {"worker": CLIENTS, "for": for_ns, "how": str(fault.get("how"))})
            if fault.get("how") == "away":
                links.cut(CLIENTS, (TO, FROM), for_ns, index)
            else:
                links.hold(CLIENTS, (TO,), index)
                links.later(for_ns, partial(links.release, CLIENTS, (TO,), index))

    def _owe_inputs(self, index: int, frame: bytes) -> None:
        try:
            inputs = unpack(frame)
        except FrameRefused:
            return
        for one in inputs.inputs if isinstance(inputs, Inputs) else ():
            self._links.injector.owe(index, "inputs", one.source, one.n)
