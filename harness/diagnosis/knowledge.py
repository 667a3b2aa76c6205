"""What is known of the runtime before any run: which module guards against what, writes what, and answers for what.

Weights are shares of one vote, by judgement: who keeps a guarantee gets the most, who passes it on the least. A row is
written from the modules' own docstrings and DESIGN, and says nothing of any particular bug. `harness.diagnosis.blame`
adds the votes up.
"""

from __future__ import annotations

from faults.plan import Fault

Shares = dict[str, float]

# Which modules keep the guarantee that an oracle judges.
ORACLES: dict[str, Shares] = {
    "I1": {"orchestrator": 0.3, "pool": 0.2, "wasm.spares": 0.2, "router": 0.1},
    "I2": {"scheduler": 0.3, "fold": 0.3, "broker": 0.2},
    "I3": {"orchestrator": 0.4, "pool": 0.3, "fold": 0.1},
    "I4": {"orchestrator": 0.4, "pool": 0.3, "router": 0.1},
    "I5": {"router": 0.7, "inference.device": 0.2},
    "I6": {"orchestrator": 0.3, "archive": 0.1, "durability": 0.1},
    "I7": {"pool": 0.3, "orchestrator": 0.2, "router": 0.1},
    "I8": {"fold": 0.3, "broker": 0.3, "pool": 0.2, "intake": 0.1},
    "I9": {"broker": 0.6, "fold": 0.2, "scheduler": 0.2},
    "I10": {"fold": 0.5, "broker": 0.3},
    "I11": {"frames": 0.5, "broker": 0.2, "worker": 0.2},
    "I12": {"scheduler": 0.5, "fold": 0.2, "tasks": 0.2},
    "I13": {"orchestrator": 0.6, "fold": 0.2, "pool": 0.1},
    "I14": {"pool": 0.7, "buffers": 0.2},
    "I15": {"buffers": 0.8, "worker": 0.1, "orchestrator": 0.1},
    "I16": {"buffers": 0.6, "fold": 0.3},
    "I17": {"wasm.checks": 0.6, "worker": 0.2, "scheduler": 0.1},
    "I18": {"broker": 0.2, "wasm.modules": 0.2, "wasm.checks": 0.2, "orchestrator": 0.1, "scheduler": 0.1},
    "I19": {"pool": 0.3, "router": 0.2, "steady": 0.1, "durability": 0.1, "orchestrator": 0.1},
    "I20": {"snapshot": 0.3, "recovery": 0.3, "residence": 0.1, "worker": 0.1},
    "I21": {"worker": 0.3, "pool": 0.3, "router": 0.2},
    "I23": {"lru": 0.4, "inference.cache": 0.3, "wasm.artefacts": 0.2, "wasm.compiled": 0.1},
    "I24": {"router": 0.6, "requests": 0.1, "inference.golden": 0.15, "inference.device": 0.1},
    "I25": {"wasm.checks": 0.3, "inference.cache": 0.25, "inference.graph": 0.15, "worker": 0.2},
    "I26": {"wasm.signatures": 0.6, "wasm.ed25519": 0.2, "wasm.trust": 0.1, "wasm.checks": 0.1},
    "I27": {"journal": 0.9},
    "I28": {"durability": 0.4, "orchestrator": 0.2, "boot": 0.2, "releases": 0.1, "watermark": 0.1},
    "I29": {"patience": 0.5, "durability": 0.3, "boot": 0.1},
    "I30": {"recovery": 0.5, "journal": 0.2, "boot": 0.1},
    "I31": {"pool": 0.4, "supervisor": 0.4},
    "I32": {"worker": 0.2, "supervisor": 0.2, "groups": 0.2, "broker": 0.2, "pool": 0.1, "lifecycle": 0.1},
    "I33": {"fold": 0.5, "orchestrator": 0.2},
    "I34": {"broker": 0.6, "requests": 0.1, "fold": 0.2},
    "I35": {"wasm.abi": 0.7, "wasm.checks": 0.2},
    "order": {"channels": 0.5, "broker": 0.4},
    "I36": {"worker": 0.5, "residence": 0.1, "reloads": 0.2, "wasm.guest": 0.1, "wasm.migration": 0.1},
    "reads": {"reads": 0.7, "intake": 0.1, "recovery": 0.1},
    "scenario": {"broker": 0.3, "fold": 0.2, "guards": 0.1, "wasm.checks": 0.1, "wasm.libraries": 0.05},
    "replay": {"worker": 0.3, "snapshot": 0.2, "residence": 0.2, "pool": 0.1, "recovery": 0.1, "wasm.replaying": 0.1},
    "ledger": {"releases": 0.5, "recovery": 0.2, "orchestrator": 0.2},
}

