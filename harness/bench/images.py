"""What snapshots cost per MiB of memory: taking an image, taking the next one, packing its file, restoring from it.

CPU time of one thread, medians, in ms per MiB of linear memory, of an instance whose pages all differ from zero; the
next image differs from the one before in one page of `CHANGED`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from statistics import median

from msgspec import Struct

from runtime import snapshot
from runtime.snapshot import PAGE, HeldImage
from runtime.state import AgentSpec, Limits
from runtime.wasm import WasmGuest, WasmGuests, assemble

MIB = 1 << 20
CHANGED = 16  # one page of so many


class Images(Struct, frozen=True, kw_only=True):
    """Of a memory of `mib` MiB; all times in ms per MiB. A restore includes making the instance and the check."""

    mib: int
    first_ms: float
    next_ms: float
    file_ms: float
    read_ms: float
    restore_ms: float


def images(mib: int, rounds: int) -> Images:
    wasm = assemble(_text(mib))
    guests = WasmGuests()
    spec = AgentSpec(
        name="large", module=hashlib.sha256(wasm).hexdigest(), capabilities=(), limits=Limits(memory=mib * MIB)
    )
    guest = guests.instantiate(0, spec, wasm)
    memory = guest.memory()
    for at in range(0, len(memory), PAGE):
        memory[at : at + 8] = (at + 1).to_bytes(8, "little")
    held = HeldImage()
    held.take(1, memory, guest.globals())
    data = snapshot.pack_file(snapshot.AgentFile(0, held.image()))

    def again() -> None:
        for at in range(0, len(memory), CHANGED * PAGE):
            memory[at] ^= 1
        held.take(held.n + 1, memory, guest.globals())

    def restored() -> None:
        content = snapshot.unpack_agent(data)
        assert not isinstance(content, str)
        fresh: WasmGuest = guests.instantiate(0, spec, wasm)
        fresh.restore(snapshot.memory_of(content.image), content.image.globals)
        check = HeldImage()
        check.take(1, fresh.memory(), fresh.globals())
        assert check.digest == content.image.digest
        fresh.close()

    return Images(
        mib=mib,
        first_ms=_ms(rounds, mib, lambda: HeldImage().take(1, memory, guest.globals())),
        next_ms=_ms(rounds, mib, again),
        file_ms=_ms(rounds, mib, lambda: snapshot.pack_file(snapshot.AgentFile(0, held.image()))),
        read_ms=_ms(rounds, mib, lambda: snapshot.unpack_agent(data)),
        restore_ms=_ms(rounds, mib, restored),
    )


def _text(mib: int) -> str:
    """An agent that does nothing, with this much memory."""
    zero = "(i32.const 0)"
    return f"""(module (memory (export "memory") {mib * MIB // 65536})
      (func (export "agent_alloc") (param i32) (result i32) (i32.const 8))
      (func (export "agent_init") (result i32) {zero})
      (func (export "agent_receive") (param i32 i32) (result i32) {zero})
      (func (export "agent_step") (param i32) (result i32) {zero})
      (func (export "agent_shutdown") (result i32) {zero}))"""


def _ms(rounds: int, mib: int, work: Callable[[], object]) -> float:
    spent = []
    for _ in range(rounds):
        begun = time.thread_time_ns()
        work()
        spent.append(time.thread_time_ns() - begun)
    return round(median(spent) / 1e6 / mib, 3)


def lines(measured: Images) -> list[str]:
    """For people."""
    return [
        f"snapshots, ms per MiB (of {measured.mib} MiB): first {measured.first_ms:.2f}, next with one page in "
        f"{CHANGED} changed {measured.next_ms:.2f}, file {measured.file_ms:.2f}, read {measured.read_ms:.2f}, "
        f"restore with its check {measured.restore_ms:.2f}"
    ]
