"""Modules that import from each other by name (WAS-7): linked, or refused by name before any code runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_kit import here
from modules_kit import ADD, MEMORY, SPIN

from runtime.errors import CallFailed, LimitExceeded, ModuleRefused, Refused
from runtime.wasm import Engine, Module, ModuleLimits, linking, with_memory

BOOM = "(func $boom unreachable) (start $boom)"  # whatever runs, runs into this


def load(*parts: str, name: str = "module") -> Module:
    return Engine().load_bytes(f"(module {' '.join(parts)})".encode(), name)


def taking(*names: str, body: str = "") -> str:
    """Imports of functions (i32, i32) -> i32, and an export `go` that adds what each gives for (1, 2)."""
    lines = [
        f'(import "{name.split(".")[0]}" "{name.split(".")[1]}" (func $f{number} (param i32 i32) (result i32)))'
        for number, name in enumerate(names)
    ]
    calls = " ".join(f"i32.const 1 i32.const 2 call $f{number} i32.add" for number in range(len(names)))
    return f'{" ".join(lines)} {body} (func (export "go") (result i32) i32.const 0 {calls})'


MATH = load(ADD, name="math")
MUL = load('(func (export "mul") (param i32 i32) (result i32) local.get 0 local.get 1 i32.mul)', name="more")


def test_one_module_calls_what_another_exports() -> None:
    app = load(taking("math.add", "more.mul"))
    with app.instantiate(modules={"math": MATH, "more": MUL}) as held:
        assert held.call("go") == 5
    assert app.instantiate(modules={"math": MATH, "more": MUL, "unused": load(BOOM)}).call("go") == 5


def test_modules_and_host_functions_are_linked_together_each_with_its_own_memory() -> None:
    seen: list[tuple[str, bytes]] = []

    def noting(memory: Any, a: int, b: int) -> int:
        seen.append(("noted", memory.read(0, 3)))
        return a * 10 + b

    library = load(taking("env.f"), '(memory (export "memory") 1) (data (i32.const 0) "lib")',
                   '(func (export "twice") (param i32 i32) (result i32) (i32.mul (i32.const 2) (call $f0 (i32.const 1)'
                   " (i32.const 2))))")  # fmt: skip
    app = load(taking("lib.twice", "env.f"), '(memory (export "memory") 1) (data (i32.const 0) "app")')
    with app.instantiate({"env.f": with_memory(noting)}, modules={"lib": library}) as held:
        assert held.call("go") == 24 + 12
        assert held.memory.read(0, 3) == b"app"
    assert seen == [("noted", b"lib"), ("noted", b"app")]


def test_a_chain_is_linked_from_its_end_and_a_shared_module_is_there_once() -> None:
    counter = load(
        '(global $n (mut i32) (i32.const 0)) (func (export "next") (param i32 i32) (result i32)'
        " (global.set $n (i32.add (global.get $n) (i32.const 1))) global.get $n)"
    )
    passing = '(func (export "on") (param i32 i32) (result i32) local.get 0 local.get 1 call $f0)'
    left, right = load(taking("counter.next"), passing), load(taking("counter.next"), passing)
    app = load(taking("left.on", "right.on", "counter.next"))
    given = {"right": right, "left": left, "counter": counter}
    with app.instantiate(modules=given) as held:
        assert held.call("go") == 1 + 2 + 3
    assert app.instantiate(modules=given).call("go") == 6  # fresh, all of them


def test_memories_globals_and_tables_are_shared() -> None:
    owner = load(
        '(memory (export "m") 1 4) (global (export "g") (mut i32) (i32.const 7))'
        '(global (export "c") i32 (i32.const 5))'
        '(table (export "t") 2 funcref) (func $one (result i32) i32.const 11) (elem (i32.const 1) $one)'
        '(data (i32.const 0) "\\2a")'
    )
    app = load(
        '(import "o" "m" (memory 1)) (import "o" "g" (global $g (mut i32))) (import "o" "c" (global $c i32))'
        '(import "o" "t" (table 1 funcref)) (type $k (func (result i32)))'
        '(func (export "go") (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1)))'
        " (i32.add (global.get $g) (i32.add (global.get $c) (i32.add (i32.load8_u (i32.const 0))"
        " (call_indirect (type $k) (i32.const 1))))))"
        '(func (export "grow") (result i32) (memory.grow (i32.const 1))) (export "memory" (memory 0))'
    )
    with app.instantiate(modules={"o": owner}) as held:
        assert [held.call("go"), held.call("go")] == [8 + 5 + 42 + 11, 9 + 5 + 42 + 11]
        assert held.call("grow") == 1 and len(held.memory) == 2 * 65_536


# --- refusals ---------------------------------------------------------------------------------------------------------


def named(**modules: str) -> dict[str, Module]:
    return {name: load(text, BOOM, name=name) for name, text in modules.items()}


GO = '(func (export "f") (param i32 i32) (result i32) i32.const 1)'
REFUSED: dict[str, tuple[str, dict[str, Module], str]] = {
    "no such module": (taking("b.f"), {}, "b.f (i32, i32) -> (i32) is not given"),
    "no such export": (taking("b.f"), named(b=ADD), "b.f is not exported; it exports add"),
    "no export at all": (taking("b.f"), named(b=""), "b.f is not exported; it exports nothing"),
    "another kind": (
        taking("b.f"),
        named(b='(memory (export "f") 1)'),
        "b.f is imported as a function; it is a memory",
    ),
    "another type": (
        taking("b.f"),
        named(b='(func (export "f") (param i32) (result i32) i32.const 1)'),
        "b.f is imported as (i32, i32) -> (i32); its type is (i32) -> (i32)",
    ),
    "in a chain": (taking("b.f"), named(b=taking("c.f", body=GO)), "c.f (i32, i32) -> (i32) is not given"),
    "itself": (taking("a.f"), named(a=taking("a.f", body=GO)), "a circle: a imports a"),
    "a circle": (
        taking("a.f"),
        named(a=taking("b.f", body=GO), b=taking("c.f", body=GO), c=taking("a.f", body=GO)),
        "a circle: a imports b imports c imports a",
    ),
    "a circle behind others": (
        taking("x.f", "a.f"),
        named(x=GO, a=taking("x.f", "b.f", body=GO), b=taking("x.f", "a.f", body=GO)),
        "a circle: a imports b imports a",
    ),
    "an immutable global": (
        '(import "b" "g" (global (mut i32)))',
        named(b='(global (export "g") i32 (i32.const 1))'),
        "b.g is imported as a mutable i32; it is a constant i32",
    ),
    "a global of another type": (
        '(import "b" "g" (global i64))',
        named(b='(global (export "g") i32 (i32.const 1))'),
        "b.g is imported as a constant i64; it is a constant i32",
    ),
    "a memory that is too small": (
        '(import "b" "m" (memory 2))',
        named(b='(memory (export "m") 1)'),
        "b.m is imported as of 2 to any number of pages; it is of 1 to any number of pages",
    ),
    "a memory without a maximum": (
        '(import "b" "m" (memory 1 2))',
        named(b='(memory (export "m") 1)'),
        "it is of 1 to any number of pages",
    ),
    "a table of other things": (
        '(import "b" "t" (table 1 externref))',
        named(b='(table (export "t") 1 funcref)'),
        "b.t is imported as a table of externref; it is one of funcref",
    ),
    "what our rewriting adds": (
        '(import "b" "wasm-engine.limit" (global (mut i32)))',
        named(b=f'{MEMORY} (func (export "g") (drop (memory.grow (i32.const 1))))'),
        "is not exported",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_linked_is_refused_by_name_and_none_of_it_runs(what: str) -> None:
    text, modules, words = REFUSED[what]
    with pytest.raises(ModuleRefused) as caught:
        load(text, BOOM, name="app").instantiate(modules=modules)
    assert caught.value.check == "import" and words in str(caught.value) and "\n" not in str(caught.value)


def test_the_same_modules_do_run_when_all_is_there() -> None:
    with pytest.raises(CallFailed, match="trap:unreachable"):
        load(taking("b.f"), BOOM).instantiate(modules=named(b=GO))


def test_a_function_that_module_and_host_both_give_is_refused() -> None:
    with pytest.raises(ModuleRefused, match=r"math\.add is given by a module and by the host"):
        load(taking("math.add")).instantiate({"math.add": lambda a, b: 0}, modules={"math": MATH})


def test_so_many_modules_and_no_more() -> None:
    def chain(length: int) -> dict[str, Module]:
        texts = {f"m{n}": taking(f"m{n + 1}.f", body=GO) for n in range(length - 1)}
        return {name: load(text) for name, text in (texts | {f"m{length - 1}": GO}).items()}

    app = load(taking("m0.f"))
    assert app.instantiate(modules=chain(linking.PARTS_MAX - 1)).call("go") == 1
    with pytest.raises(ModuleRefused, match=f"more than {linking.PARTS_MAX} modules"):
        app.instantiate(modules=chain(linking.PARTS_MAX))


@pytest.mark.parametrize("modules", [[MATH], {"math": "add.wat"}, {1: MATH}, {"": MATH}, {"math": None}])
def test_what_is_no_module_is_refused(modules: Any) -> None:
    with pytest.raises(Refused, match="give"):
        load(taking("math.add")).instantiate(modules=modules)


# --- limits -----------------------------------------------------------------------------------------------------------


def test_limits_hold_in_every_part_and_their_names_are_told() -> None:
    app = load('(import "b" "spin" (func $f)) (func (export "go") call $f)')
    with pytest.raises(LimitExceeded, match="limit:fuel"):
        app.instantiate(modules={"b": load(SPIN)}, limits=ModuleLimits(fuel=1000)).call("go")
    grows = load(f'{MEMORY} (func (export "spin") (drop (memory.grow (i32.const 9))))')
    with app.instantiate(modules={"b": grows}, limits=ModuleLimits(memory=4 * 65_536)) as held:
        for _ in range(2):
            with pytest.raises(LimitExceeded, match="limit:memory"):
                held.call("go")
    with pytest.raises(ModuleRefused, match="its memory begins with 131072 bytes"):
        app.instantiate(modules={"b": load('(memory 2) (func (export "spin"))')}, limits=ModuleLimits(memory=65_536))


def test_a_host_function_of_a_part_may_raise_and_the_instance_lives() -> None:
    def failing(a: int, b: int) -> int:
        raise ZeroDivisionError("of a part")

    library = load(taking("env.f"), '(func (export "f") (param i32 i32) (result i32) (call $f0 (i32.const 0)'
                   ' (i32.const 0))) (func (export "g") (param i32 i32) (result i32) i32.const 4)')  # fmt: skip
    app = load(taking("lib.g"))
    bad = load('(import "lib" "f" (func $f (param i32 i32) (result i32)))'
               '(func (export "bad") (result i32) (call $f (i32.const 1) (i32.const 1)))')  # fmt: skip
    with bad.instantiate({"env.f": failing}, modules={"lib": library}) as held:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError, match="of a part"):
                held.call("bad")
    assert app.instantiate({"env.f": failing}, modules={"lib": library}).call("go") == 4


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_command_line_links_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "app.wat").write_text(f"(module {taking('math.add')})")
    (tmp_path / "math.wat").write_text(f"(module {ADD})")
    (tmp_path / "other.wat").write_text("(module)")
    app, math = str(tmp_path / "app.wat"), f"math={tmp_path / 'math.wat'}"
    assert here(capsys, "module", "call", "--with", math, app, "go").out == "3\n"
    for given, words in (
        (f"math={tmp_path / 'other.wat'}", "math.add is not exported"),
        ("math", "is no NAME=FILE"),
        (f"math={tmp_path / 'nothing.wat'}", "cannot be read"),
    ):
        ended = here(capsys, "module", "call", "--with", given, app, "go")
        assert ended.code == 4 and words in ended.err and ended.err.count("\n") == 1
