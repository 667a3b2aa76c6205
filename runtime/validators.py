"""Validator modules (VAL-1): a WebAssembly module says whether a JSON message is valid.

Guarantees: a verdict depends on the module, the message, the settings, the time and the seed that are given, and on
nothing else: each message meets a fresh instance, time and randomness are arguments, no clock or file can be reached.
Nothing that a module does raises: one that traps, or exceeds its fuel or memory, has not found the message valid, and
the verdict says why.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import Struct

from runtime.errors import CallFailed, ModuleRefused, Refused
from runtime.wasm.abi import I32, I64, PAGE, Signature
from runtime.wasm.binary import Malformed, customs
from runtime.wasm.functions import Host, Module, ModuleLimits
from runtime.wasm.imports import with_memory
from runtime.wasm.linear import Memory
from runtime.wasm.loader import Engine
from runtime.wasm.names import shown

MESSAGE_MAX = 1 << 20  # bytes
LOG_LINES, LOG_BYTES = 64, 1_024  # more lines are counted and not kept, longer ones are cut
REASONS = "wasm-engine.reasons"  # optional custom section: lines of "code name"
NOT_UTF8, NOT_JSON, TOO_LONG = "message:utf8", "message:json", "message:size"
LIMITS = ModuleLimits(fuel=5_000_000, memory=64 * PAGE, table=10_000)

_VALIDATE = Signature(bytes([I32, I32]), bytes([I32]))
_ALLOCATE = Signature(bytes([I32]), bytes([I32]))
_IMPORTS: dict[str, Signature] = {
    "host_time_ms": Signature(b"", bytes([I64])),
    "host_log": Signature(bytes([I32, I32]), b""),
    "host_random": Signature(b"", bytes([I64])),
    "host_hmac_sha256": Signature(bytes([I32, I32, I32]), bytes([I32])),
}
_REASON = re.compile(r"([1-9][0-9]{0,9}) ([a-z][a-z0-9_.-]{0,63})")


class ValidatorSettings(Struct, frozen=True, kw_only=True):
    """What a validator is given beside messages: the key of `host_hmac_sha256`, names for its codes, its limits.

    Names here go before those in the module's own section.
    """

    key: bytes = b""
    reasons: Mapping[int, str] = {}
    limits: ModuleLimits = LIMITS


class Verdict(NamedTuple):
    """`code` is what validate gave, 0 is valid; -1 where it gave nothing. `reason` is "" for valid, else a name:

    of the code ("code:7" for one without), "message:utf8", "message:json" or "message:size" for what no validator is
    asked about, "limit:…", "trap:…", "alloc" or "refused" for a module that failed. `log` are its lines. `fuel` is what
    a call that returned has burned; it may differ between versions of wasmtime, and is not for the journal.
    """

    code: int
    reason: str
    log: tuple[str, ...]
    fuel: int

    @property
    def valid(self) -> bool:
        return self.code == 0


class Validator:
    """One validator module, loaded and checked; `judge` may be called any number of times."""

    def __init__(self, module: Module, settings: ValidatorSettings | None = None) -> None:
        """Raises ModuleRefused for a module that is no validator, Refused for settings that cannot be."""
        self.module, self.settings = module, settings or ValidatorSettings()
        check_validator(module, self.settings.limits)
        self._allocates = any(export.name == "allocate" for export in module.parsed.exports)
        self._reasons = _reasons_of(module) | dict(self.settings.reasons)
        for code, name in self._reasons.items():
            if not _REASON.fullmatch(f"{code} {name}"):
                told = shown(f"{code} {name}")
                raise Refused(f"reason {told!r}", module.name, "give a code from 1 and a name like missing_amount")
        module.compiled()

    def judge(self, message: bytes, now_ms: int = 0, seed: int = 0) -> Verdict:
        """The verdict on one message. `now_ms` is what host_time_ms answers, `seed` keys what host_random draws."""
        if len(message) > MESSAGE_MAX:
            return Verdict(-1, TOO_LONG, (), 0)
        problem = _not_json(message)
        if problem:
            return Verdict(-1, problem, (), 0)
        host = _Host(self.settings.key, now_ms, seed)
        try:
            with self.module.instantiate(host.functions(), self.settings.limits) as instance:
                pointer = instance.put(message) if self._allocates else instance.extend(message)
                code = instance.call("validate", pointer, len(message))
                used = instance.used
        except CallFailed as error:
            return Verdict(-1, error.reason, host.lines(), 0)
        except Refused:  # a range outside its memory, given to us by allocate or to a host function
            return Verdict(-1, "refused", host.lines(), 0)
        assert isinstance(code, int)
        reason = self._reasons.get(code & 0xFFFFFFFF, f"code:{code}") if code else ""
        return Verdict(code, reason, host.lines(), used)


def load_validator(path: str | os.PathLike[str], settings: ValidatorSettings | None = None) -> Validator:
    """A validator from a `.wat` or `.wasm` file; text that does not assemble is refused with line and column."""
    return Validator(Engine().load(path), settings)


def check_validator(module: Module, limits: ModuleLimits = LIMITS) -> None:
    """Raises ModuleRefused ("abi", "import" or "limit") for a module that cannot be a validator; runs nothing."""
    where = module.name
    exports = {export.name: export for export in module.parsed.exports}
    memory = exports.get("memory")
    if memory is None or memory.kind != 2:
        raise ModuleRefused("abi", "it exports no memory under the name 'memory'", where, "export it")
    for name, signature in (("validate", _VALIDATE), ("allocate", _ALLOCATE)):
        export = exports.get(name)
        found = module.parsed.functions[export.place] if export is not None and export.kind == 0 else None
        if found != signature and (name == "validate" or export is not None):
            told = "it exports no function validate" if found is None else f"{name} has type {found}"
            raise ModuleRefused("abi", told, where, f"export {name}: {signature}")
    for entry in module.parsed.imports:
        name = f"{shown(entry.module)}.{shown(entry.name)}"
        offered = _IMPORTS.get(entry.name) if entry.module == "env" and entry.kind == 0 else None
        if offered is None:
            todo = f"import only {', '.join(_IMPORTS)} from 'env'"
            raise ModuleRefused("import", f"{name} is not offered to validators", where, todo)
        if entry.signature != offered:
            raise ModuleRefused("import", f"{name} is imported as {entry.signature}", where, f"its type is {offered}")
    _reasons_of(module)
    module.check(limits)


class _Host:
    """The four functions that a validator may import; nothing in them comes from outside."""

    def __init__(self, key: bytes, now_ms: int, seed: int) -> None:
        self._key, self._now, self._seed = key, now_ms & (1 << 64) - 1, seed & (1 << 64) - 1
        self._drawn = 0
        self._log: list[str] = []
        self._more = 0

    def functions(self) -> Host:
        return {
            "env.host_time_ms": lambda: self._now,
            "env.host_random": self._random,
            "env.host_log": with_memory(self._note),
            "env.host_hmac_sha256": with_memory(self._hmac),
        }

    def lines(self) -> tuple[str, ...]:
        return (*self._log, *((f"and {self._more} more",) if self._more else ()))

    def _random(self) -> int:
        """The n-th draw is keyed by (seed, n): 64 bits of BLAKE2b."""
        self._drawn += 1
        source = self._seed.to_bytes(8, "little") + self._drawn.to_bytes(8, "little")
        return int.from_bytes(hashlib.blake2b(source, digest_size=8, person=b"validator").digest(), "little")

    def _note(self, memory: Memory, pointer: int, length: int) -> None:
        data = memory.read(pointer & 0xFFFFFFFF, length & 0xFFFFFFFF)
        if len(self._log) >= LOG_LINES:
            self._more += 1
            return
        text = data[:LOG_BYTES].decode("utf-8", "backslashreplace")
        self._log.append("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))

    def _hmac(self, memory: Memory, pointer: int, length: int, out: int) -> int:
        """32 bytes to `out`; 0 is done, 1 is no key."""
        if not self._key:
            return 1
        data = memory.read(pointer & 0xFFFFFFFF, length & 0xFFFFFFFF)
        memory.write(out & 0xFFFFFFFF, hmac.digest(self._key, data, "sha256"))
        return 0


def _not_json(message: bytes) -> str:
    try:
        message.decode("utf-8")
    except UnicodeDecodeError:
        return NOT_UTF8
    try:
        msgspec.json.decode(message)
    except (msgspec.DecodeError, RecursionError):
        return NOT_JSON
    return ""


def _reasons_of(module: Module) -> dict[int, str]:
    """Names of codes from the module's own section; ModuleRefused where it is not as promised."""
    reasons: dict[int, str] = {}
    todo = f"write lines of a code from 1, a space and a name into section {REASONS}"
    try:
        sections = [data for name, data in customs(module.wasm, module.parsed) if name == REASONS]
    except Malformed:
        return reasons  # another section's name is no text: none of ours
    for line in b"\n".join(sections)[: 1 << 16].split(b"\n"):
        if not line.strip():
            continue
        match = _REASON.fullmatch(line.strip().decode("ascii", "replace"))
        if match is None or int(match[1]) > 0xFFFFFFFF or int(match[1]) in reasons:
            raise ModuleRefused("abi", f"section {REASONS} holds {shown(repr(line[:60]))}", module.name, todo)
        reasons[int(match[1])] = match[2]
    return reasons
