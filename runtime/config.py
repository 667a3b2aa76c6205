"""What a run's options may be, in one place: all that is wrong with them at once, before anything runs (CFG-1).

Guards against options that would divide by zero, never let an agent run, or not fit the formats: numbers in the state
are 64 bits wide, numbers of agents and lengths 32, and an agent's image travels in one frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from msgspec import UNSET, UnsetType

from runtime import groups
from runtime.errors import Refused
from runtime.frames import MAX_FRAME
from runtime.outside import SourceSpec
from runtime.physical import Physical
from runtime.scheduler import POLICIES
from runtime.state import (
    AgentSpec,
    BufferSpec,
    ChannelSpec,
    Config,
    Configure,
    Group,
    Input,
    Library,
    ModelSpec,
    TenantSpec,
)
from runtime.wasm.libraries import HOST_MODULES, LIBRARY_NAME
from runtime.wasm.linking import PARTS_MAX

ID_MAX = 0xFFFFFFFE  # of an agent; the last number is the outside's
TICK_MAX = (1 << 32) - 1
FUEL_MAX = 1 << 62  # what the module layer can grant for one step
TIME_MAX = (1 << 63) - 1  # ms
PAYLOAD_MAX = MAX_FRAME // 4
MEMORY_MAX = MAX_FRAME // 2
COUNT_MAX = (1 << 31) - 1
WORKERS_MAX = 4096
MODELS_MAX = 1 << 44  # bytes of models on a device
TIERS = ("exact",)
_DIGEST = re.compile("[0-9a-f]{64}")


def problems(config: Config) -> list[str]:
    """Everything wrong with a run's logical options, each as "option: what, and what it may be"."""
    found = _numbers(
        config,
        "",
        last_tick=(1, TICK_MAX),
        tick_ms=(1, TIME_MAX),
        epoch_ms=(0, TIME_MAX),
        seed=(-(1 << 63), (1 << 64) - 1),
        mailbox=(1, COUNT_MAX),
        send_limit=(1, COUNT_MAX),
        max_payload=(1, PAYLOAD_MAX),
        max_tasks_per_tick=(1, COUNT_MAX),
        snapshot_every=(1, TICK_MAX),
        backoff_ticks=(0, TICK_MAX),
        max_restarts=(0, COUNT_MAX),
        window_ticks=(1, TICK_MAX),
    )
    if not found and config.epoch_ms + config.last_tick * config.tick_ms > TIME_MAX:
        found.append("last_tick: its time, epoch_ms + last_tick x tick_ms, does not fit 63 bits")
    if not found and config.send_limit * config.max_payload > PAYLOAD_MAX:
        found.append(f"send_limit: its effects, send_limit x max_payload, are more than {PAYLOAD_MAX} bytes of a frame")
    if config.policy not in POLICIES:
        found.append(f"policy: {config.policy!r} is unknown, use one of {', '.join(POLICIES)}")
    found += _guard(config.guard)
    for index, buffer in enumerate(config.buffers):
        found += _buffer(buffer, f"buffers[{index}].")
    for index, model in enumerate(config.models):
        found += _model(model, f"models[{index}].")
    if config.groups is not UNSET:
        found += _groups(config.groups)
    channels = config.channels or ()
    for index, channel in enumerate(channels):
        found += _channel(channel, f"channels[{index}].")
    for index, source in enumerate(config.sources or ()):
        found += _source(source, f"sources[{index}].")
    tenants = config.tenants or ()
    for index, tenant in enumerate(tenants):
        found += _tenant(tenant, f"tenants[{index}].")
    found += _unique("tenants", [tenant.name for tenant in tenants])
    found += _unique("sources", [source.name for source in config.sources or ()])
    found += _unique("topics", config.topics)
    found += _unique("channels", [*dict.fromkeys(config.topics), *(channel.name for channel in channels)])
    found += _unique("buffers", [buffer.name for buffer in config.buffers])
    return found + _unique("models", [model.name for model in config.models])


def _groups(declared: tuple[Group, ...]) -> list[str]:
    found: list[str] = []
    for index, group in enumerate(declared):
        where = f"groups[{index}]."
        found += _numbers(
            group, where, backoff_ticks=(0, TICK_MAX), max_restarts=(0, COUNT_MAX), window_ticks=(1, TICK_MAX)
        )
        found += [f"{where}agents: {agent} is no agent's id" for agent in group.agents if not 0 <= agent <= ID_MAX]
    return found + groups.problems(declared)


def agent_problems(spec: AgentSpec, buffers: int) -> list[str]:
    """Everything wrong with an agent's declaration in a run with this many buffers."""
    found = _numbers(spec.limits, "limits.", fuel=(1, FUEL_MAX), memory=(1, MEMORY_MAX), table=(0, COUNT_MAX))
    found += _numbers(spec, "", priority=(-(1 << 63), TIME_MAX))
    found += _guard(spec.guard)
    found += _libraries(spec.libraries or ())
    found += [f"reads: there is no buffer {buffer}" for buffer in spec.reads if not 0 <= buffer < buffers]
    return found + _unique("reads", spec.reads)


