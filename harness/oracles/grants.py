"""What an agent was granted against what it did: capability (I17) and quota (I18).

The grants are those that the journal admitted (an agent's spec, the run's configuration); what was done is the guest
log: calls, fuel, memory and inbox of each crossing, as seen at the module's side of the port. Against: a capability
that is checked on one path only, a bound that is compared too late or one too high, fuel and memory given beyond it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from harness.history import GuestEvent
from harness.oracles import refusals, tenancy
from harness.oracles.flows import Execution, place
from harness.oracles.judged import Judged
from harness.oracles.reading import Step
from harness.oracles.verdict import Unjudged
from runtime.state import BUFFER, INFERENCE, INPUT, MESSAGE, READING, REFUSED, TASK, TOPIC, WAKE

# The capability that each effect needs: the oracle's own table, by docs/abi.md.
NEEDS = {
    "send": "messages",
    "publish": "topics",
    "subscribe": "topics",
    "unsubscribe": "topics",
    "wake": "timers",
    "buffer": "buffers",
    "output": "output",
    "infer": "inference",
    "read": "outside",
    "cancel": "outside",
}
_PLAIN = frozenset((MESSAGE, TOPIC, INPUT))
_ENDED = ("terminated", "quarantined")
_PAYLOADS = ("send", "publish", "output", "infer", "read")


class Granted(NamedTuple):
    """One agent's grants, as they were admitted."""

    capabilities: frozenset[str]
    fuel: int
    memory: int


def granted(run: Judged) -> list[Granted]:
    """Per agent, in order of id; raises Unjudged for a spec without limits."""
    found: list[Granted] = []
    for block in run.journal.blocks:
        refused = [event[3] for event in block.events if event[0] == "illegal" and event[2] == "spawn"]
        for item in block.inputs:
            if item["action"]["do"] != "spawn":
                continue
            spec: dict[str, Any] = item["action"]["spec"]
            if spec["name"] in refused:
                refused.remove(spec["name"])
                continue
            if "limits" not in spec:
                raise Unjudged(f"block {block.block} spawns {spec['name']} without limits")
            found.append(Granted(frozenset(spec["capabilities"]), spec["limits"]["fuel"], spec["limits"]["memory"]))
    return found


def capability(run: Judged) -> list[str]:
    """I17: every effect of an agent is one that it was granted, on both sides of the port; none comes after its end.

    What a module tried in a step that failed had no effect.
    """
    if not run.crossings:
        raise Unjudged("there is no guest log")
    return run.settled(_within_grants) + run.settled_by_journal(_none_after_the_end)


def _within_grants(run: Judged) -> list[str]:
    grants, writers = granted(run), [buffer["writer"] for buffer in run.config["buffers"]]
    found = []
    for step, execution in run.flows.taken:
        if step.status != "ok" or (not step.effects and execution is None):
            continue
        has = grants[step.agent].capabilities if step.agent < len(grants) else frozenset[str]()
        operations = {effect.op for effect in step.effects}
        if execution is not None:
            operations |= {call.op for call in execution.event.calls}
        if "buffer" not in operations and all(NEEDS.get(op, op) in has for op in operations):
            continue
        done = [(place(step.at), number, e.op, e.target) for number, e in enumerate(step.effects)]
        if execution is not None:
            where = f"guest event {execution.number}"
            done += [(where, number, c.op, c.target) for number, c in enumerate(execution.event.calls)]
        for where, number, op, target in done:
            if NEEDS.get(op, op) not in has:
                found.append(f"{where} effect {number}: agent {step.agent} did {op}, and has {_list(has)}")
            elif op == "buffer" and not (target < len(writers) and writers[target] == step.agent):
                found.append(
                    f"{where} effect {number}: agent {step.agent} wrote buffer {target}, of which it is no writer"
                )
    return found


def _none_after_the_end(run: Judged) -> list[str]:
    """Steps of agents that had been terminated, or quarantined and not released.

    One in quarantine may be given another module, which is a step of its own, and the reason to release it.
    """
    ended: dict[int, int] = {}  # agent -> block of its end
    quarantined: dict[int, bool] = {}
    found = []
    for block in run.journal.blocks:
        phases = [(event[1], event[2], event[3]) for event in block.events if event[0] == "lifecycle"]
        for agent, before, _ in phases:  # released in this very block
            if before == "quarantined":
                ended.pop(agent, None)
        found += [
            f"{place(step.at)}: a step of agent {step.agent}, which ended in block {ended[step.agent]}"
            for step in block.steps
            if step.agent in ended and not (step.kind == "reload" and quarantined[step.agent])
        ]
        for agent, _, after in phases:
            if after in _ENDED:
                ended[agent], quarantined[agent] = block.block, after == "quarantined"
    return found


