"""Deaths of the orchestrator, and the recoveries after them."""

from __future__ import annotations

from harness.sometimes.property import Property
from harness.sometimes.seen import Seen
from runtime.telemetry import Record

MANY = 3
_DEATHS = ("orchestrator.*",)


def _begun_at(recovered: Record) -> int:
    """The block of the state snapshot that a recovery began with; 0 for genesis."""
    return int(recovered.fields["block"]) - int(recovered.fields["folded"])


def _older_snapshot(seen: Seen) -> bool:
    """A newer state snapshot than the one begun with had been written, for a block that the journal still has."""
    for place, recovered in seen.placed("recovered"):
        written = [r for p, r in seen.placed("snapshot", agent=-1) if p < place]
        if any(_begun_at(recovered) < int(r.fields["n"]) <= int(recovered.fields["block"]) for r in written):
            return True
    return False


def _in_recovery(seen: Seen) -> bool:
    """A successor that had a journal to recover died before it had taken over."""
    return any(crash.phase == "boot" and crash.journal for crash in seen.history.crashes[1:])


def _amid_losses(seen: Seen) -> bool:
    """A worker was lost and the orchestrator died in the same tick."""
    lost = {record.tick for record in seen.all("lost")}
    return any(crash.tick in lost for crash in seen.history.crashes)


def _block_lost(seen: Seen) -> bool:
    return any(len(crash.kept) < len(crash.journal) for crash in seen.history.crashes)


def _released_again(seen: Seen) -> bool:
    """A successor sent a block that its predecessor had sent already."""
    first: dict[object, int] = {}
    for record in seen.all("released"):
        if first.setdefault(record.fields["block"], record.incarnation) < record.incarnation:
            return True
    return False


def _from_nothing(seen: Seen) -> bool:
    """A successor found no block and began anew."""
    recovered = {record.incarnation for record in seen.all("recovered")}
    return bool(seen.history.crashes) and any(
        record.fields["block"] == 0 and record.incarnation not in recovered for record in seen.all("started")[1:]
    )


def _died_twice_in_a_tick(seen: Seen) -> bool:
    crashes = [crash.tick for crash in seen.history.crashes if crash.phase != "boot"]
    return len(set(crashes)) < len(crashes)


def _in_phase(phase: str) -> Property:
    def holds(seen: Seen) -> bool:
        return any(crash.phase == phase for crash in seen.history.crashes)

    return Property(f"killed_in_{phase}", f"the orchestrator died in the phase {phase}", holds, _DEATHS)


PROPERTIES = (
    Property("recovered", "an orchestrator recovered from its journal", lambda s: s.any("recovered"), _DEATHS),
    Property(
        "began_anew",
        "an orchestrator died before its first block was there, and another began anew",
        _from_nothing,
        _DEATHS,
    ),
    *(_in_phase(phase) for phase in ("admit", "dispatch", "commit", "sync", "release", "snapshot")),
    Property("killed_in_recovery", "a fault struck during recovery", _in_recovery, _DEATHS),
    Property("killed_twice_in_one_tick", "the orchestrator died twice in one tick", _died_twice_in_a_tick, _DEATHS),
    Property(
        "killed_often", f"the orchestrator died {MANY} times or more", lambda s: len(s.history.crashes) >= MANY, _DEATHS
    ),
    Property("killed_amid_losses", "a worker was lost and the orchestrator died in one tick", _amid_losses, _DEATHS),
    Property("block_lost", "a block that was written, not synced, was gone after a crash", _block_lost, ("disk.*",)),
    Property(
        "torn_tail_cut",
        "a torn end of the journal was cut",
        lambda s: any(int(r.fields["cut"]) for r in s.all("recovered")),
        ("disk.*",),
    ),
    Property(
        "recovered_from_snapshot",
        "a recovery began with a snapshot of the state",
        lambda s: any(_begun_at(r) for r in s.all("recovered")),
        _DEATHS,
    ),
    Property(
        "recovered_from_older_snapshot",
        "a recovery began with a snapshot older than the last",
        _older_snapshot,
        _DEATHS,
    ),
    Property(
        "snapshot_discarded",
        "a snapshot that was damaged or disagreed was discarded",
        lambda s: s.any("discarded"),
        ("disk.*", "snapshot.*", "orchestrator.*"),
    ),
    Property("released_again", "a block that clients may have had was released again", _released_again, _DEATHS),
)
