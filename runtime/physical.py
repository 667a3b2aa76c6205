"""Physical options: they may change the trace, never the journal. All times in ns."""

from __future__ import annotations

from msgspec import Struct

MS = 1_000_000
RESPAWN_DOUBLINGS = 6


class Physical(Struct, frozen=True, kw_only=True):
    """How the work is carried out.

    A lease covers restore, replay and step: `lease_ns` + (steps) x (`step_ns` + fuel x `worst_ns_per_fuel`); it
    doubles with every expiry of the same task. An unanswered work frame is sent again after `resend_ns`, doubling.
    A batch of at most `batch_max` inference requests has `inference_lease_ns`, doubling likewise; a device that failed
    is tried again after `probe_ns`, doubling; with `check_answers` every result is computed a second time, on the CPU.
    A place in the pool that loses its worker, or fails to start one, waits `respawn_ns`, doubling up to
    `RESPAWN_DOUBLINGS` times until one of its workers has answered. Of a million steps `check_ppm` are executed a
    second time, by another worker where there is one (`runtime.second`).
    The CPU's process holds models of at most `host_models` bytes, an accelerator's of `device_models` bytes; each loads
    those of `hot_models`, by name, as it starts, as far as they fit.
    """

    workers: int = 2
    lost_workers_max: int = 4
    sync_ahead: int = 4
    keep_snapshots: int = 2
    lease_ns: int = 20 * MS
    step_ns: int = 100_000
    worst_ns_per_fuel: int = 2
    resend_ns: int = 5 * MS
    respawn_ns: int = 1 * MS
    inference_lease_ns: int = 50 * MS
    probe_ns: int = 20 * MS
    batch_max: int = 16
    check_answers: bool = False
    check_ppm: int = 0
    host_models: int = 1 << 30
    device_models: int = 1 << 30
    hot_models: tuple[str, ...] = ()
