"""`upgrade`: six meters count what they are given while their module is exchanged, again and again (WAS-7).

Version 2 takes the state of version 1 over as it is, version 3 migrates it, version 4 fails in its migration, one
version does not exist, and one cannot be linked: all meters import from two libraries, of which one comes in two
versions under the same name, each for half of the meters. Every report names the version that made it, and its weights
and its chain show it: each must be what the journal's messages give when every step is served wholly by the version
that the journal says, and the state of one is the beginning of the next.
"""

from __future__ import annotations

import struct

from msgspec import Struct

from runtime.journal import Block
from runtime.state import INPUT, MESSAGE, Action, AgentSpec, Config, Library, Limits, Message, Operate, Reload, Send
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.deliveries import Deliveries, Step
from scenarios.folds import MULTIPLIER, OFFSET, OTHER_MULTIPLIER, mix
from scenarios.streams import Stream

METERS = 6
LAST_TICK = 72
FIRST, LAST = 1, 66
WEIGHTS = {1: 1, 2: 3, 3: 5, 4: 7}
MISSING = 5  # the version that no artefact has
UNLINKED = 6  # the version that imports from a library under another type

_STRUCK = ("trap:", "fuel", "decree:")  # how a fault may end a reload, or a deadline

_WORK = struct.Struct("<II")  # amount, hops
_REPORT = struct.Struct("<IIQQQ")  # version, agent, count, total, chain
_MOVED = struct.Struct("<II")  # 0, the version before

_LIBRARIES = ("upgrade_chain", "upgrade_mixing_1", "upgrade_mixing_2")
_digests, _modules = load(*(f"upgrade_{version}" for version in (*WEIGHTS, UNLINKED)), *_LIBRARIES)
_of_version = {version: _digests[f"upgrade_{version}"] for version in (*WEIGHTS, UNLINKED)} | {MISSING: "0" * 64}


def module_of(version: int) -> str:
    """The digest of a version's module."""
    return _of_version[version]


def work(amount: int, hops: int = 0) -> bytes:
    """What a meter is given."""
    return _WORK.pack(amount, hops)


def _second(meter: int) -> bool:
    """Whether this meter has the second version of the library `mixing`."""
    return meter % 2 == 1


def _libraries(meter: int) -> tuple[Library, ...]:
    mixing = _digests["upgrade_mixing_2" if _second(meter) else "upgrade_mixing_1"]
    return Library(name="chain", module=_digests["upgrade_chain"]), Library(name="mixing", module=mixing)


class Meter(Struct):
    """One meter as the journal's steps make it; without a state (`alive`) only its version counts."""

    multiplier: int
    version: int = 1
    alive: bool = False
    count: int = 0
    total: int = 0
    chain: int = OFFSET

    def begin(self, alive: bool) -> None:
        self.alive, self.count, self.total, self.chain = alive, 0, 0, OFFSET

    def take(self, message: Message) -> None:
        if message.kind in (INPUT, MESSAGE):
            amount, _ = _WORK.unpack(message.payload)
            self.count += 1
            self.total = (self.total + amount * WEIGHTS[self.version]) % 2**64
            self.chain = mix(self.chain, (amount << 3) + self.version, self.multiplier)


def ending(before: int, version: int, alive: bool) -> str:
    """How a reload must end where no fault strikes it."""
    if version in (MISSING, UNLINKED):
        return "refused:digest" if version == MISSING else "refused:import"
    if not alive or version == 3:
        return "ok"
    if version == 4:
        return "trap:unreachable" if before == 3 else "agent_error:7"
    return "layout" if before == 3 else "ok"


