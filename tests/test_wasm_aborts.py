"""States in which wasmtime ends the process: none is reached through the API of function modules. Each in a child.

The first test shows that the child would tell: the raw library does abort.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent

HEAD = """
import contextlib, os, sys, threading
from modules_kit import ADD, MEMORY, RECURSE, SPIN, UPPER, instance, module
from runtime.errors import EngineError, LimitExceeded, ModuleRefused, Refused
from runtime.wasm import Engine, ModuleLimits, with_memory
CALLER = '(import "env" "f" (func $f (param i32) (result i32)))' \\
    '(func (export "go") (param i32) (result i32) local.get 0 call $f)' + MEMORY
def refused(call, *words):
    try:
        call()
    except EngineError as error:
        assert all(word in str(error) for word in words), str(error)
    else:
        raise AssertionError("not refused")
"""

ABORT = """
import wasmtime
engine = wasmtime.Engine()
one, two = wasmtime.Store(engine), wasmtime.Store(engine)
memory = wasmtime.Memory(one, wasmtime.MemoryType(wasmtime.Limits(1, 1)))
memory.size(two)
"""

SCRIPTS = {
    "what belongs to another store": """
a, b = instance(ADD, MEMORY), instance(ADD, MEMORY)
a.memory.write(0, b"a"); b.memory.write(0, b"b")
a.memory, b.memory = b.memory, a.memory
assert (a.memory.read(0, 1), b.memory.read(0, 1)) == (b"b", b"a")
crossed = module(CALLER).instantiate(host={"env.f": lambda n: a.call("add", n, 1)})
assert crossed.call("go", 1) == 2
for thing in (a, a.memory, a.call, b"x"):
    refused(lambda: module(CALLER).instantiate(host={"env.f": lambda n: thing}).call("go", 1), "result of env.f")
    refused(lambda: a.call("add", thing, 1), "argument 1")
a.close()
refused(lambda: crossed.call("go", 1), "closed")
""",
    "a function lent to two instances": """
lent = {"env.f": with_memory(lambda memory, n: memory.write(0, b"%d" % n) or n)}
made = module(CALLER)
a, b = made.instantiate(host=lent), made.instantiate(host=lent)
assert (a.call("go", 1), b.call("go", 2)) == (1, 2)
assert (a.memory.read(0, 1), b.memory.read(0, 1)) == (b"1", b"2")
""",
    "several engines": """
text = ("(module " + CALLER + ")").encode()
made = [Engine().load_bytes(text).instantiate(host={"env.f": lambda n: n + 1}) for _ in range(3)]
assert [each.call("go", 1) for each in made] == [2, 2, 2]
""",
    "WASI without a WASI": """
wasi = '(import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))' \\
    '(func (export "go") (result i32) i32.const 1 i32.const 0 i32.const 1 i32.const 8 call $w)'
refused(lambda: module(wasi).call("go"), "wasi_snapshot_preview1.fd_write", "not granted")
assert module(wasi).instantiate(host={"wasi_snapshot_preview1.fd_write": lambda *a: 8}).call("go") == 8
""",
    "another stack": """
for name in ("stack", "max_wasm_stack"):
    try:
        ModuleLimits(**{name: 1 << 30})
    except TypeError:
        pass
    else:
        raise AssertionError(name)
for _ in range(50):
    refused(lambda: module(RECURSE).call("recurse"), "limit:stack")
""",
    "one instance in several threads": """
held = module(CALLER, ADD).instantiate(host={"env.f": with_memory(lambda memory, n: len(memory.read(0, 100)))})
counts = {"done": 0, "refused": 0}
def hammer():
    for _ in range(3000):
        for use in (
            lambda: held.call("add", 1, 2), lambda: held.call("go", 1), lambda: held.memory.write(0, b"x" * 99)
        ):
            try:
                use()
                counts["done"] += 1
            except Refused as error:
                assert "second thread" in str(error)
                counts["refused"] += 1
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=hammer) for _ in range(4)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
assert counts["done"] > 0 and held.call("add", 1, 2) == 3
""",
    "an instance each in several threads": """
def run():
    for _ in range(200):
        refused(lambda: module(SPIN).instantiate(limits=ModuleLimits(fuel=1000)).call("spin"), "limit:fuel")
        assert module(CALLER).instantiate(host={"env.f": lambda n: n}).call("go", 5) == 5
