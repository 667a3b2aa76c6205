"""A state as a tree of plain values that a person or a program can read, and the difference of two such trees.

The tree names everything that is logical (STA-1): what a run's digest covers is in it, by value or by its sha256, so
that two states with other digests differ in it somewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from harness.refold import Memory, Refolded
from runtime import state as states
from runtime.errors import Refused
from runtime.state import AgentState, Message

DIFFERENCES_MAX = 50
PAYLOAD_MAX = 64  # bytes of a payload that are shown; its sha256 stands for the rest
ABSENT = "nothing"
KINDS = {
    states.MESSAGE: "message",
    states.TOPIC: "topic",
    states.INPUT: "input",
    states.WAKE: "wake",
    states.REFUSED: "refused",
    states.BUFFER: "buffer",
    states.INFERENCE: "inference",
    states.TASK: "task",
    states.READING: "reading",
}

_COUNTS = ("life", "n", "ready_since", "restart_at", "image_due", "reserved", "restarts", "sent", "seen", "wakes")

Difference = tuple[str, Any, Any]


def described(run: Refolded, agent: int | None = None, at: int = 0, length: int = 0) -> dict[str, Any]:
    """The state as plain values; `agent` alone, with `length` bytes of its memory from `at` on, when it is given."""
    state = run.state
    if agent is not None and agent >= len(state.agents):
        raise Refused(f"no agent {agent} at tick {run.tick}", run.kept.name, f"there are {len(state.agents)}")
    chosen = range(len(state.agents)) if agent is None else (agent,)
    config = state.config
    names = [spec.name for spec in config.buffers] if config else []
    mine = [request for request in state.requests if agent in (None, request.agent)]
    return {
        "tick": run.tick,
        "block": run.block,
        "root": states.root(state),
        "finished": state.finished,
        "config": msgspec.to_builtins(config),
        "agents": [_agent(n, state.agents[n], run.memory(n), at, length) for n in chosen],
        "buffers": [{"buffer": n, "name": names[n], **msgspec.to_builtins(b)} for n, b in enumerate(state.buffers)],
        "requests": [msgspec.structs.asdict(request) for request in mine],
        "sessions": [
            {"agent": s.agent, "model": s.model, "tokens": s.tokens, "kv": hashlib.sha256(s.kv).hexdigest()}
            for s in state.sessions
            if agent in (None, s.agent)
        ],
        "reads": {} if state.reads is UNSET else msgspec.to_builtins(state.reads),
        "subscribers": [list(topic) for topic in state.subscribers],
        "admitted": dict(state.admitted),
        "outside": state.outside,
        "cursor": state.cursor,
        "root_due": state.root_due,
    }


def _agent(number: int, agent: AgentState, memory: Memory | None, at: int, length: int) -> dict[str, Any]:
    told = {
        "agent": number,
        "name": agent.spec.name,
        "module": agent.spec.module,
        "phase": agent.phase,
        "mailbox": [_message(message) for message in agent.mailbox],
        "tasks": [(tick, payload.hex()) for tick, payload in agent.tasks],
        "memory": _memory(number, memory, at, length) if memory else None,
    }
    for name in (
        "life",
        "n",
        "ready_since",
        "restart_at",
        "image_due",
        "reserved",
        "restarts",
        "sent",
        "seen",
        "wakes",
    ):
        told[name] = getattr(agent, name)
    return told


def _memory(agent: int, memory: Memory, at: int, length: int) -> dict[str, Any]:
    if at + length > len(memory.data):
        what = f"bytes {at} to {at + length} of a memory of {len(memory.data)}"
        raise Refused(what, f"--bytes, agent {agent}", "ask within it")
    return {
        "digest": memory.digest,
        "bytes": len(memory.data),
        "globals": [f"0x{bits:x}" for bits in memory.globals],
        "at": at,
        "dump": memory.data[at : at + length].hex(),
    }


def _message(message: Message) -> dict[str, Any]:
    payload = message.payload
    return {
        "seq": message.seq,
        "kind": KINDS.get(message.kind, str(message.kind)),
        "sender": "outside" if message.sender == states.OUTSIDE else f"agent {message.sender}",
        "channel": message.channel,
        "length": len(payload),
        "payload": payload[:PAYLOAD_MAX].hex(),
        "sha256": hashlib.sha256(payload).hexdigest(),
    }


def differences(here: Any, there: Any) -> list[Difference]:
    """Where two trees differ: (path, here, there), in the order of the tree; a part that is missing is ABSENT."""
    return list(_differences(here, there, ""))


def _differences(here: Any, there: Any, path: str) -> Iterator[Difference]:
    if isinstance(here, dict) and isinstance(there, dict):
        for key in [*here, *(key for key in there if key not in here)]:
            name = f"{path}.{key}" if path else str(key)
            yield from _differences(here.get(key, ABSENT), there.get(key, ABSENT), name)
    elif isinstance(here, (list, tuple)) and isinstance(there, (list, tuple)):
        for index in range(max(len(here), len(there))):
            ours, theirs = (side[index] if index < len(side) else ABSENT for side in (here, there))
            yield from _differences(ours, theirs, f"{path}[{index}]")
    elif here != there:
        yield path, here, there
