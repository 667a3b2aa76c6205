"""Messages: exactly once (I8), per-sender FIFO (I9), no invention (I11), conservation (I34).

What receivers' modules got is compared with what senders' modules and the client handed in; the journal is the third
record, compared with both. Against: redelivery, double application, loss, reordering, altered frames.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from msgspec import UNSET

from harness.oracles.envelopes import Envelope
from harness.oracles.flows import Execution, Flows, Taken, place
from harness.oracles.judged import CUT_SHORT, Judged
from harness.oracles.reading import Step
from harness.oracles.verdict import Unjudged
from runtime.state import (
    BUFFER,
    INFERENCE,
    INPUT,
    MESSAGE,
    OUTSIDE,
    READING,
    READY,
    REFUSED,
    TASK,
    TOPIC,
    WAITING,
    WAKE,
    State,
)

GENESIS = "genesis"  # the source of the scenario's own inputs, which no client sends
_NAMES = {
    MESSAGE: "direct",
    TOPIC: "topic",
    INPUT: "input",
    WAKE: "task",
    REFUSED: "refusal",
    INFERENCE: "result",
    READING: "reading",
    TASK: "task of a graph",
}


def _crossing(taken: Taken) -> str:
    step, execution = taken
    return f"guest event {execution.number}" if execution else place(step.at)


def exactly_once(run: Judged) -> list[str]:
    """I8: inputs once in the journal, effects once per call made, numbers once per receiver, here and at the guest."""
    if not run.crossings or (run.history.plan.inputs and not run.client):
        raise Unjudged("there is no client's ledger")
    return _inputs_once(run) + run.settled(_consumed_once)


def _consumed_once(run: Judged) -> list[str]:
    flows, found = run.flows, list(run.flows.unjoined)
    times: dict[tuple[int, int], int] = {}
    lost = {seq for seq, _ in flows.copies_lost}
    for taken in flows.taken:
        step, execution = taken
        if execution is not None:
            got = tuple([envelope[2] for envelope in execution.inbox if envelope[0] != BUFFER])
            if got != step.inbox:
                found.append(f"{place(step.at)}: consumed {_list(step.inbox)}, {_crossing(taken)} got {_list(got)}")
        for seq in step.inbox:
            if seq:
                times[step.agent, seq] = times.get((step.agent, seq), 0) + 1
                sent = flows.sent.get(seq)
                if (
                    sent is None
                    or sent.kind != MESSAGE
                    or sent.tick >= step.tick
                    or seq in lost
                    or step.agent not in sent.targets
                ):
                    found += _assigned(flows, step, seq)
    for (agent, seq), number in times.items():
        if number < 2:
            continue
        sent = run.flows.sent.get(seq)
        copies = 0 if sent is None else int(agent in sent.targets)
        if sent and sent.kind in (INFERENCE, READING) and (seq, agent) in run.flows.copies_lost:
            copies = 0  # its own refusal, which `control` counts, came in its place
        if sent and number > run.flows.control.get((agent, seq), 0) + copies:
            found.append(f"number {seq} ({sent.where}) was consumed {number} times by agent {agent}")
    return found


def _assigned(flows: Flows, step: Step, seq: int) -> tuple[str, ...]:
    """What is wrong with this consumption: a number nobody was given, of another's message, or of one lost."""
    agent, sent = step.agent, flows.sent.get(seq)
    if sent is None:
        return (f"{place(step.at)}: consumed number {seq}, which was given to nothing",)
    if agent in sent.targets and (seq, agent) not in flows.copies_lost:
        if sent.kind in (INFERENCE, READING):
            answer = flows.answers.get(seq) if sent.kind == INFERENCE else flows.readings.get(seq)
            if answer is not None and answer.tick <= step.tick:
                return ()
            return (
                f"{place(step.at)}: consumed the {_NAMES[sent.kind]} of request {seq}, which no block holds by then",
            )
        if sent.tick < step.tick or sent.sender == OUTSIDE:
            return ()
        return (f"{place(step.at)}: consumed number {seq}, which {sent.where} sends only in tick {sent.tick}",)
    if flows.control.get((agent, seq)):
        return ()
    return (f"{place(step.at)}: agent {agent} consumed number {seq} ({sent.where}), of which it has no copy",)


def _list(numbers: Iterable[int]) -> str:
    return "[" + ", ".join(map(str, numbers)) + "]"


