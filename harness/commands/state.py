"""`wasm-engine state`: what a run's state was after any tick, and where two runs differ there (STA-3)."""

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
from harness.inspection import DIFFERENCES_MAX, described, differences
from harness.kept import find
from harness.refold import Refolded
from reports.words import plain
from runtime.errors import Refused

RANGE_MAX = 4096
ROW = 16


@click.command(
    short_help="The state of a run at any tick, or what differs from another run's.",
    epilog=examples(
        "wasm-engine state out/latest/cases/ledger-twin-0123456789 --tick 41",
        "wasm-engine state ledger --tick 41 --agent 3 --bytes 1024:64",
        'wasm-engine state hello --fault "agent.trap@tick:3,agent:1,hostcall:1" --against hello --tick 4 --json',
    ),
)
@click.argument("run")
@click.option("--tick", type=click.IntRange(0, 2**32 - 1), metavar="N", required=True, help="After this tick.")
@click.option("--agent", type=click.IntRange(0, 2**32 - 2), metavar="A", help="Only this agent, in full.")
@click.option("--bytes", "span", default="", metavar="AT:LENGTH", help="With --agent: these bytes of its memory.")
@click.option("--against", default="", metavar="OTHER", help="What differs from OTHER, a run like RUN, at that tick.")
@click.option("--fault", "faults", multiple=True, metavar="SPEC", help="A typed fault, where RUN is a scenario.")
@seed_option
@workers_option
@build_option
@json_option
def state(
    run: str,
    tick: int,
    agent: int | None,
    span: str,
    against: str,
    faults: tuple[str, ...],
    seed: int,
    workers: int,
    build: str,
    as_json: bool,
) -> int:
    """Show the state of RUN as it was after tick N: lifecycle, mailboxes, requests, memories, globals.

    RUN is a case, a folder of `run --keep`, a plan's file, or a scenario, which is run anew. The state is folded from
    the journal, and agents' memories are those of fresh instances that run their steps again. With --against, exit 1
    when the two differ.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    at, length = _span(span, agent)
    here = described(Refolded(find(run, seed, faults, workers), tick), agent, at, length)
    if not against:
        print_json(here) if as_json else _print(here)
        return 0
    there = described(Refolded(find(against, seed, (), workers), tick), agent, at, length)
    found = differences(here, there)
    if as_json:
        shown = [{"path": path, "here": a, "there": b} for path, a, b in found[:DIFFERENCES_MAX]]
        told = {"run": run, "against": against, "tick": tick, "equal": not found, "count": len(found)}
        print_json(told | {"differences": shown})
    else:
        _print_differences(run, against, tick, found)
    return 1 if found else 0


def _span(text: str, agent: int | None) -> tuple[int, int]:
    if not text:
        return 0, 0
    match = re.fullmatch(r"(0x[0-9a-fA-F]{1,8}|[0-9]{1,10}):([0-9]{1,5})", text)
    if match is None or not 0 < int(match[2]) <= RANGE_MAX:
        todo = f"give an address and at most {RANGE_MAX} bytes, as in 0x400:64"
        raise Refused(f"cannot read {text[:40]!r}", "--bytes", todo)
    if agent is None:
        raise Refused("bytes of which agent", "--bytes", "give --agent as well")
    return int(match[1], 0), int(match[2])


def _print(told: dict[str, Any]) -> None:
    print(f"tick {told['tick']}, after block {told['block']}: state {told['root'][:16]}")
    if told["finished"]:
        print("the run has ended")
    for agent in told["agents"]:
        _print_agent(agent)
    for buffer in told["buffers"]:
        print(f"buffer {buffer['buffer']} {plain(buffer['name'])}: version {buffer['version']}, {buffer['length']} B")
    for request in told["requests"]:
        print(f"request {request['id']} of agent {request['agent']}: due at tick {request['due']}")
    for session in told["sessions"]:
        print(f"session of agent {session['agent']}: {session['tokens']} tokens, KV {session['kv'][:16]}")
    for source, n in sorted(told["admitted"].items()):
        print(f"admitted from {plain(source)}: up to {n}")


def _print_agent(agent: dict[str, Any]) -> None:
    memory = agent["memory"]
    held = f"memory {memory['digest'][:16]}, {memory['bytes']} B" if memory else "no instance"
    print(f"agent {agent['agent']} {plain(agent['name'])}: {agent['phase']}, step {agent['n']}, {held}")
    for message in agent["mailbox"]:
        shown = f"{message['kind']} from {message['sender']}, {message['length']} B {message['payload'][:48]}"
        print(f"    waiting: {message['seq']} {shown}")
    if agent["wakes"] or agent["tasks"]:
        print(f"    wakes at {agent['wakes']}, tasks at {[at for at, _ in agent['tasks']]}")
    if memory and memory["globals"]:
        print(f"    globals {', '.join(memory['globals'])}")
    dump = memory["dump"] if memory else ""
    for start in range(0, len(dump), 2 * ROW):
        row = bytes.fromhex(dump[start : start + 2 * ROW])
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        print(f"    {memory['at'] + start // 2:08x}  {row.hex(' '):<{3 * ROW}} {text}")


def _print_differences(run: str, against: str, tick: int, found: list[tuple[str, Any, Any]]) -> None:
    if not found:
        print(f"at tick {tick} {run} and {against} are equal")
        return
    print(f"at tick {tick} {len(found)} values differ: {run} | {against}")
    for path, here, there in found[:DIFFERENCES_MAX]:
        print(f"{path}: {plain(str(here), 80)} | {plain(str(there), 80)}")
    if len(found) > DIFFERENCES_MAX:
        print(f"and {len(found) - DIFFERENCES_MAX} more")