def physical_problems(physical: Physical) -> list[str]:
    """Everything wrong with the physical options; times in ns."""
    times = ("lease_ns", "step_ns", "worst_ns_per_fuel", "resend_ns", "respawn_ns", "inference_lease_ns", "probe_ns")
    counts = {
        "workers": WORKERS_MAX,
        "lost_workers_max": COUNT_MAX,
        "sync_ahead": COUNT_MAX,
        "keep_snapshots": COUNT_MAX,
    }
    bounds = {name: (1, high) for name, high in (counts | {"batch_max": COUNT_MAX}).items()}
    bounds["check_ppm"] = (0, 1_000_000)
    bounds |= dict.fromkeys(("host_models", "device_models"), (1, MODELS_MAX))
    lowest = {"step_ns": 0, "worst_ns_per_fuel": 0, "respawn_ns": 0}
    found = _numbers(physical, "", **bounds, **{name: (lowest.get(name, 1), TIME_MAX) for name in times})
    return found + _unique("hot_models", physical.hot_models)


def refuse_bad(genesis: Sequence[Input], physical: Physical) -> None:
    """Raises Refused with all that is wrong with the options a run would begin with."""
    found = [f"physical.{problem}" for problem in physical_problems(physical)]
    for item in genesis:
        if isinstance(item.action, Configure):
            found += [f"config.{problem}" for problem in problems(item.action.config)]
            known = [model.name for model in item.action.config.models]
            strange = [name for name in physical.hot_models if name not in known]
            found += [f"physical.hot_models: there is no model {name!r}" for name in strange]
    if found:
        raise Refused("; ".join(found), "options", "nothing was run")


def _numbers(options: object, prefix: str, **bounds: tuple[int, int]) -> list[str]:
    found = []
    for name, (low, high) in bounds.items():
        value = getattr(options, name)
        if not low <= value <= high:
            found.append(f"{prefix}{name}: {value} is not from {low} to {high}")
    return found


def _buffer(buffer: BufferSpec, prefix: str) -> list[str]:
    return _numbers(buffer, prefix, capacity=(1, PAYLOAD_MAX), writer=(0, ID_MAX))


def _tenant(tenant: TenantSpec, prefix: str) -> list[str]:
    counts, sizes = (0, COUNT_MAX), (0, FUEL_MAX)
    return _numbers(tenant, prefix, fuel=sizes, memory=sizes, messages=counts, tasks=counts)


def _source(source: SourceSpec, prefix: str) -> list[str]:
    readers = source.readers or ()
    wrong = _numbers(source, prefix, delay_ticks=(1, TICK_MAX)) + _unique(f"{prefix}readers", readers)
    return wrong + [f"{prefix}readers: {one} is not from 0 to {ID_MAX}" for one in readers if not 0 <= one <= ID_MAX]


def _channel(channel: ChannelSpec, prefix: str) -> list[str]:
    strange = [agent for agent in channel.members if not 0 <= agent <= ID_MAX]
    wrong = [f"{prefix}members: {agent} is not from 0 to {ID_MAX}" for agent in strange]
    return wrong + _unique(f"{prefix}members", channel.members)


def _guard(digest: str | UnsetType) -> list[str]:
    return [] if digest is UNSET or _DIGEST.fullmatch(digest) else [f"guard: {digest!r} is no sha256 in hex"]


def _libraries(libraries: tuple[Library, ...]) -> list[str]:
    found = [] if len(libraries) < PARTS_MAX else [f"libraries: {len(libraries)} are more than {PARTS_MAX - 1}"]
    for library in libraries:
        if not LIBRARY_NAME.fullmatch(library.name) or library.name in HOST_MODULES:
            found.append(f"libraries: {library.name!r} is no name that a library can have")
        if not _DIGEST.fullmatch(library.module):
            found.append(f"libraries.{library.name}: {library.module!r} is no sha256 in hex")
    return found + _unique("libraries", [library.name for library in libraries])


def _model(model: ModelSpec, prefix: str) -> list[str]:
    found = _numbers(
        model,
        prefix,
        context=(1, COUNT_MAX),
        delay_ticks=(1, TICK_MAX),
        kv_bytes=(0, COUNT_MAX),
        version=(1, COUNT_MAX),
        vocabulary=(1, COUNT_MAX),
    )
    if not _DIGEST.fullmatch(model.digest):
        found.append(f"{prefix}digest: {model.digest!r} is no sha256 in hex")
    if model.tier not in TIERS:
        found.append(f"{prefix}tier: {model.tier!r} is unknown, use one of {', '.join(TIERS)}")
    return found


def _unique(name: str, values: Iterable[object]) -> list[str]:
    seen: list[object] = []
    twice: list[str] = []
    for value in values:
        if value in seen:
            twice.append(f"{name}: {value!r} is there twice")
        seen.append(value)
    return twice
