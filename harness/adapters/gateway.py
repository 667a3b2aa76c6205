"""The simulated client and its pipe: sends inputs, resends what is unacknowledged, keeps a ledger of what it got.

The client takes released blocks in order, once each; its cursor goes with every message. It sends at most `WINDOW`
inputs beyond the acknowledged ones, and reports again every `RESEND_NS` until it has seen the final block. It is the
world outside as well: what agents read is answered once, and the answer kept until it is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.adapters.loop import Loop
from harness.history import Receipt, WorldEvent
from runtime.errors import FrameRefused
from runtime.frames import Asking, Inputs, Release, pack, unpack
from runtime.outside import Answer
from runtime.sources import Function, Served, Sources
from runtime.state import Input

WINDOW = 32
RESEND_NS = 10_000_000


class SimClient:
    """`sent` and `receipts` are its ledger.

    `durable` tells what is durable now: bytes of the journal, the watermark's file, bytes of the blobs.
    """

    def __init__(
        self,
        loop: Loop,
        latency_ns: int,
        inputs: Sequence[Input],
        durable: Callable[[], tuple[int, bytes, int]],
        wake: Callable[[], None],
        sources: Mapping[str, Function | Served] | None = None,
    ) -> None:
        self._loop, self._latency_ns, self._durable, self._wake = loop, latency_ns, durable, wake
        self._inputs = list(inputs)
        self._acknowledged: dict[str, int] = {}
        self._next = 0
        self._incoming: list[bytes] = []
        self._early: dict[int, Receipt] = {}
        self.cursor = 0
        self.finished = False
        self.sent: list[Input] = []
        self.receipts: list[Receipt] = []
        self.resent: list[tuple[str, int]] = []
        self._quiet_until = 0
        self.asked: list[WorldEvent] = []
        self._world = Sources(sources or {})
        self._answers: list[Input] = []  # those that are not acknowledged

    def start(self) -> None:
        self._report()
        self._loop.later(RESEND_NS, self._tick)

    # --- the orchestrator's side of the port ----------------------------------------------------------------------

    def poll(self) -> list[bytes]:
        incoming, self._incoming = self._incoming, []
        return incoming

    def send(self, frame: bytes) -> None:
        durable = self._durable()
        self._loop.later(self._latency_ns, lambda: self._receive(frame, durable))

    # --- the client ---------------------------------------------------------------------------------------------

    def _receive(self, data: bytes, durable: tuple[int, bytes, int]) -> None:
        try:
            frame = unpack(data)
        except FrameRefused:
            return
        if not isinstance(frame, Release) or frame.block <= self.cursor:
            return
        self._early.setdefault(
            frame.block,
            Receipt(
                self._loop.time,
                frame.block,
                frame.tick,
                frame.acknowledged,
                frame.outputs,
                durable[0],
                frame.final,
                durable[1],
                durable[2],
                *((frame.asks, frame.closed) if isinstance(frame, Asking) else ((), ())),
            ),
        )
        before = self.cursor
        while self.cursor + 1 in self._early:
            self.cursor += 1
            receipt = self._early.pop(self.cursor)
            self.receipts.append(receipt)
            for source, n in receipt.acknowledged:
                self._acknowledged[source] = max(n, self._acknowledged.get(source, 0))
            self.finished = self.finished or receipt.final
            if receipt.asks or receipt.closed:
                self._ask(receipt)
        if self.cursor != before and (self.finished or self._fresh()):
            self._report()

    def _ask(self, receipt: Receipt) -> None:
        """The world outside is read, once for each ask, in the order of blocks; what it says is sent at once."""
        answers = []
        for ask in receipt.asks:
            item = self._world.answer(ask)
            assert isinstance(item.action, Answer)
            event = WorldEvent(self._loop.time, receipt.block, ask, item.action.status, item.action.data)
            self.asked.append(event)
            answers.append(item)
        for source, first in receipt.closed:
            self._world.close(source, first)
        self._answers += answers
        self.sent += answers
        if answers:
            frame = pack(Inputs(self.cursor, tuple(answers)))
            self._loop.later(self._latency_ns, lambda: self.arrive(frame))

    def close(self) -> None:
        """The run is over: calls that have parts to come are ended."""
        for source, first in self._world.open:
            self._world.close(source, first)

    def _fresh(self) -> list[Input]:
        """Inputs that may be sent now for the first time: a window's worth, and never half of the tick that waits."""
        if self._next == len(self._inputs):
            return []
        waiting = [i for i in self._inputs[: self._next] if i.n > self._acknowledged.get(i.source, 0)]
        end = max(self._next, self._next + WINDOW - len(waiting))
        first = waiting[0].tick if waiting else self._inputs[self._next].tick if self._next < len(self._inputs) else 0
        while end < len(self._inputs) and self._inputs[end].tick == first:
            end += 1
        return self._inputs[self._next : end]

    def _report(self, again: tuple[Input, ...] = ()) -> None:
        fresh = self._fresh()
        self._next += len(fresh)
        self.sent += fresh
        frame = pack(Inputs(self.cursor, (*again, *fresh)))
        self._loop.later(self._latency_ns, lambda: self.arrive(frame))

    def arrive(self, frame: bytes) -> None:
        """A frame from the client's pipe reaches the orchestrator's side."""
        self._incoming.append(frame)
        self._wake()

    def _tick(self) -> None:
        if self.finished and self._quiet_until >= 50:
            return  # the orchestrator has had ample chances to hear of it
        self._quiet_until += self.finished
        again = tuple(i for i in self._inputs[: self._next] if i.n > self._acknowledged.get(i.source, 0))
        self._answers = [i for i in self._answers if i.n > self._acknowledged.get(i.source, 0)]
        again += tuple(self._answers)
        self.resent += [(i.source, i.n) for i in again]
        self._report(again)
        self._loop.later(RESEND_NS, self._tick)
