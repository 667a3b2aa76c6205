"""One simulated run: the runtime's own code under a virtual clock, with a plan's faults, recorded from all sides.

The driver below is the whole difference to a live run: it calls `advance`, waits for what it asks for, and when the
orchestrator is killed starts another one from the disk. Same build, scenario and plan: same trace, bit for bit.
"""

from __future__ import annotations

import gc
import hashlib
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from faults.deaths import Killed
from faults.injector import Injector
from faults.plan import Plan
from faults.wrappers.cancelling import Canceller
from faults.wrappers.clock import FaultyClock
from faults.wrappers.damage import damage_at_crash
from faults.wrappers.driver import Caller
from faults.wrappers.repairs import Repairs
from faults.wrappers.resizing import Resizer
from faults.wrappers.storage import CrashPolicy, Lose, policy_at_crash
from harness.adapters.disk import SimDisk
from harness.adapters.gateway import SimClient
from harness.adapters.loop import Loop
from harness.adapters.workers import Timing
from harness.assembly import Incarnation, World, census, incarnate
from harness.history import Crash, History, Injection
from harness.workloads import named, work_of
from runtime import journal, state, watermark
from runtime.durability import BLOBS, JOURNAL
from runtime.errors import FailStop, Refused, SyncFailed
from runtime.orchestrator import Orchestrator
from runtime.recovery import DECREES, decree_line
from runtime.state import Config, Configure, Input
from runtime.telemetry import Hook, Record
from scenarios.base import Scenario

_TRACE = msgspec.json.Encoder(order="sorted")
HORIZON_NS = 600_000_000_000
EVENTS_MAX = 50_000  # of a run, besides those of its ticks and workers: one that makes more goes on for ever
EVENTS_PER_TICK_MAX = 200
EVENTS_PER_WORKER_MAX = 50  # and tick
MAX_CRASHES = 200
TIMER_NS = 100_000  # how fine a machine's timers are, where its clock may stand


class Setting(NamedTuple):
    """What is around a simulated run and must not matter: the queue of events, the disk, rare legal choices.

    `counted` counts the orchestrator's port calls even where the plan kills it at none. `hook` is told of every step.
    `resizes` are (tick, workers): once it has come so far, the pool gets another size. `cancels` are (tick, agent): the
    agent's step in that tick is cancelled while it runs.
    """

    loop: Callable[[], Loop] = Loop
    disk: Callable[[Loop, int, Callable[[], None]], SimDisk] = SimDisk
    hazards: bool = True
    counted: bool = False
    hook: Hook | None = None
    resizes: tuple[tuple[int, int], ...] = ()
    cancels: tuple[tuple[int, int], ...] = ()


