"""The tables of a `scenario.toml`: what may stand where, as pydantic models and so as a JSON Schema.

Guards against a file that means something else than its author thinks: unknown keys are refused, each value has its
bounds, and what needs the other values (names, files) is judged in `scenarios.files.reading`.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from faults.plan import parse_fault
from faults.profiles import BUILT_IN
from runtime.config import COUNT_MAX, FUEL_MAX, MEMORY_MAX, PAYLOAD_MAX, TICK_MAX
from runtime.errors import Refused
from runtime.manifest import LibraryName, Size
from runtime.state import Limits
from runtime.wasm.abi import PAGE
from runtime.wasm.checks import TABLE_MAX
from runtime.wasm.linking import PARTS_MAX

AGENTS_MAX = 10_000
ACTIONS_MAX = 100_000
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$"

Name = Annotated[str, Field(pattern=_NAME)]


def inside(value: str) -> str:
    """A path that stays in the scenario's folder."""
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\\" in value or "\0" in value:
        raise ValueError("the file lies in the scenario's folder or below it")
    return value


def _fault(value: str) -> str:
    try:
        parse_fault(value)
    except Refused as refused:
        raise ValueError(str(refused)) from None
    return value


def _profile(value: str) -> str:
    if value not in BUILT_IN and not value.endswith(".toml"):
        raise ValueError(f"give one of {', '.join(BUILT_IN)}, or a .toml file of this folder")
    return value if value in BUILT_IN else inside(value)


