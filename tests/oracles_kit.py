"""A small world for tests of oracles: three agents, four ticks, every record of it written by hand.

Nothing here uses the runtime's encoders: the journal and the envelopes are encoded anew, so an error that runtime and
oracles would share cannot hide. A test takes `world()`, damages one record, and judges `history()`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Iterable
from typing import Any

import google_crc32c
import msgspec

from faults.plan import Fault, Plan
from harness.history import (
    Census,
    Crash,
    GuestCall,
    GuestEvent,
    History,
    Injection,
    Life,
    LoadEvent,
    Receipt,
    StoreEvent,
    SyncEvent,
)
from harness.oracles import Finding, Judged, Verdict, judge
from harness.oracles.envelopes import open_inbox
from runtime.frames import Output
from runtime.physical import Physical
from runtime.state import AgentSpec, AgentState, Input, Message, Schedule, Send, State, encode
from runtime.telemetry import Record
from scenarios.base import load

MESSAGE, TOPIC, INPUT, WAKE, REFUSED, BUFFER = 1, 2, 3, 4, 5, 6
CLIENT = 0xFFFFFFFF
FULL = 4
FUEL, MEMORY = 1000, 1 << 17  # what each agent is granted
CAPABILITIES = ("messages", "topics", "timers", "buffers", "output")

# Numbers count per sender, with an agent's id + 1 in the upper half.
GO, ONE, TWO, NEWS, FILL, LEFT = 1, (1 << 32) + 1, (1 << 32) + 2, (1 << 32) + 3, (1 << 32) + 4, (2 << 32) + 1
((MODULE, WASM),) = load("hello_critic")[1].items()  # digest and bytes of the one module of all agents
LONG = bytes(range(256)) * 2  # stands in the journal by its digest


def watermark_file(serial: int, block: int) -> bytes:
    """Two slots of 512 bytes, the other one empty: length, CRC-32C, [serial, incarnation, block, hash]."""
    body = msgspec.msgpack.encode([serial, 1, block, "0" * 64])
    slot = (struct.pack("<II", len(body), google_crc32c.value(body)) + body).ljust(512, b"\0")
    return slot + bytes(512) if serial % 2 == 0 else bytes(512) + slot


def blob_file(*payloads: bytes) -> bytes:
    return b"".join(hashlib.sha256(p).digest() + struct.pack("<I", len(p)) + p for p in payloads)


def envelope(kind: int, sender: int, seq: int, channel: int, payload: bytes) -> bytes:
    return struct.pack("<IIQII", kind, sender, seq, channel, len(payload)) + payload


def b64(data: bytes) -> Any:
    if len(data) > 256:
        return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return base64.b64encode(data).decode()


def call(op: str, target: int = 0, data: bytes | None = b"") -> GuestCall:
    return GuestCall(op, target, len(data or b""), data)


def given(inbox: Iterable[bytes]) -> bytes:
    """Envelopes as they are handed to a driver; one that is none makes all of it none."""
    messages = []
    for data in inbox:
        kind, sender, seq, channel, length = struct.unpack_from("<IIQII", data)
        messages.append((seq, kind, sender, channel, data[24:]))
        if length != len(data) - 24:
            return b"".join(inbox)
    return msgspec.msgpack.encode(messages)


def inbox_of(event: GuestEvent) -> tuple[bytes, ...]:
    """The inverse of `given`."""
    return tuple(
        envelope(kind, sender, seq, channel, data) for kind, sender, seq, channel, data in open_inbox(event.given)
    )


def changed(event: GuestEvent, **changes: Any) -> GuestEvent:
    """The event with other fields; `inbox` are envelopes, `calls` host calls."""
    if "inbox" in changes:
        changes["given"] = given(changes.pop("inbox"))
    if "calls" in changes:
        changes["made"] = changes.pop("calls")
    return msgspec.structs.replace(event, opened=None, **changes)


def step(agent: int, n: int, kind: str = "step", **fields: Any) -> dict[str, Any]:
    first = (agent + 1 << 32) + 1
    default = {"status": "ok", "effects": [], "inbox": [], "views": [], "seq": first, "image": ""}
    return {"agent": agent, "n": n, "kind": kind, **default, **fields}


def crossing(tick: int, agent: int, kind: str = "step", **fields: Any) -> GuestEvent:
    """One crossing; agents 0 and 2 live on worker 11, agent 1 on worker 12."""
    default: dict[str, Any] = {
        "at": 100 * tick + 10,
        "worker": 12 if agent == 1 else 11,
        "incarnation": 1,
        "given": given(()),
        "status": "ok",
        "made": (),
        "fresh": kind == "init",
        "granted": FUEL,
        "used": 90,
        "memory": MEMORY,
    }
    return changed(GuestEvent(agent=agent, kind=kind, tick=tick, **default), **fields)


def journal_line(number: int, body: dict[str, Any], prev: str) -> tuple[bytes, str]:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    link = hashlib.sha256((prev + text).encode()).hexdigest()
    return f'{{"block":{number},"body":{text},"hash":"{link}","prev":"{prev}"}}\n'.encode(), link


def journal_of(bodies: list[dict[str, Any]]) -> list[bytes]:
    """The header's line, then one line per body."""
    header = '{"versions":{"abi":1,"journal":1}}'
    lines = [f'{{"header":{header},"sum":"{hashlib.sha256(header.encode()).hexdigest()}"}}\n'.encode()]
    prev = "0" * 64
    for number, body in enumerate(bodies, 1):
        line, prev = journal_line(number, body, prev)
        lines.append(line)
    return lines