class _Model:
    """The meters, followed through the journal, and what each step must have left."""

    def __init__(self, deliveries: Deliveries, outcome: Outcome) -> None:
        self.violations = list(deliveries.violations)
        self.meters = [Meter(OTHER_MULTIPLIER if _second(meter) else MULTIPLIER) for meter in range(METERS)]
        steps = iter(deliveries.steps)
        for block in outcome.blocks:
            changes = _changes(block)
            for _ in block.steps:
                step = next(steps)
                self._follow(step, self.meters[step.agent], changes.get(step.agent, 0))

    def _follow(self, step: Step, meter: Meter, version: int) -> None:
        expected: list[bytes] = []
        if step.kind == "reload":
            self._reload(step, meter, version, expected)
        elif step.status != "ok":
            meter.begin(False)
        elif step.kind == "init":
            meter.begin(True)
        elif step.kind == "step":
            for message in step.inbox:
                meter.take(message)
            expected.append(_REPORT.pack(meter.version, step.agent, meter.count, meter.total, meter.chain))
        said = [effect.payload for effect in step.effects if effect.op == "output"]
        if said != expected:
            where = f"tick {step.tick}, agent {step.agent}, version {meter.version}"
            self.violations.append(f"{where}: said {_hex(said)}, not {_hex(expected)}")

    def _reload(self, step: Step, meter: Meter, version: int, expected: list[bytes]) -> None:
        due = ending(meter.version, version, meter.alive)
        struck = step.status.startswith(_STRUCK) and step.status != due
        if step.status != due and not struck:
            self.violations.append(
                f"tick {step.tick}, agent {step.agent}: from version {meter.version} to {version} it is {step.status}"
            )
        if step.status == "ok":
            if meter.alive and version == 3:
                expected.append(_MOVED.pack(0, meter.version))
            meter.version = version


def _changes(block: Block) -> dict[int, int]:
    """Agent -> version, as this block's inputs ask for: the first of each agent."""
    found: dict[int, int] = {}
    for item in block.inputs:
        if isinstance(item.action, Reload):
            found.setdefault(item.action.agent, item.action.version)
    return found


def _hex(payloads: list[bytes]) -> str:
    return ", ".join(payload.hex() for payload in payloads) or "nothing"


def _invariant(outcome: Outcome) -> list[str]:
    """Every report is what the messages before it give under the versions that served them; what left is in it."""
    deliveries = Deliveries(outcome)
    violations = _Model(deliveries, outcome).violations
    told = [(s.tick, s.agent, e.payload) for s in deliveries.steps for e in s.effects if e.op == "output"]
    left = [(output.tick, output.agent, output.payload) for output in outcome.outputs]
    if left != told:
        violations.append(f"{len(left)} reports left, which are not the {len(told)} of the journal")
    return violations


def _orders(seed: int) -> tuple[Order, ...]:
    """(tick, agent, operation, amount, hops): work in every tick, and a reload in every third."""
    stream = Stream(seed, "upgrade/work")
    orders = []
    for tick in range(FIRST, LAST + 1):
        for _ in range(3):
            orders.append((tick, stream.between(0, METERS - 1), 0, stream.between(1, 1000), stream.between(0, 3)))
    reloads = Stream(seed, "upgrade/reloads")
    for tick in range(FIRST + 4, LAST + 1, 3):
        orders.append((tick, reloads.between(0, METERS - 1), reloads.between(1, UNLINKED), 1, 0))
    return tuple(orders)


def _fixed(seed: int) -> tuple[tuple[int, Action], ...]:
    """Each way that there is, once: over as it is, migrated, failed by code and by trap, refused; one while paused."""
    ways = (
        (12, 0, 2),
        (14, 0, 3),
        (16, 0, 4),
        (18, 0, 1),
        (20, 1, 4),
        (22, 1, MISSING),
        (23, 4, UNLINKED),
        (25, 2, 3),
        (28, 2, 3),
    )
    actions: list[tuple[int, Action]] = [
        (tick, Reload(agent, _of_version[version], version)) for tick, agent, version in ways
    ]
    paused: list[tuple[int, Action]] = [
        (30, Operate("pause", 3)),
        (31, Reload(3, _of_version[2], 2)),
        (34, Operate("resume", 3)),
    ]
    return tuple(actions + paused)


def _compose(seed: int, number: int, order: Order) -> Action:
    _, agent, operation, amount, hops = order
    if operation:
        return Reload(agent, _of_version[operation], operation)
    return Send(agent, _WORK.pack(amount, hops))


def _config(seed: int) -> Config:
    return Config(last_tick=LAST_TICK, seed=seed, snapshot_every=16)


UPGRADE = Scenario(
    name="upgrade",
    title="Six meters count on while their module is exchanged, also by versions that fail; all import from libraries.",
    agents=tuple(
        AgentSpec(
            name=f"meter-{number}",
            module=_of_version[1],
            capabilities=("messages", "output"),
            libraries=_libraries(number),
            limits=Limits(memory=4 << 20),
        )
        for number in range(METERS)
    ),
    modules=_modules,
    config=_config,
    source="operator",
    orders=_orders,
    bounds=((FIRST, LAST), (0, METERS - 1), (0, UNLINKED), (1, 1000), (0, 3)),
    compose=_compose,
    invariant=_invariant,
    fixed=_fixed,
    versions=_of_version,
)
