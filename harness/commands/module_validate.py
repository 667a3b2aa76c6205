"""`wasm-engine module validate`: what a validator module says of a message (VAL-1)."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.common import examples, given, json_option, print_json
from reports.words import plain
from runtime.errors import Refused
from runtime.validators import LIMITS, MESSAGE_MAX, ValidatorSettings, load_validator
from runtime.wasm import ModuleLimits

INVALID = 1
KEY_MAX = 4_096


@click.command(
    short_help="Ask a validator module about a JSON message.",
    epilog=examples(
        "wasm-engine module validate amounts.wat message.json",
        "wasm-engine module validate signed.wasm message.json --key-file secret.key --now-ms 1700000000000 --json",
    ),
)
@click.argument("file")
@click.argument("message")
@click.option("--now-ms", type=click.IntRange(0, 2**63 - 1), default=0, metavar="MS", help="What host_time_ms answers.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, metavar="N", help="What host_random is keyed by.")
@click.option("--key-file", default=None, callback=given, metavar="PATH", help="The bytes that key host_hmac_sha256.")
@click.option("--fuel", type=int, default=LIMITS.fuel, show_default=True, metavar="N", help="What it may burn.")
@click.option(
    "--memory", type=int, default=LIMITS.memory, show_default=True, metavar="BYTES", help="Its memory at most."
)
@json_option
def validate(
    file: str, message: str, now_ms: int, seed: int, key_file: str, fuel: int, memory: int, as_json: bool
) -> int:
    """Ask the validator FILE about MESSAGE, a file with UTF-8 JSON. Exit 0 when it is valid, 1 when it is not.

    A validator exports memory and validate(ptr, len) -> i32, where 0 is valid, and may import host_time_ms, host_log,
    host_random and host_hmac_sha256 from env. The same arguments give the same answer everywhere.
    """
    settings = ValidatorSettings(
        key=_read(key_file, KEY_MAX, "--key-file") if key_file else b"",
        limits=ModuleLimits(fuel=fuel, memory=memory, table=LIMITS.table),
    )
    verdict = load_validator(file, settings).judge(_read(message, MESSAGE_MAX + 1, "MESSAGE"), now_ms, seed)
    if as_json:
        told = {"file": file, "message": message, "valid": verdict.valid, "code": verdict.code}
        print_json(told | {"reason": verdict.reason, "log": list(verdict.log), "fuel": verdict.fuel})
    else:
        for line in verdict.log:
            print(f"log: {plain(line)}")
        print("valid" if verdict.valid else f"not valid: {verdict.reason}")
    return 0 if verdict.valid else INVALID


def _read(path: str, most: int, what: str) -> bytes:
    try:
        if not Path(path).is_file():
            raise Refused("it is no file", f"{what} {plain(path)}", "give a file")
        with Path(path).open("rb") as file:
            return file.read(most)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Refused(f"cannot be read: {reason}", f"{what} {plain(path)}", "give a file") from None
