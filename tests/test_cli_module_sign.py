"""`wasm-engine module keygen`, `sign`, `verify`: the way a user goes, and what is refused by name with exit 4."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cli_kit import here, refused

from runtime.wasm import assemble
from runtime.wasm.trust import default_key_id, key_files

WAT = '(module (func (export "f") (param i32) (result i32) local.get 0 i32.const 1 i32.add))'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    secret, public = key_files(bytes(range(32)))
    (tmp_path / "k.secret").write_bytes(secret)
    (tmp_path / "k.public").write_bytes(public)
    (tmp_path / "m.wat").write_text(WAT, "utf-8")
    (tmp_path / "m.wasm").write_bytes(assemble(WAT))
    return tmp_path


def test_a_user_makes_keys_signs_and_verifies(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = here(capsys, "module", "keygen", f"{place}/new", "--json")
    assert made.code == 0 and set(made.json) == {"secret", "public", "key_id", "key"}
    assert stat.S_IMODE((place / "new.secret").stat().st_mode) == 0o600
    assert made.json["key_id"] == default_key_id((place / "new.public").read_bytes()[1:]).hex()
    again = here(capsys, "module", "keygen", f"{place}/new")
    refused(again, "is there already", "new.secret")
    signed = here(capsys, "module", "sign", f"{place}/m.wasm", "--key", f"{place}/new.secret")
    assert signed.code == 0 and signed.out.startswith("signed  ")
    told = here(capsys, "module", "verify", f"{place}/m.wasm", "--key", f"{place}/new.public")
    assert told.code == 0 and told.out.startswith("accepted  ")
    other = here(capsys, "module", "verify", f"{place}/m.wasm", "--key", f"{place}/k.public", "--json")
    assert other.code == 4 and other.json["accepted"] is False and other.json["error"] == "bad_signature"
    refused(here(capsys, "module", "verify", f"{place}/m.wasm", "--key", f"{place}/k.public"), "[signature]: bad_sign")


def test_the_golden_module_through_the_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("module", "sign", f"{place}/m.wat", "--key", f"{place}/k.secret", "--out", f"{place}/s.wasm", "--json")
    assert here(capsys, *arguments).json["key_id"] == ""
    assert len((place / "s.wasm").read_bytes()) == 157
    assert (place / "s.wasm").read_bytes()[-38 + 8 - 64 :].hex().startswith("1162eb6633eefe1b")
    assert sorted(path.name for path in place.iterdir()) == ["k.public", "k.secret", "m.wasm", "m.wat", "s.wasm"]


def test_a_detached_signature(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (place / "m.wasm").read_bytes()
    arguments = (f"{place}/m.wasm", "--detached", f"{place}/m.sig")
    signed = here(capsys, "module", "sign", *arguments, "--key", f"{place}/k.secret", "--key-id", "default")
    assert signed.code == 0 and (place / "m.wasm").read_bytes() == before
    told = here(capsys, "module", "verify", *arguments, "--key", f"{place}/k.public", "--json")
    assert (told.code, told.err) == (0, "")
    assert told.json == {"accepted": True, "error": None, "message": "", "keys": ["key"]}
    without = here(capsys, "module", "verify", f"{place}/m.wasm", "--key", f"{place}/k.public", "--json")
    assert (without.code, without.json["error"]) == (4, "unsigned")
    (place / "m.sig").write_bytes((place / "m.sig").read_bytes() + b"x")
    junk = here(capsys, "module", "verify", *arguments, "--key", f"{place}/k.public", "--json")
    assert (junk.code, junk.json["error"]) == (4, "junk")


def test_a_trust_store_counts_for_a_time(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public = (place / "k.public").read_bytes()[1:].hex()
    key = f'version = 1\n[[key]]\nname = "k"\npublic = "{public}"\nnot_after = 2027-01-01T00:00:00Z\n'
    (place / "trust.toml").write_text(key, "utf-8")
    here(capsys, "module", "sign", f"{place}/m.wasm", "--key", f"{place}/k.secret")

    def told(at: str) -> object:
        arguments = ("module", "verify", f"{place}/m.wasm", "--trust", f"{place}/trust.toml", "--at", at, "--json")
        return here(capsys, *arguments).json["error"]

    assert told("2026-12-31T23:59:59Z") is None
    assert told("2027-01-01") == "expired_key"
    (place / "trust.toml").write_text(key + 'revoked = "stolen"\n', "utf-8")
    assert told("2026-06-01") == "revoked_key"
    (place / "trust.toml").write_text(key + 'owner = "me"\n', "utf-8")
    assert told("2026-06-01") == "input"


WRONG: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no file": (("verify", "{}/none", "--key", "{}/k.public"), ("none", "does not exist")),
    "no key": (("verify", "{}/m.wasm"), ("--key", "--trust")),
    "two keys": (("verify", "{}/m.wasm", "--key", "{}/k.public", "--trust", "{}/k.public"), ("one of them",)),
    "secret as public": (("verify", "{}/m.wasm", "--key", "{}/k.secret"), ("more than 33 bytes",)),
    "public as secret": (("sign", "{}/m.wasm", "--key", "{}/k.public"), ("no secret key file",)),
    "unsigned": (("verify", "{}/m.wasm", "--key", "{}/k.public"), ("unsigned", "sign the module anew")),
    "a text in place": (("sign", "{}/m.wat", "--key", "{}/k.secret"), ("--out",)),
    "no module": (("sign", "{}/k.public", "--key", "{}/k.secret"), ("not_wasm",)),
    "two places": (
        ("sign", "{}/m.wasm", "--key", "{}/k.secret", "--out", "{}/x", "--detached", "{}/y"),
        ("not both",),
    ),
    "key id": (("sign", "{}/m.wasm", "--key", "{}/k.secret", "--key-id", "xyz"), ("'xyz'", "--key-id")),
    "long key id": (("sign", "{}/m.wasm", "--key", "{}/k.secret", "--key-id", "00" * 65), ("long_key_id",)),
    "no folder": (("sign", "{}/m.wasm", "--key", "{}/k.secret", "--out", "{}/no/m"), ("cannot be written",)),
    "time": (("verify", "{}/m.wasm", "--key", "{}/k.public", "--at", "soon"), ("--at", "soon")),
    "keys nowhere": (("keygen", "{}/no/k"), ("cannot be written",)),
    "command": (("frob",), ("frob", "module --help")),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_in_one_line(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, words = WRONG[name]
    before = (place / "m.wasm").read_bytes()
    refused(here(capsys, "module", *(word.replace("{}", str(place)) for word in arguments)), *words)
    assert (place / "m.wasm").read_bytes() == before