# What a scenario is there for: the first to ask where its own rule is broken.
SUBJECTS: dict[str, Shares] = {
    "frames": {"buffers": 0.7, "worker": 0.1},
    "assistants": {"router": 0.5, "requests": 0.3},
    "experts": {"router": 0.4, "inference.cache": 0.4},
    "console": {"wasm.agent_wasi": 0.8, "wasm.capabilities": 0.1},
    "guarded": {"broker": 0.5, "guards": 0.3},
    "noisy": {"tenants": 0.6, "meter": 0.3},
    "shares": {"tenants": 0.7, "scheduler": 0.1},
    "pipeline": {"tasks": 0.7, "scheduler": 0.1},
    "plugins": {"wasm.plugins": 0.8, "wasm.functions": 0.1},
    "readings": {"reads": 0.4, "sources": 0.2, "fold": 0.2},
}

# Which modules stand between a kind of fault and the journal; for some, by a parameter, as what guards differs.
GUARDS: dict[str, Shares] = {
    "agent.misuse what=capability": {"wasm.checks": 0.8, "wasm.imports": 0.1},
    "agent.misuse what=flood": {"wasm.modules": 0.8},
    "agent.misuse what=target": {"wasm.modules": 0.8},
    "agent.misuse what=length": {"wasm.modules": 0.8},
    "agent.misuse what=alloc": {"wasm.modules": 0.8},
    "agent.misuse what=reentry": {"wasm.modules": 0.6, "wasm.guest": 0.2},
    "agent.misuse what=pointer": {"worker": 0.7, "wasm.modules": 0.2},
    "agent.misuse what=handle": {"worker": 0.8},
    "wasm.grow_refused": {"wasm.checks": 0.6, "wasm.guest": 0.2},
    "wasm.nan": {"wasm.engine": 0.7, "wasm.guest": 0.1},
    "wasm.trap": {"wasm.guest": 0.6, "worker": 0.2},
    "agent.fuel_out": {"wasm.guest": 0.6, "orchestrator": 0.2},
    "buffer.second_writer": {"buffers": 0.4, "orchestrator": 0.4},
    "buffer.second_writer when=private": {"orchestrator": 0.7, "buffers": 0.2},
    "buffer.second_writer when=published": {"buffers": 0.7, "orchestrator": 0.1},
    "link.noise verb=corrupt": {"frames": 0.8, "pool": 0.1},
    "link.noise verb=duplicate": {"pool": 0.4, "worker": 0.2, "fold": 0.2, "intake": 0.2},
    "client.stall": {"releases": 0.8},
    "lock.abandon": {"pool": 0.7, "buffers": 0.1},
    "task.poison": {"pool": 0.7, "orchestrator": 0.2},
    "task.hang": {"pool": 0.7, "orchestrator": 0.2},
    "worker.wrong": {"second": 0.8},
    "worker.zombie": {"pool": 0.8},
    "snapshot.damage": {"recovery": 0.5, "snapshot": 0.4},
    "disk.read_error": {"recovery": 0.7, "journal": 0.2},
    "disk.rot": {"journal": 0.6, "recovery": 0.2, "watermark": 0.1},
    "disk.misdirect": {"journal": 0.6, "recovery": 0.2, "watermark": 0.1},
    "disk.rollback": {"journal": 0.7, "recovery": 0.2},
    "orchestrator.stall": {"orchestrator": 0.4, "durability": 0.2, "pool": 0.2},
    "orchestrator.kill": {"boot": 0.3, "recovery": 0.4, "durability": 0.2},
    "worker.kill": {"pool": 0.4, "residence": 0.2, "worker": 0.2, "snapshot": 0.2},
    "worker.stall": {"pool": 0.8},
    "worker.fail_spawn": {"pool": 0.8},
    "agent.trap": {"supervisor": 0.5, "worker": 0.2, "broker": 0.1, "lifecycle": 0.1},
    "agent.bad_pointer": {"worker": 0.8},
    "buffer.flip": {"buffers": 0.7, "worker": 0.1, "orchestrator": 0.2},
    "frame.lose": {"pool": 0.6, "releases": 0.2, "intake": 0.1},
    "frame.duplicate": {"pool": 0.4, "worker": 0.2, "fold": 0.2, "intake": 0.2},
    "frame.delay": {"pool": 0.7, "releases": 0.1},
    "frame.corrupt": {"frames": 0.8, "pool": 0.1},
    "disk.lose": {"durability": 0.4, "boot": 0.2, "recovery": 0.2, "archive": 0.1},
    "disk.tear": {"durability": 0.2, "journal": 0.3, "watermark": 0.2, "recovery": 0.2, "snapshot": 0.1},
    "disk.sync_error": {"patience": 0.7, "durability": 0.2},
    "disk.full": {"patience": 0.7, "durability": 0.2},
    "module.signature": {"wasm.signatures": 0.6, "wasm.ed25519": 0.3},
    "module.signature what=s_range": {"wasm.ed25519": 0.8, "wasm.signatures": 0.1},
    "module.signature what=weak_r": {"wasm.ed25519": 0.8, "wasm.signatures": 0.1},
    "key.trust": {"wasm.trust": 0.8, "wasm.signatures": 0.1},
    "key.trust what=weak": {"wasm.ed25519": 0.6, "wasm.trust": 0.3},
    "module.malformed": {"wasm.binary": 0.6, "wasm.checks": 0.3},
    "module.unlinkable": {"wasm.checks": 0.4, "wasm.binary": 0.4},
    "module.library": {"wasm.libraries": 0.5, "wasm.linking": 0.2, "wasm.checks": 0.2},
    "module.flip": {"wasm.checks": 0.8},
    "module.bomb what=loops": {"wasm.scan": 0.7, "wasm.checks": 0.1},
    "module.bomb": {"wasm.scan": 0.4, "wasm.checks": 0.4},
    "module.abi what=reserved": {"wasm.checks": 0.6, "wasm.abi": 0.2},
    "module.abi": {"wasm.checks": 0.5, "wasm.abi": 0.4},
    "clock.jump": {"steady": 0.7, "pool": 0.2},
    "clock.strobe": {"steady": 0.7, "pool": 0.2},
    "clock.drift": {"steady": 0.7, "pool": 0.2},
    "tick.repeat": {"orchestrator": 0.6, "steady": 0.2},
    "scheduler.permute": {"intake": 0.4, "fold": 0.3, "pool": 0.2},
    "model.flip": {"inference.cache": 0.8},
    "model.swap": {"inference.cache": 0.8},
    "model.bad_output": {"inference.engine": 0.8},
    "model.evict": {"inference.cache": 0.7, "lru": 0.2},
    "model.load_fail": {"router": 0.5, "inference.device": 0.2, "inference.cache": 0.2},
}
LAYERS: dict[str, Shares] = {  # for kinds that have no row above
    "gpu": {"router": 0.8},
    "link": {"pool": 0.5, "frames": 0.2, "releases": 0.1},
    "pipe": {"pool": 0.8},
    "repair": {"pool": 0.5, "router": 0.2, "residence": 0.1},
    "wasm": {"wasm.guest": 0.5, "wasm.modules": 0.2},
    "worker": {"pool": 0.6, "worker": 0.2},
    "frame": {"pool": 0.5, "frames": 0.3},
    "buffer": {"buffers": 0.8},
    "memory": {"buffers": 0.8},
    "disk": {"durability": 0.4, "journal": 0.2, "recovery": 0.2},
    "snapshot": {"snapshot": 0.6, "recovery": 0.2},
    "journal": {"journal": 0.6, "recovery": 0.2},
    "model": {"router": 0.5, "inference.device": 0.4},
    "orchestrator": {"recovery": 0.4, "boot": 0.3},
    "agent": {"worker": 0.4, "supervisor": 0.4},
    "host": {"worker": 0.5, "wasm.guest": 0.2, "wasm.spares": 0.1, "wasm.capabilities": 0.1, "wasm.agent_wasi": 0.1},
}

