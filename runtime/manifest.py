"""A module's manifest (MAN-1): what it is, what it may call and use, and which ABI it was made for, in a TOML file.

Guards against an agent that gets more than was meant: unknown keys are refused, what is not named is not granted, and
what this runtime does not offer (threads, files, a capability that nobody gives) is refused by name and never ignored.
All errors are said at once. An agent whose ABI does not fit never runs (SEC-2): the manifest's target and the module's
own are both negotiated. Its libraries are files of the manifest's folder (WAS-7).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple

from msgspec import UNSET
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from runtime.config import FUEL_MAX, MEMORY_MAX
from runtime.errors import ModuleRefused, Refused
from runtime.state import AgentSpec, Library, Limits
from runtime.validated import BYTES_MAX, problems, read_bytes, tree_of, unknown_key
from runtime.wasm.abi import GROUPS, PAGE, incompatible
from runtime.wasm.binary import declared_abi
from runtime.wasm.capabilities import Capability, by_name
from runtime.wasm.checks import MODULE_BYTES, TABLE_MAX, check_module
from runtime.wasm.engine import STACK
from runtime.wasm.libraries import HOST_MODULES, LIBRARY_NAME
from runtime.wasm.linking import PARTS_MAX
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


def _library(value: str) -> str:
    if not LIBRARY_NAME.fullmatch(value) or value in HOST_MODULES:
        raise ValueError("that is no name that a library can have")
    return value


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
    """`extra` are capabilities that users offer; which there are is judged where they are known (`manifest_from`)."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[str, bool]

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


class LibraryFile(_Table):
    """A library: its file, beside the manifest, and its digest where another version must not be taken."""

    file: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_entry)]
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


LibraryName = Annotated[str, Field(pattern=f"^{LIBRARY_NAME.pattern}$"), AfterValidator(_library)]


class Manifest(_Table):
    """The whole file. All but `module` may be left out: then nothing is granted, and the defaults hold."""

    module: Module
    capabilities: Capabilities = Field(default_factory=Capabilities)  # type: ignore[valid-type]
    limits: Allowed = Field(default_factory=Allowed)
    libraries: dict[LibraryName, LibraryFile] = Field(
        default_factory=dict, max_length=PARTS_MAX - 1, description="By the name under which the module imports."
    )

    @property
    def granted(self) -> tuple[str, ...]:
        """The groups of host functions, then the capabilities that users offer, each in the order of their names."""
        own: dict[str, bool] = getattr(self.capabilities, "model_extra", None) or {}
        return (*(g for g in GROUPS if getattr(self.capabilities, g)), *(n for n in sorted(own) if own[n]))

    def spec(
        self,
        wasm: bytes,
        *,
        name: str = "",
        priority: int = 0,
        reads: tuple[int, ...] = (),
        libraries: Sequence[bytes] = (),
    ) -> AgentSpec:
        """An agent of this module; what only a scenario knows is given beside. `name` is the module's where empty.

        `libraries` are the bytes of `self.libraries`, in order of name. Raises ModuleRefused where the module says that
        it was made for another ABI than the manifest.
        """
        for text in declared_abi(wasm):
            if _numbers(text.decode("ascii", "replace")) != _numbers(self.module.abi):
                what = f"the module was made for ABI {text.decode('latin-1')!a}, its manifest for {self.module.abi}"
                raise ModuleRefused("abi", what, self.module.name, "name in both the version that it was made for")
        limits = Limits(fuel=self.limits.fuel, memory=self.limits.memory, table=self.limits.table)
        declared = (
            Library(name=each, module=hashlib.sha256(data).hexdigest())
            for each, data in zip(sorted(self.libraries), libraries, strict=True)
        )
        return AgentSpec(
            capabilities=self.granted,
            libraries=tuple(declared) or UNSET,
            limits=limits,
            module=hashlib.sha256(wasm).hexdigest(),
            name=name or self.module.name,
            priority=priority,
            reads=reads,
        )


class Package(NamedTuple):
    """A manifest with what it names: the agent, its module, and its libraries' bytes in the order of the spec."""

    manifest: Manifest
    spec: AgentSpec
    wasm: bytes
    libraries: tuple[bytes, ...]


def read_manifest(path: Path, offered: Iterable[str] = ()) -> Manifest:
    """The manifest in a TOML file; raises Refused with everything that is wrong.

    `offered` are the names of capabilities that users offer beside the groups of the ABI.
    """
    return manifest_from(read_bytes(path, BYTES_MAX), str(path), offered)


def manifest_from(text: bytes, where: str = "manifest", offered: Iterable[str] = ()) -> Manifest:
    """As `read_manifest`, of a TOML text."""
    tree = tree_of(text, where, TODO)
    found = _unknown_capabilities(tree.get("capabilities"), tuple(offered))
    try:
        made = Manifest.model_validate(tree)
    except ValidationError as error:
        found.insert(0, problems(error, Manifest))
        made = None
    if made is None or found:
        raise Refused("; ".join(found), where, TODO)
    return made


def _unknown_capabilities(table: object, offered: tuple[str, ...]) -> list[str]:
    """Each capability that nobody offers, with the nearest that somebody does."""
    known = sorted({*Capabilities.model_fields, *offered})
    names = table if isinstance(table, dict) else {}
    return [f"capabilities.{name}: {unknown_key(name, known)}" for name in names if name not in known]


def load_manifest(
    path: Path, demand: Demand | None = None, capabilities: Sequence[Capability] = ()
) -> tuple[Manifest, AgentSpec, bytes]:
    """(manifest, spec, module), as `load_package`."""
    return load_package(path, demand, capabilities)[:3]


def load_package(path: Path, demand: Demand | None = None, capabilities: Sequence[Capability] = ()) -> Package:
    """The manifest and its files, after all load checks of the module under what the manifest grants.

    A `.wat` file is assembled. `capabilities` are those that users offer. Raises Refused, ModuleRefused.
    """
    offered = by_name(capabilities, agents=True)
    manifest = read_manifest(path, offered)
    data = _file(path, "module.entry", manifest.module.entry)
    libraries = libraries_of(path, manifest)
    spec = manifest.spec(data, libraries=libraries)
    check_module(spec, data, demand=demand, libraries=libraries, offered=offered)
    return Package(manifest, spec, data, libraries)


def libraries_of(path: Path, manifest: Manifest) -> tuple[bytes, ...]:
    """The bytes of the manifest's libraries, in order of name; raises Refused, ModuleRefused for another digest."""
    found: list[bytes] = []
    for name, library in sorted(manifest.libraries.items()):
        data = _file(path, f"libraries.{name}.file", library.file)
        digest = hashlib.sha256(data).hexdigest()
        if library.sha256 not in (None, digest):
            what = f"library {name}: its sha256 is {digest}, the manifest says {library.sha256}"
            raise ModuleRefused("digest", what, str(path), "give the version that is named, or name this one")
        found.append(data)
    return tuple(found)


def _file(path: Path, key: str, name: str) -> bytes:
    """The module in a file beside the manifest."""
    place = path.parent / name
    if not place.resolve().is_relative_to(path.parent.resolve()):
        raise Refused(f"{key}: a link leads out of the manifest's folder", str(path), "put the file there")
    data = read_bytes(place, MODULE_BYTES)
    if place.suffix == ".wat":
        try:
            data = assemble(data.decode("utf-8"))
        except UnicodeDecodeError:
            raise Refused("not UTF-8", str(place), "save the text as utf-8") from None
    return data


def _numbers(version: str) -> tuple[str, ...]:
    """Major and minor number: what makes an interface; 1 means 1.0."""
    return (*version.split("."), "0")[:2]
