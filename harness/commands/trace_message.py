"""`wasm-engine trace-message`: from a message back to the input that caused it (MSG-1)."""

from __future__ import annotations

import re
from typing import Any

import click

from harness.commands.common import (
    build_option,
    elsewhere,
    examples,
    json_option,
    print_json,
    seed_option,
    workers_option,
)
from harness.inspection import KINDS
from harness.kept import Kept, find
from harness.message_trace import Messages, Sent, Taken, Trace
from reports.words import plain
from runtime.errors import Refused
from runtime.state import OUTSIDE, Input

SHOWN = 48  # bytes of a payload
INPUTS_SHOWN = 8


@click.command(
    name="trace-message",
    short_help="Where a message comes from, back to the input that caused it.",
    epilog=examples(
        "wasm-engine trace-message hello 4294967298",
        "wasm-engine trace-message ledger 3:12 --seed 7",
        "wasm-engine trace-message out/latest/cases/ledger-twin-0123456789 outside:5 --json",
    ),
)
@click.argument("run")
@click.argument("seq")
@click.option("--fault", "faults", multiple=True, metavar="SPEC", help="A typed fault, where RUN is a scenario.")
@seed_option
@workers_option
@build_option
@json_option
def trace_message(
    run: str, seq: str, faults: tuple[str, ...], seed: int, workers: int, build: str, as_json: bool
) -> int:
    """Follow the message SEQ of RUN back: the step that sent it, what that step had read, and so on, to an input.

    RUN is a case, a folder of `run --keep`, a plan's file, or a scenario, which is run anew. SEQ is the number that the
    receiver sees (docs/abi.md), or AGENT:COUNT, or outside:COUNT. The chain shown has the fewest hops; the inputs are
    all that the message can come from, what agents remembered from earlier steps left aside.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    number = _number(seq)
    kept = find(run, seed, faults, workers)
    trace = Messages(kept).trace(number)
    told = _told(kept, trace)
    print_json(told) if as_json else _print(told)
    return 0


def _number(text: str) -> int:
    match = re.fullmatch(r"(?:(\d{1,10}|outside):)?(\d{1,20})", text)
    if match is None:
        raise Refused(f"cannot read {text[:40]!a}", "SEQ", "give a number, AGENT:COUNT or outside:COUNT, as in 3:12")
    sender, count = match[1], int(match[2])
    return count if sender in (None, "outside") else (int(sender) + 1) << 32 | count


def _told(kept: Kept, trace: Trace) -> dict[str, Any]:
    names = [spec.name for spec in kept.scenario.agents]
    return {
        "run": kept.name,
        "message": _message(trace.message, names),
        "delivered": [_step(step, names) for step in trace.delivered],
        "lost": [{"how": how, "tick": tick, "agent": agent} for how, tick, agent in trace.lost],
        "chain": [_link(one, names) for one in trace.chain],
        "inputs": [_input(item) for item in trace.inputs],
        "steps": trace.steps,
    }


def _link(one: Sent | Taken | Input, names: list[str]) -> dict[str, Any]:
    if isinstance(one, Sent):
        return {"what": "message", **_message(one, names)}
    return {"what": "input", **_input(one)} if isinstance(one, Input) else {"what": "step", **_step(one, names)}


def _message(sent: Sent, names: list[str]) -> dict[str, Any]:
    return {
        "seq": sent.seq,
        "kind": KINDS[sent.kind],
        "sender": None if sent.sender == OUTSIDE else sent.sender,
        "name": "outside" if sent.sender == OUTSIDE else _name(names, sent.sender),
        "target": sent.target,
        "tick": sent.tick,
        "effect": sent.effect if sent.effect >= 0 else None,
        "length": len(sent.payload),
        "payload": sent.payload[:SHOWN].hex(),
    }


def _step(step: Taken, names: list[str]) -> dict[str, Any]:
    entry = step.entry
    return {
        "tick": step.tick,
        "agent": entry.agent,
        "name": _name(names, entry.agent),
        "n": entry.n,
        "kind": entry.kind,
        "status": entry.status,
        "read": list(entry.inbox),
    }


def _input(item: Input) -> dict[str, Any]:
    return {"source": item.source, "n": item.n, "tick": item.tick, "do": str(type(item.action).__name__).lower()}


def _name(names: list[str], agent: int) -> str:
    return names[agent] if agent < len(names) else ""


def _print(told: dict[str, Any]) -> None:
    for step in told["delivered"]:
        print(f"delivered to agent {step['agent']} {plain(step['name'])} in tick {step['tick']}")
    for lost in told["lost"]:
        print(f"{lost['how']} in tick {lost['tick']}, agent {lost['agent']}")
    if not told["delivered"] and not told["lost"]:
        print("read by nobody: it is in a mailbox at the end of the run, or its topic has no subscriber")
    for link in told["chain"]:
        print(_line(link))
    inputs = told["inputs"]
    shown = ", ".join(f"{plain(item['source'])}/{item['n']}" for item in inputs[:INPUTS_SHOWN])
    more = f" and {len(inputs) - INPUTS_SHOWN} more" if len(inputs) > INPUTS_SHOWN else ""
    print(f"it can come from {len(inputs)} inputs, through {told['steps']} steps: {shown}{more}")


def _line(link: dict[str, Any]) -> str:
    if link["what"] == "message":
        kind = f"{link['kind']} {link['seq']} to {link['target']}"
        return f"  {kind}, {link['length']} B {link['payload']}, sent in tick {link['tick']}"
    if link["what"] == "step":
        read = f", which read {len(link['read'])} messages" if link["read"] else ""
        return f"  by step {link['n']} of agent {link['agent']} {plain(link['name'])}, tick {link['tick']}{read}"
    return f"  from input {plain(link['source'])}/{link['n']}, due in tick {link['tick']}: {link['do']}"
