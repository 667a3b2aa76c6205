"""What a scenario is: agents, options, a workload and an invariant, all of it pure data and pure functions.

A workload is made of orders: small tuples of bounded integers, the first one the tick. `compose` turns one into an
action. So every workload a strategy can draw is valid, and shrinks as integers do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from runtime.errors import Refused
from runtime.frames import Output
from runtime.inference.admission import DeviceSettings
from runtime.journal import Block
from runtime.physical import Physical
from runtime.sources import Function, Served
from runtime.state import Action, AgentSpec, Config, Configure, Input, Message, Spawn, Task
from runtime.wasm.capabilities import Capability
from runtime.wasm.trust import TrustStore

AGENTS = Path(__file__).parent / "agents"

Order = tuple[int, ...]


class Outcome(NamedTuple):
    """What an invariant judges: records from different sides of the ports.

    `outputs` left through the gateway, `blocks` are the journal's, `mailboxes` the agents' at the end, by agent.
    `blobs` maps the sha256 of payloads that stand beside the journal to their bytes.
    """

    outputs: Sequence[Output]
    blocks: Sequence[Block]
    mailboxes: Sequence[Sequence[Message]]
    blobs: dict[str, bytes] = {}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One scenario. `bounds` are the inclusive limits of an order's integers; `compose(seed, number, order)` is its
    action, `number` counting the orders from 0 in order of their ticks. `fixed` inputs come before any order and are
    never drawn. `models` gives the declared models' ONNX bytes by sha256, built when they are first asked for.
    `invariant` returns the violations, each one a line that names what and where. One that was read from files has them
    in `files` (by path in its folder), the faults that its runs have by default, and its campaigns' profile, "" for the
    usual one; `physical` gives a run's physical options what the files say of them. `cache_bytes` bounds the compiled
    modules in memory, where it is not None; `devices` says which device of the machine may serve inference. With
    `trust` every module must be signed, by keys that count at the run's `epoch_ms`. `capabilities` gives what agents
    are offered beside the ABI's host functions; those are pure, made when they are first asked for. `sources` gives who
    answers what agents read outside, by the names that the configuration declares, made anew for each run by its seed:
    functions of the payload, or served modules. `node(seed, number, agent, fails)` is a task that
    stands alone, for who adds graphs to the workload: its name holds its number, and its step fails where it is to.
    `versions` are modules (sha256) by number that its agents can be reloaded to; one may be missing.
    """

    name: str
    title: str
    agents: tuple[AgentSpec, ...]
    modules: Mapping[str, bytes]
    config: Callable[[int], Config]
    source: str
    orders: Callable[[int], tuple[Order, ...]]
    bounds: tuple[tuple[int, int], ...]
    compose: Callable[[int, int, Order], Action]
    invariant: Callable[[Outcome], list[str]]
    fixed: Callable[[int], tuple[tuple[int, Action], ...]] = lambda seed: ()
    models: Callable[[], Mapping[str, bytes]] = dict
    files: Mapping[str, bytes] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    profile: str = ""
    physical: Callable[[Physical], Physical] = lambda options: options
    cache_bytes: int | None = None
    devices: DeviceSettings = DeviceSettings()  # noqa: RUF009  # immutable
    capabilities: Callable[[], tuple[Capability, ...]] = tuple
    sources: Callable[[int], Mapping[str, Function | Served]] = lambda seed: {}
    trust: TrustStore | None = None
    node: Callable[[int, int, int, bool], Task] | None = None
    versions: Mapping[int, str] = field(default_factory=dict)

    def options(self, workers: int | None = None, usual: Physical = Physical()) -> Physical:  # noqa: B008  # immutable
        """A run's physical options: the `usual` ones, what the scenario says of them, and this number of workers."""
        found = self.physical(usual)
        return found if workers is None else replace(found, workers=workers)

    def genesis(self, seed: int) -> tuple[Input, ...]:
        """The inputs of source "genesis", all due at tick 0: the configuration, then each agent in order of id."""
        actions: list[Action] = [Configure(self.config(seed)), *(Spawn(spec) for spec in self.agents)]
        return tuple(Input(action, n, "genesis", 0) for n, action in enumerate(actions, 1))

    def workload(self, seed: int) -> tuple[Input, ...]:
        """The inputs from outside that the seed alone gives."""
        return self.inputs(seed, self.orders(seed))

    def inputs(self, seed: int, orders: Sequence[Order]) -> tuple[Input, ...]:
        """The inputs from outside for these orders: in order of tick, numbered from 1."""
        ordered = sorted(orders, key=lambda order: order[0])
        due = list(self.fixed(seed))
        due += [(order[0], self.compose(seed, number, order)) for number, order in enumerate(ordered)]
        due.sort(key=lambda item: item[0])
        return tuple(Input(action, n, self.source, tick) for n, (tick, action) in enumerate(due, 1))


def load(*names: str) -> tuple[dict[str, str], dict[str, bytes]]:
    """The compiled agents of these names: name -> sha256 (hex), and sha256 -> bytes; raises Refused for a missing."""
    digests: dict[str, str] = {}
    modules: dict[str, bytes] = {}
    for name in names:
        file = AGENTS / f"{name}.wasm"
        if not file.exists():
            raise Refused("the module is missing", f"{AGENTS.name}/{file.name}", "run `python -m scenarios.build`")
        wasm = file.read_bytes()
        digests[name] = hashlib.sha256(wasm).hexdigest()
        modules[digests[name]] = wasm
    return digests, modules
