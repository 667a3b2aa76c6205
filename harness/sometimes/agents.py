"""Agents that fail, and what happens around them; and the rare choices of the runtime."""

from __future__ import annotations

from faults.hazards import SITES
from harness.sometimes.property import Property
from harness.sometimes.seen import Seen

_VISIBLE = ("agent.*", "wasm.*")


def _restarted(seen: Seen) -> bool:
    return _event(seen, "restart")


def _event(seen: Seen, name: str) -> bool:
    return any(event[0] == name for block in seen.blocks for event in block.events)


def _failed_amid_losses(seen: Seen) -> bool:
    """A step failed in a tick that lost a worker, so it may have been run again."""
    lost = {record.tick for record in seen.all("lost")}
    return any(record.tick in lost for record in seen.all("failed"))


def _failed_and_crashed(seen: Seen) -> bool:
    """A step failed in the tick in which the orchestrator died."""
    crashed = {crash.tick for crash in seen.history.crashes}
    return not crashed.isdisjoint(seen.counts.failed)


def _several_failed(seen: Seen) -> bool:
    return any(number >= 2 for number in seen.counts.failed.values())


def _of_site(name: str) -> Property:
    sentence = f"a rare choice was made: {SITES[name]}"
    scenarios = ("assistants",) if name.startswith("router.") else Property.scenarios
    return Property(f"hazard_{name}", sentence, lambda seen: bool(seen.history.hazards.get(name)), scenarios=scenarios)


PROPERTIES = (
    Property(
        "step_failed",
        "a step failed by a fault, and what it had done was discarded",
        lambda s: s.any("failed"),
        _VISIBLE,
    ),
    Property("agent_restarted", "an agent that failed began its next life", _restarted, _VISIBLE),
    Property(
        "agent_quarantined",
        "an agent failed too often and was quarantined",
        lambda s: _event(s, "quarantined"),
        _VISIBLE,
    ),
    Property("two_failed_in_one_tick", "two steps failed in one tick", _several_failed, _VISIBLE),
    Property("failed_amid_losses", "a step failed in a tick that lost a worker", _failed_amid_losses, _VISIBLE),
    Property(
        "failed_amid_a_crash", "a step failed in the tick in which the orchestrator died", _failed_and_crashed, _VISIBLE
    ),
    Property(
        "mailbox_full", "a full mailbox refused a message", lambda s: _event(s, "refused"), ("*",), ("hello", "ledger")
    ),
    *(_of_site(name) for name in SITES),
)
