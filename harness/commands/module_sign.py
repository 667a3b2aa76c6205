"""`wasm-engine module sign`, `verify` and `keygen`: signatures of modules (docs/signing.md).

Files are replaced whole or not at all; a secret key is written once, readable by its owner alone.
"""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

import click

from harness.commands.common import examples, json_option, print_json
from reports.words import plain
from runtime.errors import Refused, SignatureRefused
from runtime.validated import read_bytes
from runtime.wasm import assemble, signatures
from runtime.wasm.checks import MODULE_BYTES
from runtime.wasm.trust import default_key_id, key_files, read_public, read_secret, read_store, trusting

PAYLOAD_BYTES = 1 << 20  # of a detached file; the most that the limits allow is below
_FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command(
    short_help="Sign a module.",
    epilog=examples(
        "wasm-engine module sign agent.wasm --key release.secret",
        "wasm-engine module sign agent.wat --key release.secret --out agent.wasm --key-id default",
        "wasm-engine module sign agent.wasm --key release.secret --detached agent.sig",
    ),
)
@click.argument("file", type=EXISTING)
@click.option("--key", required=True, type=EXISTING, metavar="SECRET", help="The secret key file.")
@click.option("--out", type=_FILE, metavar="PATH", help="Where the signed module goes; else FILE is replaced.")
@click.option("--detached", type=_FILE, metavar="SIG", help="Write the signature to this file; FILE stays as it is.")
@click.option("--key-id", default="", metavar="HEX|default", help="Name the key in the signature, for trust stores.")
@json_option
def sign(file: Path, key: Path, out: Path | None, detached: Path | None, key_id: str, as_json: bool) -> int:
    """Sign FILE, a .wasm module or a .wat text (which then needs --out).

    A module that is signed already gets one more signature. The module must be the one that is to be loaded: every
    byte of it is under the signature.
    """
    if out is not None and detached is not None:
        raise click.UsageError("give --out or --detached, not both")
    text = file.suffix == ".wat"
    if text and out is None:
        raise click.UsageError("a text cannot hold a signature; give --out PATH for the module")
    seed = read_secret(key)
    public = key_files(seed)[1][1:]
    named = _key_id(key_id, public)
    data = read_bytes(file, MODULE_BYTES)
    wasm = assemble(_text(data, file)) if text else data
    target = detached or out or file
    make = signatures.sign_detached if detached is not None else signatures.sign
    _write(target, make(wasm, seed, named, str(file)))
    told = {"file": str(target), "public": public.hex(), "key_id": named.hex(), "detached": detached is not None}
    if as_json:
        print_json(told)
    else:
        print(f"signed  {plain(str(target))}  by {public.hex()[:16]}…" + (f", key id {named.hex()}" if named else ""))
    return 0


@click.command(
    short_help="Is a module signed by a key that counts? Exit 0 or 4.",
    epilog=examples(
        "wasm-engine module verify agent.wasm --key release.public",
        "wasm-engine module verify agent.wasm --key release.public --detached agent.sig --json",
        "wasm-engine module verify agent.wasm --trust trust.toml --at 2027-01-01",
    ),
)
@click.argument("file", type=EXISTING)
@click.option("--key", type=EXISTING, metavar="PUBKEY", help="The public key file that must have signed it.")
@click.option("--trust", type=EXISTING, metavar="TOML", help="A trust store, instead of --key.")
@click.option("--detached", type=EXISTING, metavar="SIG", help="The signature's file, where it is not in the module.")
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]),
    metavar="DATE",
    help="For this time (UTC); else now.",
)
@json_option
def verify(
    file: Path, key: Path | None, trust: Path | None, detached: Path | None, at: datetime | None, as_json: bool
) -> int:
    """Verify the signature of FILE. Exit 0 when it is accepted, else 4 with the name of what is wrong.

    The rules are stricter than those of other tools: each module has one accepted encoding, and whatever is not
    under the signature is refused. The names are in docs/signing.md.
    """
    if (key is None) == (trust is None):
        raise click.UsageError("give --key PUBKEY or --trust TOML, one of them")
    moment = at.replace(tzinfo=UTC) if at else datetime.now(UTC)
    try:
        store = read_store(trust) if trust is not None else trusting(read_public(key)) if key is not None else None
        assert store is not None
        wasm = read_bytes(file, MODULE_BYTES)
        signature = read_bytes(detached, PAYLOAD_BYTES) if detached is not None else None
        found = signatures.verify(wasm, store, moment, signature, str(file))
    except Refused as error:
        if not as_json:
            raise
        name = error.error if isinstance(error, SignatureRefused) else "input"
        print_json({"accepted": False, "error": name, "message": str(error), "keys": []})
        return 4
    if as_json:
        print_json({"accepted": True, "error": None, "message": "", "keys": list(found.keys)})
    else:
        print(f"accepted  {plain(str(file))}  signed by {', '.join(found.keys)}")
    return 0


@click.command(
    short_help="Make a key pair for signing modules.",
    epilog=examples("wasm-engine module keygen release", "wasm-engine module keygen keys/release --json"),
)
@click.argument("name", type=click.Path(path_type=Path))
@json_option
def keygen(name: Path, as_json: bool) -> int:
    """Make NAME.secret and NAME.public. Neither may exist: a key that is overwritten is lost.

    The secret file is readable by its owner alone. Keep it where nothing but signing is done.
    """
    seed = secrets.token_bytes(32)
    secret, public = key_files(seed)
    places = [name.with_name(name.name + ending) for ending in (".secret", ".public")]
    for place in places:
        if place.exists():
            raise Refused("is there already", str(place), "give another name: a key that is overwritten is lost")
    _create(places[0], secret, 0o600)
    _create(places[1], public, 0o644)
    told = {"secret": str(places[0]), "public": str(places[1]), "key_id": default_key_id(public[1:]).hex()}
    if as_json:
        print_json(told | {"key": public[1:].hex()})
    else:
        print(f"secret  {plain(told['secret'])}\npublic  {plain(told['public'])}\nkey id  {told['key_id']}")
    return 0


def _key_id(text: str, public: bytes) -> bytes:
    if text == "default":
        return default_key_id(public)
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Refused(f"{text[:40]!r} is no hex", "--key-id", "give pairs of hex digits, or 'default'") from None


def _text(data: bytes, file: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("not UTF-8", str(file), "save the text as utf-8") from None


def _write(file: Path, data: bytes) -> None:
    """Replaced whole, or left as it was."""
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        try:
            with beside.open("xb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            if file.exists():
                beside.chmod(file.stat().st_mode & 0o777)
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", str(file), "give another place") from None


def _create(file: Path, data: bytes, mode: int) -> None:
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", str(file), "give another place") from None
