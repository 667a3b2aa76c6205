"""The cache of compiled modules (WAS-6): budgets, pins, verified artefacts; what damages it costs time alone."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime
from modules_kit import ADD, MEMORY, RECURSE, UPPER
from wasm_kit import arguments, spec_of, wat

from harness.adapters.folder import CompilerEvent, ObservedCompiler, Seen, SimFolder
from runtime.errors import ModuleRefused, Refused
from runtime.lru import CacheEvent, Lru
from runtime.wasm import Engine, WasmGuests, assemble, raw
from runtime.wasm.artefacts import MAGIC, Artefacts, DiskFolder, Entry
from runtime.wasm.compiled import ModuleCache, artefact_name
from runtime.wasm.engine import FINGERPRINT, SETTINGS, engine

KEY = b"sixteen bytes or more"
NAME = "ab" * 32
ROOT = Path(__file__).resolve().parent.parent


def lru(budget: int = 10) -> tuple[Lru[str], list[CacheEvent]]:
    seen: list[CacheEvent] = []
    return Lru(budget, seen.append), seen


def key(name: str) -> tuple[str, str]:
    return name, ""


# --- the order --------------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_longest_leaves_and_the_budget_holds_at_every_moment() -> None:
    cache, seen = lru()
    for name in "abc":
        assert cache.put(key(name), name, 4)
        cache.get(key("a"))
    assert [cache.get(key(name)) for name in "abc"] == ["a", None, "c"]
    assert [event.key[0] for event in seen if event.op == "evicted"] == ["b"]
    assert max(event.held for event in seen) == cache.held == 8


def test_what_is_larger_than_the_budget_is_not_kept_and_evicts_nothing() -> None:
    cache, _ = lru()
    cache.put(key("a"), "a", 4)
    assert not cache.put(key("large"), "large", 11)
    assert (cache.get(key("a")), cache.get(key("large")), cache.held) == ("a", None, 4)
    assert cache.put(key("fits"), "fits", 10) and cache.held == 10


def test_a_pinned_entry_stays_and_what_does_not_fit_beside_it_is_not_kept() -> None:
    cache, seen = lru()
    cache.put(key("a"), "a", 4)
    pins = [cache.pin(key("a")), cache.pin(key("a"))]
    for name in "bcd":
        cache.put(key(name), name, 6)
    assert cache.get(key("a")) == "a" and not cache.put(key("e"), "e", 7)
    pins[0].release()
    pins[0].release()  # twice is once
    assert not cache.put(key("e"), "e", 7)
    pins[1].release()
    assert cache.put(key("e"), "e", 7) and cache.get(key("a")) is None
    assert seen[-1].op == "missed"


def test_a_pin_that_is_dropped_is_released_and_one_on_nothing_is_none() -> None:
    cache, _ = lru()
    cache.put(key("a"), "a", 10)
    pin = cache.pin(key("a"))
    del pin
    gc.collect()
    assert cache.put(key("b"), "b", 10)
    cache.pin(key("nothing")).release()
    assert cache.put(key("c"), "c", 10)


# --- artefacts --------------------------------------------------------------------------------------------------------


def artefacts(budget: int = 10_000) -> tuple[Artefacts, SimFolder]:
    folder = SimFolder([])
    return Artefacts(folder, KEY, budget), folder


def test_an_artefact_comes_back_as_it_was_and_under_no_other_name_or_key() -> None:
    kept, folder = artefacts()
    assert kept.put(NAME, b"code") and kept.get(NAME) == b"code" and kept.get("cd" * 32) is None
    folder.files["cd" * 32], folder._stamps["cd" * 32] = folder.files[NAME], 1
    assert kept.get("cd" * 32) is None and kept.get(NAME) == b"code"
    assert Artefacts(folder, b"another key, as long", 10_000).get(NAME) is None
    assert NAME not in folder.files  # a file that is no good is removed


def test_no_flipped_bit_no_cut_and_no_added_byte_is_taken() -> None:
    kept, folder = artefacts()
    kept.put(NAME, b"some machine code")
    good = folder.files[NAME]
    altered = [good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :] for at in range(len(good)) for bit in range(8)]
    for data in (*altered, *(good[:length] for length in range(len(good))), good + b"\0", MAGIC, good[8:]):
        folder.files[NAME], folder._stamps[NAME] = data, 1
        assert kept.get(NAME) is None and NAME not in folder.files
    folder.files[NAME], folder._stamps[NAME] = good, 1
    assert kept.get(NAME) == b"some machine code"


def test_the_folder_is_bounded_and_its_least_recent_file_leaves() -> None:
    size = len(MAGIC) + 64 + 100
    kept, folder = artefacts(3 * size)
    names = [digit * 64 for digit in "abcd"]
    for name in names[:3]:
        assert kept.put(name, bytes(100))
    assert kept.get(names[0]) is not None
    assert kept.put(names[3], bytes(100))
    assert sorted(folder.files) == [names[0], names[2], names[3]]
    assert not kept.put(names[1], bytes(4 * size)) and len(folder.files) == 3
    assert kept.put(names[0], bytes(50)) and len(folder.files) == 3


class FailingFolder(SimFolder):
    """A disk on which one operation fails."""

    def __init__(self, *failing: str) -> None:
        super().__init__([])
        self._failing = failing

    def entries(self) -> list[Entry]:
        self._fail("entries")
        return super().entries()

    def read(self, name: str, most: int) -> bytes:
        self._fail("read")
        return super().read(name, most)

    def write(self, name: str, data: bytes, stamp: int) -> None:
        self._fail("write")
        super().write(name, data, stamp)

    def touch(self, name: str, stamp: int) -> None:
        self._fail("touch")
        super().touch(name, stamp)

    def remove(self, name: str) -> None:
        self._fail("remove")
        super().remove(name)

    def _fail(self, what: str) -> None:
        if what in self._failing:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("failing", ["entries", "read", "write", "touch", "remove"])
def test_a_disk_that_fails_costs_time_and_no_result(failing: str) -> None:
    folder = FailingFolder(failing)
    for _ in range(2):
        cache = ModuleCache(0, Artefacts(folder, KEY))
        assert Engine(cache=cache).load_bytes(f"(module {ADD})".encode()).call("add", 1, 2) == 3
        for name in folder.files:
            folder.files[name] = b"damaged"


def test_a_key_that_is_none_and_a_folder_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="at least 16 secret bytes"):
        Artefacts(DiskFolder(tmp_path), b"short")
    with pytest.raises(Refused, match="give 0 or more"):
        Artefacts(DiskFolder(tmp_path), KEY, -1)
    with pytest.raises(Refused, match="give 0 or more"):
        ModuleCache(-1)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below", "a\0b"):
        with pytest.raises(Refused, match="give a folder for compiled modules") as caught:
            DiskFolder(path)
        assert "\n" not in str(caught.value)


def test_files_of_a_folder_are_whole_private_and_in_the_order_of_use(tmp_path: Path) -> None:
    kept = Artefacts(DiskFolder(tmp_path / "cache"), KEY, 1000)
    names = [digit * 64 for digit in "abc"]
    for name in names:
        kept.put(name, name.encode())
    kept.get(names[0])
    stamps = {entry.name: entry.stamp for entry in DiskFolder(tmp_path / "cache").entries()}
    assert sorted(stamps, key=lambda name: stamps[name]) == [names[1], names[2], names[0]]
    assert sorted(os.listdir(tmp_path / "cache")) == names
    if os.name == "posix":
        assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
        (tmp_path / "cache" / names[1]).unlink()
        (tmp_path / "cache" / names[1]).symlink_to(tmp_path / "cache" / names[0])
        assert kept.get(names[1]) is None


# --- two levels -------------------------------------------------------------------------------------------------------


def observed(folder: SimFolder, budget: int = 1 << 20) -> tuple[ModuleCache, Seen]:
    seen: Seen = []
    return ModuleCache(budget, Artefacts(folder, KEY), compiler=ObservedCompiler(seen), note=seen.append), seen


def compilers(seen: Seen) -> list[str]:
    return [event.op for event in seen if isinstance(event, CompilerEvent)]


TOOL = f"(module {MEMORY} {ADD} {UPPER} {RECURSE})".encode()


def test_a_module_is_compiled_once_for_all_processes_that_share_a_folder() -> None:
    folder = SimFolder([])
    compiler: Seen = []
    shared = ObservedCompiler(compiler)
    for _ in range(3):
        engine_ = Engine(cache=ModuleCache(1 << 20, Artefacts(folder, KEY), compiler=shared))
        with engine_.load_bytes(TOOL).instantiate() as tool:
            assert tool.call_bytes("upper", b"abc") == b"ABC" and tool.call("add", 2, 3) == 5
        assert engine_.load_bytes(TOOL).call("add", 1, 1) == 2
    assert compilers(compiler) == ["compiled", "loaded", "loaded"] and len(folder.files) == 1


def test_a_damaged_artefact_never_reaches_the_engine_and_is_made_anew() -> None:
    folder = SimFolder([])
    cache, seen = observed(folder, 0)
    tool = Engine(cache=cache).load_bytes(TOOL)
    tool.compiled()
    (name, good), *_ = folder.files.items()
    for at in range(0, len(good), len(good) // 40):
        folder.files[name] = good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :]
        seen.clear()
        assert tool.call("add", 2, 3) == 5
        assert compilers(seen) == ["compiled"] and folder.files[name] == good


def test_code_for_another_machine_or_other_settings_is_not_even_looked_for() -> None:
    wasm = assemble(TOOL.decode())
    names = {artefact_name(fingerprint, wasm) for fingerprint in (FINGERPRINT, FINGERPRINT + " ", "")}
    assert len(names) == 3 and artefact_name(FINGERPRINT, wasm + b"\0\1\0") not in names
    assert all(f'"{name}": ' in FINGERPRINT for name in SETTINGS)


def test_a_file_that_verifies_and_is_refused_by_the_engine_is_compiled_again() -> None:
    folder = SimFolder([])
    wasm = assemble(TOOL.decode())
    Artefacts(folder, KEY).put(artefact_name(FINGERPRINT, wasm), b"no machine code at all")
    cache = ModuleCache(1 << 20, Artefacts(folder, KEY))
    module, _ = cache.use(("d", ""), lambda: wasm, lambda made: made)
    assert raw.image_bytes(module) > 0


def test_a_module_is_pinned_while_an_instance_of_it_is_open() -> None:
    text = [f"(module {ADD} {MEMORY} (global i32 (i32.const {number})))".encode() for number in range(6)]
    size = raw.image_bytes(wasmtime.Module(engine(), assemble(text[0].decode())))
    notes: list[CacheEvent] = []
    cache = ModuleCache(2 * size + size // 2, note=notes.append)
    made = [Engine(cache=cache).load_bytes(each) for each in text]
    held = made[0].instantiate()
    for each in made[1:]:
        each.call("add", 1, 2)
    assert made[0].digest not in {event.key[0] for event in notes if event.op == "evicted"}
    both = [each.instantiate() for each in made[1:]]
    assert [each.call("add", 1, 2) for each in (held, *both)] == [3] * 6  # those that did not fit work as well
    assert max(event.held for event in notes) <= 2 * size + size // 2
    held.close()
    for each in both:
        each.close()
    made[5].call("add", 1, 2)
    made[4].call("add", 1, 2)
    assert made[0].digest in {event.key[0] for event in notes if event.op == "evicted"}


def test_agents_come_from_the_folder_too_and_a_pin_ends_with_its_guest() -> None:
    folder, wasm = SimFolder([]), assemble(wat())
    shared, compiler = ObservedCompiler(seen := []), []  # type: ignore[var-annotated]
    for _ in range(2):
        notes: list[CacheEvent] = []
        cache = ModuleCache(1 << 20, Artefacts(folder, KEY), compiler=shared, note=notes.append)
        guests = WasmGuests(cache=cache)
        for limit in (1 << 16, 1 << 20):  # another limit is other code
            guest = guests.instantiate(0, spec_of(wasm, memory=limit), wasm)
            assert guest.run(arguments()).status == "ok"
            guest.close()
        cache.use(("d", ""), lambda: assemble("(module)"), lambda made: made)
        assert [event.op for event in notes].count("released") == 2
    assert compilers(seen) == ["compiled", "compiled", "compiled", "loaded", "loaded", "loaded"] and not compiler


def test_what_the_checks_refuse_is_refused_whatever_a_cache_holds() -> None:
    wasm = assemble(wat(after='(data (i32.const 65530) "outside its memory")'))
    cache, seen = observed(SimFolder([]))
    for _ in range(2):
        with pytest.raises(ModuleRefused, match="segment lies outside"):
            WasmGuests(cache=cache).instantiate(0, spec_of(wasm), wasm)
    good = assemble(wat())
    WasmGuests(cache=cache).instantiate(0, spec_of(good), good)
    with pytest.raises(ModuleRefused, match="digest"):
        WasmGuests(cache=cache).instantiate(0, spec_of(good), wasm)
    assert "kept" in [getattr(event, "op", "") for event in seen]


CHILD = """
import sys
from runtime.wasm import Engine
from runtime.wasm.artefacts import Artefacts, DiskFolder
from runtime.wasm.compiled import Cranelift, ModuleCache
class Told(Cranelift):
    def compile(self, wasm):
        print("compiled")
        return super().compile(wasm)
cache = ModuleCache(artefacts=Artefacts(DiskFolder(sys.argv[1]), b"sixteen bytes or more"), compiler=Told())
print(Engine(cache=cache).load(sys.argv[2]).call("add", 1, 2))
"""


def test_another_process_runs_what_this_one_compiled(tmp_path: Path) -> None:
    (tmp_path / "tool.wat").write_bytes(TOOL)
    said = [
        subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path / "cache"), str(tmp_path / "tool.wat")],
            capture_output=True, text=True, timeout=60, check=True, cwd=ROOT,
        ).stdout.split()
        for _ in range(2)
    ]  # fmt: skip
    assert said == [["compiled", "3"], ["3"]]
    (file,) = (tmp_path / "cache").iterdir()
    with contextlib.suppress(OSError):
        file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    cache = ModuleCache(artefacts=Artefacts(DiskFolder(tmp_path / "cache"), KEY))
    assert Engine(cache=cache).load_bytes(TOOL).call("add", 1, 2) == 3
