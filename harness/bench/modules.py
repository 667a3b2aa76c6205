"""What loading and calling modules costs: cold (checked and compiled), from the folder of artefacts, from memory.

Wall clock of one thread, medians, in µs; each load begins with the file's bytes and ends with a compiled module.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from msgspec import Struct

from runtime.wasm import Engine, assemble
from runtime.wasm.artefacts import Artefacts, DiskFolder
from runtime.wasm.compiled import ModuleCache

KEY = b"only for this benchmark"
FUNCTIONS = (1, 1000)


class ModuleLoad(Struct, frozen=True, kw_only=True):
    """Of a module of so many functions and bytes; `code` bytes of machine code. All times in µs."""

    functions: int
    bytes: int
    code: int
    cold_us: float
    disk_us: float
    memory_us: float
    instance_us: float
    call_us: float


def module_loads(rounds: int) -> tuple[ModuleLoad, ...]:
    with tempfile.TemporaryDirectory(prefix="wasm-engine-bench-") as folder:
        return tuple(_measured(functions, rounds, Path(folder)) for functions in FUNCTIONS)


def _measured(functions: int, rounds: int, folder: Path) -> ModuleLoad:
    wasm = _module(functions)
    artefacts = Artefacts(DiskFolder(folder), KEY)
    warm = ModuleCache(artefacts=artefacts)
    Engine(cache=warm).load_bytes(wasm).compiled()

    def loaded(cache: ModuleCache) -> None:
        Engine(cache=cache).load_bytes(wasm).compiled()

    module = Engine(cache=warm).load_bytes(wasm)
    with module.instantiate() as instance:
        return ModuleLoad(
            functions=functions,
            bytes=len(wasm),
            code=warm.held,
            cold_us=_us(rounds, lambda: loaded(ModuleCache())),
            disk_us=_us(rounds, lambda: loaded(ModuleCache(artefacts=artefacts))),
            memory_us=_us(rounds, lambda: loaded(warm)),
            instance_us=_us(rounds, lambda: module.instantiate().close()),
            call_us=_us(rounds, lambda: [instance.call("f0", 1, 2) for _ in range(100)]) / 100,
        )


def _us(rounds: int, work: Callable[[], object]) -> float:
    spent = []
    for _ in range(rounds):
        begun = time.perf_counter_ns()
        work()
        spent.append(time.perf_counter_ns() - begun)
    return round(median(spent) / 1e3, 2)


def _module(functions: int) -> bytes:
    bodies = (
        f'(func (export "f{n}") (param i32 i32) (result i32) (local $i i32) (loop $again'
        f" (local.set $i (i32.add (local.get $i) (i32.const {n + 1}))) "
        "(local.set 0 (i32.xor (local.get 0) (local.get $i)))"
        " (br_if $again (i32.lt_u (local.get $i) (local.get 1)))) (i32.add (local.get 0) (local.get 1)))"
        for n in range(functions)
    )
    return assemble(f"(module {' '.join(bodies)})")


def lines(loads: tuple[ModuleLoad, ...]) -> list[str]:
    """For people."""
    return [
        f"module of {load.functions:,} functions, {load.bytes:,} B: loaded cold {load.cold_us:,.0f} us, from disk "
        f"{load.disk_us:,.0f} us, from memory {load.memory_us:,.0f} us; an instance {load.instance_us:,.0f} us, a call "
        f"{load.call_us:.1f} us"
        for load in loads
    ]
