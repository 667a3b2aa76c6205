"""`pipeline`: workflows of six stages, two of which generate tokens, as graphs of tasks under policy `dag`.

A job is read, drafted, checked and indexed side by side, merged, published. Values travel as messages beside the tasks
and must be there when a stage begins. Some jobs are late, fail, are wide, or cannot be: a cycle, a task that needs
itself, a name that nobody knows. The stages are supervised in three groups, one of each strategy. Every step is
computed again by a model of its agent, every answer in integers, and what is published from the job alone.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from runtime.state import (
    INFERENCE,
    MESSAGE,
    TASK,
    Action,
    AgentSpec,
    Config,
    Effect,
    Group,
    Message,
    Submit,
    Task,
)
from scenarios import models, oracle
from scenarios.answers import answers
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.deliveries import Deliveries, as_journaled, envelope
from scenarios.folds import OFFSET, fold_words, mix
from scenarios.streams import Stream

LAST_TICK = 112
LAST = 72  # tick of the last order
TOKENS = 3  # that a stage generates
TEXT_MAX = 24
WIDE = 24  # further tasks of a wide job
SHAPE = models.SMALL

READ, DRAFT, CHECK, INDEX, MERGE, PUBLISH = STAGES = range(6)  # the agents
NAMES = ("read", "draft", "check", "index", "merge", "publish")
_NEEDS = {DRAFT: (READ,), CHECK: (READ,), INDEX: (READ,), MERGE: (DRAFT, CHECK, INDEX), PUBLISH: (MERGE,)}
_FOLD, _GENERATE, _TRAP = 1, 2, 3
PLAIN, LATE, WIDE_JOB, FAILING, CYCLE, ITSELF, UNKNOWN = range(7)  # what a job may be

_HEAD = struct.Struct("<IIIII")  # op, job, targets, expect, tokens
_RESULT = struct.Struct("<IIQ")  # job, sound, value
_DONE = struct.Struct("<IIIIIIQ")  # tag, agent, job, op, sound, expect, value
_FINAL = struct.Struct("<IIIIQ")  # tag, agent, done, lost, chain
_MASK = (1 << 64) - 1

_digests, _modules = load("stage")


class Held(NamedTuple):
    """What a stage holds of one job: how many results, whether all are sound, their sum."""

    job: int
    results: int = 0
    sound: int = 1
    sum: int = 0


class Stage:
    """One agent in one life, as its source describes it: what each step must do."""

    def __init__(self, agent: int) -> None:
        self.agent = agent
        self.chain = OFFSET
        self.places: dict[int, Held] = {}
        self.op = self.job = self.targets = self.expect = self.left = 0
        self.ask: tuple[int, ...] = ()
        self.value = 0
        self.done = self.lost = 0

    def step(self, inbox: tuple[Message, ...]) -> list[Effect]:
        for message in inbox:
            self.chain = fold_words(envelope(message), self.chain)
            self._receive(message)
        if self.ask:
            request, self.ask = struct.pack(f"<{len(self.ask)}I", *self.ask), ()
            return [Effect("infer", 0, request)]
        if self.op == _FOLD or (self.op == _GENERATE and not self.left):
            return self._finish()
        return []

    def shutdown(self) -> list[Effect]:
        return [Effect("output", 0, _FINAL.pack(2, self.agent, self.done, self.lost, self.chain))]

    def _held(self, job: int) -> Held:
        held = self.places.get(job % 64)
        return held if held is not None and held.job == job else Held(job)

    def _receive(self, message: Message) -> None:
        payload = message.payload
        if message.kind == MESSAGE and len(payload) == _RESULT.size:
            job, sound, value = _RESULT.unpack(payload)
            held = self._held(job)
            total = held.sum + mix(message.sender + 1, value) & _MASK
            self.places[job % 64] = Held(job, held.results + 1, held.sound & sound, total)
        elif message.kind == TASK and len(payload) >= _HEAD.size:
            self.op, self.job, self.targets, self.expect, self.left = _HEAD.unpack_from(payload)
            text = payload[_HEAD.size :]
            self.value = fold_words(text)
            self.ask = (1, *text) if self.op == _GENERATE else ()
        elif message.kind == INFERENCE:
            (token,) = struct.unpack_from("<I", payload)
            self.value, self.left = mix(self.value, token), self.left - 1
            self.ask = (0, token) if self.left else ()
        else:
            self.lost += 1

    def _finish(self) -> list[Effect]:
        sound = 1
        if self.expect:
            held = self._held(self.job)
            self.places.pop(self.job % 64, None)
            sound = held.sound & (held.results == self.expect)
            self.value = mix(self.value, held.sum)
        result = _RESULT.pack(self.job, sound, self.value)
        effects = [Effect("send", agent, result) for agent in range(32) if self.targets >> agent & 1]
        done = _DONE.pack(1, self.agent, self.job, self.op, sound, self.expect, self.value)
        self.op, self.done = 0, self.done + 1
        return [*effects, Effect("output", 0, done)]


def _steps(deliveries: Deliveries) -> list[str]:
    """Each step did what the model of its agent does with the same inbox."""
    violations = []
    stages = [Stage(agent) for agent in STAGES]
    for step in deliveries.steps:
        if step.status != "ok" or step.kind == "init":
            stages[step.agent] = Stage(step.agent)
            expected = []
        elif step.kind == "shutdown":
            expected = stages[step.agent].shutdown()
        else:
            expected = stages[step.agent].step(step.inbox)
        if list(step.effects) != expected:
            done = ", ".join(effect.op for effect in step.effects) or "nothing"
            due = ", ".join(effect.op for effect in expected) or "nothing"
            violations.append(f"tick {step.tick}, agent {step.agent}: did {done}; its model {due}, or with other bytes")
    return violations


# --- jobs -----------------------------------------------------------------------------------------------------------


def text_of(seed: int, key: int, stage: int) -> bytes:
    """What a stage works on, 1 to 24 tokens, one text for each key and stage."""
    stream = Stream(seed, f"pipeline/text/{key}/{stage}")
    length = stream.between(1, TEXT_MAX)
    return bytes(stream.between(0, SHAPE.vocabulary - 1) for _ in range(length))


def job_of(seed: int, number: int, order: Order) -> tuple[Task, ...]:
    """The tasks of an order (tick, what it is, priority, key); their names begin with its number."""
    _, what, priority, key = order
    names = [f"{number}.{name}" for name in NAMES]
    tasks = []
    for stage in STAGES:
        needs = [names[one] for one in _NEEDS.get(stage, ())]
        targets = sum(1 << other for other in STAGES if stage in _NEEDS.get(other, ()))
        op = _GENERATE if stage in (DRAFT, CHECK) else _FOLD
        if stage == INDEX and what == FAILING:
            op = _TRAP
        if stage == READ and what == LATE:
            needs.append(f"{number - 1}.publish")
        elif stage == READ and what == CYCLE:
            needs.append(names[PUBLISH])
        elif stage == INDEX and what == ITSELF:
            needs.append(names[INDEX])
        elif stage == MERGE and what == UNKNOWN:
            needs.append("nobody")
        elif stage == MERGE and what == WIDE_JOB:
            needs += [f"{number}.extra-{n}" for n in range(WIDE)]
        head = _HEAD.pack(op, number, targets, len(_NEEDS.get(stage, ())), TOKENS)
        payload = head + text_of(seed, key, stage)
        tasks.append(Task(agent=stage, id=names[stage], needs=tuple(needs), payload=payload, priority=priority))
    if what == WIDE_JOB:
        for n in range(WIDE):
            payload = _HEAD.pack(_FOLD, 1 << 16 | number, 0, 0, 0) + text_of(seed, key, 100 + n)
            tasks.append(Task(agent=INDEX, id=f"{number}.extra-{n}", payload=payload, priority=n % 5 - 2))
    return tuple(reversed(tasks))


def node(seed: int, number: int, agent: int, fails: bool) -> Task:
    """A task of one stage that asks for no answer and that no other stage hears of."""
    head = _HEAD.pack(_TRAP if fails else _FOLD, number, 0, 0, 0)
    return Task(agent=agent, id=f"{number}.node", payload=head + text_of(seed, number, agent))


@lru_cache(maxsize=256)
def value_of(texts: tuple[bytes, ...]) -> int:
    """What a job publishes, from the texts of its stages alone."""
    values: dict[int, int] = {}
    for stage in STAGES:
        value = fold_words(texts[stage])
        if stage in (DRAFT, CHECK):
            tokens = list(texts[stage])
            for _ in range(TOKENS):
                tokens.append(oracle.answers(SHAPE, tokens).tokens[-1])
                value = mix(value, tokens[-1])
        if stage in _NEEDS:
            value = mix(value, sum(mix(one + 1, values[one]) for one in _NEEDS[stage]) & _MASK)
        values[stage] = value
    return values[PUBLISH]


class _Told(NamedTuple):
    """What the journal says of jobs: texts by number and stage, the numbers that were published, and restarts."""

    texts: dict[int, dict[str, bytes]]
    done: set[int]
    restarts: bool


def _told(outcome: Outcome) -> _Told:
    texts: dict[int, dict[str, bytes]] = {}
    done: set[int] = set()
    restarts = False
    for block in outcome.blocks:
        for item in block.inputs:
            for task in item.action.tasks if isinstance(item.action, Submit) else ():
                number, name = task.id.split(".")
                texts.setdefault(int(number), {})[name] = task.payload[_HEAD.size :]
        for event in block.events:
            restarts = restarts or event[0] == "restart"
            if event[0] == "task_done" and str(event[3]).endswith(".publish"):
                done.add(int(str(event[3]).split(".")[0]))
    return _Told(texts, done, restarts)


def _published(outcome: Outcome) -> list[str]:
    """Each job is published once at most, with the value that its texts give where it is sound.

    A stage lacks results of others only if it, or one before it, began a new life.
    """
    told, published = _told(outcome), set[int]()
    violations = []
    for output in outcome.outputs:
        tag, agent = struct.unpack_from("<II", output.payload)
        if tag != 1 or agent != PUBLISH:
            continue
        _, _, number, _, sound, _, value = _DONE.unpack(output.payload)
        if told.texts.get(number, {"publish": b""}).keys() == {"node"}:
            continue  # a task that stands alone
        where = f"tick {output.tick}: job {number}"
        if number in published or number not in told.texts:
            violations.append(f"{where} is published {'again' if number in published else 'and was never submitted'}")
            continue
        published.add(number)
        if not sound and not told.restarts:
            violations.append(f"{where} lacks results, and no stage began a new life")
        if sound and value != value_of(tuple(told.texts[number][name] for name in NAMES)):
            violations.append(f"{where} has another value than its texts give")
    if told.done != published:
        violations.append(f"jobs {sorted(told.done ^ published)} are done or published, not both")
    return violations


def _invariant(outcome: Outcome) -> list[str]:
    """Every token, logit and KV cache, every step, every output and every published value is what it must be."""
    deliveries = Deliveries(outcome)
    return (
        deliveries.violations
        + _steps(deliveries)
        + answers(deliveries, SHAPE)
        + as_journaled(outcome)
        + _published(outcome)
    )


def _orders(seed: int) -> tuple[Order, ...]:
    """Nine jobs, some of them at once, one of each sort and one more that is plain, and that fails."""
    stream = Stream(seed, "pipeline/jobs")
    sorts = [PLAIN, PLAIN, LATE, WIDE_JOB, CYCLE, FAILING, FAILING, UNKNOWN, ITSELF]
    ticks = [2, 2, stream.between(3, 5), stream.between(6, 20), stream.between(4, 30)]
    ticks += [stream.between(20, 40), stream.between(30, 44), stream.between(10, 50), stream.between(10, 50)]
    jobs = zip(ticks, sorts, strict=True)
    return tuple((tick, what, stream.between(-2, 2), key) for key, (tick, what) in enumerate(jobs))


def _compose(seed: int, number: int, order: Order) -> Action:
    return Submit(job_of(seed, number, order))


def _config(seed: int) -> Config:
    return Config(
        groups=(
            Group(name="line", agents=(READ,), window_ticks=60),
            Group(name="models", agents=(DRAFT, CHECK), strategy="one_for_all", max_restarts=1, within="line"),
            Group(
                name="ends",
                agents=(INDEX, MERGE, PUBLISH),
                strategy="rest_for_one",
                backoff_ticks=2,
                max_restarts=1,
                within="line",
            ),
        ),
        last_tick=LAST_TICK,
        models=(models.spec(SHAPE, "decoder", 2),),
        policy="dag",
        seed=seed,
        snapshot_every=16,
    )


PIPELINE = Scenario(
    name="pipeline",
    title="Workflows of six stages, two of which generate tokens; some jobs fail, and some cannot be.",
    agents=tuple(
        AgentSpec(name=name, module=_digests["stage"], capabilities=("messages", "output", "inference"))
        for name in NAMES
    ),
    modules=_modules,
    config=_config,
    source="user",
    orders=_orders,
    bounds=((1, LAST), (PLAIN, UNKNOWN), (-3, 3), (0, 999)),
    compose=_compose,
    invariant=_invariant,
    models=lambda: {models.digest(SHAPE): models.build(SHAPE)},
    node=node,
)
