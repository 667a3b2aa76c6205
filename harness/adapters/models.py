"""The observer at a device's side: what each batch held as the device got it, and each result as it left.

It stands outside of fault wrappers, so it sees what the device's process sees; it changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from faults.deaths import DeviceDied
from harness.adapters.artifacts import load_event
from harness.history import DeviceEvent, LoadEvent
from runtime.errors import ModelFailed
from runtime.frames import InferenceItem
from runtime.ports import Decoder, Models
from runtime.state import Inference


class ObservedModels:
    """The `Models` port of one device process, observed."""

    def __init__(
        self,
        inner: Models,
        process: int,
        device: int,
        incarnation: int,
        now: Callable[[], int],
        log: list[DeviceEvent],
        loads: list[LoadEvent],
    ) -> None:
        self._inner, self._place = inner, (process, device, incarnation)
        self._now, self._log, self._loads = now, log, loads

    def load(self, digest: str, onnx: bytes) -> Decoder:
        """What reaches the engine is on record whether or not it loads; if it does not, that is as well."""
        self._loads.append(load_event(self._now(), "made", "device", self._place[0], -1, digest, onnx, ""))
        try:
            decoder = self._inner.load(digest, onnx)
        except ModelFailed as failed:
            why = failed.failure
            self._loads.append(load_event(self._now(), "failed", "device", self._place[0], -1, digest, onnx, why))
            raise
        return _ObservedDecoder(decoder, digest, self._place, self._now, self._log)


class _ObservedDecoder:
    def __init__(
        self, inner: Decoder, model: str, place: tuple[int, int, int], now: Callable[[], int], log: list[DeviceEvent]
    ) -> None:
        self._inner, self._model, self._place = inner, model, place
        self._now, self._log = now, log

    def run(self, items: Sequence[InferenceItem]) -> list[Inference]:
        try:
            results = self._inner.run(items)
        except (DeviceDied, ModelFailed):
            for item in items:
                self._note(item, None)
            raise
        answered = {result.request: result for result in results}
        for item in items:
            self._note(item, answered.get(item.request))
        return results

    def _note(self, item: InferenceItem, result: Inference | None) -> None:
        process, device, incarnation = self._place
        self._log.append(
            DeviceEvent(
                at=self._now(),
                process=process,
                device=device,
                incarnation=incarnation,
                model=self._model,
                request=item.request,
                position=item.position,
                tokens=item.tokens,
                kv_digest=hashlib.sha256(item.kv).hexdigest(),
                token=result.token if result else -1,
                logits=result.logits if result else "",
                added=hashlib.sha256(result.kv).hexdigest() if result else "",
            )
        )

    def close(self) -> None:
        self._inner.close()