def _inputs_once(run: Judged) -> list[str]:
    """Each input of the client's once in the journal, up to the newest acknowledged; in it nothing else."""
    found: list[str] = []
    seen: dict[tuple[str, int], str] = {}
    for block in run.journal.blocks:
        for number, item in enumerate(block.inputs):
            identity, where = (item["source"], item["n"]), f"block {block.block} input {number}"
            genesis = block.block == 1 and item["source"] == GENESIS
            if identity in seen:
                found.append(f"{where}: {identity[0]}/{identity[1]} is admitted again, first in {seen[identity]}")
            elif identity not in run.client and not genesis:
                found.append(f"{where}: {identity[0]}/{identity[1]} was never sent")
            seen.setdefault(identity, where)
    newest: dict[str, int] = {}
    for receipt in run.history.receipts:
        for source, n in receipt.acknowledged:
            newest[source] = max(n, newest.get(source, 0))
    for source, n in sorted(run.client):
        if n <= newest.get(source, 0) and (source, n) not in seen:
            found.append(f"input {source}/{n} was sent and {source}/{newest[source]} acknowledged; no block admits it")
    return found


def fifo(run: Judged) -> list[str]:
    """I9: per (sender, receiver, topic) numbers rise at the receiver's guest, and gaps are on record."""
    if not run.crossings:
        raise Unjudged("there is no guest log")
    return run.settled(_in_order)


def _in_order(run: Judged) -> list[str]:
    flows, found = run.flows, []
    got: dict[tuple[int, int, int, int], list[int]] = {}
    for taken in flows.taken:
        step, execution = taken
        if execution is None:
            continue
        agent = step.agent
        for kind, sender, seq, channel, _ in execution.inbox:
            if kind not in (MESSAGE, TOPIC, INPUT):
                continue
            stream = got.setdefault((kind, sender, agent, channel), [])
            sent = flows.sent.get(seq)
            problem = ""
            if stream and seq <= stream[-1]:
                problem = f"after {stream[-1]}"
            elif sent is None or agent not in sent.targets or sent.sender != sender:
                problem = f"which {sent.where} sent to {_list(sent.targets)}" if sent else "which nobody sent"
            if problem:
                stream_name = f"sender {sender} ({_NAMES[kind]} {channel})"
                found.append(f"{_crossing(taken)}: agent {agent} got number {seq} of {stream_name} {problem}")
            stream.append(seq)
    return found + _gaps(flows, got)


def _gaps(flows: Flows, got: dict[tuple[int, int, int, int], list[int]]) -> list[str]:
    """Copies that their receiver does not have though it has a later one of the stream, without a record of why."""
    unseen = _unseen_inboxes(flows)
    heads = {key: (stream[-1], set(stream)) for key, stream in got.items()}
    found = []
    for seq, sent in flows.sent.items():
        for target in sent.targets:
            head = heads.get((sent.kind, sent.sender, target, sent.channel))
            if head is None or seq >= head[0] or seq in head[1]:
                continue
            if (seq, target) not in flows.copies_lost and (seq, target) not in unseen:
                found.append(f"number {seq} ({sent.where}) never reached agent {target}, which got {head[0]} after it")
    return found


def _unseen_inboxes(flows: Flows) -> set[tuple[int, int]]:
    """Copies consumed by steps that a decree ended before any crossing."""
    return {(seq, step.agent) for step, execution in flows.taken if execution is None for seq in step.inbox if seq}


def no_invention(run: Judged) -> list[str]:
    """I11: what a receiver's guest got is, byte for byte, what the sender's guest passed or the client handed in."""
    if not run.crossings:
        raise Unjudged("there is no guest log")
    return run.settled(_nothing_invented) + _same_inbox(run)


def _nothing_invented(run: Judged) -> list[str]:
    found = []
    tasks = {agent: Counter(payloads) for agent, payloads in run.flows.scheduled.items()}
    for taken in run.flows.taken:
        step, execution = taken
        if execution is None:
            continue
        agent = step.agent
        for number, envelope in enumerate(execution.inbox):
            if envelope[0] == INFERENCE:
                problem = _misinformed(run, agent, envelope)
            elif envelope[0] == READING:
                problem = _misread(run.flows, agent, envelope)
            else:
                problem = _invented(run.flows, agent, envelope, tasks)
            if problem:
                found.append(f"{_crossing(taken)} message {number}: {problem}")
        if step.effects:
            found += _journaled(step, execution)
    return found


