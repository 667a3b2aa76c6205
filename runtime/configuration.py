"""A runtime's configuration (CFG-1): one TOML file, one object, all that is wrong with it at once, a default for each.

Guards against a limit that somebody believes in and nothing keeps: each key is enforced somewhere, and what this
runtime does not offer (threads, other stacks, other numbers of slots) is a key with one possible value, so that whoever
needs it is told so by name. What a file leaves out stays as the scenario says, else as the default.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from runtime.buffers import SLOTS, segment_size
from runtime.config import COUNT_MAX, FUEL_MAX, MEMORY_MAX, MODELS_MAX, PAYLOAD_MAX, TICK_MAX, TIME_MAX, problems
from runtime.errors import Refused
from runtime.inference.admission import DeviceSettings
from runtime.inference.admission import Limits as DeviceLimits
from runtime.inference.process import Patience
from runtime.inference.providers import CPU, OPTIMISATIONS, ORDER, Provider
from runtime.manifest import Size
from runtime.physical import Physical
from runtime.scheduler import POLICIES
from runtime.state import AgentSpec, Config, Limits
from runtime.validated import BYTES_MAX, from_toml, read_bytes
from runtime.wasm.abi import PAGE
from runtime.wasm.checks import TABLE_MAX
from runtime.wasm.compiled import BUDGET, ModuleCache
from runtime.wasm.engine import STACK
from runtime.wasm.trust import KEYS_MAX, Key, TrustStore

TODO = "see docs/configuration.md"
NS_PER_FUEL = 1  # of virtual time
BUFFERS_TOTAL = 1 << 30
_TIME = re.compile(r"(\d{1,15}) ?(ns|us|ms|s)")
_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_HOUR = 3600 * 10**9


def _ns(value: object) -> object:
    """A number of ns, or a text such as "20 ms"."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if isinstance(value, str) and match is None:
        raise ValueError('give a number of ns, or a text such as "20 ms"')
    return int(match[1]) * _UNITS[match[2]] if match else value


def _only(fixed: object, why: str) -> AfterValidator:
    def refuse(value: Any) -> Any:
        if value != fixed:
            raise ValueError(why)
        return value

    return AfterValidator(refuse)


def _level(value: str) -> str:
    if value not in OPTIMISATIONS:
        raise ValueError(f"use one of {', '.join(OPTIMISATIONS)}")
    return value


def _policy(value: str) -> str:
    if value not in POLICIES:
        raise ValueError(f"use one of {', '.join(POLICIES)}")
    return value


Time = Annotated[
    int,
    BeforeValidator(_ns),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": f"^{_TIME.pattern}$"}]}),
]


class _At(NamedTuple):
    """Where a key's value goes: a field of Config, Physical or Limits."""

    kind: type[Struct]
    field: str