class Simulation:
    """One run of a plan. `run` may be called once; `orchestrator` is the last incarnation.

    With `files` it goes on from that disk; without, from an empty one.
    """

    def __init__(
        self,
        scenario: Scenario,
        plan: Plan,
        timing: Timing | None = None,
        files: dict[str, bytes] | None = None,
        horizon_ns: int = HORIZON_NS,
        setting: Setting = Setting(),  # noqa: B008  # immutable
    ) -> None:
        self.scenario, self.plan = scenario, plan
        self._horizon_ns = horizon_ns
        self._hook = setting.hook
        self._resizes, self._cancels = list(setting.resizes), list(setting.cancels)
        self.timing = timing or Timing()
        self.history = History(plan=plan)
        self.loop = setting.loop()
        self.disk = setting.disk(self.loop, self.timing.sync_ns, self._wake)
        self.history.syncs = self.disk.log
        if files is not None:
            self.disk.load(files)
        elif plan.decrees:
            self.disk.load({DECREES: b"".join(decree_line(decree) for decree in plan.decrees)})
        work = work_of(scenario, plan)
        self.history.owners = work.owners
        outside = scenario.sources(plan.seed)
        self.client = SimClient(self.loop, self.timing.client_ns, work.inputs, self._durable, self._wake, outside)
        self.injector = Injector(plan.faults, self._injected, plan.seed)
        self.world = World(
            self.loop,
            self.timing,
            scenario,
            plan,
            self.injector,
            self.history,
            self._wake,
            pools=[],
            strays=[],
            instances=Counter(),
            hazards=setting.hazards,
            counted=setting.counted,
            repairs=Repairs.of(plan.faults),
            clock=FaultyClock(self.loop, self.injector) if FaultyClock.strikes(self.injector) else None,
        )
        self._resizer = Resizer(self.injector) if Resizer.strikes(self.injector) else None
        self._canceller = Canceller(self.injector) if Canceller.strikes(self.injector) else None
        self._caller = Caller(self.injector, self._later) if Caller.strikes(self.injector) else None
        self._spurious = 0  # calls that are still to be made though nothing has come
        self._rings_at = 0  # when the deadline of the last call is over, by the clock that it was told by
        self.orchestrator: Orchestrator | None = None
        self._present: Incarnation | None = None
        self._timer = 0
        self._timer_at: int | None = None
        self._waking = False  # whether a wake waits for the end of a stall
        self._deaf_until = 0  # a stalled orchestrator is not called
        self._due = _due(work.inputs)

    def run(self) -> History:
        history = self.history
        for index, fault in self.injector.armed("observer.hostile_text"):
            if fault.number("agent") < len(self.scenario.agents):
                self.injector.fire(index, {"agent": fault.number("agent")})
        try:
            self._boot()
            self.client.start()
            self.loop.run(self._horizon_ns, self._events_max())
        except Refused:
            if self.orchestrator is None and not history.crashes:  # it was never made: the scenario itself cannot run
                raise
            history.failure, history.failure_detail = "exception", traceback.format_exc(limit=1).splitlines()[-1]
        except Exception as error:  # a build under test may raise anything; that is its verdict, not the harness's end
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
            history.failure = "exception"
            history.failure_detail = f"{type(error).__name__}: {error} ({place})"
        if not history.finished and not history.failure:
            history.failure = "liveness"
            history.failure_detail = f"not finished at {self.loop.time} ns after {self.loop.events} events"
        self._collect()
        return history

    def _events_max(self) -> int:
        """Virtual time ends no run that hardly lets it pass; a run that heals needs a hundredth of so many events."""
        ticks = configuration(self.scenario, self.plan.seed).last_tick
        sizes = [fault.number("workers") for fault in self.plan.faults if fault.kind == "pool.resize"]
        workers = max(self.plan.physical.workers, *sizes) if sizes else self.plan.physical.workers
        return EVENTS_MAX + ticks * (EVENTS_PER_TICK_MAX + EVENTS_PER_WORKER_MAX * workers)

    # --- incarnations -------------------------------------------------------------------------------------------

    def _boot(self) -> None:
        self._present = incarnate(self.world, self.disk, self.client)
        orchestrator = Orchestrator(
            self._present.ports,
            self.plan.physical,
            genesis(self.scenario, self.plan),
            self._due,
            {"scenario": self.scenario.name},
        )
        self._present.bind(orchestrator)
        orchestrator.register_telemetry_hook(self.history.trace.append if self.world.clock is None else self._heard)
        if self._hook is not None:
            orchestrator.register_telemetry_hook(self._hook, steps=True)
        self.orchestrator = orchestrator
        self._wake()

    def _wake(self) -> None:
        """Something has arrived: let the orchestrator go on, after all that happens at this same moment."""
        if self._deaf_until <= self.loop.time:
            self.loop.last(self._advance)
        elif not self._waking:
            self._waking = True
            self.loop.later(self._deaf_until - self.loop.time, self._hear)

    def _hear(self) -> None:
        self._waking = False
        self._wake()

    def _advance(self) -> None:
        if self.orchestrator is None or self._deaf_until > self.loop.time:
            return
        if self._caller is not None and not self._is_called():
            return
        if self._resizer is not None and self.orchestrator.phase != "boot":
            for workers in self._resizer.sizes(self.orchestrator.tick, len(self.history.crashes)):
                self.orchestrator.resize_pool(workers)
        try:
            wait = self.orchestrator.advance()
        except (Killed, SyncFailed):
            self._after_stall(self._crashed)
            return
        except FailStop as stop:
            self.history.failure = stop.check
            self.history.failure_detail = str(stop)
            self.loop.stop()
            return
        if self._resizes or self._cancels or self._canceller is not None:
            self._operate(self.orchestrator)
        if self.loop.lag_ns:
            self._after_stall(self._wake)
            return
        if wait.done and self.client.finished and self._unread():
            self._crashed(Lose())
        elif wait.done and self.client.finished:
            self.history.finished = True
            self.loop.stop()
        elif wait.deadline is not None:
            self._arm(wait.deadline if self.world.clock is None else self._true_time(wait.deadline))

    def _operate(self, orchestrator: Orchestrator) -> None:
        if self._resizes:
            self._resize(orchestrator)
        if self._cancels or self._canceller is not None:
            self._cancel(orchestrator)

    def _resize(self, orchestrator: Orchestrator) -> None:
        while self._resizes and orchestrator.phase != "boot" and orchestrator.tick >= self._resizes[0][0]:
            orchestrator.resize_pool(self._resizes.pop(0)[1])

    def _cancel(self, orchestrator: Orchestrator) -> None:
        """Steps that are running now, and were to be cancelled."""
        if orchestrator.phase != "await":
            return
        tick = orchestrator.tick
        ended = [agent for at, agent in self._cancels if at == tick and orchestrator.cancel_step(agent)]
        if self._canceller is not None:
            ended += self._canceller.ended(tick, orchestrator.cancel_step)
        if ended:
            self.history.cancelled += [(tick, agent) for agent in ended]
            self._wake()

    def _after_stall(self, then: Callable[[], None]) -> None:
        """Go on at once, or when the stall that began in this call is over."""
        lag, self.loop.lag_ns = self.loop.lag_ns, 0
        if not lag:
            then()
            return
        self._deaf_until = self.loop.time + lag
        self.loop.later(lag, then)

    def _arm(self, deadline: int) -> None:
        """One timer is enough: the earliest deadline; a later one is set when this one has run out."""
        now = self.loop.time
        if self._timer_at is not None and now < self._timer_at <= deadline:
            return
        self._timer += 1
        self._timer_at = max(deadline, now)
        number = self._timer

        def ring() -> None:
            if number == self._timer:
                self._timer_at = None
                if self.world.clock is not None and self.loop.time >= self._rings_at:
                    self.world.clock.rang()
                self._wake()

        self.loop.later(deadline - now, ring)

    def _true_time(self, deadline: int) -> int:
        """When the machine's timer rings: as long from now as its clock says that it is."""
        assert self.world.clock is not None
        now = self.loop.time
        self._rings_at = now + max(deadline - self.world.clock.now(), TIMER_NS)
        return self._rings_at

    def _is_called(self) -> bool:
        """Whether this call is made; it may be made again at once, or left out and made later."""
        assert self._caller is not None and self.orchestrator is not None
        if self._spurious:
            self._spurious -= 1
        else:
            calls = self._caller.calls(self.orchestrator.tick, self.orchestrator.phase == "await")
            if not calls:
                return False
            self._spurious = calls - 1
        if self._spurious:
            self.loop.later(0, self._wake)
        return True

    def _later(self, delay_ns: int, action: Callable[[], None]) -> None:
        def act() -> None:
            action()
            self._wake()

        self.loop.later(delay_ns, act)

    def _unread(self) -> bool:
        """Whether a write went astray that nobody has read since: the machine is started once more, and reads it."""
        told = [i for i in self.history.injections if self.plan.faults[i.fault].kind == "disk.misdirect"]
        return bool(told) and (not self.history.crashes or told[-1].at > self.history.crashes[-1].at)

    def _crashed(self, policy: CrashPolicy | None = None) -> None:
        present, orchestrator = self._present, self.orchestrator
        assert present is not None and orchestrator is not None
        before = self.disk.contents().get(JOURNAL, b"")
        where = (orchestrator.tick, orchestrator.phase)
        incarnation = orchestrator.telemetry.incarnation
        self.orchestrator = None
        self._timer_at = None
        present.close()
        self.disk.crash(policy or policy_at_crash(self.injector))
        kept = self.disk.contents().get(JOURNAL, b"")
        damage_at_crash(self.injector, self.disk)
        self.history.crashes.append(Crash(self.loop.time, incarnation, *where, before, kept))
        if len(self.history.crashes) >= MAX_CRASHES:
            self.history.failure, self.history.failure_detail = "liveness", "too many crashes"
            self.loop.stop()
            return
        self.loop.later(self.timing.restart_ns, self._boot)

    def _heard(self, record: Record) -> None:
        """A record at its true time: what the machine's clock shows is not what the run is judged by."""
        self.history.trace.append(Record(self.loop.time, record.kind, record.incarnation, record.tick, record.fields))

    # --- records ------------------------------------------------------------------------------------------------

    def _injected(self, fault: int, fields: dict[str, int | str]) -> None:
        now = self.loop.time
        self.history.injections.append(Injection(now, fault, dict(fields), len(self.history.trace)))
        lasting = fields.get("for", 0)
        self.history.healed_at = max(self.history.healed_at, now + (lasting if isinstance(lasting, int) else 0))

    def _durable(self) -> tuple[int, bytes, int]:
        disk = self.disk
        return disk.durable_length(JOURNAL), disk.durable_content(watermark.NAME), disk.durable_length(BLOBS)

    def _collect(self) -> None:
        history = self.history
        history.files = self.disk.contents()
        history.journal = history.files.get(JOURNAL, b"")
        history.blobs = journal.read_blobs(history.files.get(BLOBS, b""))[0]
        history.sent = self.client.sent
        history.asked = self.client.asked
        self.client.close()
        history.receipts = self.client.receipts
        history.virtual_ns = self.loop.time
        if self.orchestrator is not None:
            history.final_state = state.encode(self.orchestrator.state)
        if self._present is not None:
            history.census = census(self.world, self._present)
            self._present.close()