class World:
    """All records of one run, mutable; `history` puts them together."""

    def __init__(self) -> None:
        self.sent = [
            Input(Send(0, b"go"), 1, "bank", 0),
            Input(Schedule(1, b"task", 0), 2, "bank", 1),
        ]
        self.faults: tuple[Fault, ...] = ()
        self.injections: list[Injection] = []
        self.crashes: list[Crash] = []
        self.bodies = _bodies()
        self.guests = _guests()
        self.trace = _trace()
        self.stores = [StoreEvent(109, 11, 0, 0, 32), StoreEvent(110, 11, 0, 32, 512), StoreEvent(111, 11, 0, 0, 32)]
        self.outputs = {2: (Output(1, 0, 0, 0, b"done"),)}
        self.receipts: list[Receipt] = []
        self.mailboxes: list[list[Message]] = [[], [], [Message(LEFT, MESSAGE, 1, 0, b"left")]]
        self.restarts: dict[int, list[int]] = {}  # agent -> ticks
        self.deaths: dict[int, int] = {}  # worker -> when it died
        self.finished = True
        self.census: Census | None = Census((11, 12), (), (0,), ((11, 0, 1), (11, 2, 1), (12, 1, 1)))
        self.physical = Physical()
        self.failure = ""
        self.loads = [
            LoadEvent(1, side, "worker", worker, agent if side == "made" else -1, MODULE, MODULE, (), "")
            for worker, agent in ((11, 0), (12, 1), (11, 2))
            for side in ("given", "made")
        ]
        self.blobs = {hashlib.sha256(LONG).hexdigest(): LONG}
        self.syncs = [SyncEvent(20 + 100 * n, "journal", 1, True, 0, 100_000) for n in range(4)]
        self.seal()
        self.deliver()

    def final(self) -> bytes:
        """The final state: its mailboxes, and a spec for each agent."""
        agents = []
        for i, mailbox in enumerate(self.mailboxes):
            spec = AgentSpec(capabilities=(), module="", name=f"a{i}", reads=(0,) if i == 2 else ())
            agents.append(AgentState(spec=spec, mailbox=mailbox, restarts=self.restarts.get(i, [])))
        return encode(State(agents=agents))

    def seal(self) -> None:
        """Give the last block the root of the final state as it is now."""
        self.bodies[-1]["root"] = hashlib.sha256(self.final()).hexdigest()

    def deliver(self) -> None:
        """The client's receipts as they follow from the journal; to be damaged afterwards."""
        lines = journal_of(self.bodies)
        self.receipts = []
        for number, body in enumerate(self.bodies, 1):
            durable = sum(map(len, lines[: number + 1]))
            acknowledged = tuple((item["source"], item["n"]) for item in body["inputs"])
            outputs = self.outputs.get(number, ())
            final = number == len(self.bodies)
            at = 100 * body["tick"] + 50
            mark = watermark_file(number, number)
            blobs = len(blob_file(LONG)) if number > 1 else 0
            self.receipts.append(Receipt(at, number, body["tick"], acknowledged, outputs, durable, final, mark, blobs))

    def history(self) -> History:
        workers = sorted({e.worker for e in self.guests} | {s.worker for s in self.stores})
        return History(
            lives=[Life(0, w, True) for w in workers] + [Life(at, w, False) for w, at in sorted(self.deaths.items())],
            plan=Plan(scenario="hand", seed=1, inputs=tuple(self.sent), faults=self.faults, physical=self.physical),
            journal=b"".join(journal_of(self.bodies)),
            blobs=self.blobs,
            files={"blobs": blob_file(LONG)},
            syncs=self.syncs,
            trace=self.trace,
            crossings=self.guests,
            stores=self.stores,
            loads=self.loads,
            sent=self.sent,
            receipts=self.receipts,
            crashes=self.crashes,
            injections=self.injections,
            final_state=self.final(),
            census=self.census,
            healed_at=0,
            finished=self.finished,
            failure=self.failure,
        )

    def guest(self, tick: int, agent: int, **changes: Any) -> None:
        """Change what the crossing of this step was."""
        at = next(i for i, g in enumerate(self.guests) if (g.tick, g.agent) == (tick, agent))
        self.guests[at] = changed(self.guests[at], **changes)

    def step(self, block: int, agent: int) -> dict[str, Any]:
        found: dict[str, Any] = next(s for s in self.bodies[block - 1]["steps"] if s["agent"] == agent)
        return found


