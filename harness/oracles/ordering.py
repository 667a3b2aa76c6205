"""One order for all, and members only (MSG-1, MSG-3): who got what, at which place, against who was in then.

The order is that of the senders' calls as the journal commits their steps; memberships are followed in that same order.
Against: copies that overtake each other at one receiver and not at another, a post that reaches its own sender, who has
left or who never was in, a post by an outsider that passes, and one by a member that is refused.
"""

from __future__ import annotations

from harness.oracles.flows import Sent
from harness.oracles.judged import Judged
from harness.oracles.verdict import Unjudged
from runtime.state import E_MEMBER, E_QUOTA, INPUT, MESSAGE, TOPIC


def one_order(run: Judged) -> list[str]:
    """Every receiver has its messages in the order of commit; channels are posted in and read by members alone."""
    if not run.crossings:
        raise Unjudged("there is no guest log")
    return run.settled(_in_one_order) + run.settled(_posted_by_members)


def _in_one_order(run: Judged) -> list[str]:
    ranks = {seq: rank for rank, seq in enumerate(run.flows.sent)}
    found, newest = list[str](), dict[int, tuple[int, int]]()  # agent -> rank and number of the last one it got
    for step, execution in run.flows.taken:
        if execution is None:
            continue
        last = newest.get(step.agent, (-1, 0))
        for kind, _, seq, channel, _ in execution.inbox:
            rank = ranks.get(seq) if kind in (MESSAGE, TOPIC, INPUT) else None
            if rank is None:
                continue  # what nobody sent is I11's
            if kind == TOPIC and step.agent not in (sent := run.flows.sent[seq]).targets:
                where = f"guest event {execution.number}: agent {step.agent}"
                found.append(f"{where} got number {seq} of {channel}, {_not_in(step.agent, sent)}")
            if rank < last[0]:
                where = f"guest event {execution.number}: agent {step.agent}"
                found.append(f"{where} got number {seq} after {last[1]}, which was committed after it")
            else:
                last = (rank, seq)
        newest[step.agent] = last
    return found


def _not_in(agent: int, sent: Sent) -> str:
    return "which it posted itself" if agent == sent.sender else f"of which {sent.where} made no copy for it"


def _posted_by_members(run: Judged) -> list[str]:
    flows, found = run.flows, []
    for seq in sorted(flows.outsiders):
        if flows.refusals.get(seq) not in (E_MEMBER, E_QUOTA):
            found.append(
                f"number {seq} ({flows.sent[seq].where}) is by no member of its channel, and was not refused so"
            )
    for seq in sorted(flows.refusals):
        if flows.refusals[seq] == E_MEMBER and seq not in flows.outsiders:
            found.append(f"number {seq} ({flows.sent[seq].where}) was refused as no member's, which it is not")
    return found
