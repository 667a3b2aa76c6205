"""A module's manifest (MAN-1): what it is, what it may call and use, and which ABI it was made for, in a TOML file.

Guards against an agent that gets more than was meant: unknown keys are refused, what is not named is not granted, and
what this runtime does not offer (threads, files) is refused by name and never ignored. All errors are said at once. An
agent whose ABI does not fit never runs (SEC-2): the manifest's target and the module's own are both negotiated.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    create_model,
)

from runtime.config import FUEL_MAX, MEMORY_MAX
from runtime.errors import ModuleRefused, Refused
from runtime.state import AgentSpec, Limits
from runtime.validated import from_toml, read_bytes, read_toml
from runtime.wasm.abi import GROUPS, PAGE, incompatible
from runtime.wasm.binary import declared_abi
from runtime.wasm.checks import MODULE_BYTES, TABLE_MAX, check_module
from runtime.wasm.engine import STACK
from runtime.wasm.signatures import Demand
from runtime.wasm.text import assemble

TODO = "see docs/manifest.md"
_SIZE = re.compile(r"(\d{1,15}) ?(B|KiB|MiB|GiB)")
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SEMANTIC = r"^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(-[0-9A-Za-z.-]{1,64})?(\+[0-9A-Za-z.-]{1,64})?$"


def _bytes(value: object) -> object:
    """A number of bytes, or a text such as "2 MiB"."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if isinstance(value, str) and match is None:
        raise ValueError('give a number of bytes, or a text such as "2 MiB"')
    return int(match[1]) * _UNITS[match[2]] if match else value


def _entry(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\\" in value or "\0" in value:
        raise ValueError("the file lies in the manifest's folder or below it")
    if path.suffix not in (".wasm", ".wat"):
        raise ValueError("the file's name ends in .wasm or .wat")
    return value


def _target(value: str) -> str:
    problem = incompatible(value.encode())
    if problem:
        raise ValueError(problem)
    return value


def _never(what: str) -> AfterValidator:
    def refuse(value: bool) -> bool:
        if value:
            raise ValueError(what)
        return value

    return AfterValidator(refuse)


Size = Annotated[
    int,
    BeforeValidator(_bytes),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^{_SIZE.pattern}$"}]}),
]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Module(_Table):
    """What the module is. `entry` is its file, beside the manifest; `abi` the version that it was made for."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    version: str = Field(pattern=_SEMANTIC)
    entry: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_entry)]
    abi: Annotated[str, AfterValidator(_target), Field(description="Semantic: 1, 1.0 or 1.0.0.")]


def _must(value: bool) -> bool:
    if not value:
        raise ValueError("an agent has a memory: leave it out, or say true")
    return value


class _Granted(_Table):
    memory: Annotated[bool, AfterValidator(_must)] = True
    threading: Annotated[bool, _never("threads inside a module are not supported; say false")] = False
    filesystem: Annotated[bool, _never("no file can be reached from an agent; say false")] = False


_GROUPS: dict[str, Any] = {
    group: (bool, Field(default=False, description=f"Grants the host functions of group {group} (docs/abi.md)."))
    for group in GROUPS
}
Capabilities = create_model("Capabilities", __base__=_Granted, __doc__="What the module may call.", **_GROUPS)


class Allowed(_Table):
    """What the module may use: memory, fuel per step, table elements; `stack` is what it needs to have."""

    memory: Annotated[Size, Field(ge=PAGE, le=MEMORY_MAX)] = Limits().memory
    stack: Annotated[Size, Field(ge=1, le=STACK)] = STACK
    fuel: int = Field(default=Limits().fuel, ge=1, le=FUEL_MAX)
    table: int = Field(default=Limits().table, ge=0, le=TABLE_MAX)


class Manifest(_Table):
    """The whole file. `capabilities` and `limits` may be left out: then nothing is granted, and the defaults hold."""

    module: Module
    capabilities: Capabilities = Field(default_factory=Capabilities)  # type: ignore[valid-type]
    limits: Allowed = Field(default_factory=Allowed)

    @property
    def granted(self) -> tuple[str, ...]:
        """The groups of host functions, in the order of their names."""
        return tuple(group for group in GROUPS if getattr(self.capabilities, group))

    def spec(self, wasm: bytes, *, name: str = "", priority: int = 0, reads: tuple[int, ...] = ()) -> AgentSpec:
        """An agent of this module; what only a scenario knows is given beside. `name` is the module's where empty.

        Raises ModuleRefused where the module says that it was made for another ABI than the manifest.
        """
        for text in declared_abi(wasm):
            if _numbers(text.decode("ascii", "replace")) != _numbers(self.module.abi):
                what = f"the module was made for ABI {text.decode('latin-1')!a}, its manifest for {self.module.abi}"
                raise ModuleRefused("abi", what, self.module.name, "name in both the version that it was made for")
        limits = Limits(fuel=self.limits.fuel, memory=self.limits.memory, table=self.limits.table)
        return AgentSpec(
            capabilities=self.granted,
            limits=limits,
            module=hashlib.sha256(wasm).hexdigest(),
            name=name or self.module.name,
            priority=priority,
            reads=reads,
        )


def read_manifest(path: Path) -> Manifest:
    """The manifest in a TOML file; raises Refused with everything that is wrong."""
    return read_toml(path, Manifest, TODO)


def manifest_from(text: bytes, where: str = "manifest") -> Manifest:
    """The manifest in a TOML text; raises Refused with everything that is wrong."""
    return from_toml(text, Manifest, where, TODO)


def load_manifest(path: Path, demand: Demand | None = None) -> tuple[Manifest, AgentSpec, bytes]:
    """(manifest, spec, module), after all load checks of the module under what the manifest grants.

    A `.wat` entry is assembled. Raises Refused, ModuleRefused.
    """
    manifest = read_manifest(path)
    entry = path.parent / manifest.module.entry
    if not entry.resolve().is_relative_to(path.parent.resolve()):
        raise Refused("module.entry: a link leads out of the manifest's folder", str(path), "put the file there")
    data = read_bytes(entry, MODULE_BYTES)
    if entry.suffix == ".wat":
        try:
            data = assemble(data.decode("utf-8"))
        except UnicodeDecodeError:
            raise Refused("not UTF-8", str(entry), "save the text as utf-8") from None
    spec = manifest.spec(data)
    check_module(spec, data, demand=demand)
    return manifest, spec, data


def _numbers(version: str) -> tuple[str, ...]:
    """Major and minor number: what makes an interface; 1 means 1.0."""
    return (*version.split("."), "0")[:2]