# Which modules write what is different, by section of the block and by field of the record (for events, by its name).
# Where all answers arrived in the same order, as when only a hash seed is another, no order can come from that, and a
# step that does other things was not in the same instance.
WRITERS: dict[tuple[str, str], Shares] = {
    ("steps", "order"): {"orchestrator": 0.6, "scheduler": 0.3, "fold": 0.1},
    ("steps", "order as they arrived"): {"scheduler": 0.7, "fold": 0.2},
    ("steps", "effects as they arrived"): {"wasm.spares": 0.6, "worker": 0.2, "wasm.guest": 0.1},
    ("steps", "image as they arrived"): {"wasm.spares": 0.6, "worker": 0.2, "snapshot": 0.1},
    ("steps", "missing"): {"scheduler": 0.3, "supervisor": 0.2, "broker": 0.2, "fold": 0.2},
    ("steps", "surplus"): {"scheduler": 0.3, "supervisor": 0.2, "broker": 0.2, "fold": 0.2},
    ("steps", "effects"): {"worker": 0.2, "pool": 0.1, "broker": 0.1, "wasm.plugins": 0.05},
    ("steps", "image"): {"snapshot": 0.4, "worker": 0.4},
    ("steps", "inbox"): {"broker": 0.6, "fold": 0.2, "guards": 0.1},
    ("steps", "seq"): {"broker": 0.8},
    ("steps", "status"): {"worker": 0.4, "wasm.guest": 0.2, "pool": 0.1, "wasm.spares": 0.1},
    ("steps", "views"): {"fold": 0.5, "buffers": 0.3},
    ("inputs", "missing"): {"intake": 0.5, "fold": 0.3},
    ("inputs", "surplus"): {"intake": 0.4, "fold": 0.4},
    ("inputs", "order"): {"fold": 0.6, "intake": 0.3},
    ("decrees", "missing"): {"pool": 0.5, "recovery": 0.2, "orchestrator": 0.2},
    ("decrees", "surplus"): {"pool": 0.7, "orchestrator": 0.2},
    ("events", "invalid"): {"guards": 0.7, "broker": 0.3},
    ("events", "invalid_task"): {"guards": 0.7, "broker": 0.3},
    ("inferences", ""): {"router": 0.6, "requests": 0.2, "inference.device": 0.1},
    ("events", "lifecycle"): {"supervisor": 0.4, "lifecycle": 0.4},
    ("events", "restart"): {"supervisor": 0.8},
    ("events", "failed"): {"supervisor": 0.4, "worker": 0.3},
    ("events", "quarantined"): {"supervisor": 0.6, "groups": 0.3},
    ("events", "group_restart"): {"groups": 0.9},
    ("events", "escalated"): {"groups": 0.9},
    ("events", "task_done"): {"tasks": 0.8, "fold": 0.1},
    ("events", "task_failed"): {"tasks": 0.8, "fold": 0.1},
    ("events", "task_skipped"): {"tasks": 0.9},
    ("events", "refused_tasks"): {"tasks": 0.9},
    ("events", "refused"): {"broker": 0.8},
    ("events", "deferred"): {"tenants": 0.9},
    ("events", "refused_join"): {"channels": 0.9},
    ("events", "refused_message"): {"channels": 0.4, "meter": 0.4},
    ("events", "asked"): {"reads": 0.8},
    ("events", "closed"): {"reads": 0.8},
    ("events", "cancelled"): {"reads": 0.8},
    ("events", "published"): {"fold": 0.5, "buffers": 0.2},
    ("events", "illegal"): {"lifecycle": 0.5, "fold": 0.3},
    ("events", "dropped"): {"requests": 0.4, "broker": 0.4},
    ("", "root"): {"fold": 0.2, "broker": 0.2, "requests": 0.2, "supervisor": 0.1},
    ("", "tick"): {"fold": 0.3, "supervisor": 0.2, "broker": 0.2, "intake": 0.1},
}