_CONFIG, _PHYSICAL, _LIMITS = Config(last_tick=1, seed=0), Physical(), Limits()


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Clock(_Table):
    """What agents see of time: tick t is at epoch_ms + t x tick_ms (TIM-1). It is stated per scenario."""

    tick_ms: Annotated[int, _At(Config, "tick_ms"), Field(ge=1, le=3_600_000)] = _CONFIG.tick_ms
    epoch_ms: Annotated[int, _At(Config, "epoch_ms"), Field(ge=0, le=TIME_MAX // 2)] = _CONFIG.epoch_ms


class Memory(_Table):
    """What an agent may have of memory where neither its manifest nor its scenario says."""

    agent: Annotated[Size, _At(Limits, "memory"), Field(ge=PAGE, le=MEMORY_MAX)] = _LIMITS.memory
    table: Annotated[int, _At(Limits, "table"), Field(ge=0, le=TABLE_MAX)] = _LIMITS.table
    stack: Annotated[Size, _only(STACK, f"the stack is the engine's, {STACK >> 10} KiB for all")] = STACK


class Execution(_Table):
    """How long a step may take: `fuel`, or the same as virtual `time` (a unit of fuel is 1 ns); and who runs when."""

    fuel: Annotated[int, _At(Limits, "fuel"), Field(ge=1, le=FUEL_MAX)] = _LIMITS.fuel
    time: Annotated[Time, Field(ge=1, le=_HOUR)] = _LIMITS.fuel * NS_PER_FUEL
    policy: Annotated[str, _At(Config, "policy"), AfterValidator(_policy)] = _CONFIG.policy
    max_tasks_per_tick: Annotated[int, _At(Config, "max_tasks_per_tick"), Field(ge=1, le=COUNT_MAX)] = (
        _CONFIG.max_tasks_per_tick
    )

    @model_validator(mode="after")
    def _one_limit(self) -> Execution:
        if {"fuel", "time"} <= self.model_fields_set:
            raise ValueError("fuel and time are one limit; give one of them")
        return self


class Messages(_Table):
    """How much may be under way: messages in a mailbox, effects of a step, bytes of a payload."""

    mailbox: Annotated[int, _At(Config, "mailbox"), Field(ge=1, le=COUNT_MAX)] = _CONFIG.mailbox
    send_limit: Annotated[int, _At(Config, "send_limit"), Field(ge=1, le=COUNT_MAX)] = _CONFIG.send_limit
    max_payload: Annotated[Size, _At(Config, "max_payload"), Field(ge=1, le=PAYLOAD_MAX)] = _CONFIG.max_payload


class Buffers(_Table):
    """Shared buffers: the bytes that all of a run's may take, slots and heads included."""

    total: Annotated[Size, Field(ge=1, le=1 << 40)] = BUFFERS_TOTAL
    slots: Annotated[int, _only(SLOTS, f"a buffer has {SLOTS} slots")] = SLOTS


class Cache(_Table):
    """Bytes that compiled modules may take in memory, and models on the host and on a device; models that are hot."""

    modules: Annotated[Size, Field(ge=0, le=1 << 40)] = BUDGET
    models: Annotated[Size, _At(Physical, "host_models"), Field(ge=1, le=MODELS_MAX)] = _PHYSICAL.host_models
    device_models: Annotated[Size, _At(Physical, "device_models"), Field(ge=1, le=MODELS_MAX)] = _PHYSICAL.device_models
    hot_models: Annotated[tuple[str, ...], _At(Physical, "hot_models"), Field(strict=False, max_length=64)] = ()


class Parallelism(_Table):
    """Workers, inference requests in a batch, and blocks that ticks may be ahead of the disk."""

    workers: Annotated[int, _At(Physical, "workers"), Field(ge=1, le=64)] = _PHYSICAL.workers
    batch_max: Annotated[int, _At(Physical, "batch_max"), Field(ge=1, le=1024)] = _PHYSICAL.batch_max
    sync_ahead: Annotated[int, _At(Physical, "sync_ahead"), Field(ge=1, le=1 << 16)] = _PHYSICAL.sync_ahead
    threads: Annotated[bool, _only(False, "threads inside a module are not supported; say false")] = False


class Budgets(_Table):
    """How often what fails is tried again: an agent within `window_ticks`, a task that loses its workers."""

    max_restarts: Annotated[int, _At(Config, "max_restarts"), Field(ge=0, le=COUNT_MAX)] = _CONFIG.max_restarts
    window_ticks: Annotated[int, _At(Config, "window_ticks"), Field(ge=1, le=TICK_MAX)] = _CONFIG.window_ticks
    backoff_ticks: Annotated[int, _At(Config, "backoff_ticks"), Field(ge=0, le=TICK_MAX)] = _CONFIG.backoff_ticks
    lost_workers_max: Annotated[int, _At(Physical, "lost_workers_max"), Field(ge=1, le=64)] = _PHYSICAL.lost_workers_max


class Snapshots(_Table):
    """Ticks from one snapshot of an agent to its next, and how many of each are kept."""

    every: Annotated[int, _At(Config, "snapshot_every"), Field(ge=1, le=TICK_MAX)] = _CONFIG.snapshot_every
    keep: Annotated[int, _At(Physical, "keep_snapshots"), Field(ge=1, le=64)] = _PHYSICAL.keep_snapshots


class Waiting(_Table):
    """How long the runtime waits before it repairs; all times in ns, or as a text such as "20 ms"."""

    lease: Annotated[Time, _At(Physical, "lease_ns"), Field(ge=1, le=_HOUR)] = _PHYSICAL.lease_ns
    step: Annotated[Time, _At(Physical, "step_ns"), Field(ge=1, le=_HOUR)] = _PHYSICAL.step_ns
    resend: Annotated[Time, _At(Physical, "resend_ns"), Field(ge=1, le=_HOUR)] = _PHYSICAL.resend_ns
    respawn: Annotated[Time, _At(Physical, "respawn_ns"), Field(ge=1, le=_HOUR)] = _PHYSICAL.respawn_ns
    inference: Annotated[Time, _At(Physical, "inference_lease_ns"), Field(ge=1, le=_HOUR)] = (
        _PHYSICAL.inference_lease_ns
    )
    probe: Annotated[Time, _At(Physical, "probe_ns"), Field(ge=1, le=_HOUR)] = _PHYSICAL.probe_ns


class Checking(_Table):
    """Work that is done a second time, to find what computes wrong: every inference, so many of a million steps."""

    answers: Annotated[bool, _At(Physical, "check_answers")] = _PHYSICAL.check_answers
    steps_ppm: Annotated[int, _At(Physical, "check_ppm"), Field(ge=0, le=1_000_000)] = _PHYSICAL.check_ppm


class Device(_Table):
    """A further device: an execution provider that this installation of ONNX Runtime has, and its sessions' settings.

    What it is told beyond that is its own default: options of providers can name libraries, and a file loads none.
    """

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,30}$")]
    execution: Annotated[str, Field(pattern="^[A-Za-z]{1,60}ExecutionProvider$")]
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    optimisation: Annotated[str, AfterValidator(_level)] = "basic"
    prepacking: bool = True

    @model_validator(mode="after")
    def _own(self) -> Device:
        if self.name in ("auto", CPU.name):
            raise ValueError(f"{self.name} is a word of its own; give another name")
        return self

    def provider(self) -> Provider:
        return Provider(**self.model_dump())


class Devices(_Table):
    """Where inference runs: `use` a device, or "auto" for the first of `order` that is admitted; the CPU otherwise.

    Without `use` it is the driver's choice. Times are wall time, in which a device's process must load a model, or
    answer; `slower_percent` is by how much its tokens may be slower than the CPU's, -1 for any.
    """

    use: Annotated[str, Field(pattern="^[a-z0-9-]{0,31}$")] = ""
    order: Annotated[tuple[str, ...], Field(strict=False, max_length=16)] = ORDER
    load: Annotated[Time, Field(ge=1, le=_HOUR)] = Patience().load_ns
    answer: Annotated[Time, Field(ge=1, le=_HOUR)] = Patience().answer_ns
    slower_percent: Annotated[int, Field(ge=-1, le=1_000_000)] = -1
    provider: Annotated[tuple[Device, ...], Field(strict=False, max_length=16)] = ()

    @model_validator(mode="after")
    def _known(self) -> Devices:
        names = [one.name for one in self.provider]
        if len(set(names)) < len(names):
            raise ValueError("two providers have one name")
        try:
            for name in dict.fromkeys([*self.order, *filter(None, [self.use])]):
                self.settings().asked(name)
        except Refused as refused:
            raise ValueError(str(refused)) from None
        return self

    def settings(self) -> DeviceSettings:
        patience = Patience(begin_ns=self.load, load_ns=self.load, answer_ns=self.answer)
        more = tuple(one.provider() for one in self.provider)
        return DeviceSettings(self.use, self.order, DeviceLimits(patience, self.slower_percent), more)


class Signatures(_Table):
    """Whether agents' modules must be signed, and whose signatures count: `required` of the keys (docs/signing.md)."""

    demand: bool = False
    required: Annotated[int, Field(ge=1, le=16)] = 1
    key: Annotated[tuple[Key, ...], Field(strict=False, max_length=KEYS_MAX)] = ()

    @model_validator(mode="after")
    def _meant(self) -> Signatures:
        if self.demand and not self.key:
            raise ValueError("a demand without keys refuses every module; name whose signatures count")
        if self.key and not self.demand:
            raise ValueError("keys that nothing asks for; say demand = true, or leave them out")
        if self.key:
            self.trust()
        return self

    def trust(self) -> TrustStore | None:
        """Whose signatures count, where they are demanded; raises ValueError for keys that do not go together."""
        return TrustStore(version=1, required=self.required, key=self.key) if self.demand else None


class Configuration(_Table):
    """The whole file, and the whole object: every table and every key may be left out."""

    time: Clock = Clock()
    memory: Memory = Memory()
    execution: Execution = Execution()
    messages: Messages = Messages()
    buffers: Buffers = Buffers()
    cache: Cache = Cache()
    parallelism: Parallelism = Parallelism()
    budgets: Budgets = Budgets()
    snapshots: Snapshots = Snapshots()
    waiting: Waiting = Waiting()
    checking: Checking = Checking()
    devices: Devices = Devices()
    signatures: Signatures = Signatures()

    def config(self, given: Config, where: str = "configuration") -> Config:
        """A run's logical options with what this says; raises Refused where they do not go together."""
        config = replace(given, **self._set(Config))
        found = problems(config)
        held = sum(segment_size(buffer.capacity) for buffer in config.buffers)
        if held > self.buffers.total:
            found.append(f"buffers.total: the buffers take {held} bytes, more than {self.buffers.total}")
        if found:
            raise Refused("; ".join(found), where, TODO)
        return config

    def physical(self, given: Physical | None = None) -> Physical:
        """A run's physical options with what this says."""
        return replace(given or _PHYSICAL, **self._set(Physical))

    def spec(self, given: AgentSpec) -> AgentSpec:
        """An agent's declaration: a limit that is the default is what this says."""
        mine = self._set(Limits)
        if "time" in self.execution.model_fields_set:
            mine["fuel"] = self.execution.time // NS_PER_FUEL
        unsaid = {field for field in mine if getattr(given.limits, field) == getattr(_LIMITS, field)}
        return replace(given, limits=replace(given.limits, **{field: mine[field] for field in unsaid}))

    def module_cache(self) -> ModuleCache:
        """A new cache of compiled modules with this budget."""
        return ModuleCache(self.cache.modules)

    def told(self, table: str) -> bool:
        """Whether the file has this table."""
        return table in self.model_fields_set

    def _set(self, kind: type[Struct]) -> dict[str, Any]:
        """The fields of `kind` that the file sets; what it leaves out sets none."""
        found: dict[str, Any] = {}
        for table in type(self).model_fields:
            one: _Table = getattr(self, table)
            for key in one.model_fields_set:
                for at in type(one).model_fields[key].metadata:
                    if isinstance(at, _At) and at.kind is kind:
                        found[at.field] = getattr(one, key)
        return dict(sorted(found.items()))


def read_configuration(path: Path) -> Configuration:
    """The configuration in a TOML file; raises Refused with everything that is wrong."""
    return configuration_from(read_bytes(path, BYTES_MAX), str(path))


def configuration_from(text: bytes, where: str = "configuration") -> Configuration:
    """The configuration in a TOML text; raises Refused with everything that is wrong."""
    return from_toml(text, Configuration, where, TODO)
