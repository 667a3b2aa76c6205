"""Faults with a defined effect: isolation (I32), replays (replay), liveness (I19), the scenario's invariant.

What a module did is compared with what the journal says of its step; steps that cannot depend on a failed agent are
compared with the run without visible faults; a decree must have its cause in the trace. Against: unchecked ranges,
failures that spread, steps ended without need, restores that differ, ticks that never close.
"""

from __future__ import annotations

from collections import Counter
from itertools import zip_longest
from typing import NamedTuple

from faults.effect import SHOWN
from faults.evidence import Trace
from faults.plan import Fault
from faults.wrappers.guests import RELOAD, STEP_KINDS, endings
from harness.history import History, Injection
from harness.oracles import dependence
from harness.oracles.flows import place
from harness.oracles.judged import CUT_SHORT, Judged, class_of
from harness.oracles.pooled import leases
from harness.oracles.reading import Step
from harness.oracles.shared import published
from harness.oracles.supervision import supervised
from harness.oracles.verdict import Unjudged
from runtime.telemetry import Record

# Failures that the runtime finds in the calls of a module that itself ended well.
_OF_CALLS = ("bad_pointer", "bad_length", "not_writer", "second_write")

# What the trace must not show of a run that nothing physical disturbs.
_DISTURBED = ("lost", "stale", "garbled", "repaired", "rewritten", "discarded", "unsynced", "full", "unreadable")

_NEVER = 1 << 62


def isolation(run: Judged) -> list[str]:
    """I32: a failed step is a failed step in the journal, under its name, and reaches only what depends on it.

    Its agent is restarted as the configuration says; a step is ended by decree only after it took as many workers as
    that needs.
    """
    if not run.crossings:
        raise Unjudged("there is no guest log")
    visible = [i for i in run.history.injections if class_of(run.history.plan.faults[i.fault].kind) in SHOWN]
    found = run.settled(_crossings) + run.settled_by_journal(supervised) + _unjustified(run)
    struck: dict[int, int] = {}
    for injection in visible:
        agent, tick, problem = _effect(run, injection)
        struck[agent] = min(tick, struck.get(agent, tick))
        found += problem
    if found or not visible:
        return found
    if run.baseline is None:
        raise Unjudged("there is no run without the visible faults")
    return _untouched(run, Judged(run.baseline), struck)


def _decreed(run: Judged) -> set[tuple[int, int]]:
    return {(b.tick, decree["agent"]) for b in run.journal.blocks for decree in b.decrees}


def _unjustified(run: Judged) -> list[str]:
    """Decrees that the plan did not bring, though the trace does not show the workers that their step took with it."""
    given = {(decree.tick, decree.agent) for decree in run.history.plan.decrees}
    own = [(block, d) for block in run.journal.blocks for d in block.decrees if (block.tick, d["agent"]) not in given]
    if not own:
        return []
    if not run.history.trace:
        raise Unjudged("there is a decree and no trace")
    physical, found = run.history.plan.physical, list[str]()
    for block, decree in own:
        if decree["reason"] == "decree:cancelled":
            if (block.tick, decree["agent"]) not in run.history.cancelled:
                found.append(
                    f"block {block.block}: agent {decree['agent']}'s step was cancelled, and nobody asked for it"
                )
            continue
        lost = _taken_along(run, block.tick, decree["agent"])
        if lost < physical.lost_workers_max:
            found.append(
                f"block {block.block}: agent {decree['agent']}'s step was ended by decree after {lost} lost workers, "
                f"not {physical.lost_workers_max}"
            )
    return found


def _taken_along(run: Judged, tick: int, agent: int) -> int:
    """How many workers one incarnation lost that had this step alone, by the trace and the guest log.

    The trace has a batch's size and the worker's slot; a worker that crossed into another agent had another's step.
    """
    history = run.history
    mine = agent % history.plan.physical.workers  # its place in the pool, which may get another size
    slots: dict[int, int] = {}
    alone: dict[tuple[int, int, int], Record] = {}  # by incarnation, worker and lease
    count = Counter[int]()
    for record in history.trace:
        fields = record.fields
        if record.kind == "spawned":
            slots[int(fields["worker"])] = int(fields["slot"])
        elif record.kind in ("started", "resized"):
            mine = agent % int(fields.get("workers", history.plan.physical.workers))
        elif record.kind == "sent" and record.tick == tick and fields["orders"] == 1:
            alone[record.incarnation, int(fields["worker"]), int(fields["lease"])] = record
        elif record.kind == "unable" and record.tick == tick and fields["agent"] == agent:
            count[record.incarnation] += 1
        elif record.kind == "lost":
            worker = int(fields["worker"])
            sent = alone.get((record.incarnation, worker, int(fields["lease"])))
            if sent and slots.get(worker) == mine and not _crossed_else(run, sent, record, agent):
                count[record.incarnation] += 1
    return max(count.values(), default=0)