# Who tells the trace what: a trace that differs from that of a run which must be the same differs in its doing.
TELLERS: dict[str, str] = {
    **dict.fromkeys(("sent", "received", "resent", "lost", "spawned", "spawn_failed", "restored", "checked"), "pool"),
    **dict.fromkeys(("unanswered", "unable", "disagreed"), "pool"),
    **dict.fromkeys(("opened", "committed", "durable", "started", "stepped", "decreed", "repaired"), "orchestrator"),
    **dict.fromkeys(("infer_sent", "infer_received", "inferred", "device_spawned", "device_lost"), "router"),
    "released": "releases",
    "snapshot": "archive",
    "recovered": "recovery",
}

# Which modules a check that stopped the runtime speaks of: those whose work it compares.
CHECKS: dict[str, Shares] = {
    "replay": {"worker": 0.3, "snapshot": 0.2, "residence": 0.2, "pool": 0.2},
    "watermark": {"durability": 0.5, "watermark": 0.2, "boot": 0.2},
    "fold": {"recovery": 0.35, "orchestrator": 0.3, "fold": 0.2},
    "growth": {"recovery": 0.3, "fold": 0.3, "durability": 0.2},
    "cursor": {"releases": 0.5, "durability": 0.2},
    "frame": {"frames": 0.6, "worker": 0.2},
    "inference": {"router": 0.5, "requests": 0.3},
    "segment": {"buffers": 0.7},
}

# Faults in which the disk itself says that something failed: who hears it decides what counts as done.
TOLD_BY_DISK = frozenset({"disk.sync_error", "disk.full"})

# Who carries what others decided: seldom to blame for what it carries.
CARRIERS = frozenset(
    {
        "errors",
        "ports",
        "telemetry",
        "telemetry_file",
        "physical",
        "versions",
        "state",
        "config",
        "configuration",
        "wasm.names",
        "wasm.raw",
    }
)


def guards_of(fault: Fault) -> Shares:
    """Who guards against this fault: by one of its parameters, by its kind, or by its layer."""
    narrow = (f"{fault.kind} {name}={fault.get(name)}" for name in ("what", "verb", "when"))
    found = next((GUARDS[key] for key in narrow if key in GUARDS), None)
    return found or GUARDS.get(fault.kind) or LAYERS.get(fault.kind.split(".")[0], {})
