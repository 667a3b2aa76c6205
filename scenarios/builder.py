"""A scenario of one's own in a few lines: agents from WAT or wasm, messages from outside, what must hold.

What is built is the same pure data as the built-in scenarios: the same drawing, faults, twin and oracles apply to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from runtime.errors import ModuleRefused, Refused
from runtime.state import Action, AgentSpec, BufferSpec, Config, Library, Limits, Send
from runtime.wasm import assemble, check_module
from runtime.wasm.capabilities import Capability, by_name
from scenarios.base import Order, Outcome, Scenario

SOURCE = "user"


class Agent(NamedTuple):
    """One agent and its module's bytes, with those of its libraries in the order of the spec."""

    spec: AgentSpec
    wasm: bytes
    libraries: tuple[bytes, ...] = ()


Source = str | bytes | Path  # WAT text, the bytes of a module, or the path of either


def agent(
    name: str,
    module: Source,
    capabilities: Sequence[str] = (),
    limits: Limits | None = None,
    *,
    libraries: Mapping[str, Source] | None = None,
    offered: Sequence[Capability] = (),
) -> Agent:
    """An agent from WAT text, the bytes of a module, or the path of either (.wat, .wasm).

    `capabilities` are the groups of host functions that it may import (docs/abi.md), or the names of some of those
    `offered`, `libraries` by name what else it imports from. Raises Refused for a file that cannot be read, text that
    is not WAT, and a module that fails a load check: it would never run.
    """
    where = str(module) if isinstance(module, Path) else f"agent {name}"
    data = _bytes_of(module, where)
    if isinstance(capabilities, str):
        raise Refused("the capabilities are one text", where, f"give a list: [{capabilities!r}]")
    given = {each: _bytes_of(source, f"library {each}") for each, source in (libraries or {}).items()}
    spec = AgentSpec(
        name=name,
        module=hashlib.sha256(data).hexdigest(),
        capabilities=tuple(capabilities),
        libraries=tuple(Library(name=n, module=hashlib.sha256(b).hexdigest()) for n, b in given.items()) or UNSET,
        limits=limits or Limits(),
    )
    try:
        check_module(spec, data, libraries=tuple(given.values()), offered=by_name(offered, agents=True))
    except ModuleRefused as error:
        raise Refused(error.what, where, error.todo or "see docs/abi.md") from None
    return Agent(spec, data, tuple(given.values()))


def _bytes_of(source: Source, where: str) -> bytes:
    data: str | bytes
    if isinstance(source, Path):
        try:
            data = source.read_bytes() if source.suffix == ".wasm" else source.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"cannot be read: {error}", str(source), "give the path of a .wat or .wasm file") from None
    else:
        data = source
    if isinstance(data, bytes):
        return data
    try:
        return assemble(data)
    except Refused as error:
        raise Refused(error.what, f"{where}, {error.where}", error.todo) from None


def scenario(
    name: str,
    agents: Sequence[Agent],
    messages: Sequence[tuple[int, int, bytes]],
    *,
    last_tick: int,
    topics: Sequence[str] = (),
    buffers: Sequence[BufferSpec] = (),
    snapshot_every: int = 8,
    invariant: Callable[[Outcome], list[str]] = lambda outcome: [],
) -> Scenario:
    """A scenario whose outside sends `messages` (tick, agent, payload); agents are numbered from 0 in their order.

    `plans` keeps, drops, repeats and retimes these messages between tick 1 and the last but one. `invariant` returns
    one line per violation, and must hold whatever is drawn, steps that fail included. Raises Refused for a message to
    an agent that there is not, or outside of the ticks.
    """
    for index, (tick, target, _) in enumerate(messages):
        if not (0 <= target < len(agents) and 1 <= tick < last_tick):
            what = f"message {index} is for agent {target} at tick {tick}"
            todo = f"there are {len(agents)} agents and ticks 1 to {last_tick - 1}"
            raise Refused(what, f"scenario {name}", todo)
    if not messages:
        raise Refused("no messages from outside", f"scenario {name}", "give at least one")

    config = Config(
        last_tick=last_tick,
        seed=0,
        snapshot_every=snapshot_every,
        topics=tuple(topics),
        buffers=tuple(buffers),
    )
    actions = [(tick, Send(target, payload)) for tick, target, payload in messages]
    return composed(name, agents, actions, config=config, title=name, invariant=invariant)


def composed(
    name: str,
    agents: Sequence[Agent],
    actions: Sequence[tuple[int, Action]],
    *,
    config: Config,
    title: str,
    fixed: Sequence[tuple[int, Action]] = (),
    invariant: Callable[[Outcome], list[str]] = lambda outcome: [],
    files: Mapping[str, bytes] | None = None,
    faults: tuple[str, ...] = (),
    profile: str = "",
) -> Scenario:
    """A scenario whose outside does `actions` (tick, action), at least one; a run's seed takes the place of `config`'s.

    Orders are (tick, index of the action): `plans` drops, repeats and retimes them; `fixed` ones are in every run.
    """

    def compose(seed: int, number: int, order: Order) -> Action:
        return actions[order[1]][1]

    return Scenario(
        name=name,
        title=title,
        agents=tuple(one.spec for one in agents),
        modules=_modules(agents),
        config=lambda seed: replace(config, seed=seed),
        source=SOURCE,
        orders=lambda seed: tuple((tick, index) for index, (tick, _) in enumerate(actions)),
        bounds=((1, config.last_tick - 1), (0, len(actions) - 1)),
        compose=compose,
        invariant=invariant,
        fixed=lambda seed: tuple(fixed),
        files=files or {},
        faults=faults,
        profile=profile,
    )


def _modules(agents: Sequence[Agent]) -> dict[str, bytes]:
    found = {one.spec.module: one.wasm for one in agents}
    for one in agents:
        found |= {each.module: data for each, data in zip(one.spec.libraries or (), one.libraries, strict=True)}
    return found