def _invented(flows: Flows, agent: int, envelope: Envelope, tasks: dict[int, Counter[bytes]]) -> str:
    """How this message differs from what was sent, "" when it does not; takes a task's payload out of `tasks`."""
    kind, sender, seq, channel, payload = envelope
    if kind in (MESSAGE, TOPIC, INPUT, REFUSED, TASK):
        sent = flows.sent.get(seq)
        if sent is None:
            return f"number {seq}, {_show(payload)}, which nobody sent"
        if kind == REFUSED and seq in flows.refusals:
            same = (sent.sender, sender, flows.refusals.get(seq)) == (agent, OUTSIDE, channel)
        elif kind == REFUSED:
            same = sent.sender == agent and sender in sent.targets
        else:
            same = (sent.kind, sent.sender, sent.channel) == (kind, sender, channel)
        if same and sent.data == payload:
            return ""
        return f"number {seq} of {sender}, {_show(payload)}; {sent.where} of {sent.sender} passed {_show(sent.data)}"
    if kind == WAKE:
        if agent in tasks and tasks[agent][payload] > 0:
            tasks[agent][payload] -= 1
            return ""
        return "" if not payload and flows.wakes.get(agent) else f"a wake that agent {agent} was never due"
    return "" if kind == BUFFER else f"{len(payload)} bytes that are no envelope"


def _misinformed(run: Judged, agent: int, envelope: Envelope) -> str:
    """How the message about a result differs from the request and from the journal's result, "" when it does not."""
    _, sender, seq, channel, payload = envelope
    asked = run.conversations.get(seq)
    if asked is None or asked.sent.sender != agent:
        return f"a result of request {seq}, which agent {agent} did not make"
    if (sender, channel) != (OUTSIDE, asked.sent.channel):
        return f"a result of request {seq} from {sender}, model {channel}; {asked.sent.where} asked another"
    if payload != asked.told:
        return f"a result of request {seq}, {_show(payload)}; the journal's is {_show(asked.told)}"
    return ""


def _misread(flows: Flows, agent: int, envelope: Envelope) -> str:
    """How a reading differs from what the journal holds for this read of the agent's, "" when it does not."""
    _, sender, seq, channel, payload = envelope
    sent, told = flows.sent.get(seq), flows.readings.get(seq)
    if sent is None or told is None or (sent.kind, sent.sender) != (READING, agent):
        return f"a reading for number {seq}, which is no answered read of agent {agent}"
    if (sender, channel) != (OUTSIDE, sent.channel):
        return f"a reading for number {seq} from {sender}, source {channel}; {sent.where} asked another"
    if payload != told.status.to_bytes(4, "little") + told.data:
        return (
            f"a reading for number {seq}, {_show(payload)}; {told.where} has status {told.status}, {_show(told.data)}"
        )
    return ""


def _show(data: bytes | None) -> str:
    if data is None:
        return "bytes out of range"
    return f"{len(data)} B {data[:12].hex()}{'…' if len(data) > 12 else ''}"


def _journaled(step: Step, execution: Execution) -> list[str]:
    """Effects whose bytes in the journal are not those that the module passed; buffers are I15's."""
    return [
        f"{place(step.at)} effect {number}: not the bytes that guest event {execution.number} call {number} passed"
        for number, (effect, call) in enumerate(zip(step.effects, execution.event.calls, strict=False))
        if effect.op in ("send", "publish", "output", "infer", "read") and not effect.is_of(call.data or b"")
    ]


def _same_inbox(run: Judged) -> list[str]:
    """Repeated runs of a step, after a loss or in a replay, that were fed other bytes than the accepted one."""
    found = []
    for index, event, accepted in run.repeats:
        if event.given != accepted.given:
            died = " before it died" if event.status in CUT_SHORT else ""
            number = run.accepted_at(event)
            found.append(f"guest event {index}: was fed another inbox than guest event {number}{died}")
    return found


def conservation(run: Judged) -> list[str]:
    """I34: per tick and topic, sent = delivered + refused or dropped on record + in flight; at the end exactly.

    The state that this is said of is the one whose root the last block has, its mailboxes within their bounds.
    """
    if not run.crossings:
        raise Unjudged("there is no guest log")
    return run.settled(_accounted) + run.settled_by_outcome(_bounded) + run.settled_by_outcome(_rooted)


def _rooted(run: Judged) -> list[str]:
    """The last block's root against the final state's bytes, of a run that came to its end."""
    last = run.journal.blocks[-1:]
    if not last or not any(event[0] == "finished" for event in last[0].events):
        return []
    digest = hashlib.sha256(run.history.final_state).hexdigest()
    if last[0].root == digest:
        return []
    return [f"block {last[0].block}: its root is {last[0].root[:16]}, the final state's digest {digest[:16]}"]


