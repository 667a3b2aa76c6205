"""Planted bugs of channels and tenants: who may post and read, and what a tenant may take."""

from __future__ import annotations

from faults.mutant import Edit, Mutant

SHARED_OUT: tuple[Mutant, ...] = (
    Mutant(
        name="post_reaches_its_sender",
        title="agents of odd numbers get what they post in a channel themselves",
        scenario="noisy",
        oracle="order",
        edits=(Edit("channels.py", "        if member != sender:\n", "        if member != sender or member & 1:\n"),),
    ),
    Mutant(
        name="outsiders_post",
        title="some agents post in a channel of which they are no members",
        scenario="noisy",
        oracle="order",
        edits=(
            Edit(
                "channels.py",
                "    elif sender not in state.subscribers[target]:\n",
                "    elif sender not in state.subscribers[target] and sender & 1:\n",
            ),
        ),
    ),
    Mutant(
        name="closed_channel_joined",
        title="a closed channel is joined by whoever asks",
        scenario="noisy",
        oracle="order",
        edits=(Edit("channels.py", "    if place >= 0 and ", "    if place > 0 and "),),
    ),
    Mutant(
        name="order_of_its_own",
        title="two posts of different senders change places in some members' mailboxes",
        scenario="noisy",
        oracle="order",
        edits=(
            Edit(
                "broker.py",
                "    agent.mailbox.append(message)\n    return told\n",
                "    mailbox = agent.mailbox\n"
                "    late = target & 1 and mailbox and mailbox[-1].sender != message.sender\n"
                "    mailbox.insert(len(mailbox) - bool(late), message)\n"
                "    return told\n",
            ),
        ),
    ),
    Mutant(
        name="refused_as_a_whole_untold",
        title="a message that is refused as a whole does not come back to its sender",
        scenario="noisy",
        oracle="I34",
        edits=(
            Edit(
                "broker.py",
                "    deliver_control(state.agents[sender], Message(number, REFUSED, OUTSIDE, status, payload))\n",
                "",
            ),
        ),
    ),
    Mutant(
        name="tenant_steps_unbounded",
        title="a tenant's steps of a tick are compared with its quota and not counted",
        scenario="noisy",
        oracle="I18",
        edits=(Edit("tenants.py", "        steps[tenant] -= 1\n", ""),),
    ),
    Mutant(
        name="tenant_fuel_uncounted",
        title="a tenant's fuel of a tick is compared with its quota step by step, and not summed",
        scenario="noisy",
        oracle="I18",
        edits=(Edit("tenants.py", "        fuel[tenant] -= needed\n", ""),),
    ),
    Mutant(
        name="tenant_memory_unsummed",
        title="an agent's memory is compared with its tenant's quota without that of the agents there are",
        scenario="noisy",
        oracle="I18",
        edits=(Edit("tenants.py", "held + spec.limits.memory <= quota.memory", "spec.limits.memory <= quota.memory"),),
    ),
    Mutant(
        name="tenant_messages_per_step",
        title="each step has its tenant's quota of messages for itself",
        scenario="noisy",
        oracle="I18",
        edits=(
            Edit(
                "meter.py",
                "        for effect in effects:\n",
                "        self._left = [one.messages or tenants.NO_LIMIT for one in tenants.quotas(self._config)]\n"
                "        for effect in effects:\n",
            ),
        ),
    ),
    Mutant(
        name="tenant_crowds_a_mailbox",
        title="a tenant may fill a mailbox of another's agent",
        scenario="noisy",
        oracle="I18",
        edits=(
            Edit(
                "tenants.py",
                "    if len(mailbox) < most or tenant ==",
                "    if len(mailbox) < config.mailbox or tenant ==",
            ),
        ),
    ),
    Mutant(
        name="tenants_newest_first",
        title="who waits for its tenant's quota is passed over by who became ready after it",
        scenario="noisy",
        oracle="I12",
        edits=(Edit("tenants.py", "(agents[index].ready_since, index))", "(-agents[index].ready_since, index))"),),
    ),
    Mutant(
        name="deferred_tenant_spoils_the_tick",
        title="when a tenant is at its quota, the tick ends for the tenants after it as well",
        scenario="noisy",
        oracle="I12",
        edits=(
            Edit(
                "tenants.py",
                '"fuel" if steps[tenant] else "tasks"))\n            continue\n',
                '"fuel" if steps[tenant] else "tasks"))\n            break\n',
            ),
        ),
    ),
)