def _crossed_else(run: Judged, sent: Record, lost: Record, agent: int) -> bool:
    worker = lost.fields["worker"]
    return any(
        event.worker == worker and event.agent != agent and sent.at <= event.at <= lost.at and event.tick == sent.tick
        for event in run.history.guests
    )


def _crossings(run: Judged) -> list[str]:
    """Per step: the module's own end and the ranges it passed, against the status in the journal."""
    found, decreed = [], _decreed(run)
    for step, execution in run.flows.taken:
        if execution is None or (step.tick, step.agent) in decreed:
            continue
        status, index = execution.event.status, execution.number
        if status in CUT_SHORT:
            found.append(f"{place(step.at)}: {step.status}, but guest event {index} only ever {status}")
        elif status != "ok":
            if step.status != status:
                found.append(f"{place(step.at)}: {step.status}, guest event {index} ended as {status}")
        else:
            bad = next((n for n, call in enumerate(execution.event.calls) if call.data is None), None)
            if bad is not None and step.status not in _OF_CALLS:
                found.append(f"{place(step.at)}: {step.status}, guest event {index} call {bad} was out of range")
            elif step.status != "ok" and (step.status not in _OF_CALLS or not execution.event.calls):
                found.append(f"{place(step.at)}: {step.status}, guest event {index} ended well")
            elif step.status == "bad_pointer" and bad is None:
                found.append(f"{place(step.at)}: bad_pointer, all ranges of guest event {index} were good")
    return found


def _defined(fault: Fault) -> tuple[str, ...]:
    """What the journal must say of a step that this fault has hit; empty where nothing is defined."""
    return endings(fault) if class_of(fault.kind) in SHOWN and fault.kind in STEP_KINDS else ()


def _effect(run: Judged, injection: Injection) -> tuple[int, int, list[str]]:
    """(agent, tick, problem): whether the step that the fault hit ended as the fault's kind defines."""
    fault = run.history.plan.faults[injection.fault]
    agent = int(injection.fields.get("agent", fault.at.get("agent", -1)))
    tick = int(injection.fields.get("tick", fault.at.get("tick", -1)))
    if fault.kind == RELOAD:  # how a reload must end is I36's affair; where it was refused there is none
        return agent, tick, []
    defined = _defined(fault)
    if not defined or agent < 0 or tick < 0:
        raise Unjudged(f"the effect of fault {injection.fault} ({fault.kind}) has no definition or address")
    if (tick, agent) in _decreed(run):
        return agent, tick, []
    for step, execution in run.flows.taken:
        if step.tick == tick and step.agent == agent:
            calls = execution.event.calls if execution else ()
            own = step.status == "bad_pointer" and any(call.data is None for call in calls)  # it fails by itself too
            if step.status in defined or own:
                return agent, tick, []
            text = f"{place(step.at)}: {step.status}, fault {injection.fault} ({fault.kind}) defines "
            return agent, tick, [text + " or ".join(defined)]
    return (
        agent,
        tick,
        [f"fault {injection.fault} ({fault.kind}): no block holds a step of agent {agent} in tick {tick}"],
    )


def _untouched(run: Judged, baseline: Judged, struck: dict[int, int]) -> list[str]:
    """Steps before anything of a struck agent could have reached their agent: as in the baseline, byte for byte."""
    agents = len(run.final.agents)
    if run.config["max_tasks_per_tick"] < agents:
        raise Unjudged("max_tasks_per_tick makes every agent's turn depend on every other's")
    reached = reach(run, baseline, struck)
    ours, theirs = (_per_agent(judged, reached) for judged in (run, baseline))
    found = []
    for agent in range(agents):
        for a, b in zip_longest(ours.get(agent, []), theirs.get(agent, [])):
            if a and b and a.same_but_for_place(b):
                continue
            where = place(a.at) if a else f"baseline's {place(b.at)}"
            found.append(f"{where}: agent {agent}, which nothing of a struck agent had reached, differs")
            break
    return found