def _due(inputs: Sequence[Input]) -> dict[str, tuple[int, ...]]:
    """Per source the tick of each of its inputs, in order of number."""
    due: dict[str, list[int]] = {}
    for item in inputs:
        due.setdefault(item.source, []).append(item.tick)
    return {source: tuple(ticks) for source, ticks in due.items()}


def simulate(
    scenario: Scenario,
    plan: Plan,
    timing: Timing | None = None,
    horizon_ns: int = HORIZON_NS,
    hook: Hook | None = None,
) -> History:
    """Run a plan; whatever happens to it is in the history, no exception of the runtime leaves.

    The cycle collector rests meanwhile: all that a run makes is its evidence, alive to the end, and walking it again
    and again costs more with every agent.
    """
    with collector_resting():
        return Simulation(scenario, plan, timing, horizon_ns=horizon_ns, setting=Setting(hook=hook)).run()


@contextmanager
def collector_resting() -> Iterator[None]:
    """No collection of cycles meanwhile; for one run, or for one run and its judgement."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def journal_digest(history: History) -> str:
    """The last link of the journal's chain; "" for a journal that does not verify."""
    verified = journal.read(history.journal)
    return "" if verified.damage or not verified.lines else verified.lines[-1].hash


def trace_lines(trace: list[Record]) -> bytes:
    """The trace as canonical JSON lines."""
    return _TRACE.encode_lines(trace)


def trace_digest(trace: list[Record]) -> str:
    """sha256 over the trace's canonical lines."""
    return hashlib.sha256(trace_lines(trace)).hexdigest()


def genesis(scenario: Scenario, plan: Plan) -> tuple[Input, ...]:
    """The scenario's first inputs, with the last tick that the plan asks for, and the names that faults give."""
    first, *agents = named(scenario.genesis(plan.seed), plan)
    assert isinstance(first.action, Configure)
    if not plan.last_tick:
        return (first, *agents)
    config = msgspec.structs.replace(first.action.config, last_tick=plan.last_tick)
    return (msgspec.structs.replace(first, action=Configure(config)), *agents)


def configuration(scenario: Scenario, seed: int) -> Config:
    """The logical options of a scenario's run."""
    first = scenario.genesis(seed)[0].action
    assert isinstance(first, Configure)
    return first.config
