"""Validator modules (VAL-1): verdicts, named reasons, the four host functions, determinism, modules that misbehave."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import here, refused
from modules_kit import module

from runtime.errors import ModuleRefused, Refused
from runtime.validators import LIMITS, LOG_LINES, MESSAGE_MAX, Validator, ValidatorSettings, Verdict, load_validator
from runtime.wasm import Engine, ModuleLimits

ROOT = Path(__file__).resolve().parent.parent
IMPORTS = """(import "env" "host_time_ms" (func $now (result i64)))
  (import "env" "host_log" (func $log (param i32 i32)))
  (import "env" "host_random" (func $random (result i64)))
  (import "env" "host_hmac_sha256" (func $hmac (param i32 i32 i32) (result i32)))"""
MEMORY = '(memory (export "memory") 1)'
NAMED = '(@custom "wasm-engine.reasons" "1 too_short\\n2 no_object\\n")'
# Valid is an object of at least 8 bytes.
SHAPE = """(func (export "validate") (param $at i32) (param $length i32) (result i32)
    (if (i32.lt_u (local.get $length) (i32.const 8)) (then (return (i32.const 1))))
    (if (i32.ne (i32.load8_u (local.get $at)) (i32.const 123)) (then (return (i32.const 2))))
    (i32.const 0))"""


def validator(*parts: str, **settings: object) -> Validator:
    return Validator(module(*parts), ValidatorSettings(**settings))  # type: ignore[arg-type]


def judging(body: str, **settings: object) -> Validator:
    return validator(IMPORTS, MEMORY, f'(func (export "validate") (param i32 i32) (result i32) {body})', **settings)


def test_zero_is_valid_and_other_codes_are_named_by_the_module_or_the_settings() -> None:
    made = validator(MEMORY, SHAPE, NAMED)
    assert made.judge(b'{"a": 1}').valid and made.judge(b'{"a": 1}')[:3] == (0, "", ())
    assert made.judge(b"{}")[:2] == (1, "too_short") and made.judge(b"[1, 2, 3]")[:2] == (2, "no_object")
    named = validator(MEMORY, SHAPE, NAMED, reasons={2: "not_an_object"})
    assert named.judge(b"[1, 2, 3]").reason == "not_an_object" and named.judge(b"{}").reason == "too_short"
    assert validator(MEMORY, SHAPE).judge(b"{}").reason == "code:1"
    assert judging("i32.const -5").judge(b"1")[:2] == (-5, "code:-5")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "message:json"),
        (b"{", "message:json"),
        (b"{} {}", "message:json"),
        (b"NaN", "message:json"),
        (b"\xff", "message:utf8"),
        (b'"\xed\xa0\x80"', "message:utf8"),
        (b"[" * 100_000, "message:json"),
        (b'"' + b"x" * MESSAGE_MAX + b'"', "message:size"),
    ],
)
def test_what_is_not_a_json_message_never_meets_the_module(message: bytes, reason: str) -> None:
    assert judging("unreachable").judge(message) == Verdict(-1, reason, (), 0)


def test_the_message_lies_behind_the_modules_memory_or_where_allocate_says() -> None:
    first = "(i32.load8_u (local.get 0))"
    assert judging(first).judge(b"7").code == ord("7")
    assert judging("local.get 0").judge(b"7").code == 65536
    allocates = '(func (export "allocate") (param i32) (result i32) i32.const 4096)'
    placed = validator(MEMORY, allocates, '(func (export "validate") (param i32 i32) (result i32) local.get 0)')
    assert placed.judge(b"7").code == 4096
    long = json.dumps("x" * 200_000).encode()
    last = "(i32.load8_u (i32.sub (i32.add (local.get 0) (local.get 1)) (i32.const 1)))"
    assert judging(last).judge(long).code == ord('"')


def test_every_message_meets_a_fresh_instance() -> None:
    counting = validator(
        MEMORY, "(global $n (mut i32) (i32.const 0))",
        '(func (export "validate") (param i32 i32) (result i32)'
        " (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n))",
    )  # fmt: skip
    assert [counting.judge(b"1").code for _ in range(3)] == [1, 1, 1]


def test_time_and_randomness_are_arguments() -> None:
    time = judging("(i32.wrap_i64 (call $now))")
    assert [time.judge(b"1", now_ms=now).code for now in (0, 5, 2**63 - 1, 2**64 + 7)] == [0, 5, -1, 7]
    draw = judging("(drop (call $random)) (i32.wrap_i64 (call $random))")
    drawn = [draw.judge(b"1", seed=seed).code for seed in (1, 1, 2, -1)]
    assert drawn[0] == drawn[1] and len(set(drawn)) == 3
    source = (1).to_bytes(8, "little") + (2).to_bytes(8, "little")
    word = hashlib.blake2b(source, digest_size=8, person=b"validator").digest()[:4]
    assert drawn[0] == int.from_bytes(word, "little", signed=True)


def test_the_verdict_is_the_same_in_another_process_with_another_hash_seed() -> None:
    script = (
        "from test_validators import judging\n"
        "made = judging('(call $log (local.get 0) (local.get 1)) (i32.wrap_i64 (call $random))')\n"
        "print(made.judge(b'[1]', now_ms=3, seed=9))"
    )
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    told = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
        ).stdout
        for seed in ("0", "1")
    }  # fmt: skip
    assert len(told) == 1 and "log=('[1]',)" in told.pop()


def test_hmac_is_sha256_under_the_key_of_the_settings() -> None:
    body = "(drop (call $hmac (local.get 0) (local.get 1) (i32.const 64))) (i32.load (i32.const 64))"
    want = int.from_bytes(hmac.digest(b"secret", b'{"a": 1}', "sha256")[:4], "little", signed=True)
    assert judging(body, key=b"secret").judge(b'{"a": 1}').code == want
    assert judging("(call $hmac (local.get 0) (local.get 1) (i32.const 64))").judge(b"1").reason == "code:1"
    outside = judging("(call $hmac (local.get 0) (local.get 1) (i32.const -8))", key=b"secret")
    assert outside.judge(b"1")[:2] == (-1, "refused")


def test_log_lines_are_kept_within_bounds_and_are_harmless() -> None:
    twice = judging("(call $log (local.get 0) (local.get 1)) (call $log (local.get 0) (i32.const 1)) (i32.const 0)")
    assert twice.judge('"ü"'.encode()).log == ('"ü"', '"')
    assert twice.judge(b'"\\u001b' + b"x" * 5000 + b'"').log[0].startswith('"\\u001bxxx')
    raw = judging(
        "(i32.store (i32.const 0) (i32.const 0x0a1bff41)) (call $log (i32.const 0) (i32.const 4)) i32.const 0"
    )
    assert raw.judge(b"1").log == ("A\\xff\\x1b\\n",)
    endless = judging(
        "(loop (call $log (local.get 0) (local.get 1)) (br 0)) (i32.const 0)", limits=ModuleLimits(fuel=10_000)
    )
    found = endless.judge(b"1")
    assert found.reason == "limit:fuel" and len(found.log) == LOG_LINES + 1 and found.log[-1].startswith("and ")
    assert judging("(call $log (i32.const -1) (i32.const 2)) (i32.const 0)").judge(b"1").reason == "refused"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("(loop (br 0)) i32.const 0", "limit:fuel"),
        ("unreachable", "trap:unreachable"),
        ("(i32.load (i32.const -1))", "trap:memory_out_of_bounds"),
        ("(call $deep) i32.const 0", "limit:stack"),
    ],
)
def test_a_validator_that_misbehaves_has_not_found_the_message_valid(body: str, reason: str) -> None:
    deep = "(func $deep call $deep)"
    made = validator(MEMORY, f'(func (export "validate") (param i32 i32) (result i32) {body})', deep)
    for _ in range(2):
        assert made.judge(b"1") == Verdict(-1, reason, (), 0) and not made.judge(b"1").valid


def test_a_full_memory_and_a_failing_allocate_are_told() -> None:
    full = validator('(memory (export "memory") 1 1)', SHAPE)
    assert full.judge(b'{"a": 1}').reason == "limit:memory"
    small = validator(MEMORY, SHAPE, limits=ModuleLimits(memory=65536, fuel=1000))
    assert small.judge(b'{"a": 1}').reason == "limit:memory"
    for pointer, reason in (("0", "alloc"), ("-2", "refused")):
        allocate = f'(func (export "allocate") (param i32) (result i32) i32.const {pointer})'
        assert validator(MEMORY, SHAPE, allocate).judge(b'{"a": 1}').reason == reason


def test_the_defaults_are_those_of_the_specification() -> None:
    assert (LIMITS.fuel, LIMITS.memory) == (5_000_000, 64 * 65536)
    grown = judging("(memory.grow (i32.const 63))")  # one page and the message's are there
    assert grown.judge(b"1").reason == "limit:memory" and judging("(memory.grow (i32.const 62))").judge(b"1").code == 2
    with pytest.raises(ModuleRefused, match="limit"):
        validator('(memory (export "memory") 65)', SHAPE)


REFUSED = {
    "no validate": ((MEMORY,), "abi", "no function validate"),
    "another type": ((MEMORY, '(func (export "validate") (param i32) (result i32) i32.const 0)'), "abi", "has type"),
    "no function": ((MEMORY, '(global (export "validate") i32 (i32.const 0))'), "abi", "no function validate"),
    "no memory": ((SHAPE.replace("(i32.load8_u (local.get $at))", "(i32.const 0)"),), "abi", "no memory"),
    "allocate of another type": ((MEMORY, SHAPE, '(func (export "allocate"))'), "abi", "allocate has type"),
    "a clock": (('(import "env" "clock" (func))', MEMORY, SHAPE), "import", "env.clock"),
    "another module": (
        ('(import "engine" "host_log" (func (param i32 i32)))', MEMORY, SHAPE),
        "import",
        "engine.host_log",
    ),
    "another signature": (('(import "env" "host_log" (func (param i32)))', MEMORY, SHAPE), "import", "its type is"),
    "a memory": (('(import "env" "host_log" (memory 1))', '(export "memory" (memory 0))', SHAPE), "import", "host_log"),
    "reasons that are none": ((MEMORY, SHAPE, '(@custom "wasm-engine.reasons" "0 zero")'), "abi", "0 zero"),
    "a reason twice": ((MEMORY, SHAPE, '(@custom "wasm-engine.reasons" "1 a\\n1 b")'), "abi", "1 b"),
    "a hostile reason": ((MEMORY, SHAPE, '(@custom "wasm-engine.reasons" "1 \\1b[2J")'), "abi", "reasons"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_module_that_is_no_validator_is_refused(name: str) -> None:
    parts, check, words = REFUSED[name]
    with pytest.raises(ModuleRefused) as caught:
        validator(*parts)
    assert caught.value.check == check and words in str(caught.value)
    assert "\n" not in str(caught.value) and str(caught.value).isprintable()


def test_a_file_is_loaded_and_text_that_does_not_assemble_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "good.wat").write_text(f"(module {MEMORY} {SHAPE})")
    assert load_validator(tmp_path / "good.wat").judge(b'{"a": 1}').valid
    (tmp_path / "bad.wat").write_text("(module\n  (func foo))")
    with pytest.raises(Refused, match="line 2, column 9"):
        load_validator(tmp_path / "bad.wat")
    with pytest.raises(Refused, match="reason"):
        Validator(Engine().load(tmp_path / "good.wat"), ValidatorSettings(reasons={1: "no such\nname"}))


def test_the_command_says_valid_or_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = "(call $log (local.get $at) (local.get $length))"
    text = SHAPE.replace("(i32.const 0))", f"{logs} (i32.const 0))")
    (tmp_path / "v.wat").write_text(f"(module {IMPORTS} {MEMORY} {text} {NAMED})")
    (tmp_path / "good.json").write_text('{"a": 1}')
    (tmp_path / "short.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{")
    file = str(tmp_path / "v.wat")
    good = here(capsys, "module", "validate", file, str(tmp_path / "good.json"))
    assert (good.code, good.out, good.err) == (0, 'log: {"a": 1}\nvalid\n', "")
    short = here(capsys, "module", "validate", file, str(tmp_path / "short.json"))
    assert (short.code, short.out) == (1, "not valid: too_short\n")
    told = here(capsys, "module", "validate", file, str(tmp_path / "broken.json"), "--json")
    assert told.code == 1 and told.json["reason"] == "message:json" and told.json["valid"] is False
    (tmp_path / "bad.wat").write_text("(module\n  (func foo))")
    refused(
        here(capsys, "module", "validate", str(tmp_path / "bad.wat"), str(tmp_path / "good.json")), "line 2, column 9"
    )
    refused(here(capsys, "module", "validate", file, "nosuch.json"), "nosuch.json")
    refused(here(capsys, "module", "validate", file, str(tmp_path)), "no file")
    refused(here(capsys, "module", "validate", file, file, "--key-file", "nosuch"), "--key-file")
    refused(here(capsys, "module", "validate", file, file, "--now-ms", "-1"), "--now-ms")


def test_the_command_passes_time_seed_and_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.json").write_text("1")
    (tmp_path / "key").write_bytes(b"secret")

    def code(body: str, *options: str) -> int:
        (tmp_path / "v.wat").write_text(
            f'(module {IMPORTS} {MEMORY} (func (export "validate") (param i32 i32) (result i32) {body}))'
        )
        arguments = (str(tmp_path / "v.wat"), str(tmp_path / "m.json"), *options, "--json")
        found: int = here(capsys, "module", "validate", *arguments).json["code"]
        return found

    assert code("(i32.wrap_i64 (call $now))", "--now-ms", "77") == 77
    assert code("(i32.wrap_i64 (call $random))", "--seed", "1") != code("(i32.wrap_i64 (call $random))", "--seed", "2")
    keyed = "(drop (call $hmac (local.get 0) (local.get 1) (i32.const 64))) (i32.load (i32.const 64))"
    want = int.from_bytes(hmac.digest(b"secret", b"1", "sha256")[:4], "little", signed=True)
    assert code(keyed, "--key-file", str(tmp_path / "key")) == want
