"""What is known of the runtime before any run: which module guards against what, writes what, and answers for what.

Weights are shares of one vote, by judgement: who keeps a guarantee gets the most, who passes it on the least. A row is
written from the modules' own docstrings and DESIGN, and says nothing of any particular bug. `harness.diagnosis.blame`
adds the votes up.
"""

from __future__ import annotations

import re
from typing import NamedTuple

Shares = dict[str, float]

# Which modules keep the guarantee that an oracle judges.
ORACLES: dict[str, Shares] = {
    "I8": {"fold": 0.3, "broker": 0.3, "pool": 0.2, "intake": 0.1},
    "I9": {"broker": 0.6, "fold": 0.2, "scheduler": 0.2},
    "I12": {"scheduler": 0.5, "fold": 0.2, "tasks": 0.2},
    "I11": {"frames": 0.5, "broker": 0.2, "worker": 0.2},
    "I14": {"pool": 0.7, "buffers": 0.2},
    "I15": {"buffers": 0.8, "worker": 0.1, "orchestrator": 0.1},
    "I19": {"pool": 0.3, "router": 0.2, "durability": 0.1, "orchestrator": 0.1},
    "I20": {"snapshot": 0.3, "recovery": 0.3, "residence": 0.1, "worker": 0.1},
    "I22": {"tasks": 0.7, "scheduler": 0.2, "fold": 0.1},
    "I23": {"wasm.lru": 0.5, "wasm.artefacts": 0.3, "wasm.compiled": 0.2},
    "I24": {"router": 0.7, "requests": 0.15, "inference.device": 0.15},
    "I26": {"wasm.signatures": 0.6, "wasm.ed25519": 0.2, "wasm.trust": 0.1, "wasm.checks": 0.1},
    "I27": {"journal": 0.9},
    "I28": {"durability": 0.4, "orchestrator": 0.2, "boot": 0.2, "releases": 0.1, "watermark": 0.1},
    "I32": {"worker": 0.2, "supervisor": 0.2, "groups": 0.2, "broker": 0.2, "pool": 0.1, "lifecycle": 0.1},
    "I34": {"broker": 0.6, "requests": 0.1, "fold": 0.2},
    "order": {"channels": 0.5, "broker": 0.4},
    "replay": {"worker": 0.3, "snapshot": 0.2, "residence": 0.2, "pool": 0.2, "recovery": 0.1},
    "ledger": {"releases": 0.5, "recovery": 0.2, "orchestrator": 0.2},
}

# Which modules stand between a kind of fault and the journal.
GUARDS: dict[str, Shares] = {
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
    "key.trust": {"wasm.trust": 0.6, "wasm.signatures": 0.3},
    "module.malformed": {"wasm.binary": 0.6, "wasm.checks": 0.3},
    "module.unlinkable": {"wasm.checks": 0.4, "wasm.binary": 0.4},
    "module.flip": {"wasm.checks": 0.8},
    "module.bomb": {"wasm.scan": 0.4, "wasm.checks": 0.4},
    "module.abi": {"wasm.checks": 0.5, "wasm.abi": 0.4},
    "model.flip": {"inference.device": 0.8},
    "model.swap": {"inference.device": 0.8},
    "model.bad_output": {"inference.engine": 0.8},
    "model.load_fail": {"router": 0.5, "inference.device": 0.4},
}
LAYERS: dict[str, Shares] = {  # for kinds that have no row above
    "gpu": {"router": 0.8},
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
    "host": {"worker": 0.5, "wasm.guest": 0.3, "wasm.spares": 0.1},
}

