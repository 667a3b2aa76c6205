"""`hello`: planner -> two workers -> critic, the smallest complete example.

Each input is a task with a text. The planner announces it on a topic and splits it; the workers turn their halves into
capitals and hash them; the critic, once it has the announcement and both halves, lets the joined text out.
"""

from __future__ import annotations

import struct

from runtime.state import Action, AgentSpec, Config, Send
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.folds import fnv1a
from scenarios.streams import Stream

LAST_TICK = 12
TASKS = 6
TEXT_MAX = 192  # bytes; what the critic keeps of one task
PLANNER = 0

_TASK = struct.Struct("<I")
_ANSWER = struct.Struct("<IIQQ")  # task, verdict, hash of the left half, hash of the right half

_digests, _modules = load("hello_planner", "hello_worker", "hello_critic")


def text_of(seed: int, key: int, length: int) -> bytes:
    """A printable text, one for each key."""
    stream = Stream(seed, f"hello/text/{key}")
    return bytes(stream.between(32, 126) for _ in range(length))


def answer(task: int, text: bytes) -> bytes:
    """The only correct output for a task."""
    capitals = text.upper()
    middle = len(capitals) // 2
    left, right = capitals[:middle], capitals[middle:]
    return _ANSWER.pack(task, 1, fnv1a(left), fnv1a(right)) + capitals


def _orders(seed: int) -> tuple[Order, ...]:
    stream = Stream(seed, "hello/tasks")
    return tuple((stream.between(1, 7), stream.between(8, 40), key) for key in range(TASKS))


def _compose(seed: int, number: int, order: Order) -> Action:
    _, length, key = order
    return Send(PLANNER, _TASK.pack(number) + text_of(seed, key, length))


def _config(seed: int) -> Config:
    return Config(last_tick=LAST_TICK, seed=seed, snapshot_every=4, topics=("tasks",))


def _invariant(outcome: Outcome) -> list[str]:
    """Each task yields exactly one correct answer; only a step that failed since excuses a missing one."""
    violations = []
    failed_at = [block.tick for block in outcome.blocks for step in block.steps if step.status != "ok"]
    answers: dict[int, list[bytes]] = {}
    for output in outcome.outputs:
        if len(output.payload) < _ANSWER.size:
            violations.append(f"tick {output.tick}, agent {output.agent}: an output of {len(output.payload)} bytes")
            continue
        answers.setdefault(_TASK.unpack_from(output.payload)[0], []).append(output.payload)
    for block in outcome.blocks:
        for item in block.inputs:
            if not isinstance(item.action, Send):
                continue
            (task,) = _TASK.unpack_from(item.action.payload)
            got = answers.pop(task, [])
            if len(got) > 1:
                violations.append(f"task {task}: answered {len(got)} times")
            if not got and not any(tick >= block.tick for tick in failed_at):
                violations.append(f"task {task}, admitted in tick {block.tick}: no answer, and no step failed")
            if any(payload != answer(task, item.action.payload[_TASK.size :]) for payload in got):
                violations.append(f"task {task}: a wrong answer")
    violations += [f"task {task}: answered, but never asked" for task in sorted(answers)]
    return violations


HELLO = Scenario(
    name="hello",
    title="A planner splits texts between two workers, and a critic joins and checks their answers.",
    agents=(
        AgentSpec(name="planner", module=_digests["hello_planner"], capabilities=("messages", "topics")),
        AgentSpec(name="worker-left", module=_digests["hello_worker"], capabilities=("messages",)),
        AgentSpec(name="worker-right", module=_digests["hello_worker"], capabilities=("messages",)),
        AgentSpec(name="critic", module=_digests["hello_critic"], capabilities=("topics", "output")),
    ),
    modules=_modules,
    config=_config,
    source="user",
    orders=_orders,
    bounds=((1, 8), (0, TEXT_MAX), (0, 999)),
    compose=_compose,
    invariant=_invariant,
)