def reach(run: Judged, baseline: Judged, struck: dict[int, int]) -> dict[int, int]:
    """Agent -> first tick in which it may differ: from its being struck, or the tick after it was sent something.

    Conservative: what either run sent, published or refused counts, whether it was read or not.
    """
    ways: list[tuple[int, int, int, tuple[int, ...]]] = []  # tick, 0 sent | 1 refused, from, to
    for judged in (run, baseline):
        flows, readers = judged.flows, _readers(judged)
        ways += [(s.tick, 0, s.sender, s.targets) for s in flows.sent.values()]
        ways += [(u.tick, 1, u.target, (u.sender,)) for u in flows.undelivered if u.op == "refused"]
        for (buffer, _), (tick, _, _) in published(judged)[0].items():
            ways.append((tick, 0, judged.config["buffers"][buffer]["writer"], readers.get(buffer, ())))
        ways += dependence.ways(judged)
    mates = _mates(baseline)
    reached: dict[int, int] = {}
    for agent, tick in sorted(struck.items()):
        _touch(reached, mates.get(agent, (agent,)), tick)
    for tick, refused, source, targets in sorted(ways):
        if reached.get(source, _NEVER) <= tick + refused:
            for target in targets:
                _touch(reached, mates.get(target, (target,)), tick + 1)
    return reached


def _touch(reached: dict[int, int], agents: tuple[int, ...], tick: int) -> None:
    for agent in agents:
        reached[agent] = min(tick, reached.get(agent, tick))


def _mates(judged: Judged) -> dict[int, tuple[int, ...]]:
    """Per agent of a tenant with a quota all of that tenant: what one takes of it is not there for the others."""
    tenants = judged.config.get("tenants", [])
    agents = [(index, agent.spec.tenant) for index, agent in enumerate(judged.final.agents)]
    found: dict[int, tuple[int, ...]] = {}
    for number, tenant in enumerate(tenants):
        mine = tuple([index for index, of in agents if of == number])
        if tenant["tasks"] or tenant["fuel"] or tenant["messages"]:
            found |= dict.fromkeys(mine, mine)
    return found


def _readers(judged: Judged) -> dict[int, tuple[int, ...]]:
    readers: dict[int, tuple[int, ...]] = {}
    for index, agent in enumerate(judged.final.agents):
        for buffer in agent.spec.reads:
            readers[buffer] = (*readers.get(buffer, ()), index)
    return readers


def _per_agent(judged: Judged, reached: dict[int, int]) -> dict[int, list[Step]]:
    """Each agent's steps before it was reached."""
    steps: dict[int, list[Step]] = {}
    for step, _ in judged.flows.taken:
        if step.tick < reached.get(step.agent, _NEVER):
            steps.setdefault(step.agent, []).append(step)
    return steps


def replays(run: Judged) -> list[str]:
    """A step that ran more than once did the same each time; no check stopped a run that none should stop."""
    history, found = run.history, list[str]()
    if history.failure and not run.stopped:
        return [f"stopped by check '{history.failure}': {history.failure_detail}"]
    if not run.crossings:
        raise Unjudged("there is no guest log")
    for index, event, accepted in run.repeats:
        same = event.calls == accepted.calls
        if event.status in CUT_SHORT:
            same = same or event.calls == accepted.calls[: len(event.calls)]
        elif event.status != accepted.status:
            same = False
        if not same:
            what = f"guest event {index}: agent {event.agent} did other in tick {event.tick}"
            found.append(f"{what} than in guest event {run.accepted_at(event)}")
    return found + run.settled(_held)


def _held(run: Judged) -> list[str]:
    """Crossings of steps that no block holds, though a later tick is in the journal."""
    committed = {(s.tick, s.agent, s.kind) for s, _ in run.flows.taken}
    last = max((tick for tick, _, _ in committed), default=-1)
    return [
        f"guest event {execution.number}: agent {key[1]} ran in tick {key[0]}; no block holds that step"
        for key, execution in run.executions.items()
        if key[0] <= last and key not in committed
    ]