def _input(source: str, n: int, tick: int, **action: Any) -> dict[str, Any]:
    return {"source": source, "n": n, "tick": tick, "action": action}


def _bodies() -> list[dict[str, Any]]:
    """GO is the client's; ONE, TWO, NEWS and FILL (refused) are agent 0's in tick 1, LEFT is agent 1's in tick 2."""
    config: dict[str, Any] = {"seed": 1, "last_tick": 3, "max_tasks_per_tick": 9, "topics": ["news"]}
    config["policy"] = "round_robin"
    config |= {"max_restarts": 3, "window_ticks": 100, "backoff_ticks": 9}
    config |= {"mailbox": 8, "send_limit": 64, "models": []}
    config["buffers"] = [{"capacity": 1024, "name": "b", "writer": 0}]
    limits = {"fuel": FUEL, "memory": MEMORY, "table": 1000}
    spec: dict[str, Any] = {"capabilities": list(CAPABILITIES), "limits": limits, "module": MODULE}
    genesis = [_input("genesis", 1, 0, do="configure", config=config)]
    genesis += [_input("genesis", n, 0, do="spawn", spec={**spec, "name": f"a{n - 2}"}) for n in (2, 3, 4)]
    empty: dict[str, Any] = {"inputs": [], "inferences": [], "decrees": [], "steps": [], "events": [], "root": ""}
    go = _input("bank", 1, 0, do="send", agent=0, payload=b64(b"go"))
    task = _input("bank", 2, 1, do="schedule", agent=1, payload=b64(b"task"), ticks=0)
    inits = [step(agent, 1, "init") for agent in (0, 1, 2)]
    inits[2]["effects"] = [["subscribe", 0, ""]]
    plan = [["send", 1, b64(b"one")], ["send", 1, b64(LONG)], ["publish", 0, b64(b"news")], ["send", 2, b64(b"full")]]
    plan += [["buffer", 0, b64(LONG)], ["output", 0, b64(b"done")]]
    first = [step(0, 2, inbox=[GO], effects=plan), step(1, 2, inbox=[0], effects=[["wake", 1, ""]])]
    second = [step(0, 3, inbox=[FILL], seq=FILL + 1)]
    second.append(step(1, 3, inbox=[ONE, TWO, 0], effects=[["send", 2, b64(b"left")]]))
    second.append(step(2, 2, inbox=[NEWS], views=[[0, 1]]))
    started = [["lifecycle", agent, "starting", "active"] for agent in (0, 1, 2)]
    ended = [["lifecycle", agent, "active", "terminated"] for agent in (0, 1, 2)]
    published = ["published", 0, 1, len(LONG), 7, hashlib.sha256(LONG).hexdigest()]
    return [
        {**empty, "tick": 0, "inputs": [*genesis, go], "steps": inits, "events": started, "root": "ab"},
        {**empty, "tick": 1, "inputs": [task], "steps": first, "events": [["refused", FILL, 0, 2], published]},
        {**empty, "tick": 2, "steps": second},
        {**empty, "tick": 3, "events": [*ended, ["finished"]], "root": "cd"},
    ]