def _bounded(run: Judged) -> list[str]:
    """Mailboxes of the final state that hold more than their bound, or than the room reserved beyond it."""
    config, found = run.config, []
    for index, agent in enumerate(run.final.agents):
        kinds = Counter(message.kind for message in agent.mailbox)
        wake = any(message.kind == WAKE and not message.payload for message in agent.mailbox)
        plain = len(agent.mailbox) - kinds[REFUSED] - kinds[INFERENCE] - kinds[READING] - kinds[TASK] - wake
        for what, number, most in (
            ("messages", plain, config["mailbox"]),
            ("refusals", kinds[REFUSED], config["send_limit"]),
            ("results", kinds[INFERENCE], len(config["models"])),
            ("readings", kinds[READING], len(config.get("sources", ()))),
            ("tasks of a graph", kinds[TASK], 1),
        ):
            if number > most:
                found.append(f"agent {index}'s mailbox in the final state holds {number} {what}, {most} is the most")
    return found


def _accounted(run: Judged) -> list[str]:
    changes = _changes(run.flows)
    found, flight = [], Counter[tuple[int, int]]()
    for moment in sorted(changes):
        flight.update(changes[moment][0])
        flight.subtract(changes[moment][1])
        for channel, number in sorted(flight.items()):
            if number < 0:
                found.append(f"tick {moment[0]}: {-number} more copies of {_channel(channel)} arrived than were sent")
                flight[channel] = 0
    left = Counter[tuple[int, int]]()
    left[INFERENCE, 0] += len(run.final.requests)
    if run.final.reads is not UNSET:
        left[READING, 0] += sum(read.wanted for read in run.final.reads.open)
    left[TASK, 0] += _not_given(run.final)
    for agent in run.final.agents:
        left[WAKE, 0] += sum(bool(payload) for _, payload in agent.tasks)
        for message in agent.mailbox:
            left[_key(message.kind, message.channel)] += message.kind != WAKE or bool(message.payload)
    for channel in sorted(set(flight) | set(left)):
        if flight[channel] != left[channel]:
            found.append(
                f"at the end {flight[channel]} copies of {_channel(channel)} are unaccounted for, "
                f"{left[channel]} lie in mailboxes of the final state"
            )
    return found


def _not_given(final: State) -> int:
    """Tasks that wait for others, or for their agent."""
    return 0 if final.graph is UNSET else sum(t.phase in (WAITING, READY) for t in final.graph.tasks.values())


def _key(kind: int, channel: int) -> tuple[int, int]:
    return kind, channel if kind == TOPIC else 0


def _channel(channel: tuple[int, int]) -> str:
    return f"{_NAMES.get(channel[0], 'kind ' + str(channel[0]))} {channel[1]}"


_Change = tuple[Counter[tuple[int, int]], Counter[tuple[int, int]]]


def _changes(flows: Flows) -> dict[tuple[int, int], _Change]:
    """The copies that came into being and those that ended, by (kind, topic), per moment.

    A moment is (tick, 0), when inputs are admitted and inboxes taken, or (tick, 1), when effects are committed.
    """
    changes: dict[tuple[int, int], _Change] = defaultdict(lambda: (Counter(), Counter()))
    for sent in flows.sent.values():
        if sent.targets:
            changes[sent.tick, int(sent.sender != OUTSIDE)][0][_key(sent.kind, sent.channel)] += len(sent.targets)
    told: set[int] = set()
    for lost in flows.undelivered:
        sent = flows.sent[lost.seq]
        changes[lost.tick, 1][1][_key(sent.kind, sent.channel)] += 1
        if lost.op == "refused" and (lost.sender, lost.seq) in flows.control and lost.seq not in told:
            told.add(lost.seq)
            changes[lost.tick, 1][0][REFUSED, 0] += 1
    for tick, _ in flows.barred:
        changes[tick, 1][0][REFUSED, 0] += 1
    for tick, kind in flows.discarded:
        changes[tick, 1][1][kind, 0] += 1
    for tick, payload in flows.tasks:
        changes[tick, 0][0][WAKE, 0] += bool(payload)
    for step, execution in flows.taken:
        ended = changes[step.tick, 0][1]
        if execution is not None:
            for kind, _, _, channel, payload in execution.inbox:
                if kind != BUFFER and (kind != WAKE or payload):
                    ended[kind, channel if kind == TOPIC else 0] += 1
        else:  # ended by decree before any crossing: what it consumed is in the journal alone
            ended.update(_unseen(flows, step))
    return changes


def _unseen(flows: Flows, step: Step) -> Iterator[tuple[int, int]]:
    """What the numbers in an inbox that nobody has seen stand for: a copy of that message, or its refusal.

    Who gets both, as a subscriber of its own topic may, has the copy first.
    """
    before = set[int]()
    for seq in step.inbox:
        sent = flows.sent.get(seq)
        if sent is None:
            continue
        copy = step.agent in sent.targets and (seq, step.agent) not in flows.copies_lost and seq not in before
        before.add(seq)
        refused = not copy and (step.agent, seq) in flows.control
        yield (REFUSED, 0) if refused else _key(sent.kind, sent.channel)