def quota(run: Judged) -> list[str]:
    """I18: no crossing was given, used or held more than the grant; no inbox, step or tick is beyond its bound.

    Nor is a module loaded that would take more than its size lets expect, nor a tenant beyond its quotas.
    """
    if not run.crossings:
        raise Unjudged("there is no guest log")
    beyond = run.settled(_bounded) + run.settled(tenancy.within_quotas)
    return _metered(run) + beyond + refusals.ended(run, refusals.HEAVY)


def _metered(run: Judged) -> list[str]:
    """Fuel and memory of every crossing, repeated ones included."""
    grants, found = granted(run), list[str]()
    if _all_within(grants, run.history.guests):
        return []
    for index, event in enumerate(run.history.guests):
        if event.status == "died":
            continue
        if min(event.granted, event.used, event.memory) < 0:
            raise Unjudged(f"guest event {index} has no record of fuel and memory")
        if event.agent >= len(grants):
            found.append(f"guest event {index}: agent {event.agent} was never spawned")
            continue
        grant = grants[event.agent]
        if event.used <= event.granted <= grant.fuel and event.memory <= grant.memory:
            continue
        where = f"guest event {index}: agent {event.agent}"
        if event.granted > grant.fuel:
            found.append(f"{where} was given {event.granted} fuel, its limit is {grant.fuel}")
        if event.used > event.granted:
            found.append(f"{where} used {event.used} fuel of {event.granted}")
        if event.memory > grant.memory:
            found.append(f"{where} has {event.memory} bytes of memory, its limit is {grant.memory}")
    return found


def _all_within(grants: list[Granted], events: list[GuestEvent]) -> bool:
    """Whether no crossing is beyond its grant: as a rule none is, and this is told of all at once."""
    seen = {(e.agent, e.granted, e.memory, 0 <= e.used <= e.granted) for e in events if e.status != "died"}
    return all(
        is_within and agent < len(grants) and given <= grants[agent].fuel and 0 <= held <= grants[agent].memory
        for agent, given, held, is_within in seen
    )


def _bounded(run: Judged) -> list[str]:
    config, found = run.config, list[str]()
    last = config["last_tick"]
    for step, execution in run.flows.taken:
        if execution is None or _is_small(execution, config):
            continue
        where = f"guest event {execution.number}"
        for what, number, bound in _counts(step, execution.event, config, run):
            if number > bound:
                found.append(f"{where}: agent {step.agent} has {number} {what}, the bound is {bound}")
    for block in run.journal.blocks:
        tasks = sum(step.kind != "reload" for step in block.steps)
        if tasks > config["max_tasks_per_tick"] and block.tick < last:
            found.append(f"block {block.block}: {tasks} steps, the bound is {config['max_tasks_per_tick']}")
    return found


def _is_small(execution: Execution, config: dict[str, Any]) -> bool:
    """Whether it is within the bounds at once: few calls, and messages alone in its inbox. Most are."""
    calls, inbox = execution.event.calls, execution.inbox
    if len(calls) > config["send_limit"] or len(inbox) > config["mailbox"]:
        return False
    longest = max([call.length for call in calls], default=0)
    return longest <= config.get("max_payload", longest) and _PLAIN.issuperset([envelope[0] for envelope in inbox])


def _counts(step: Step, event: GuestEvent, config: dict[str, Any], run: Judged) -> Iterator[tuple[str, int, int]]:
    """(what, how many, how many there may be) of one crossing."""
    yield "calls with an effect", len(event.calls), config["send_limit"]
    longest = max((call.length for call in event.calls if call.op in _PAYLOADS and call.data is not None), default=0)
    yield "bytes in one call", longest, config.get("max_payload", longest)
    execution = run.executions[step.tick, step.agent, step.kind]
    kinds = [kind for kind, _, _, _, payload in execution.inbox if kind != BUFFER and (kind != WAKE or payload)]
    refused, results, tasks = kinds.count(REFUSED), kinds.count(INFERENCE), kinds.count(TASK)
    readings = kinds.count(READING)
    yield "messages in its inbox", len(kinds) - refused - results - readings - tasks, config["mailbox"]
    yield "tasks of a graph in its inbox", tasks, 1
    yield "refusals in its inbox", refused, config["send_limit"]
    yield "results in its inbox", results, len(config["models"])
    yield "readings in its inbox", readings, len(config.get("sources", ()))


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