def _guests() -> list[GuestEvent]:
    calls = [call("send", 1, b"one"), call("send", 1, LONG), call("publish", 0, b"news"), call("send", 2, b"full")]
    calls += [call("buffer", 0, LONG), call("output", 0, b"done")]
    to_1 = (envelope(MESSAGE, 0, ONE, 0, b"one"), envelope(MESSAGE, 0, TWO, 0, LONG), envelope(WAKE, CLIENT, 0, 0, b""))
    to_2 = (envelope(TOPIC, 0, NEWS, 0, b"news"), envelope(BUFFER, 0, 1, 0, LONG))
    return [
        crossing(0, 0, "init"),
        crossing(0, 1, "init"),
        crossing(0, 2, "init", calls=(call("subscribe"),)),
        crossing(1, 0, inbox=(envelope(INPUT, CLIENT, GO, 0, b"go"),), calls=tuple(calls)),
        crossing(1, 1, inbox=(envelope(WAKE, CLIENT, 0, 0, b"task"),), calls=(call("wake", 1),)),
        crossing(2, 0, inbox=(envelope(REFUSED, 2, FILL, FULL, b"full"),)),
        crossing(2, 1, inbox=to_1, calls=(call("send", 2, b"left"),)),
        crossing(2, 2, inbox=to_2),
    ]


def record(at: int, kind: str, tick: int, **fields: int | str) -> Record:
    return Record(at, kind, 1, tick, fields)


def _trace() -> list[Record]:
    trace = [record(0, "spawned", -1, worker=worker, slot=slot) for slot, worker in enumerate((11, 12))]
    for tick in range(4):
        trace.append(record(100 * tick, "opened", tick))
        if tick < 3:
            trace += [
                record(100 * tick + 1, "sent", tick, worker=w, lease=2 * tick + w - 10, orders=1) for w in (11, 12)
            ]
            trace += [record(100 * tick + 20, "received", tick, worker=w, lease=2 * tick + w - 10) for w in (11, 12)]
        trace.append(record(100 * tick + 30, "committed", tick, block=tick + 1, steps=3, messages=1))
    return trace


def world(*damages: Callable[[World], None]) -> World:
    made = World()
    for damage in damages:
        damage(made)
    return made


def finding(oracle: str, made: World, **others: Any) -> Finding:
    """One oracle's finding over a run; by default its twin, repetition and so on are undamaged.

    Judged twice: on its own, and beside a run that was judged before, undamaged, whose verdicts must not leak.
    """
    good = World().history()
    against: dict[str, Any] = {
        "twin": good,
        "baseline": good,
        "repeat": good,
        "others": {1: good, 7: good},
        "devices": {"cpu": good},
        "replays": (("state-1", good.final_state),),
        "bound_ns": 1000,
        "invariant": lambda history: [],
        "modules": {MODULE: WASM},
    }
    against.update(others)
    alone = judge(Judged(made.history(), **against), [oracle])[oracle]
    known = Judged(World().history(), invariant=against["invariant"])
    assert judge(Judged(made.history(), **against, known=known), [oracle])[oracle] == alone
    return alone


def refuses(oracle: str, made: World, named: str, **others: Any) -> None:
    """The oracle says FAIL, and one line of its evidence names this record."""
    found = finding(oracle, made, **others)
    assert found.verdict is Verdict.FAIL, found
    assert any(named in line for line in found.evidence), found.evidence