def _some(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """Not by min_length, which would also count tables that are refused for something else."""
    if not value:
        raise ValueError("there is none; give at least one")
    return value


SOME: dict[str, Any] = {"minItems": 1}
Inside = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(inside)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Allowed(Table):
    """What an agent without a manifest may use; a manifest says it itself."""

    memory: Annotated[Size, Field(ge=PAGE, le=MEMORY_MAX)] = Limits().memory
    fuel: int = Field(default=Limits().fuel, ge=1, le=FUEL_MAX)
    table: int = Field(default=Limits().table, ge=0, le=TABLE_MAX)


class AgentTable(Table):
    """One agent, or `count` alike: by its `manifest`, or by `module` with what that is granted.

    Several are named `name-0`, `name-1` and so on. `name` is the manifest's, or the file's, where it is left out.
    """

    manifest: Inside | None = None
    module: Inside | None = None
    name: Name | None = None
    count: int = Field(default=1, ge=1, le=AGENTS_MAX)
    capabilities: tuple[str, ...] = Field(default=(), strict=False, description="Groups of docs/abi.md, and plugins.")
    libraries: dict[LibraryName, Inside] = Field(default_factory=dict, max_length=PARTS_MAX - 1)
    limits: Allowed | None = None
    priority: int = Field(default=0, ge=-COUNT_MAX, le=COUNT_MAX)
    reads: tuple[Name, ...] = Field(default=(), strict=False)
    guard: Inside | None = Field(default=None, description="A validator that each message to it must pass.")
    tenant: Name | None = None

    @model_validator(mode="after")
    def _one_source(self) -> AgentTable:
        if (self.manifest is None) == (self.module is None):
            raise ValueError("give either manifest or module")
        if self.manifest is not None and (self.capabilities or self.libraries or self.limits is not None):
            raise ValueError("capabilities, libraries and limits are the manifest's; leave them out")
        return self


class BufferTable(Table):
    """One shared buffer: its only writer by name, and its capacity in bytes."""

    name: Name
    writer: str
    capacity: Annotated[Size, Field(ge=1, le=PAYLOAD_MAX)]


class PluginTable(Table):
    """A capability whose functions are exports of a module: bytes in, bytes out (docs/modules.md)."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    file: Inside
    exports: Annotated[tuple[str, ...], AfterValidator(_some)] = Field(strict=False, json_schema_extra=SOME)


class ModelTable(Table):
    """A decoder that agents ask: its ONNX file, and what the runtime must know of it (docs/abi.md)."""

    name: Name
    file: Inside
    context: int = Field(ge=1, le=COUNT_MAX)
    vocabulary: int = Field(ge=1, le=COUNT_MAX)
    kv_bytes: int = Field(ge=0, le=COUNT_MAX)
    delay_ticks: int = Field(default=2, ge=1, le=TICK_MAX)
    version: int = Field(default=1, ge=1, le=COUNT_MAX)


class ChannelTable(Table):
    """A channel: only members post, and every other member gets it. A `closed` one is joined by the workload alone."""

    name: Name
    members: tuple[str, ...] = Field(default=(), strict=False)
    closed: bool = False


class GroupTable(Table):
    """Agents that are supervised together, in the order in which they depend on each other; `within` another group."""

    name: Name
    agents: tuple[str, ...] = Field(default=(), strict=False)
    strategy: Literal["one_for_one", "one_for_all", "rest_for_one"] = "one_for_one"
    max_restarts: int = Field(default=3, ge=0, le=COUNT_MAX)
    window_ticks: int = Field(default=100, ge=1, le=TICK_MAX)
    backoff_ticks: int = Field(default=1, ge=0, le=TICK_MAX)
    within: str = ""


class TaskTable(Table):
    """One task of a graph: its name in the run, the agent that does it, the tasks that must have ended well before."""

    id: str = Field(pattern=r"^[A-Za-z0-9_.:/-]{1,64}$")
    to: str
    needs: tuple[str, ...] = Field(default=(), strict=False)
    text: str = ""
    priority: int = Field(default=0, ge=-COUNT_MAX, le=COUNT_MAX)


class TenantTable(Table):
    """A tenant: what its agents may take together, of a tick, and of memory at any time; 0 is no limit."""

    name: Name
    tasks: int = Field(default=0, ge=0, le=COUNT_MAX)
    fuel: int = Field(default=0, ge=0, le=FUEL_MAX)
    messages: int = Field(default=0, ge=0, le=COUNT_MAX)
    memory: Annotated[Size, Field(ge=0, le=FUEL_MAX)] = 0


Do = Literal["submit", "send", "publish", "schedule", "join", "leave", "pause", "resume", "terminate", "release"]


class WorkTable(Table):
    """One thing that happens at `tick`, or `times` times, `every` so many ticks.

    `to` names an agent, or all that one entry of `agents` made; `text` or `hex` is the payload. With `fixed` it is part
    of every run; the rest is what a campaign drops, repeats and moves.
    """

    tick: int = Field(ge=1, le=TICK_MAX)
    every: int = Field(default=1, ge=1, le=TICK_MAX)
    times: int = Field(default=1, ge=1, le=ACTIONS_MAX)
    do: Do = "send"
    to: str | None = None
    topic: str | None = None
    text: str | None = None
    hex: str | None = Field(default=None, pattern=r"^([0-9a-fA-F]{2})*$")
    ticks: int | None = Field(default=None, ge=1, le=TICK_MAX, description="From now to the task's turn, of schedule.")
    fixed: bool = False
    tasks: tuple[TaskTable, ...] | None = Field(default=None, strict=False, description="Of submit: a graph, or part.")

    @model_validator(mode="after")
    def _fitting(self) -> WorkTable:
        needed = {
            "to": self.do not in ("publish", "submit"),
            "topic": self.do in ("publish", "join", "leave"),
            "ticks": self.do == "schedule",
            "tasks": self.do == "submit",
        }
        wrong = [f"{self.do} needs {key}" for key, need in needed.items() if need and getattr(self, key) is None]
        wrong += [
            f"{self.do} has no {key}" for key, need in needed.items() if not need and getattr(self, key) is not None
        ]
        payloads = (self.text is not None) + (self.hex is not None)
        carries = self.do in ("send", "publish", "schedule")
        if carries and payloads != 1:
            wrong.append(f"{self.do} needs either text or hex")
        if not carries and payloads:
            wrong.append(f"{self.do} has no payload")
        if self.do == "submit" and self.times > 1:
            wrong.append("submit happens once, as a task's name is there once in a run")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def payload(self) -> bytes:
        return bytes.fromhex(self.hex) if self.hex is not None else (self.text or "").encode()


# The numbers that a rule reads in a payload: bytes, and whether there is a sign; little-endian.
NUMBERS = {
    "u8": (1, False),
    "u16": (2, False),
    "u32": (4, False),
    "u64": (8, False),
    "i32": (4, True),
    "i64": (8, True),
}


class MeasureTable(Table):
    """Payloads of a run: how many there are or, with `as`, the sum of the numbers that stand in them, `at` this byte.

    `what`: inputs to an agent, outputs that left, or what agents sent or published. `agent` is whose they are (of an
    input, whom it is for), `begins` how they begin.
    """

    what: Literal["input", "output", "send", "publish"]
    agent: str | None = None
    topic: str | None = None
    begins: str = ""
    at: int = Field(default=0, ge=0, le=PAYLOAD_MAX)
    number: Literal["u8", "u16", "u32", "u64", "i32", "i64"] | None = Field(default=None, alias="as")

    @model_validator(mode="after")
    def _fitting(self) -> MeasureTable:
        if self.topic is not None and self.what != "publish":
            raise ValueError(f"{self.what} has no topic")
        return self


class RuleTable(Table):
    """What must hold of each run, whatever is drawn: of these payloads, each condition that is given."""

    name: str = Field(min_length=1, max_length=80)
    of: MeasureTable
    at_least: int | None = None
    at_most: int | None = None
    equals: int | None = None
    at_least_of: MeasureTable | None = None
    at_most_of: MeasureTable | None = None
    equals_of: MeasureTable | None = None
    one_of: tuple[str, ...] | None = Field(default=None, strict=False, description="The only texts that they may be.")
    distinct: bool = Field(default=False, description="No two are the same.")
    rising: bool = Field(default=False, description="The numbers of one agent never fall; needs `as`.")

    @model_validator(mode="after")
    def _judging(self) -> RuleTable:
        wrong = [
            f"give {key} or {key}_of"
            for key in ("at_least", "at_most", "equals")
            if getattr(self, key) is not None and getattr(self, f"{key}_of") is not None
        ]
        if self.rising and self.of.number is None:
            wrong.append("rising needs of.as")
        values = [getattr(self, name) for name in type(self).model_fields if name not in ("name", "of")]
        if all(value is None or value is False for value in values):
            wrong.append("it has no condition: give at_least, at_most, equals, one_of, distinct or rising")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class Description(Table):
    """The whole file."""

    name: Name
    title: str = Field(default="", max_length=200)
    last_tick: int = Field(ge=2, le=TICK_MAX, description="The last tick of a run; the workload ends before it.")
    topics: tuple[Name, ...] = Field(default=(), strict=False)
    faults: tuple[Annotated[str, AfterValidator(_fault)], ...] = Field(default=(), strict=False)
    profile: Annotated[str, AfterValidator(_profile)] | None = None
    config: Inside | None = Field(default=None, description="A configuration's file (docs/configuration.md).")
    agents: Annotated[tuple[AgentTable, ...], AfterValidator(_some)] = Field(strict=False, json_schema_extra=SOME)
    buffers: tuple[BufferTable, ...] = Field(default=(), strict=False)
    channels: tuple[ChannelTable, ...] = Field(default=(), strict=False)
    groups: tuple[GroupTable, ...] = Field(default=(), strict=False)
    tenants: tuple[TenantTable, ...] = Field(default=(), strict=False)
    guard: Inside | None = Field(default=None, description="A validator that each input's payload must pass.")
    models: tuple[ModelTable, ...] = Field(default=(), strict=False)
    plugins: tuple[PluginTable, ...] = Field(default=(), strict=False)
    invariants: tuple[RuleTable, ...] = Field(default=(), strict=False)
    workload: Annotated[tuple[WorkTable, ...], AfterValidator(_some)] = Field(strict=False, json_schema_extra=SOME)


class Variation(Table):
    """The whole file where it is another scenario under another configuration, or with other faults."""

    base: str = Field(min_length=1, max_length=255, description="A built-in scenario's name, or a .toml file below.")
    name: Name | None = None
    config: Inside | None = None
    faults: tuple[Annotated[str, AfterValidator(_fault)], ...] | None = Field(default=None, strict=False)
    profile: Annotated[str, AfterValidator(_profile)] | None = None
