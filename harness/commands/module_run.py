"""`wasm-engine module run`: a WASI program, with nothing of this machine but what is lent (WAS-5, EXT-1)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from harness.commands.common import examples, given, json_option, print_json
from harness.commands.module_call import FAILED, INPUT_MAX, fuel_option, memory_option, table_option
from reports.words import plain
from runtime.errors import CallFailed, Refused
from runtime.validated import read_bytes
from runtime.wasm import Engine, ModuleLimits
from runtime.wasm.folders import Folder
from runtime.wasm.readings import Readings
from runtime.wasm.wasi import Wasi

RECORD_MAX = 1 << 30


@click.command(
    short_help="Run a WASI program with what is lent to it, and nothing else.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=examples(
        "wasm-engine module run tool.wasm --its-own-option file",
        "wasm-engine module run --dir /data=./in --dir /out=./out:rw --env LEVEL=2 tool.wasm /data/a /out/b",
        "wasm-engine module run --dir /data=./in --record run.readings tool.wasm",
        "wasm-engine module run --replay run.readings --json tool.wasm",
    ),
)
@click.argument("file")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="ARGS...")
@click.option("--dir", "lent", multiple=True, metavar="NAME=PATH[:rw]", help="Lend a folder; read only without :rw.")
@click.option("--env", "environment", multiple=True, metavar="NAME=VALUE", help="One variable of its environment.")
@click.option("--stdin", default=None, callback=given, metavar="PATH", help="What it reads from its standard input.")
@click.option("--now-ms", type=click.IntRange(0, 2**44), default=0, metavar="MS", help="What its clocks begin with.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, metavar="N", help="What it draws by.")
@click.option("--record", default=None, callback=given, metavar="PATH", help="Write what it reads from folders there.")
@click.option("--replay", default=None, callback=given, metavar="PATH", help="Give it the readings of that record.")
@fuel_option
@memory_option
@table_option
@json_option
def run(
    file: str, arguments: tuple[str, ...], lent: tuple[str, ...], environment: tuple[str, ...], stdin: str,
    now_ms: int, seed: int, record: str, replay: str, fuel: int, memory: int, table: int, as_json: bool,
) -> int:  # fmt: skip
    """Run FILE's _start with ARGS; options of this command come before FILE. Exit 0 when it ends with 0, else 1.

    Its clocks and its randomness are given, so the same arguments and files give the same output. With --replay its
    folders are not touched: it reads what the recorded run read.
    """
    wasi = Wasi(
        arguments=(Path(file).name, *arguments),
        environment=dict(_pair(text, "--env") for text in environment),
        folders=[_folder(text) for text in lent],
        stdin=read_bytes(Path(stdin), INPUT_MAX) if stdin else b"",
        now_ns=now_ms * 1_000_000,
        seed=seed,
        readings=Readings.recorded(read_bytes(Path(replay), RECORD_MAX)) if replay else None,
    )
    told: dict[str, Any] = {"file": file, "exit": None, "ended": "returned", "error": None}
    with wasi:
        try:
            told["exit"] = wasi.run(Engine().load(file), ModuleLimits(fuel=fuel, memory=memory, table=table))
        except CallFailed as error:
            told |= {"ended": error.reason, "error": str(error)}
    if record:
        _write(record, wasi.readings.encoded())
    if as_json:
        told |= {"stdout": wasi.stdout.decode("utf-8", "backslashreplace")}
        print_json(told | {"stderr": wasi.stderr.decode("utf-8", "backslashreplace")})
    else:
        sys.stdout.buffer.write(wasi.stdout)
        sys.stdout.flush()
        sys.stderr.buffer.write(wasi.stderr)
        if told["error"]:
            click.echo(f"wasm-engine: {told['error']}", err=True)
    return 0 if told["exit"] == 0 else FAILED


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise Refused(f"{plain(text)} is no NAME=VALUE", option, "write it with an equals sign")
    return name, value


def _folder(text: str) -> Folder:
    name, path = _pair(text, "--dir")
    writable = path.endswith(":rw")
    return Folder(name, path.removesuffix(":rw"), writable)


def _write(path: str, data: bytes) -> None:
    try:
        Path(path).write_bytes(data)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Refused(f"cannot be written: {reason}", plain(path), "give another place") from None
