"""`wasm-engine module call` and `inspect`: a module of any origin, binary or text, called and looked into (WAS-2).

A call that does not return ends with 1 and the reason, as a limit or a trap; whatever is refused with 4.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from harness.commands.common import examples, given, json_option, print_json
from reports.words import plain
from runtime.errors import CallFailed, Refused
from runtime.wasm import Engine, Module, ModuleLimits
from runtime.wasm.inspection import describe, types_of
from runtime.wasm.running import Value
from runtime.wasm.values import from_text

FAILED = 1
DEFAULTS = ModuleLimits()
INPUT_MAX = 16 << 20

fuel_option = click.option(
    "--fuel", type=int, default=DEFAULTS.fuel, show_default=True, metavar="N", help="What one call may burn."
)
memory_option = click.option(
    "--memory", type=int, default=DEFAULTS.memory, show_default=True, metavar="BYTES", help="Its memory at most."
)
with_option = click.option(
    "--with", "libraries", multiple=True, metavar="NAME=FILE", help="A module that imports from NAME are served by."
)
table_option = click.option(
    "--table", type=int, default=DEFAULTS.table, show_default=True, metavar="N", help="Elements of each table."
)


@click.command(
    short_help="Call an export in a fresh instance.",
    context_settings={"ignore_unknown_options": True},  # -1 is a number
    epilog=examples(
        "wasm-engine module call add.wat add 1 -2",
        "wasm-engine module call loop.wat spin --fuel 1000000 --json",
        "wasm-engine module call upper.wasm upper --input text.txt",
        "wasm-engine module call --with math=math.wasm app.wasm go",
    ),
)
@click.argument("file")
@click.argument("export")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="ARGS...")
@click.option("--input", "source", default=None, callback=given, metavar="PATH", help="Bytes in, bytes out: see below.")
@with_option
@fuel_option
@memory_option
@table_option
@json_option
def call(
    file: str, export: str, arguments: tuple[str, ...], source: str, libraries: tuple[str, ...],
    fuel: int, memory: int, table: int, as_json: bool,
) -> int:  # fmt: skip
    """Call EXPORT of FILE with ARGS, which are read by its parameters' types; print its results, one a line.

    With --input the file's bytes are put where the module's allocate(size) says, EXPORT is called with (pointer,
    length), and the bytes that it gives back the same way are printed: two i32, or one i64 with the pointer in its
    high half.
    What it imports comes from modules that --with names; one that imports other functions needs the Python API.
    """
    loaded = Engine().load(file)
    parameters, results = loaded.signature(export)
    limits = ModuleLimits(fuel=fuel, memory=memory, table=table)
    modules = dict(_library(text) for text in libraries)
    if source and arguments:
        raise Refused("arguments beside --input", "module call", "leave one of them out")
    if not source and len(arguments) != len(parameters):
        what = f"{plain(export)} takes {len(parameters)} arguments, given are {len(arguments)}"
        raise Refused(what, loaded.name, f"its type is {loaded.signature(export)}")
    values = [
        from_text(kind, text, f"argument {number} of {plain(export)}", loaded.name)
        for number, (kind, text) in enumerate(zip(parameters, arguments, strict=False), 1)
    ]
    told: dict[str, Any] = {"file": file, "export": export, "ended": "returned", "error": None}
    found: Value | tuple[Value, ...] | bytes | None = None
    try:
        with loaded.instantiate(limits=limits, modules=modules) as instance:
            found = instance.call_bytes(export, _bytes_of(source)) if source else instance.call(export, *values)
            told["fuel"] = instance.used
    except CallFailed as error:
        told |= {"ended": error.reason, "error": str(error)}
    if as_json:
        many = found if isinstance(found, tuple) else () if found is None or isinstance(found, bytes) else (found,)
        told |= {"results": [_jsonable(value) for value in many], "types": types_of(results)}
        print_json(told | ({"bytes": found.hex()} if isinstance(found, bytes) else {}))
    elif told["error"]:
        click.echo(f"wasm-engine: {told['error']}", err=True)
    else:
        _print_results(found)
    return FAILED if told["error"] else 0


def _library(text: str) -> tuple[str, Module]:
    name, equals, path = text.partition("=")
    if not name or not equals:
        raise Refused(f"{plain(text)} is no NAME=FILE", "--with", "write it with an equals sign")
    return name, Engine().load(path)


def _bytes_of(source: str) -> bytes:
    try:
        with Path(source).open("rb") as file:
            data = file.read(INPUT_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Refused(f"cannot be read: {reason}", plain(source), "give a file") from None
    if len(data) > INPUT_MAX:
        raise Refused(f"more than {INPUT_MAX} bytes", plain(source), "give less")
    return data


def _jsonable(value: Value) -> Value | str:
    """JSON knows no infinity and no NaN: they are told as text."""
    return value if isinstance(value, int) or math.isfinite(value) else str(value)


def _print_results(found: Value | tuple[Value, ...] | bytes | None) -> None:
    if isinstance(found, bytes):
        try:
            click.echo(plain(found.decode("utf-8"), INPUT_MAX))
        except UnicodeDecodeError:
            click.echo(found.hex())
        return
    for value in found if isinstance(found, tuple) else () if found is None else (found,):
        click.echo(repr(value))


@click.command(
    short_help="What a module imports, exports, needs, and why it would be refused.",
    epilog=examples("wasm-engine module inspect add.wat", "wasm-engine module inspect agent.wasm --json"),
)
@click.argument("file")
@fuel_option
@memory_option
@table_option
@json_option
def inspect(file: str, fuel: int, memory: int, table: int, as_json: bool) -> int:
    """Look into FILE without running any of it. Exit 4 when it is no module at all."""
    limits = ModuleLimits(fuel=fuel, memory=memory, table=table).checked()
    told = {"file": file} | describe(Engine().load(file), limits)
    if as_json:
        print_json(told)
        return 0
    print(f"{plain(file)}: {told['bytes']} B, sha256 {told['digest'][:16]}, {_told_of(told)}")
    for entry in told["imports"]:
        print(
            f"  import  {entry['kind']:<8} {entry['module']}.{entry['name']} {entry.get('type', '')}  ({entry['of']})"
        )
    for entry in told["exports"]:
        print(f"  export  {entry['kind']:<8} {entry['name']} {entry.get('type', '')}".rstrip())
    for memory_ in told["memory"]:
        print(f"  memory  {memory_['minimum']} B at first, at most {memory_['maximum'] or 'what its limit allows'}")
    for table_ in told["tables"]:
        print(
            f"  table   {table_['minimum']} elements at first, at most {table_['maximum'] or 'what its limit allows'}"
        )
    print(f"  limits  fuel {fuel} a call, memory {memory} B, table {table}, stack 524288 B")
    for what, reason in told["refused"].items():
        print(f"  as {what:<10} {'accepted' if reason is None else plain(reason, 300)}")
    return 0


def _told_of(told: dict[str, Any]) -> str:
    abi = f"ABI {', '.join(told['abi'])}" if told["abi"] else "no ABI section"
    return f"{'signed' if told['signed'] else 'no signature'}, {abi}{', a start function' if told['start'] else ''}"
