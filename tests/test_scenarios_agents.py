"""The agents themselves, in one instance: what lies in globals, what is refused, and what a bad input does."""

from __future__ import annotations

import struct
from itertools import pairwise

from straight import run

from runtime.frames import StepArguments, packed_inbox
from runtime.ports import GuestStep
from runtime.state import INPUT, OUTSIDE, Input, Message, Send
from runtime.wasm import WasmGuest, WasmGuests
from scenarios import get


def account() -> WasmGuest:
    spec = get("ledger").agents[0]
    return WasmGuests().instantiate(0, spec, get("ledger").modules[spec.module])


def step(guest: WasmGuest, tick: int, *payloads: bytes, kind: str = "step") -> GuestStep:
    """One step with these inputs from outside."""
    inbox = packed_inbox([Message(tick * 100 + n, INPUT, OUTSIDE, 0, p) for n, p in enumerate(payloads)])
    return guest.run(
        StepArguments(
            kind=kind,
            tick=tick,
            agent=0,
            now_ms=1000 + tick,
            random_key=tick,
            agents=16,
            topics=1,
            buffers=0,
            send_limit=64,
            max_payload=65_536,
            fuel=1_000_000,
            inbox=inbox,
            n=tick + 1,
            models=0,
            snapshot=False,
            views=(),
            grants=(),
            listed=True,
        )
    )


def mint(amount: int) -> bytes:
    return struct.pack("<IIq", 1, 0, amount)


def order(number: int, amount: int, to: int) -> bytes:
    return struct.pack("<IIqII", 2, number, amount, to, 0)


def sent(guest: WasmGuest, done: GuestStep) -> list[tuple[str, int, bytes]]:
    assert done.status == "ok"
    memory = guest.memory()
    return [(c.op, c.target, bytes(memory[c.pointer : c.pointer + c.length])) for c in done.calls]


def test_an_order_becomes_a_transfer_with_counter_nonce_and_time_and_a_note() -> None:
    guest = account()
    step(guest, 0, kind="init")
    transfer, note = sent(guest, step(guest, 1, mint(100), order(7, 60, 3)))
    assert transfer[:2] == ("send", 3)
    op, number, amount, counter, nonce, time = struct.unpack("<IIqqQq", transfer[2])
    assert (op, number, amount, counter, time) == (3, 7, 60, 1, 1001)
    assert nonce not in (0, 1)
    assert note == ("send", 7, struct.pack("<IIqq", 5, 7, 60, 1))


def test_an_order_beyond_the_balance_is_rejected_and_changes_nothing() -> None:
    guest = account()
    step(guest, 0, kind="init")
    step(guest, 1, mint(100))
    for amount in (101, 0, -5):
        rejected = sent(guest, step(guest, 2, order(8, amount, 3)))
        assert rejected == [("output", 0, struct.pack("<IIqqII", 2, 8, amount, 100, 9, 0))]


def test_an_order_to_an_unknown_account_is_rejected_with_the_hosts_status() -> None:
    guest = account()
    step(guest, 0, kind="init")
    (rejected,) = sent(guest, step(guest, 1, mint(100), order(8, 50, 16)))
    assert rejected == ("output", 0, struct.pack("<IIqqII", 2, 8, 50, 100, 2, 0))


def test_a_big_transfer_is_announced_on_the_audit_topic() -> None:
    guest = account()
    step(guest, 0, kind="init")
    *_, announced = sent(guest, step(guest, 1, mint(900), order(8, 250, 3)))
    assert announced == ("publish", 0, struct.pack("<IIqII", 6, 8, 250, 3, 0))


def test_the_counter_lies_in_a_global_so_that_losing_it_alters_what_is_sent() -> None:
    guest = account()
    step(guest, 0, kind="init")
    fresh = guest.globals()
    step(guest, 1, mint(100), order(1, 10, 3))
    memory, globals_ = bytes(guest.memory()), guest.globals()
    restored, forgetful = account(), account()
    restored.restore(memory, globals_)
    forgetful.restore(memory, fresh)
    outcomes = [sent(g, step(g, 2, order(2, 10, 3))) for g in (guest, restored, forgetful)]
    assert outcomes[1] == outcomes[0] != outcomes[2]
    assert struct.unpack_from("<q", outcomes[2][0][2], 16) == (1,)


def test_bytes_given_to_the_host_in_one_step_never_overlap() -> None:
    guest = account()
    step(guest, 0, kind="init")
    done = step(guest, 1, mint(9000), *(order(n, 300, n % 16) for n in range(20)))
    spans = sorted((c.pointer, c.pointer + c.length) for c in done.calls)
    assert len(spans) == 60
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_a_task_longer_than_the_critic_keeps_fails_its_step_and_no_other() -> None:
    hello = get("hello")
    text = b"x" * 193
    outcome = run(hello, inputs=[Input(Send(0, struct.pack("<I", 0) + text), 1, "user", 1)])
    failed = [(s.agent, s.status.split(":")[0]) for b in outcome.blocks for s in b.steps if s.status != "ok"]
    assert failed == [(3, "trap")]
    assert outcome.outputs == []
    assert hello.invariant(outcome) == []


def test_a_frame_beyond_the_buffers_capacity_fails_the_producer_and_nobody_else() -> None:
    frames = get("frames")
    outcome = run(frames, inputs=[Input(Send(0, struct.pack("<I", 5000)), 1, "operator", 20)])
    failed = [(b.tick, s.agent, s.status) for b in outcome.blocks for s in b.steps if s.status != "ok"]
    assert failed == [(20, 0, "bad_length")]
    assert frames.invariant(outcome) == []


def test_short_and_foreign_payloads_do_no_harm() -> None:
    guest = account()
    step(guest, 0, kind="init")
    for payload in (b"", b"\1", struct.pack("<I", 2), order(1, 5, 1)[:16], b"\xff" * 40):
        assert sent(guest, step(guest, 1, payload)) == []
