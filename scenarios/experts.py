"""`experts`: the four of `assistants`, each with a decoder of its own, on devices that hold only some of them at once.

A conversation goes round through all four models, and several are under way at a time, so models leave and are loaded
again all the time; no answer may show it. Every answer is computed again in integers, and every step by a model of its
agent.
"""

from __future__ import annotations

from msgspec.structs import replace

from runtime.physical import Physical
from runtime.state import AgentSpec, Config
from scenarios import models
from scenarios.answers import answers
from scenarios.assistants import AGENTS, BOUNDS, DELAY, LAST_TICK, Assistant, compose, orders, steps
from scenarios.base import Outcome, Scenario, load
from scenarios.deliveries import Deliveries, as_journaled
from scenarios.models import Exact

# Of different sizes: what leaves for one need not make room for another.
SHAPES = tuple(
    Exact(seed=seed, width=32, layers=layers, heads=2, inner=inner, context=48)
    for seed, (layers, inner) in enumerate(((2, 64), (1, 64), (3, 64), (2, 128)), 11)
)

_digests, _modules = load("expert")


def sizes() -> tuple[int, ...]:
    """Bytes of the models' files, by their number."""
    return tuple(len(models.build(shape)) for shape in SHAPES)


def _physical(options: Physical) -> Physical:
    """The CPU holds any two of them, an accelerator the two largest ones or three small ones; the first is hot."""
    given = sorted(sizes())
    bounds = {"host_models": sum(given[-2:]), "device_models": max(sum(given[-2:]), sum(given[:3]))}
    unsaid = {name: size for name, size in bounds.items() if getattr(options, name) == getattr(Physical(), name)}
    return replace(options, hot_models=options.hot_models or ("expert-0",), **unsaid)


def _config(seed: int) -> Config:
    specs = tuple(models.spec(shape, f"expert-{number}", DELAY) for number, shape in enumerate(SHAPES))
    return Config(last_tick=LAST_TICK, models=specs, seed=seed, snapshot_every=16)


def _invariant(outcome: Outcome) -> list[str]:
    """Every token, every logit, every KV cache, every step and every output is what it must be."""
    deliveries = Deliveries(outcome)
    found = deliveries.violations + steps(deliveries, lambda agent: Assistant(agent, agent))
    return found + answers(deliveries, *SHAPES) + as_journaled(outcome)


EXPERTS = Scenario(
    name="experts",
    title="Four agents with a decoder each talk in a ring, on devices that hold only some of the decoders at once.",
    agents=tuple(
        AgentSpec(
            name=f"expert-{number}",
            module=_digests["expert"],
            capabilities=("messages", "output", "inference"),
        )
        for number in range(AGENTS)
    ),
    modules=_modules,
    config=_config,
    source="user",
    orders=orders,
    bounds=BOUNDS,
    compose=compose,
    invariant=_invariant,
    models=lambda: {models.digest(shape): models.build(shape) for shape in SHAPES},
    physical=_physical,
)
