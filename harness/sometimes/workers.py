"""Workers, their frames and shared buffers: what was lost, when, and what was done again."""

from __future__ import annotations

from harness.sometimes.property import Property
from harness.sometimes.seen import Seen, is_worker

LONG_REPLAY = 10  # steps
_DEATHS = ("worker.*", "repair.*")
_SILENCE = ("worker.*", "frame.*", "link.*", "pipe.*")


def _several_in_one_tick(seen: Seen) -> bool:
    return any(count >= 2 for count in seen.ticks("lost").values())


def _none_alive(seen: Seen) -> bool:
    """Every worker of the pool dead at one instant, neither the orchestrator nor the run at its end, nor resized."""
    ends = {seen.history.virtual_ns, *(crash.at for crash in seen.history.crashes)}
    retired = {record.fields["worker"] for record in seen.all("retired")}
    alive: set[int] = set()
    most = 0
    for life in seen.history.lives:
        if life.alive:
            alive.add(life.worker)
            most = max(most, len(alive))
        else:
            alive.discard(life.worker)
            mine = not alive and most >= seen.history.plan.physical.workers and life.worker not in retired
            if mine and life.at not in ends:
                return True
    return False


def _restored_twice(seen: Seen) -> bool:
    """One agent restored by two workers for the same tick."""
    restored = [(r.incarnation, r.tick, r.fields["agent"]) for r in seen.all("restored")]
    return len(set(restored)) < len(restored)


def _died_in_restore(seen: Seen) -> bool:
    """A worker lost after it was sent a base, before it answered anything."""
    restoring: set[object] = set()
    for _, record in seen.placed("restored", "received", "lost"):
        worker = record.fields["worker"]
        if record.kind == "restored":
            restoring.add(worker)
        elif record.kind == "lost" and worker in restoring:
            return True
        else:
            restoring.discard(worker)
    return False


def _replayed(seen: Seen, least: int, most: int) -> bool:
    return any(least <= int(record.fields["replayed"]) <= most for record in seen.all("restored"))


def _killed(seen: Seen, key: str, value: object = None) -> bool:
    """A worker was killed at such an address."""
    return any(
        key in fault.at and (value is None or fault.at[key] == value) for _, fault in seen.effective("worker.kill")
    )


def _repairer(seen: Seen, during: str) -> bool:
    """Who repaired a loss was lost in turn, at this."""
    return any(fault.get("during") == during for _, fault in seen.effective("repair.kill"))


def _late_result(seen: Seen) -> bool:
    return any(is_worker(record.fields["worker"]) for record in seen.all("stale"))


def _of_a_dead_incarnation(seen: Seen) -> bool:
    """A frame of a predecessor's worker, met by the successor."""
    return any(
        is_worker(record.fields["worker"]) and int(record.fields["worker"]) // 1_000_000 < record.incarnation
        for record in seen.all("stale")
    )


def _torn_frame(seen: Seen) -> bool:
    return any(is_worker(record.fields["worker"]) for record in seen.all("garbled"))


def _resent_after_answer(seen: Seen) -> bool:
    """A frame was sent again though its answer was already on its way: both came."""
    resent = {(r.fields["worker"], r.fields["lease"]) for r in seen.all("resent")}
    return any((r.fields["worker"], r.fields["lease"]) in resent for r in seen.all("stale"))


def _repaired_twice(seen: Seen) -> bool:
    versions = [(r.fields["buffer"], r.fields["version"]) for r in seen.all("repaired")]
    return len(set(versions)) < len(versions)


def _repaired_and_lost(seen: Seen) -> bool:
    """In one tick a slot was repaired and a worker lost."""
    return bool(set(seen.ticks("repaired")) & set(seen.ticks("lost")))


PROPERTIES = (
    Property("worker_lost", "a worker was lost", lambda s: s.any("lost"), _DEATHS),
    Property("lease_expired", "a worker's lease ran out", lambda s: s.any("lost", cause="lease"), _SILENCE),
    Property("two_workers_in_one_tick", "two workers died in one tick", _several_in_one_tick, _DEATHS),
    Property("no_worker_left", "no worker of the pool was alive", _none_alive, _DEATHS),
    Property("restored_twice_in_one_tick", "an agent was restored twice for one step", _restored_twice, _DEATHS),
    Property("died_while_restoring", "a worker died while it restored an agent", _died_in_restore, _DEATHS),
    Property(
        "died_while_replaying",
        "a worker died while it replayed an agent's steps",
        lambda s: _repairer(s, "replay"),
        ("repair.*",),
    ),
    Property(
        "restored_from_image", "an agent was restored with no step to replay", lambda s: _replayed(s, 0, 0), _DEATHS
    ),
    Property("restored_with_replay", "an agent's steps were replayed", lambda s: _replayed(s, 1, 1 << 30), _DEATHS),
    Property(
        "long_replay",
        f"{LONG_REPLAY} or more steps of an agent were replayed",
        lambda s: _replayed(s, LONG_REPLAY, 1 << 30),
        _DEATHS,
    ),
    Property("died_in_host_call", "a worker died on entering a host call", lambda s: _killed(s, "hostcall"), _DEATHS),
    Property(
        "died_with_result", "a worker died with its result in hand", lambda s: _killed(s, "point", "after"), _DEATHS
    ),
    Property(
        "died_in_mid_copy",
        "a worker died in the middle of a copy into a shared buffer",
        lambda s: _killed(s, "byte"),
        _DEATHS,
        ("frames",),
    ),
    Property(
        "late_result_refused", "a result came after its lease was given up, and was refused", _late_result, _SILENCE
    ),
    Property(
        "dead_incarnation_answered",
        "an answer to a dead orchestrator reached its successor, and was refused",
        _of_a_dead_incarnation,
        ("orchestrator.*",),
    ),
    Property("frame_sent_again", "an unanswered frame was sent again", lambda s: s.any("resent"), _SILENCE),
    Property("answered_twice", "a frame that was sent again was answered twice", _resent_after_answer, _SILENCE),
    Property("torn_frame_refused", "a torn frame was refused", _torn_frame, ("frame.*", "pipe.*")),
    Property(
        "torn_client_frame_refused",
        "a client's torn frame was refused",
        lambda s: s.any("garbled", worker=-1),
        ("frame.*", "pipe.*"),
    ),
    Property(
        "input_offered_twice",
        "an input that had been admitted came again",
        lambda s: s.any("stale", worker=-1),
        ("frame.*", "orchestrator.*"),
    ),
    Property("slot_repaired", "an altered slot was repaired", lambda s: s.any("repaired"), ("buffer.*",), ("frames",)),
    Property(
        "slot_repaired_twice", "one version of a buffer was repaired twice", _repaired_twice, ("buffer.*",), ("frames",)
    ),
    Property(
        "slot_repaired_amid_loss",
        "a slot was repaired in a tick that lost a worker",
        _repaired_and_lost,
        ("buffer.*",),
        ("frames",),
    ),
)
