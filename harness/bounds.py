"""The liveness bound: after healing, no tick stays open longer than this many virtual ns (HAR-6, I19).

Computed from the plan and the scenario, never from a run. A tick that the last fault hit waits, at worst, until the
lease that is out expires, doubled as often as faults can have made it expire; then its worker is reaped and, after the
longest wait there is, spawned anew, and each of the worker's agents is restored and replayed alone. A crash costs a
restart and a recovery on top. A step that is checked may be executed three times. A clock that goes back makes a wait
begin anew.
"""

from __future__ import annotations

from faults.budget import failed_loads, silent_devices
from faults.plan import Plan
from harness.adapters.gateway import RESEND_NS
from harness.adapters.workers import Timing
from harness.simulation import configuration
from runtime.physical import RESPAWN_DOUBLINGS
from runtime.state import Config
from scenarios.base import Scenario

BOUNDS = 40  # a run may take this many liveness bounds of virtual time: no plan has as many faults in a row
LOAD_NS_MAX = 40_000_000  # one model from memory, on any simulated device
RESTART_SYNCS = 8  # syncs one after the other in boot, and until the first block is durable


def horizon_ns(scenario: Scenario, plan: Plan, timing: Timing) -> int:
    """The virtual time after which nothing that heals could still be under way: a run that goes on is given up."""
    held = sum(fault.number("for") for fault in plan.faults if fault.number("for") > 0)
    return BOUNDS * max(timing.slowness) * liveness_bound(scenario, plan, timing) + held


def liveness_bound(scenario: Scenario, plan: Plan, timing: Timing) -> int:
    config = configuration(scenario, plan.seed)
    physical = plan.physical
    agents = len(scenario.agents)
    fuel = max(spec.limits.fuel for spec in scenario.agents)
    replayed = 1 + 2 * config.snapshot_every
    lease_step = physical.step_ns + fuel * physical.worst_ns_per_fuel
    resized = [fault.number("workers") for fault in plan.faults if fault.kind == "pool.resize"]
    per_worker = -(-agents // min(physical.workers, *resized)) if resized else -(-agents // physical.workers)
    endless = any(fault.kind == "task.hang" for fault in plan.faults)
    expiries = physical.lost_workers_max + 1 if endless else max(1, physical.lost_workers_max - 1)
    lease = physical.lease_ns + per_worker * replayed * lease_step
    respawn = (physical.respawn_ns << RESPAWN_DOUBLINGS) + timing.reap_ns + timing.spawn_ns + 2 * timing.pipe_ns
    redo = per_worker * (replayed * (timing.frame_ns + fuel * timing.ns_per_fuel) + 2 * timing.pipe_ns)
    restart = timing.restart_ns + RESTART_SYNCS * timing.sync_ns + 2 * RESEND_NS + 2 * timing.client_ns
    inference = _inference(config, plan, timing, agents) if config.models else 0
    once = (lease << (expiries - 1)) + respawn + redo
    if any(fault.kind.startswith("clock.") for fault in plan.faults):
        once += lease << (expiries - 1)
    return once * (3 if physical.check_ppm else 1) + restart + 2 * physical.resend_ns + inference


def _inference(config: Config, plan: Plan, timing: Timing, agents: int) -> int:
    """What a tick waits for devices: every request at once on the CPU, after all that faults can do to a batch.

    Each silence of a device costs a lease, and leases double; each loss a process; the CPU's failed loads a wait.
    """
    physical, devices = plan.physical, timing.devices
    silent = silent_devices(plan.faults)
    loads = failed_loads(plan.faults, "cpu")
    struck = sum(fault.kind.startswith(("gpu.", "repair.", "model.bad_")) for fault in plan.faults)
    losses = loads + failed_loads(plan.faults, "accel") + struck
    tokens = agents * sum(model.context for model in config.models)
    batches = agents * len(config.models)
    slowest = max(devices.timings().values(), key=lambda timing: timing.ns_per_token)
    compute = 2 * (tokens * slowest.ns_per_token + batches * (slowest.launch_ns + 2 * devices.pipe_ns))
    spawn = max(timing.spawn_ns for timing in devices.timings().values()) + devices.reap_ns
    loading = LOAD_NS_MAX * len(config.models)
    # Without any fault a lease may be too short for a batch: it doubles until it is not.
    leases = (physical.inference_lease_ns << silent + 1) + 2 * (compute + loading)
    return leases + compute + (losses + 2) * (spawn + loading + physical.respawn_ns)
