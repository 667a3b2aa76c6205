"""Order beyond one sender: causal order of messages (I10), and versions of buffers at their readers (I16).

Both are rebuilt from the guests' own logs: who sent what after having received what, and whose bytes a reader got.
Against: a mailbox that sorts, a slot that holds an older version than its handle says, a handle of another generation.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.oracles.flows import Execution, Sent
from harness.oracles.judged import Judged
from harness.oracles.shared import published
from harness.oracles.verdict import Unjudged
from runtime.state import BUFFER, MESSAGE, TOPIC

_Clock = dict[int, int]  # agent -> how many of its steps are in the past


def causal(run: Judged) -> list[str]:
    """I10: of two messages to one agent, the one whose sending happened before the other's is delivered before it.

    Happened before, by vector clocks over steps: earlier in the same agent, or in the past of a message or of a version
    that an agent had received by then.
    """
    if not run.crossings:
        raise Unjudged("there is no guest log")
    return run.settled(_in_causal_order)


def _in_order_of_ticks(run: Judged, written: dict[tuple[int, int], int]) -> bool:
    """Whether everybody got everything in a later tick than it was sent or written in, and in the order of these ticks,
    two messages of one step in the order of their calls.

    Then no message was overtaken by one that knew of it: that one was sent in a later tick, or later in the same step.
    It costs far less than clocks, and a runtime that waits for its ticks to close gives nothing else.
    """
    all_sent = run.flows.sent
    ran: dict[int, int] = {}  # agent -> tick of its last step
    newest: dict[int, int] = {}  # receiver -> tick of the last message that it got
    calls: dict[tuple[int, int], tuple[int, int]] = {}  # (receiver, sender) -> (tick, call) of the last one
    for step, execution in run.flows.taken:
        agent, tick = step.agent, step.tick
        if ran.get(agent, -1) >= tick:
            return False
        ran[agent] = tick
        last = newest.get(agent, -1)
        for kind, _, number, channel, _ in execution.inbox if execution is not None else ():
            if kind == BUFFER and written.get((channel, number), -1) >= tick:
                return False
            sent = all_sent.get(number) if kind in (MESSAGE, TOPIC) else None
            if sent is None or isinstance(sent.origin, str):
                continue
            call = (sent.tick, sent.origin[1])
            if not last <= sent.tick < tick or calls.get((agent, sent.sender), call) > call:
                return False
            last = newest[agent] = sent.tick
            calls[agent, sent.sender] = call
    return True


def _in_causal_order(run: Judged) -> list[str]:
    clocks: dict[int, _Clock] = {}  # per agent, after its last step
    at_step: dict[tuple[int, int], _Clock] = {}  # (tick, agent) -> its clock in that step
    delivered: dict[int, _Clock] = {}  # per receiver: what is in the past of anything delivered to it
    latest: dict[int, dict[int, Sent]] = {}  # receiver -> sender -> the delivered message that says so
    writers = {key: (tick, run.config["buffers"][key[0]]["writer"]) for key, (tick, _, _) in published(run)[0].items()}
    found: list[str] = []
    if _in_order_of_ticks(run, {key: tick for key, (tick, _) in writers.items()}):
        return found
    all_sent = run.flows.sent
    for step, execution in run.flows.taken:
        agent = step.agent
        clock = dict(clocks.get(agent, {}))
        clock[agent] = clock.get(agent, 0) + 1
        clocks[agent] = at_step[step.tick, agent] = clock
        if execution is None:
            continue
        known, told = delivered.setdefault(agent, {}), latest.setdefault(agent, {})
        for kind, _, number, channel, _ in execution.inbox:
            if kind == BUFFER:
                _join(clock, at_step.get(writers.get((channel, number), (-1, -1)), {}))
            sent = all_sent.get(number) if kind in (MESSAGE, TOPIC) else None
            past = at_step.get((sent.tick, sent.sender)) if sent else None
            if sent is None or past is None:
                continue
            mine = past[sent.sender]
            newest = told.get(sent.sender)
            if newest is not None and known.get(sent.sender, 0) >= mine and _before(sent, newest, mine, known):
                found.append(
                    f"guest event {execution.number}: agent {agent} got number {number} ({sent.where}) after "
                    f"what {newest.where} sent, which knew of it"
                )
            for one, steps in past.items():
                if steps >= known.get(one, 0):
                    known[one] = steps
                    told[one] = sent
            _join(clock, past)
    return found


def _before(sent: Sent, newest: Sent, mine: int, known: _Clock) -> bool:
    """Whether this message was sent before the one that was delivered already; two of one step by order of calls."""
    if known[sent.sender] > mine or newest.sender != sent.sender:
        return True
    return isinstance(sent.origin, tuple) and isinstance(newest.origin, tuple) and sent.origin[1] < newest.origin[1]


def _join(clock: _Clock, other: _Clock) -> None:
    for agent, steps in other.items():
        if steps > clock.get(agent, 0):
            clock[agent] = steps


def monotonic(run: Judged) -> list[str]:
    """I16: no agent gets an older version of a buffer after a newer one, by its handle or by whose bytes they are."""
    if not run.crossings:
        raise Unjudged("there is no guest log")
    others = [Execution(index, event) for index, event, accepted in run.repeats if event.given != accepted.given]
    return run.settled(_never_back) + (_outdated(_by_bytes(run), others) if others else [])


def _by_bytes(run: Judged) -> dict[tuple[int, bytes], int]:
    """(buffer, bytes) -> the newest version with these bytes, as their writer's module passed them."""
    versions: dict[tuple[int, bytes], int] = {}
    for (buffer, version), (_, data, _) in published(run)[0].items():
        versions[buffer, data] = max(version, versions.get((buffer, data), 0))
    return versions


def _never_back(run: Judged) -> list[str]:
    versions = _by_bytes(run)
    newest: dict[tuple[int, int], int] = {}
    found: list[str] = []
    executions = [execution for _, execution in run.flows.taken if execution is not None]
    for execution in executions:
        agent = execution.event.agent
        for kind, _, version, buffer, _ in execution.inbox:
            if kind != BUFFER:
                continue
            before = newest.get((agent, buffer), 0)
            if version <= before:
                found.append(
                    f"guest event {execution.number}: agent {agent} got version {version} of buffer {buffer} "
                    f"after version {before}"
                )
            newest[agent, buffer] = max(before, version)
    return found + _outdated(versions, executions)


def _outdated(versions: dict[tuple[int, bytes], int], executions: Iterable[Execution]) -> list[str]:
    """Readings whose bytes are those of an older version than their handle's."""
    found = []
    for execution in executions:
        for kind, _, version, buffer, payload in execution.inbox:
            if kind == BUFFER and versions.get((buffer, payload), version) < version:
                found.append(
                    f"guest event {execution.number}: agent {execution.event.agent} got the bytes of version "
                    f"{versions[buffer, payload]} of buffer {buffer} as version {version}"
                )
    return found
