"""`wasm-engine module check`: a manifest, and its module under what the manifest grants, before anybody runs it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from harness.commands.common import examples, json_option, print_json
from reports.words import plain
from runtime.errors import ModuleRefused, Refused, SignatureRefused
from runtime.manifest import load_package
from runtime.wasm import Engine, plugin
from runtime.wasm.capabilities import Capability
from runtime.wasm.plugins import callable_exports
from runtime.wasm.signatures import Demand
from runtime.wasm.trust import read_store

_EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command(
    short_help="Check a manifest and its module. Exit 0 or 4.",
    epilog=examples(
        "wasm-engine module check ledger.toml",
        "wasm-engine module check ledger.toml --trust trust.toml --json",
        "wasm-engine module check ledger.toml --plugin packing=pack.wasm",
    ),
)
@click.argument("manifest", metavar="MANIFEST.toml", type=_EXISTING)
@click.option("--trust", type=_EXISTING, metavar="TOML", help="A trust store: the module must be signed as it says.")
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="NAME=FILE",
    help="A capability of your own: a function module of which agents call all exports that can be called so.",
)
@json_option
def check(manifest: Path, trust: Path | None, plugins: tuple[str, ...], as_json: bool) -> int:
    """Read MANIFEST.toml (docs/manifest.md) and run all load checks of its module, under what it grants.

    Nothing of the module is executed. Exit 0 when it could be an agent, else 4 with all that is wrong with the
    manifest, or the first check that the module fails.
    """
    try:
        demand = Demand(read_store(trust), datetime.now(UTC)) if trust is not None else None
        read, spec, wasm, libraries = load_package(manifest, demand, [_plugin(text) for text in plugins])
    except Refused as error:
        if not as_json:
            raise
        name = error.check if isinstance(error, ModuleRefused) else "manifest"
        detail = error.error if isinstance(error, SignatureRefused) else None
        print_json({"accepted": False, "check": name, "error": detail, "message": str(error)})
        return 4
    told: dict[str, Any] = {
        "name": read.module.name,
        "version": read.module.version,
        "abi": read.module.abi,
        "module": spec.module,
        "bytes": len(wasm),
        "capabilities": list(spec.capabilities),
        "libraries": {library.name: library.module for library in spec.libraries or ()},
        "limits": read.limits.model_dump(),
        "signed": demand is not None,
    }
    if as_json:
        print_json({"accepted": True, "check": None, "error": None, "message": "", **told})
        return 0
    print(f"accepted  {plain(read.module.name)} {plain(read.module.version)}, ABI {read.module.abi}, {len(wasm)} B")
    print(f"module    {spec.module}" + (", signed" if demand else ""))
    print(f"granted   {', '.join(spec.capabilities) or 'nothing'}")
    for library, data in zip(spec.libraries or (), libraries, strict=True):
        print(f"library   {library.name} {library.module}, {len(data)} B")
    print("limits    " + ", ".join(f"{name} {value:,}" for name, value in told["limits"].items()))
    return 0


def _plugin(text: str) -> Capability:
    name, equals, file = text.partition("=")
    if not equals or not file:
        raise Refused(f"{plain(text)} is no NAME=FILE", "--plugin", "write it with an equals sign")
    module = Engine().load(file)
    return plugin(name, module, *callable_exports(module))
