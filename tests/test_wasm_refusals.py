"""Whatever is wrong with a module is refused by its own name before any of its code runs; misuse hurts nobody else."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from wasm_kit import arguments, envelope, guest, imports, spec_of, wat

from runtime.errors import CallFailed, ModuleRefused, SignatureRefused
from runtime.wasm import Engine, ModuleLimits, WasmGuests, assemble
from runtime.wasm.abi import HOST, I32
from runtime.wasm.capabilities import Capability, lend, pure
from runtime.wasm.signatures import Demand, sign
from runtime.wasm.trust import ed25519, moment, trusting
from runtime.wasm.wasi import Wasi

SEED = bytes(range(32))
DEMAND = Demand(trusting(ed25519.public_key(SEED)), moment(1_700_000_000_000))
# A start function that would be noticed: it calls the host.
STARTS = '(import "env" "ran" (func $ran)) (start $ran)'
RUNS = f"(module {STARTS})"


def altered(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def with_section(data: bytes, name: bytes, content: bytes) -> bytes:
    body = bytes([len(name)]) + name + content
    return data + b"\0" + bytes([len(body)]) + body


WASM = assemble(RUNS)
# name -> (module, what is refused and by which words)
FUNCTION_MODULES: dict[str, tuple[bytes, str, str]] = {
    "nothing": (b"", "format", "neither the wasm magic number"),
    "malformed": (WASM[:-2], "format", "exceeds what is left"),
    "a component": (b"\0asm\x0d\0\x01\0" + WASM[8:], "format", ""),
    "invalid": (assemble(f"(module {STARTS} (func (result i32) i64.const 1))"), "format", "type mismatch"),
    "too large": (with_section(WASM, b"x", b"y" * 100) + b"\0\x7f\x01z" + bytes(125), "size", "more than 200"),
    "unsigned": (WASM, "signature", "unsigned"),
    "badly signed": (altered(sign(WASM, SEED)), "signature", "hash_mismatch"),
    "signed by a stranger": (sign(WASM, bytes(32)), "signature", "bad_signature"),
    "unlinkable": (assemble(f'(module (import "b" "f" (func)) {STARTS})'), "import", "b.f () -> () is not given"),
    "WASI that is not granted": (
        assemble(f'(module (import "wasi_snapshot_preview1" "sock_recv" (func)) {STARTS})'), "import", "not granted"
    ),
    "over the limit of memory": (assemble(f"(module {STARTS} (memory 99))"), "limit", "its memory begins with"),
    "over the limit of tables": (assemble(f"(module {STARTS} (table 9999 funcref))"), "limit", "its 1 tables have"),
    "two memories": (assemble(f"(module {STARTS} (memory 1) (memory 1))"), "limit", "it has 2 memories"),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTION_MODULES)
def test_a_function_module_that_is_wrong_is_refused_by_name_and_does_not_start(name: str) -> None:
    data, check, words = FUNCTION_MODULES[name]
    ran: list[int] = []
    engine = Engine(200 if check == "size" else 1 << 20, DEMAND if check == "signature" else None)
    with pytest.raises(ModuleRefused) as caught:
        engine.load_bytes(data).instantiate(
            {"env.ran": lambda: ran.append(1)}, ModuleLimits(memory=4 * 65_536, table=1_000), {}
        )
    assert (caught.value.check, ran) == (check, []) and words in str(caught.value) and "\n" not in str(caught.value)
    assert (check == "signature") == isinstance(caught.value, SignatureRefused)


def test_the_same_modules_do_start_where_nothing_is_wrong() -> None:
    ran: list[int] = []
    Engine(demand=DEMAND).load_bytes(sign(WASM, SEED)).instantiate({"env.ran": lambda: ran.append(1)})
    assert ran == [1]


AGENT = assemble(wat())
AGENTS: dict[str, tuple[bytes, str]] = {
    "too large": (with_section(AGENT, b"x", b"y" * 100) + b"\0\x7f\x01z" + bytes(125), "size"),
    "another module": (assemble(wat(step="unreachable")), "digest"),
    "unsigned": (AGENT, "signature"),
    "badly signed": (altered(sign(AGENT, SEED)), "signature"),
    "malformed": (AGENT[:-1], "format"),
    "with a start function": (assemble(wat(after="(func $s unreachable) (start $s)")), "format"),
    "for another ABI": (with_section(AGENT, b"wasm-engine.abi", b"2"), "abi"),
    "without an export": (assemble("(module)"), "abi"),
    "with an import that is not offered": (assemble(wat(before='(import "env" "f" (func))')), "import"),
    "with an import of another type": (assemble(wat(before='(import "engine" "send" (func))')), "import"),
    "with files": (assemble(wat(before='(import "wasi_snapshot_preview1" "path_open" (func (param i32)))')), "import"),
    "over its memory's limit": (assemble(wat(memory='(memory (export "memory") 99)')), "limit"),
    "over its tables' limit": (assemble(wat(after="(table 2000 funcref)")), "limit"),
    "with a segment outside": (assemble(wat(after='(data (i32.const 65536) "x")')), "format"),
}


@pytest.mark.parametrize("name", AGENTS)
def test_an_agents_module_that_is_wrong_is_refused_by_name(name: str) -> None:
    wasm, check = AGENTS[name]
    guests = WasmGuests(len(AGENT) + 50 if check == "size" else 1 << 20, DEMAND if check == "signature" else None)
    spec = spec_of(AGENT if check == "digest" else wasm)
    with pytest.raises(ModuleRefused) as caught:
        guests.instantiate(0, spec, wasm)
    assert caught.value.check == check and "\n" not in str(caught.value)


# --- misuse -----------------------------------------------------------------------------------------------------------

TRAPS = b'(module (func (export "f") (param i32) (result i32) unreachable))'
COUNT_UP = "(i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))"
EDGES = (0, 1, -1, -(2**31), 65_535, 65_536)


def misuse(name: str, values: tuple[int, ...]) -> str:
    """A step that calls this import with these arguments, and then once more, and then writes to its own memory."""
    signature = HOST[name].signature
    assert set(signature.parameters) <= {I32}
    call = f"(drop (call ${name} {' '.join(f'(i32.const {value})' for value in values)}))"
    return f"{call} {call} (i32.store (i32.const 0) (i32.const 7)) (i32.const 0)"


@pytest.mark.parametrize("name", sorted(HOST))
def test_an_agent_that_misuses_an_import_hurts_only_itself(name: str) -> None:
    neighbour = guest(wat(step=f"{COUNT_UP} (i32.const 0)"))
    count = len(HOST[name].signature.parameters)
    seen = set()
    for number, values in enumerate(itertools.product(EDGES, repeat=count)):
        held = guest(wat(before=imports(name), step=misuse(name, values)))
        step = held.run(arguments(listed=number % 2 == 0, inbox=[envelope(b"some")], fuel=20_000))
        seen.add(step.status)
        assert neighbour.run(arguments()).status == "ok"
        held.close()
    assert seen <= {"ok", "fuel"} | {s for s in seen if s.startswith("trap:")}
    assert int.from_bytes(neighbour.memory()[8:12], "little") == len(EDGES) ** count
    assert not any(neighbour.memory()[:8])


def test_an_agent_that_calls_every_import_in_an_endless_loop_ends_at_its_limit() -> None:
    calls = " ".join(
        f"(drop (call ${name} {' '.join('(i32.const -1)' for _ in HOST[name].signature.parameters)}))" for name in HOST
    )
    held = guest(wat(before=imports(*HOST), step=f"(loop {calls} (br 0)) (i32.const 0)"))
    assert held.run(arguments(fuel=200_000)).status == "fuel"


@pytest.mark.parametrize("what", ["host", "wasi", "capability", "library"])
def test_a_function_module_that_misuses_what_it_was_lent_leaves_its_neighbours_whole(what: str) -> None:
    calls: dict[str, tuple[str, Callable[[], dict[str, object]]]] = {
        "host": (
            '(import "env" "f" (func $f (param i32) (result i32)))',
            lambda: {"host": {"env.f": lambda n: n // 0}},
        ),
        "wasi": (
            '(import "wasi_snapshot_preview1" "fd_close" (func $f (param i32) (result i32)))',
            lambda: {"host": Wasi().functions()},
        ),
        "capability": (
            '(import "own" "f" (func $f (param i32) (result i32)))',
            lambda: {"host": lend((Capability("own", f=pure("i32 -> i32", lambda n: 1 << 40)),))},
        ),
        "library": (
            '(import "lib" "f" (func $f (param i32) (result i32)))',
            lambda: {"modules": {"lib": Engine().load_bytes(TRAPS)}},
        ),
    }  # fmt: skip
    text, lent = calls[what]
    module = Engine().load_bytes(
        f'(module {text} (memory (export "memory") 1) (func (export "go") (param i32) (result i32)'
        " (i32.store (i32.const 0) (i32.const 9)) local.get 0 call $f))".encode()
    )
    with module.instantiate(**lent()) as bad, module.instantiate(**lent()) as good:  # type: ignore[arg-type]
        for value in EDGES:
            try:
                bad.call("go", value)
            except Exception as error:
                assert isinstance(error, CallFailed | ZeroDivisionError) or "result of own.f" in str(error)
        assert good.memory.read(0, 4) == bytes(4) and bad.memory.read(0, 1) == b"\x09"


def test_vectors_compute_in_function_modules_and_in_agents() -> None:
    body = """(i32x4.extract_lane 3 (i32x4.add (i32x4.mul (v128.const i32x4 1 2 3 4) (i32x4.splat (i32.const {n})))
      (v128.const i32x4 10 20 30 40)))"""
    module = Engine().load_bytes(f'(module (func (export "f") (result i32) {body.format(n=5)}))'.encode())
    assert module.call("f") == 4 * 5 + 40
    assert guest(wat(step=body.format(n=5))).run(arguments()).status == "agent_error:60"
    assert guest(wat(step=body.format(n=-10))).run(arguments()).status == "ok"
