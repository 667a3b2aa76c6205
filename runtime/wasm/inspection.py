"""What a module is, without running any of it: imports, exports, sizes, and as what this runtime would load it.

`describe` is plain data for the command line and for whoever checks a module before it is deployed.
"""

from __future__ import annotations

import hashlib
from typing import Any

from runtime.errors import Refused
from runtime.state import AgentSpec, Limits
from runtime.wasm import agent_wasi, imports, libraries
from runtime.wasm.abi import GROUPS, HOST, PAGE, SECTION, VALUE_NAMES
from runtime.wasm.binary import START, Export, Import, Malformed, Parsed, customs, parse
from runtime.wasm.checks import check_module
from runtime.wasm.functions import Module, ModuleLimits
from runtime.wasm.libraries import Volume
from runtime.wasm.names import shown

SIGNATURE = "signature"  # the custom section of the module-signature format
_KINDS = ("function", "table", "memory", "global")
_OF_HOST = (libraries.AGENT, "engine", agent_wasi.MODULE)
_LISTED = 200  # imports, exports, sections: the first so many


def describe(module: Module, limits: ModuleLimits | None = None) -> dict[str, Any]:
    """Everything about it, and under `refused` why it is accepted neither as an agent, a function module nor a library.

    Limits are the defaults, or those given. Raises nothing but what memory allows.
    """
    parsed, given = module.parsed, limits or ModuleLimits()
    names = _custom_names(module)
    refused = {"agent": _as_agent(module), "function": _as_function(module, given), "library": _as_library(module)}
    return {
        "digest": module.digest,
        "bytes": len(module.wasm),
        "abi": [text.decode("ascii", "replace") for text in parsed.abi],
        "signed": SIGNATURE in names,
        "start": any(section.id == START for section in parsed.sections),
        "imports": [_import(entry) for entry in parsed.imports[:_LISTED]],
        "exports": [_export(parsed, export) for export in parsed.exports[:_LISTED]],
        "memory": [{"minimum": low * PAGE, "maximum": _bytes(high)} for low, high in parsed.memories],
        "tables": [{"minimum": low, "maximum": high} for low, high in parsed.tables],
        "sections": names[:_LISTED],
        "capabilities": sorted({f.group for f in map(_granted_by, parsed.imports) if f is not None and f.group}),
        "limits": {"fuel": given.fuel, "memory": given.memory, "table": given.table},
        "refused": refused,
    }


def _custom_names(module: Module) -> list[str]:
    try:
        return [shown(name) for name, _ in customs(module.wasm, module.parsed) if name != SECTION]
    except Malformed:
        return []


def _bytes(pages: int | None) -> int | None:
    return None if pages is None else pages * PAGE


def _import(entry: Import) -> dict[str, str]:
    kind = imports.kind_of(entry)
    of = "WASI" if imports.is_wasi(entry.module) else "agent ABI" if _granted_by(entry) else "host"
    told = {"module": shown(entry.module), "name": shown(entry.name), "kind": kind, "of": of}
    return told | ({"type": str(entry.signature)} if entry.signature is not None else {})


def _granted_by(entry: Import) -> Any:
    if entry.module == agent_wasi.MODULE:
        return agent_wasi.FUNCTIONS.get(entry.name)
    return HOST.get(entry.name) if entry.module == "engine" else None


def _export(parsed: Parsed, export: Export) -> dict[str, str]:
    kind = _KINDS[export.kind] if export.kind < len(_KINDS) else "thing"
    told = {"name": shown(export.name), "kind": kind}
    return told | ({"type": str(parsed.functions[export.place])} if kind == "function" else {})


def _as_agent(module: Module) -> str | None:
    """With every capability granted, and its memory and table limits as high as its own."""
    begins = sum(low for low, _ in module.parsed.memories) * PAGE
    limits = Limits(memory=max(begins, Limits().memory))
    spec = AgentSpec(capabilities=GROUPS, limits=limits, module=hashlib.sha256(module.wasm).hexdigest(), name="module")
    try:
        check_module(spec, module.wasm)
    except Refused as error:
        return error.what
    return None


def _as_function(module: Module, limits: ModuleLimits) -> str | None:
    """With every import given that can be given."""
    try:
        module.check(limits)
    except Refused as error:
        return error.what
    for entry in module.parsed.imports:
        refused = imports.refusal(entry, True, module.name)
        if refused is not None:
            return refused.what
    return None


def _as_library(module: Module) -> str | None:
    """Beside an agent that gives its memory, and other libraries that give every function but the host's."""
    try:
        volume = Volume("module", module.name, module.wasm, parse(module.wasm))
        libraries.check_stateless(volume)
        given = {entry.module: volume for entry in volume.parsed.imports if entry.module not in _OF_HOST}
        libraries.check_imports(volume, given)
    except Malformed as error:
        return f"module refused [format]: {error}"
    except Refused as error:
        return error.what
    return None


def types_of(signature: bytes) -> list[str]:
    """The names of value types."""
    return [VALUE_NAMES[kind] for kind in signature]
