"""Models on a device under fault: it goes away in mid-generation or in mid-load, has no memory left, computes wrong.

Guards the router's failover: whatever a device did before it went counts for nothing, and the request runs again from
the KV cache that the runtime holds. A device that is gone stays so for its process: later runs fail or mean nothing.
What no decoder gives (NaN, other shapes, other types) is given by a real session of an edited model, so that it meets
the engine's own checks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from faults.deaths import DeviceDied
from faults.injector import Fields, Injector
from faults.plan import Fault
from faults.wrappers import onnx_edit
from runtime.errors import ModelFailed
from runtime.frames import Infer, InferenceItem
from runtime.ports import Clock, Decoder, Models
from runtime.state import Inference

CPU = 0


class DeviceSite(Struct):
    """One device process: the batch it was sent last, in which tick, and how it went away ("" while it is there)."""

    process: int
    device: int
    tick: int = -1
    sent: Infer | None = None
    gone: str = ""

    def about(self) -> Fields:
        """What an injection says of the batch in hand."""
        sent = self.sent
        request = sent.items[0].request if sent and sent.items else 0
        fields: Fields = {"process": self.process, "device": self.device, "tick": self.tick}
        return {**fields, "lease": sent.lease if sent else 0, "request": request}


def agent_of(request: int) -> int:
    """The agent whose message number this is (`runtime.state.sequence`)."""
    return (request >> 32) - 1


def addressed(fault: Fault, site: DeviceSite) -> InferenceItem | None:
    """The item of the batch in hand that the fault names: by request, or by agent from its tick on; else None."""
    items = site.sent.items if site.sent else ()
    if site.device == CPU:
        return None
    if "request" in fault.at:
        return next((item for item in items if item.request == fault.number("request")), None)
    if site.tick < fault.number("tick"):
        return None
    agent = fault.number("agent")
    return next((item for item in items if agent < 0 or agent_of(item.request) == agent), None)


def leave(injector: Injector, index: int, fault: Fault, site: DeviceSite, until: int) -> None:
    """The device goes away now; it is present again at `until` (ns), for a new process."""
    site.gone = str(fault.get("how"))
    injector.absent[site.device] = max(until, injector.absent.get(site.device, 0))
    phase, for_ns = str(fault.get("phase")), fault.number("for")
    injector.fire(index, {**site.about(), "how": site.gone, "phase": phase, "for": for_ns})


class FaultyDecoder:
    """A decoder on a device that may go away, run out of memory or compute wrong in the middle of a run."""

    def __init__(
        self,
        inner: Decoder,
        injector: Injector,
        site: DeviceSite,
        clock: Clock,
        spoiled: Callable[[str, str], Decoder] | None = None,
        left: Callable[[], None] = lambda: None,
    ) -> None:
        """`spoiled(output, what)` is the same model with another end, not yet run; it may raise ModelFailed. `left` is
        called when it is closed.
        """
        self._inner, self._injector, self._site, self._clock = inner, injector, site, clock
        self._spoiled, self._left = spoiled, left

    def run(self, items: Sequence[InferenceItem]) -> list[Inference]:
        for index, fault in self._injector.armed("gpu.oom"):
            if addressed(fault, self._site) and not self._site.gone:
                self._injector.fire(index, self._site.about())
                raise ModelFailed("memory", "no memory is left", f"process {self._site.process}")
        results = self._bad_output(items) or self._inner.run(items)
        pass_through(self._injector, self._site, self._clock, "generation")
        if self._site.gone:
            return [garbled(result, "kv") for result in results]
        return self._wrong(results)

    def _bad_output(self, items: Sequence[InferenceItem]) -> list[Inference]:
        """The batch by the model with another end, which the engine must not let through; [] for the model itself."""
        for index, fault in self._injector.armed("model.bad_output"):
            if self._spoiled is None or self._site.gone or not addressed(fault, self._site):
                continue
            self._injector.fire(index, self._site.about())
            decoder = self._spoiled("logits" if fault.get("of") == "logits" else "k0_out", str(fault.get("what")))
            try:
                return decoder.run(items)
            finally:
                decoder.close()
        return []

    def _wrong(self, results: list[Inference]) -> list[Inference]:
        wrong: set[int] = set()  # one fault for a result: a second one could undo the first
        for index, fault in self._injector.armed("gpu.wrong"):
            item = addressed(fault, self._site)
            if item is None or item.request in wrong:
                continue
            wrong.add(item.request)
            what = str(fault.get("what"))
            self._injector.fire(index, {**self._site.about(), "request": item.request, "what": what})
            results = [garbled(r, what) if r.request == item.request else r for r in results]
        return results

    def close(self) -> None:
        self._inner.close()
        self._left()


class FaultyModels:
    """The `Models` port of one device process."""

    def __init__(self, inner: Models, injector: Injector, site: DeviceSite, clock: Clock) -> None:
        self._inner, self._injector, self._site, self._clock = inner, injector, site, clock
        self._open = 0  # models that are loaded
        self._short_until = -1

    def load(self, digest: str, onnx: bytes) -> Decoder:
        self._fail()
        self._run_short()
        decoder = self._inner.load(digest, onnx)
        self._open += 1
        pass_through(self._injector, self._site, self._clock, "load")

        def spoiled(output: str, what: str) -> Decoder:
            return self._inner.load(f"{digest}/{output}/{what}", onnx_edit.spoiled(onnx, output, what))

        return FaultyDecoder(decoder, self._injector, self._site, self._clock, spoiled, self._left)

    def _left(self) -> None:
        self._open -= 1

    def _run_short(self) -> None:
        """There is memory for one model: the others must leave before this one can be loaded."""
        site, now = self._site, self._clock.now()
        for index, fault in self._injector.armed("model.evict"):
            if self._open and addressed(fault, site) and not site.gone:
                self._short_until = max(self._short_until, now + fault.number("for"))
                self._injector.fire(index, {**site.about(), "held": self._open, "for": fault.number("for")})
        if self._open and now <= self._short_until:
            raise ModelFailed("memory", f"{self._open} other models are loaded", f"process {site.process}")

    def _fail(self) -> None:
        """The first loads on a device fail, over all of its processes."""
        site = self._site
        for index, fault in self._injector.faults("model.load_fail"):
            if (fault.get("device") == "cpu") != (site.device == CPU):
                continue
            attempt = self._injector.count("model.load_fail", index)
            if attempt > fault.number("attempts"):
                continue
            fields: Fields = {**site.about(), "attempt": attempt}
            if self._injector.is_armed(index):
                self._injector.fire(index, fields)
            else:
                self._injector.note(index, fields)
            raise ModelFailed("load", "the model does not load", f"process {site.process}")


def pass_through(injector: Injector, site: DeviceSite, clock: Clock, phase: str) -> None:
    """The process is in this phase of its batch, which may be the device's end; or the device has gone before."""
    for index, fault in injector.armed("gpu.remove"):
        if fault.get("phase") == phase and not site.gone and addressed(fault, site):
            leave(injector, index, fault, site, clock.now() + fault.number("for"))
    if site.gone == "exit":
        raise DeviceDied(site.process)
    if site.gone == "failure":
        raise ModelFailed("device", "the device is gone", f"process {site.process}")


def garbled(result: Inference, what: str) -> Inference:
    """Another token, other logits, or another KV cache than was computed; of the same shape."""
    if what == "token":
        return replace(result, token=result.token - 1 if result.token else 1)
    if what == "logits":
        return replace(result, logits=hashlib.sha256(result.logits.encode()).hexdigest())
    return replace(result, kv=bytes([result.kv[0] ^ 1]) + result.kv[1:] if result.kv else b"")