def liveness(run: Judged) -> list[str]:
    """I19: after the last fault has healed no tick stays open for longer than the bound; the run finishes.

    Nor do more blocks wait for the disk than the plan allows, and where nothing physical was disturbed nothing is lost.
    Leases double with each expiry, and a step that has lost as many workers as it may is sent to no other.
    """
    history = run.history
    if not history.trace or run.bound_ns <= 0:
        raise Unjudged("there is no trace" if not history.trace else "there is no bound")
    if run.stopped:
        raise Unjudged("a failstop fault ended the run")
    found = _ahead(run) + _undisturbed(history, run.trace, "trace") + leases(run)
    if run.twin is not None:
        known = run.known if run.known is not None and run.known.history is run.twin else Judged(run.twin)
        found += _undisturbed(run.twin, known.trace, "twin's trace")
    waits, opened = _waits(run)
    for wait in waits:
        if wait.ns > run.bound_ns:
            found.append(
                f"trace record {wait.record}: tick {wait.tick} closed {wait.ns} ns after "
                f"{'healing' if wait.healed else 'it opened'}, the bound is {run.bound_ns}"
            )
    found += [f"tick {tick}, opened at {at}, never closed" for tick, at in sorted(opened.items())]
    if not history.finished:
        found.append(f"the run did not finish; its last trace record is {len(history.trace) - 1}")
    return found


class _Wait(NamedTuple):
    """How long a tick was open after it opened, or after all had healed; `record` is the trace's that closed it."""

    record: int
    tick: int
    ns: int
    healed: bool


def longest_wait(run: Judged) -> int:
    """What I19 compares with its bound: the longest of its waits in ns, 0 where no tick closed."""
    return max((wait.ns for wait in _waits(run)[0]), default=0)


def _waits(run: Judged) -> tuple[list[_Wait], dict[int, int]]:
    """Of every tick that closed; and the ticks that never did, with when they opened."""
    waits: list[_Wait] = []
    opened: dict[int, int] = {}
    healed_at = run.history.healed_at
    for index, record in run.trace.of("opened", "committed", "recovered"):
        if record.kind == "opened":
            opened.setdefault(record.tick, record.at)
            continue
        if record.kind == "committed":
            closed = [record.tick] if record.tick in opened else []
        else:  # recovered: its block was written when the orchestrator died, and counts
            closed = [tick for tick in sorted(opened) if tick <= record.tick]
        for tick in closed:
            since = max(opened.pop(tick), healed_at)
            waits.append(_Wait(index, tick, max(0, record.at - since), since == healed_at))
    return waits, opened


def _ahead(run: Judged) -> list[str]:
    """Commits while more than `sync_ahead` blocks were not yet known to be durable."""
    found, durable = [], 0
    most = run.history.plan.physical.sync_ahead
    for index, record in run.trace.of("started", "recovered", "durable", "committed"):
        if record.kind in ("started", "recovered"):  # all that a new incarnation took over is durable
            durable = int(record.fields["block"])
        elif record.kind == "durable":
            durable = max(durable, int(record.fields["block"]))
        elif record.kind == "committed" and int(record.fields["block"]) - durable > most:
            block = record.fields["block"]
            found.append(f"trace record {index}: block {block} is committed, {durable} durable, {most} may be ahead")
    return found


def _undisturbed(history: History, trace: Trace, whose: str) -> list[str]:
    """Losses and repairs in a run without a fault that could have called for them."""
    if any(class_of(fault.kind) not in SHOWN for fault in history.plan.faults):
        return []
    return [
        f"{whose} record {index}: {record.kind} in tick {record.tick}, and no fault calls for it"
        for index, record in trace.of(*_DISTURBED)
        if not (record.kind == "stale" and int(record.fields["worker"]) < 0)
    ]


def scenario(run: Judged) -> list[str]:
    """The scenario's own invariant over the run."""
    if run.invariant is None:
        raise Unjudged("the scenario states no invariant")
    return run.settled_by_outcome(_stated)


def _stated(run: Judged) -> list[str]:
    if run.invariant is None:
        raise Unjudged("the scenario states no invariant")
    return run.invariant(run.history)
