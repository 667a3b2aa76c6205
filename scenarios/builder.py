"""A scenario of one's own in a few lines: agents from WAT or wasm, messages from outside, what must hold.

What is built is the same pure data as the built-in scenarios: the same drawing, faults, twin and oracles apply to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from runtime.errors import ModuleRefused, Refused
from runtime.state import Action, AgentSpec, BufferSpec, Config, Limits, Send
from runtime.wasm import assemble, check_module
from scenarios.base import Order, Outcome, Scenario

SOURCE = "user"


class Agent(NamedTuple):
    """One agent and its module's bytes."""

    spec: AgentSpec
    wasm: bytes


def agent(
    name: str, module: str | bytes | Path, capabilities: Sequence[str] = (), limits: Limits | None = None
) -> Agent:
    """An agent from WAT text, the bytes of a module, or the path of either (.wat, .wasm).

    `capabilities` are the groups of host functions that it may import (docs/abi.md). Raises Refused for a file that
    cannot be read, text that is not WAT, and a module that fails a load check: it would never run.
    """
    where = f"agent {name}"
    if isinstance(module, Path):
        where = str(module)
        try:
            data: str | bytes = module.read_bytes() if module.suffix == ".wasm" else module.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"cannot be read: {error}", where, "give the path of a .wat or .wasm file") from None
    else:
        data = module
    if isinstance(data, str):
        try:
            data = assemble(data)
        except Refused as error:
            raise Refused(error.what, f"{where}, {error.where}", error.todo) from None
    digest = hashlib.sha256(data).hexdigest()
    if isinstance(capabilities, str):
        raise Refused("the capabilities are one text", where, f"give a list: [{capabilities!r}]")
    spec = AgentSpec(name=name, module=digest, capabilities=tuple(capabilities), limits=limits or Limits())
    try:
        check_module(spec, data)
    except ModuleRefused as error:
        raise Refused(error.what, where, error.todo or "see docs/abi.md") from None
    return Agent(spec, data)


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
        modules={one.spec.module: one.wasm for one in agents},
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