threads = [threading.Thread(target=run) for _ in range(4)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
""",
    "closed from its own call, and used after": """
def close(n):
    refused(held.close, "within its own call")
    refused(lambda: held.call("go", n), "within its own call")
    return n
held = module(CALLER).instantiate(host={"env.f": close})
memory = held.memory
assert held.call("go", 1) == 1
held.close()
del held
refused(lambda: memory.read(0, 1), "closed")
""",
    "a thread with a small stack": """
threading.stack_size(256 << 10)
found = []
def run():
    try:
        instance(RECURSE).call("recurse")
    except EngineError as error:
        found.append(str(error))
thread = threading.Thread(target=run)
thread.start(); thread.join()
assert "stack" in found[0], found
""",
    "deep recursion through several instances": """
deep = '(import "env" "f" (func $f (param i32) (result i32))) (func $d (export "go") (param i32) (result i32)' \\
    '(if (result i32) (i32.eqz (local.get 0)) (then (call $f (i32.const 0)))' \\
    ' (else (i32.add (i32.const 1) (call $d (i32.sub (local.get 0) (i32.const 1)))))))'
made = module(deep)
def again(n):
    return made.instantiate(host={"env.f": again}).call("go", 3000)
refused(lambda: again(0), "call each other")
""",
    "huge memories and tables": """
for parts, words in (
    (("(memory 65536)",), "limit"), (("(table 4294967295 funcref)",), "limit"), (("(memory 65537)",), "format"),
    (("(table 0 4294967295 funcref)", '(func (export "go") (loop (br_if 0 (i32.ne (i32.const -1)'
      '(table.grow (ref.null func) (i32.const 1000000))))) unreachable)'), "call failed"),
    ((MEMORY, '(func (export "go") (loop (br_if 0 (i32.ne (i32.const -1) (memory.grow (i32.const 1000)))))'
      'unreachable)'), "call failed"),
):
    refused(lambda: module(*parts).call("go"), words)
    refused(lambda: module(*parts).instantiate(
        limits=ModuleLimits(memory=1 << 32, table=10_000_000)).call("go"), "")
""",
    "no room for another instance": """
import resource
resource.setrlimit(resource.RLIMIT_AS, (40 << 30, 40 << 30))
held = []
def fill():
    for _ in range(40):
        held.append(module(CALLER).instantiate(host={"env.f": lambda n: n}))
refused(fill, "no room for an instance")
assert held[0].call("go", 3) == 3
held.clear()
assert module(CALLER).instantiate(host={"env.f": lambda n: n}).call("go", 3) == 3
""",
    "no Python stack left": """
held = module(CALLER).instantiate(host={"env.f": lambda n: n + 1})
seen = []
def deep():
    with contextlib.suppress(RecursionError):
        deep()
    if len(seen) < 60:
        try:
            seen.append(held.call("go", 7))
        except RecursionError as error:
            seen.append(error)
sys.setrecursionlimit(200)
deep()
sys.setrecursionlimit(1000)
assert 8 in seen and any(isinstance(each, RecursionError) for each in seen) and held.call("go", 1) == 2
""",
    "a fork in a host function": """
def fork(n):
    child = os.fork()
    if not child:
        return 0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    return n
held = module(CALLER).instantiate(host={"env.f": fork})
if not held.call("go", 3):
    os._exit(7)
""",
    "calls in slices, dropped and closed in any order": """
import gc
count = '(func (export "count") (loop (call $f (i32.const 1)) drop (br 0)))'
for number in range(200):
    held = module(CALLER, count).instantiate(host={"env.f": lambda n: n})
    call = held.start("count", slice=500)
    call.advance()
    for drop in ((lambda: held.close()), (lambda: call.cancel()), (lambda: None))[number % 3 :]:
        drop()
    if number % 2:
        del held
        gc.collect(0)
        call.cancel()
    else:
        del call
        gc.collect(0)
        held.close()
""",
    "calls in slices in several threads and within each other": """
spin = module(SPIN)
def run():
    for _ in range(50):
        with spin.instantiate() as held, held.start("spin", slice=1000) as call:
            [call.advance() for _ in range(5)]
def inner(n):
    if n:
        return module(CALLER).instantiate(host={"env.f": inner}).start("go", n - 1).result()
    return 7
threads = [threading.Thread(target=run) for _ in range(4)]
[thread.start() for thread in threads]
assert module(CALLER).instantiate(host={"env.f": inner}).start("go", 2).result() == 7
refused(lambda: module(CALLER).instantiate(host={"env.f": inner}).start("go", 9).result(), "call each other")
[thread.join() for thread in threads]
""",
    "the whole Python stack within a slice": """
def deep(n):
    def down():
        down()
    try:
        down()
    except RecursionError:
        return n
held = module(CALLER).instantiate(host={"env.f": deep})
assert held.start("go", 3).result() == 3
""",
    "objects dropped in any order": """
import gc
for _ in range(300):
    held = module(CALLER).instantiate(host={"env.f": lambda n: held and n})
    held.call("go", 1)
    memory = held.memory
    del held
    gc.collect(0)
    memory.read(0, 1)
""",
}


def child(script: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def test_the_library_itself_does_end_the_process() -> None:
    assert child(ABORT).returncode < 0


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_process_lives(name: str) -> None:
    ended = child(HEAD + SCRIPTS[name])
    assert (ended.returncode, ended.stderr) == (0, "")