# Which modules write what is different, by section of the block and by field of the record (for events, by its name).
WRITERS: dict[tuple[str, str], Shares] = {
    ("steps", "order"): {"orchestrator": 0.6, "scheduler": 0.3, "fold": 0.1},
    ("steps", "missing"): {"scheduler": 0.3, "supervisor": 0.2, "broker": 0.2, "fold": 0.2},
    ("steps", "surplus"): {"scheduler": 0.3, "supervisor": 0.2, "broker": 0.2, "fold": 0.2},
    ("steps", "effects"): {"worker": 0.2, "pool": 0.1, "broker": 0.1},
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
    ("events", "refused_join"): {"channels": 0.9},
    ("events", "refused_message"): {"channels": 0.6, "broker": 0.2},
    ("events", "published"): {"fold": 0.5, "buffers": 0.2},
    ("events", "illegal"): {"lifecycle": 0.5, "fold": 0.3},
    ("events", "dropped"): {"requests": 0.4, "broker": 0.4},
    ("", "root"): {"fold": 0.2, "broker": 0.2, "requests": 0.2, "supervisor": 0.1},
    ("", "tick"): {"fold": 0.3, "supervisor": 0.2, "broker": 0.2, "intake": 0.1},
}


class Said(NamedTuple):
    """What an oracle's sentence says more than its name: `pattern` in evidence of `oracle` ("" is any)."""

    oracle: str
    pattern: re.Pattern[str]
    shares: Shares


def _said(oracle: str, pattern: str, **shares: float) -> Said:
    return Said(oracle, re.compile(pattern), shares)


SAID: tuple[Said, ...] = (
    _said("I8", r"admitted again", fold=0.7, intake=0.3),
    _said("I8", r"numbers begin at|is the next free", broker=0.9),
    _said("I8", r"no block admits it", intake=0.6, fold=0.2),
    _said("I8", r"was consumed \d+ times", broker=0.5, fold=0.2),
    _said("I8", r"\d+ effects, guest event|guest event \d+ called", pool=0.6, orchestrator=0.2),
    _said("I11", r"not the bytes that guest event", pool=0.3, frames=0.3, worker=0.2),
    _said("I14", r"while worker \d+ that had it lives|holds no lease|holds a lease", pool=0.9),
    _said("I14", r"started after incarnation", boot=0.6, durability=0.1),
    _said("I15", r"before its tick had closed", fold=0.6, buffers=0.2),
    _said("I15", r"version \d+ of buffer \d+ follows", fold=0.7),
    _said("I23", r"B of files|file \w+ leaves|code \w+ is loaded", **{"wasm.artefacts": 0.8}),
    _said("I24", r"nothing tells of a switch|an answer of process", router=0.9),
    _said("I24", r"KV cache that is not", router=0.5, orchestrator=0.2, requests=0.2),
    _said("I32", r"ended by decree", pool=0.9),
    _said("I32", r"is due .*; the journal has|was to restart|was not to start|without an init", supervisor=0.8),
    _said("I32", r"out of range|ranges of guest event .* were good|defines bad_pointer", worker=0.9),
    _said("I32", r"had reached, differs", broker=0.5, fold=0.1),
    _said("I34", r"its root is .* the final state", fold=0.3, snapshot=0.3),
    _said("I34", r"mailbox in the final state|copies of", broker=0.6),
    _said("order", r"no member|posted itself", channels=0.9),
    _said("order", r"committed after it", broker=0.7),
    _said("replay", r"did other in tick", worker=0.3, snapshot=0.3, residence=0.2),
    _said("ledger", r"was never received|follows block", releases=0.6, orchestrator=0.2),
    _said("ledger", r"is not what receipt|acknowledges|outputs", recovery=0.4, releases=0.2),
    _said("I19", r"may be ahead", orchestrator=0.7, durability=0.1),
)

# Which modules a check that stopped the runtime speaks of: those whose work it compares.
CHECKS: dict[str, Shares] = {
    "replay": {"worker": 0.3, "snapshot": 0.2, "residence": 0.2, "pool": 0.2},
    "watermark": {"durability": 0.5, "watermark": 0.2, "boot": 0.2},
    "fold": {"recovery": 0.4, "fold": 0.3},
    "growth": {"recovery": 0.3, "fold": 0.3, "durability": 0.2},
    "cursor": {"releases": 0.5, "durability": 0.2},
    "frame": {"frames": 0.6, "worker": 0.2},
    "inference": {"requests": 0.5, "router": 0.3},
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
        "wasm.raw",
    }
)
