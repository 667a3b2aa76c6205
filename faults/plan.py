"""Plans: one run's inputs and faults, expanded, frozen, JSON both ways.

A fault names a port event by logical address, never a time or a worker's number, so that a plan means the same under
any number of workers and on another build. Text form: `layer.verb@key:value,…,param=value`. Reading is strict: what
is unknown, of another version, damaged or hostile is refused in one line, and nothing of it is used.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
from msgspec import Struct

from faults.catalogue import checked, default_of, key_of, kind_of, shown, time_text, usage
from faults.kinds import UNITS, Key, Value
from runtime.errors import Refused
from runtime.physical import Physical
from runtime.state import Decree, Input

PLAN_VERSION = 1
TEXT_MAX = 500  # characters of one typed fault
PLAN_BYTES_MAX = 1 << 26
PLAN_DEPTH_MAX = 32
INTEGER_MAX = 2**63 - 1


class Fault(Struct, frozen=True, kw_only=True):
    """`at` is the address, `with_` the parameters; canonical: in the catalogue's order, defaults left out."""

    kind: str
    at: dict[str, Value] = {}
    with_: dict[str, Value] = msgspec.field(name="with", default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{name}:{self._text(name)}" for name in self.at]
        parts += [f"{name}={self._text(name)}" for name in self.with_]
        return f"{self.kind}@{','.join(parts)}"

    def get(self, name: str) -> Value | None:
        """The value of a key or parameter, or its default; None for a key that is not part of this address."""
        value = self.at.get(name, self.with_.get(name))
        return default_of(self.kind, name) if value is None else value

    def number(self, name: str) -> int:
        """The value of a key that is an integer; -1 for one that is not part of this address."""
        value = self.get(name)
        return value if isinstance(value, int) else -1

    def _text(self, name: str) -> str:
        value = self.at.get(name, self.with_.get(name))
        key, _ = key_of(kind_of(self.kind), name)
        return time_text(value) if key.unit and isinstance(value, int) else str(value)


class Plan(Struct, frozen=True, kw_only=True):
    """`inputs` are complete: with the scenario's genesis they decide the journal; `decrees` are given to the twin.

    `last_tick` ends the run sooner than the scenario does, after that tick; 0: as the scenario says.
    """

    scenario: str
    seed: int
    inputs: tuple[Input, ...]
    faults: tuple[Fault, ...] = ()
    decrees: tuple[Decree, ...] = ()
    last_tick: int = 0
    physical: Physical = Physical()
    version: int = PLAN_VERSION


def canonical(fault: Fault) -> Fault:
    """The same fault in canonical form; raises Refused for what the catalogue does not know."""
    at, with_ = checked(fault.kind, fault.at, fault.with_)
    return Fault(kind=fault.kind, at=at, with_=with_)


# --- text -----------------------------------------------------------------------------------------------------------

_ITEM = re.compile(r"([a-z_]{1,32})([:=])([^:=,]{1,32})")
_NUMBER = re.compile(r"(-?[0-9]{1,19})(ns|us|ms|s)?")


def parse_fault(text: str) -> Fault:
    """The fault that `text` says, canonical. `:` and `=` are read alike; raises Refused.

    >>> str(parse_fault("frame.delay@agent:3,tick:41,direction:done,for=2000us"))
    'frame.delay@tick:41,agent:3,direction:done,for=2ms'
    """
    if len(text) > TEXT_MAX:
        raise Refused(f"a fault of {len(text)} characters", "", f"at most {TEXT_MAX}")
    slug, _, rest = text.strip().partition("@")
    kind = kind_of(slug)
    sections: tuple[dict[str, Value], dict[str, Value]] = {}, {}
    for item in rest.split(",") if rest else ():
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            raise Refused(f"cannot read {shown(item)} in {shown(text)}", "", f"write {usage(kind)}")
        name, _, word = match.groups()
        key, is_address = key_of(kind, name)
        section = sections[0 if is_address else 1]
        if name in section:
            raise Refused(f"{name} is there twice in {shown(text)}", "", "give it once")
        section[name] = _parse_value(kind.slug, key, word)
    at, with_ = checked(kind.slug, *sections)
    return Fault(kind=kind.slug, at=at, with_=with_)


def _parse_value(slug: str, key: Key, word: str) -> Value:
    match = _NUMBER.fullmatch(word)
    if match is None:
        return word
    digits, unit = match.groups()
    if unit and not key.unit:
        raise Refused(f"{shown(word)} has a unit of time", f"{slug}, {key.name}", "give a plain integer")
    return int(digits) * UNITS[unit or "ns"]


# --- JSON -----------------------------------------------------------------------------------------------------------


def plan_to_json(plan: Plan) -> str:
    """The plan's one JSON text: keys sorted, indented, a newline at the end; equal plans give equal texts."""
    encoded = msgspec.json.encode(plan, order="sorted")
    return msgspec.json.format(encoded, indent=1).decode() + "\n"


def plan_from_json(data: bytes | str, where: str = "plan") -> Plan:
    """The inverse of `plan_to_json`; optional fields may be left out. Raises Refused and nothing else."""
    tree = _parse_json(data, where)
    if not isinstance(tree, dict):
        raise Refused("not a JSON object", where, "give a plan as `plan_to_json` writes it")
    version = tree.get("version", PLAN_VERSION)
    if version != PLAN_VERSION or isinstance(version, bool):
        raise Refused(f"plan version {shown(version)}, this build reads {PLAN_VERSION}", where, "draw the plan anew")
    try:
        plan = msgspec.convert(tree, Plan)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Refused(f"not a plan: {_one_line(error)}", where, "mend the plan or draw it anew") from None
    _no_more_than(tree, msgspec.to_builtins(plan), where, "")
    faults = []
    for index, fault in enumerate(plan.faults):
        try:
            faults.append(canonical(fault))
        except Refused as refused:
            raise Refused(refused.what, f"{where}, fault {index}", refused.todo) from None
    return msgspec.structs.replace(plan, faults=tuple(faults))


def _one_line(error: BaseException) -> str:
    text = " ".join(ascii(str(error))[1:-1].split())
    return text if len(text) <= 200 else text[:197] + "..."


def _parse_json(data: bytes | str, where: str) -> Any:
    """Strict JSON: bounded size and depth, no floats, no duplicate keys, 64-bit integers, text that encodes."""
    try:
        raw = data.encode() if isinstance(data, str) else data
        text = raw.decode()
    except UnicodeError:
        raise Refused("not UTF-8", where, "give a plan as `plan_to_json` writes it") from None
    if len(raw) > PLAN_BYTES_MAX:
        raise Refused(f"{len(raw)} bytes", where, f"a plan has at most {PLAN_BYTES_MAX}")
    if depth_of(text) > PLAN_DEPTH_MAX:
        raise Refused("nested too deeply", where, f"a plan nests at most {PLAN_DEPTH_MAX} levels")

    def refuse(word: str) -> Any:
        raise ValueError(f"{shown(word)} is not an integer of 64 bits")

    def integer(digits: str) -> int:
        return int(digits) if len(digits) <= 20 and abs(int(digits)) <= INTEGER_MAX else refuse(digits)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        tree = dict(pairs)
        if len(tree) != len(pairs):
            raise ValueError("a key is there twice")
        return tree

    try:
        tree = json.loads(text, parse_float=refuse, parse_constant=refuse, parse_int=integer, object_pairs_hook=unique)
        json.dumps(tree, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused(f"damaged JSON: {_one_line(error)}", where, "give a plan as `plan_to_json` writes it") from None
    return tree


# An unterminated string runs to the end, so that the scan stays linear on any text.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.|\\\Z)*(?:"|\Z)|[\[{]|[\]}]', re.DOTALL)


def depth_of(text: str, limit: int = PLAN_DEPTH_MAX) -> int:
    """How deep brackets nest outside strings; the count stops just above the limit."""
    depth = 0
    for match in _BRACKETS.finditer(text):
        if match[0] in ("[", "{"):
            depth += 1
            if depth > limit:
                return depth
        elif match[0] in ("]", "}"):
            depth -= 1
    return max(depth, 0)


def _no_more_than(given: Any, known: Any, where: str, path: str) -> None:
    """Refuse whatever reading dropped or changed: keys that no field has, and values with a second spelling."""
    if isinstance(given, dict) and isinstance(known, dict):
        for name, value in given.items():
            if name not in known:
                raise Refused(f"unknown key {shown(name)}", f"{where}{path}", f"known are {', '.join(sorted(known))}")
            _no_more_than(value, known[name], where, f"{path}.{name}")
    elif isinstance(given, list) and isinstance(known, (list, tuple)) and len(given) == len(known):
        for index, (one, other) in enumerate(zip(given, known, strict=True)):
            _no_more_than(one, other, where, f"{path}[{index}]")
    elif given != known or isinstance(given, bool) != isinstance(known, bool):
        raise Refused(f"{shown(given)} is not canonical", f"{where}{path}", f"write {shown(known)}")
