"""The raw calls against wasmtime's safe ones, on the same modules."""

from __future__ import annotations

import pytest
import wasmtime

from runtime.wasm import raw
from runtime.wasm.abi import HOST, VALUE_NAMES
from runtime.wasm.engine import driver, engine, shim

BODIES = {
    "number": "(i64.const -2)",
    "counts": "(global.set $g (i64.add (global.get $g) (i64.const 3))) (global.get $g)",
    "unreachable": "unreachable",
    "divides": "(i64.div_u (i64.const 1) (i64.const 0))",
    "outside": "(i64.load (i32.const 65536))",
    "deep": "(i64.add (call $deep) (i64.const 1))",
    "endless": "(loop $l (br $l)) (i64.const 0)",
    "indirect": "(call_indirect (result i64) (i32.const 0))",
}
MODULE = (
    '(module (memory (export "memory") 1 4) (table 1 funcref) (global $g (export "g") (mut i64) (i64.const 0))'
    + "".join(f'(func ${name} (export "{name}") (result i64) {body})' for name, body in BODIES.items())
    + ")"
)
FUEL = 100_000


@pytest.fixture
def module() -> wasmtime.Module:
    return wasmtime.Module(engine(), MODULE)


@pytest.mark.parametrize("name", BODIES)
def test_the_raw_call_is_the_safe_call(module: wasmtime.Module, name: str) -> None:
    store = wasmtime.Store(engine())
    function = wasmtime.Instance(store, module, []).exports(store)[name]
    assert isinstance(function, wasmtime.Func)
    entry = raw.Linked(wasmtime.Store(engine()), module, ()).entry(name)
    for _ in range(3):
        store.set_fuel(FUEL)
        result = entry.call(FUEL)
        try:
            assert result == function(store) & 0xFFFFFFFFFFFFFFFF
            assert entry.fuel_left() == store.get_fuel()
        except wasmtime.Trap as trap:
            assert trap.trap_code is not None
            assert (result, entry.trap_name) == (-1, trap.trap_code.name.lower())


def test_the_raw_memory_is_the_safe_memory(module: wasmtime.Module) -> None:
    store = wasmtime.Store(engine())
    linked = raw.Linked(store, module, ())
    memory = linked.memory("memory")
    safe = wasmtime.Memory._from_raw(linked.export("memory").of.memory)
    memory.view()[65530:] = b"abcdef"
    assert safe.read(store, 65530) == b"abcdef"
    memory.grow(2)
    assert (memory.size(), safe.size(store)) == (3 * 65536, 3)
    assert bytes(memory.view()[65530:65538]) == b"abcdef\0\0"
    with pytest.raises(raw.Unavailable):
        memory.grow(2)
    assert memory.size() == 3 * 65536


def test_a_memory_never_moves(module: wasmtime.Module) -> None:
    memory = raw.Linked(wasmtime.Store(engine()), module, ()).memory("memory")
    before = memory.view()
    memory.grow(3)
    memory.view()[5] = 99
    assert before[5] == 99


def test_the_raw_global_is_the_safe_global(module: wasmtime.Module) -> None:
    store = wasmtime.Store(engine())
    linked = raw.Linked(store, module, ())
    cell = linked.global_cell("g", 0x7E)
    safe = wasmtime.Global._from_raw(linked.export("g").of.global_)
    linked.entry("counts").call(FUEL)
    assert cell.get() == safe.value(store) == 3
    cell.set((1 << 64) - 5)
    assert safe.value(store) == -5
    assert cell.holds((1 << 64) - 1) and not cell.holds(1 << 64)


def test_a_missing_export_and_a_trap_at_instantiation_have_names(module: wasmtime.Module) -> None:
    with pytest.raises(KeyError):
        raw.Linked(wasmtime.Store(engine()), module, ()).export("other")
    outside = wasmtime.Module(engine(), '(module (memory 1) (data (i32.const 65535) "ab"))')
    with pytest.raises(raw.InstantiationTrap):
        raw.Linked(wasmtime.Store(engine()), outside, ())


def test_the_shim_offers_exactly_the_declared_functions() -> None:
    kinds = {str(code): name for name, code in ((kind, kind) for kind in VALUE_NAMES.values())}
    found = {}
    for export in shim().exports:
        if isinstance(export.type, wasmtime.FuncType):
            found[export.name] = tuple(
                [kinds[str(kind)] for kind in types] for types in (export.type.params, export.type.results)
            )
    declared = {
        name: tuple([VALUE_NAMES[kind] for kind in types] for types in function.signature)
        for name, function in HOST.items()
    }
    assert found == declared
    assert [entry.name for entry in driver().imports][:2] == ["memory", "memory"]
