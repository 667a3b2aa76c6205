"""Host functions that a user adds in Python, under the name of a capability (WAS-5).

    prices = Capability("prices", lookup=pure("i32 -> i64", lookup), latest=recorded("-> i64", latest))

A module imports them from the module `prices`; it is linked only if it was granted `prices`, and if the types agree.
Each function says what it is. One that is `pure` depends on its arguments, and the memory that it is shown, alone;
what is `recorded` reads from outside, or changes something there, so its answers are recorded and given again (EXT-1).
Agents may import pure ones alone: a step that is run again must see what it saw.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from runtime.errors import ModuleRefused, Refused
from runtime.wasm.abi import GROUPS, VALUE_NAMES, Signature
from runtime.wasm.binary import Import
from runtime.wasm.imports import HostCall, Imported, Typed, WithMemory, matched
from runtime.wasm.linear import Memory
from runtime.wasm.names import shown
from runtime.wasm.readings import Readings
from runtime.wasm.values import NUMBERS

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TAKEN = (*GROUPS, "engine", "memory", "threading", "filesystem")
_KINDS = {VALUE_NAMES[kind]: kind for kind in NUMBERS}


class Offered(NamedTuple):
    """One function with its type; `kind` is "pure" or "recorded"."""

    kind: str
    signature: Signature
    function: HostCall | WithMemory


def pure(type_: str, function: HostCall | WithMemory) -> Offered:
    """A function whose results, and what it writes into the memory, follow from its arguments and the memory alone.

    `type_` as in "i32 i64 -> f64"; nothing is written for none. With `with_memory` it is shown the module's memory.
    """
    return Offered("pure", _signature(type_), function)


def recorded(type_: str, function: HostCall | WithMemory) -> Offered:
    """A function that reads from outside or changes something there."""
    return Offered("recorded", _signature(type_), function)


class Capability:
    """Functions that are granted together. Raises Refused for a name that cannot be, or that is taken."""

    def __init__(self, name: str, /, **functions: Offered) -> None:
        if not _NAME.fullmatch(name) or name in _TAKEN or name.startswith("wasi"):
            todo = f"give a name like 'prices', and none of {', '.join(_TAKEN)}"
            raise Refused(f"no capability can be called {shown(name)!a}", "capability", todo)
        if not functions or not all(isinstance(each, Offered) for each in functions.values()):
            raise Refused(f"capability {name} has no functions", "capability", "give each by pure(…) or recorded(…)")
        self.name, self.functions = name, dict(functions)

    @property
    def pure(self) -> bool:
        """Whether agents may be granted it."""
        return all(each.kind == "pure" for each in self.functions.values())


def by_name(capabilities: Iterable[Capability], agents: bool = False) -> dict[str, Capability]:
    """Raises Refused for two of one name, and for what `agents` may not have."""
    found: dict[str, Capability] = {}
    for capability in capabilities:
        if capability.name in found:
            raise Refused(f"two capabilities are called {capability.name}", "capabilities", "give each its own name")
        if agents and not capability.pure:
            todo = "offer agents pure functions; what they need from outside comes as an input"
            raise Refused(f"capability {capability.name} has recorded functions", "capabilities", todo)
        found[capability.name] = capability
    return found


def lend(
    capabilities: Iterable[Capability], granted: Iterable[str] | None = None, readings: Readings | None = None
) -> dict[str, HostCall | WithMemory]:
    """What to instantiate with, as `host`: the functions of those that are `granted` (of all where it is None).

    Answers of recorded functions are added to `readings`; where those are of an earlier call, they are given again and
    the functions are not called. Raises Refused where recorded functions are lent without `readings`.
    """
    known = by_name(capabilities)
    names = list(known) if granted is None else list(granted)
    lent: dict[str, HostCall | WithMemory] = {}
    for name in names:
        if name not in known:
            raise Refused(f"no capability {shown(name)}", "granted", f"there is {', '.join(known) or 'none'}")
        for called, offered in known[name].functions.items():
            if offered.kind == "recorded" and readings is None:
                raise Refused(f"{name}.{called} is recorded", "readings", "give Readings(), and keep what they hold")
            key = f"{name}.{called}"
            lent[key] = _lent(offered) if offered.kind == "pure" else _Recorded(key, offered, readings).lent()
    return lent


def _lent(offered: Offered) -> HostCall | WithMemory:
    if isinstance(offered.function, WithMemory):
        return WithMemory(offered.function.function, offered.signature)
    return Typed(offered.function, offered.signature)


class _Answer(msgspec.Struct, frozen=True, array_like=True):
    """What a recorded function gave, and what it wrote: (offset, bytes)."""

    value: object
    writes: tuple[tuple[int, bytes], ...]


class _Recorded:
    """One recorded function of one call."""

    def __init__(self, name: str, offered: Offered, readings: Readings | None) -> None:
        assert readings is not None
        self._name, self._offered, self._readings = name, offered, readings

    def lent(self) -> HostCall | WithMemory:
        if isinstance(self._offered.function, WithMemory):
            return WithMemory(self._with_memory, self._offered.signature)
        return Typed(self._without, self._offered.signature)

    def _without(self, *arguments: object) -> object:
        assert not isinstance(self._offered.function, WithMemory)
        function = self._offered.function
        return _given(self._read(arguments, lambda: _Answer(function(*arguments), ())).value)

    def _with_memory(self, memory: Memory, *arguments: object) -> object:
        assert isinstance(self._offered.function, WithMemory)
        function, noting = self._offered.function.function, _Noting(memory)
        answer = self._read(arguments, lambda: _Answer(function(noting, *arguments), tuple(noting.writes)))
        if self._readings.repeats:
            for offset, data in answer.writes:
                memory.write(offset, data)
        return _given(answer.value)

    def _read(self, arguments: tuple[object, ...], ask: Callable[[], _Answer]) -> _Answer:
        def outside() -> bytes:
            return msgspec.msgpack.encode(ask())

        return msgspec.msgpack.decode(self._readings.read(self._name, arguments, outside), type=_Answer)


def _given(value: object) -> object:
    """Several results are a tuple; the record has a list of them."""
    return tuple(value) if isinstance(value, list) else value


class _Noting:
    """The module's memory, with a note of every write."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.writes: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._memory)

    def read(self, offset: int, length: int) -> bytes:
        return self._memory.read(offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self._memory.write(offset, data)
        self.writes.append((offset, bytes(data)))


def _signature(text: str) -> Signature:
    before, arrow, after = text.partition("->")
    names = (before.split(), after.split())
    if not arrow or not all(name in _KINDS for side in names for name in side):
        todo = "write it like 'i32 i64 -> f64'"
        raise Refused(f"{shown(text)!a} is no type of a function", "capability", todo)
    return Signature(*(bytes(_KINDS[name] for name in side) for side in names))


def matched_to(entries: Sequence[Import], capability: Capability, granted: bool, where: str) -> tuple[Imported, ...]:
    """An agent's imports from a capability; raises ModuleRefused unless all is there and granted."""
    for entry in entries:
        name = f"{shown(entry.module)}.{shown(entry.name)}"
        if entry.name not in capability.functions:
            todo = f"there is {', '.join(capability.functions)}"
            raise ModuleRefused("import", f"{name} is not offered", where, todo)
        if not granted:
            todo = f"grant the capability '{capability.name}' or do without it"
            raise ModuleRefused("import", f"{name} is not granted", where, todo)
    return matched(entries, lend((capability,)), where)
