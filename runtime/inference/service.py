"""Inference by calls (INF-1): load_model, unload_model, infer, batch_infer; a device where there is one, else the CPU.

Guarantees: the same request gives the same result whichever device served it, since a device serves a model only after
its golden answers, and a device that fails in the middle is given up and the request made again on the CPU. Nothing is
kept between calls but models: a conversation's KV cache is the caller's, who may go on with it anywhere. What happened
is told to telemetry: `device_admitted`, `device_refused`, `device_given_up`, `served`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from runtime.errors import ModelFailed, Refused
from runtime.frames import InferenceItem
from runtime.inference.cache import BUDGET, ModelCache
from runtime.inference.engine import OrtModels
from runtime.inference.golden import Golden, record
from runtime.inference.process import DeviceProcess, Patience, ProcessModels, S
from runtime.inference.providers import CPU, Provider
from runtime.state import Inference
from runtime.telemetry import Telemetry

RETRY_NS = 10 * S  # before a lost device is tried again, doubling
_DOUBLINGS = 10
_TODO = "use one that the library has"


class ModelFile(NamedTuple):
    """One version of a model. `read` gives its ONNX bytes, whose sha256 (hex) is `digest`, or raises Refused.

    `golden` are its golden answers; where there are none, the CPU's are recorded when another device needs them.
    """

    digest: str
    read: Callable[[], bytes]
    golden: Golden | None = None


Library = Mapping[tuple[str, int], ModelFile]  # by id and version


class Ask(NamedTuple):
    """One request: append `tokens` (each below the model's vocabulary) to a conversation of `position` tokens.

    `kv` is that conversation's KV cache, int8 in the order of the results' (`Inference.kv`), b"" at position 0.
    """

    tokens: tuple[int, ...]
    position: int = 0
    kv: bytes = b""


class Loaded(NamedTuple):
    """A model that is loaded, by the digest of its bytes, and on which device; "cpu" is the host's."""

    id: str
    version: int
    digest: str
    device: str


class _Files:
    """The library as the artefacts of a cache."""

    def __init__(self, library: Library) -> None:
        self._by_digest = {file.digest: file for file in library.values()}

    def get(self, digest: str) -> bytes:
        return self._by_digest[digest].read()


class InferenceService:
    """Models of one library on the CPU and, with `device`, on one device. Any thread may call; calls take turns.

    `host_bytes` and `device_bytes` bound the models that are loaded here and there; least recently used leave first.
    """

    def __init__(
        self,
        library: Library,
        device: Provider | None = None,
        *,
        host_bytes: int = BUDGET,
        device_bytes: int = BUDGET,
        patience: Patience = Patience(),  # noqa: B008  # immutable
        telemetry: Telemetry | None = None,
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._library, self._device = dict(library), device
        self._device_bytes, self._patience, self._now = device_bytes, patience, now
        self._telemetry = telemetry or Telemetry(now)
        self._files = _Files(library)
        self._host = ModelCache(OrtModels(CPU), self._files, host_bytes)
        self._goldens = {file.digest: file.golden for file in library.values() if file.golden is not None}
        self._lock = threading.Lock()
        self._process: DeviceProcess | None = None
        self._there: ModelCache | None = None
        self._refused: set[str] = set()  # digests that the device's present process has not been admitted for
        self._failures = 0
        self._retry_at = 0

    def load_model(self, id: str, version: int) -> Loaded:
        """Load it where it would be served now: on the device if that is admitted for it, else on the CPU.

        Raises Refused for a model that the library has not, ModelFailed where it loads on neither.
        """
        with self._lock:
            file = self._file(id, version)
            if self._on_device(file, None) is not None:
                assert self._device is not None
                return Loaded(id, version, file.digest, self._device.name)
            with self._host.hold(file.digest):
                return Loaded(id, version, file.digest, CPU.name)

    def unload_model(self, id: str, version: int) -> bool:
        """Let go of it on the CPU and on the device; False where it was on neither. Raises Refused for an unknown."""
        with self._lock:
            digest = self._file(id, version).digest
            there = self._there is not None and self._there.unload(digest)
            return self._host.unload(digest) or there

    def infer(self, id: str, version: int, ask: Ask) -> Inference:
        """The next token, the sha256 of its logits (little-endian float32), and the KV cache of the tokens given.

        Raises Refused for an unknown model, ModelFailed ("load" for a request that the model cannot take).
        """
        return self.batch_infer(id, version, [ask])[0]

    def batch_infer(self, id: str, version: int, asks: Sequence[Ask]) -> list[Inference]:
        """The results in order, `request` being the place; the requests must have one shape: as many tokens at one
        position. As `infer` raises.
        """
        items = tuple(InferenceItem(place, ask.position, ask.tokens, ask.kv) for place, ask in enumerate(asks))
        with self._lock:
            file = self._file(id, version)
            results = self._on_device(file, items)
            served = CPU.name if results is None or self._device is None else self._device.name
            if results is None:
                with self._host.hold(file.digest) as decoder:
                    results = decoder.run(items)
        self._telemetry.emit("served", model=id, version=version, requests=len(items), device=served)
        return results

    def loaded(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """Device name -> the (id, version) of the models that are loaded there, in the library's order."""
        with self._lock:
            held = {CPU.name: self._host}
            if self._there is not None and self._device is not None:
                held[self._device.name] = self._there
            return {
                name: tuple(key for key, file in self._library.items() if file.digest in cache)
                for name, cache in held.items()
            }

    def close(self) -> None:
        """Let go of all models and end the device's process."""
        with self._lock:
            self._host.close()
            self._drop()

    def _file(self, id: str, version: int) -> ModelFile:
        file = self._library.get((id, version))
        if file is None:
            raise Refused(f"there is no model {id!a} of version {version}", "models", _TODO)
        return file

    def _on_device(self, file: ModelFile, items: Sequence[InferenceItem] | None) -> list[Inference] | None:
        """The results of the device, [] for a load alone; None where it does not serve, and the CPU must."""
        if self._device is None or (self._process is None and self._now() < self._retry_at):
            return None
        if file.digest in self._refused:
            return None
        try:
            cache = self._cache()
            before = cache.loads
            with cache.hold(file.digest) as decoder:
                if cache.loads > before:
                    self._telemetry.emit("device_admitted", device=self._device.name, model=file.digest[:12])
                return decoder.run(items) if items else []
        except ModelFailed as failed:
            self._failed(file.digest, failed)
            return None

    def _failed(self, digest: str, failed: ModelFailed) -> None:
        """The device may not serve this model, or is lost; or it is the request's fault, which the CPU will say."""
        assert self._device is not None
        name, process = self._device.name, self._process
        if process is not None and not process.failed:
            if process.stage in ("digest", "session", "golden"):
                self._refused.add(digest)
                self._telemetry.emit("device_refused", device=name, model=digest[:12], reason=failed.reason)
                return
            if failed.failure != "device":
                return
        self._retry_at = self._now() + (RETRY_NS << min(self._failures, _DOUBLINGS))
        self._failures += 1
        self._telemetry.emit("device_given_up", device=name, reason=failed.reason)
        self._drop()

    def _cache(self) -> ModelCache:
        """The device's models, in its process, which is started where there is none."""
        if self._there is None:
            assert self._device is not None
            self._process = DeviceProcess(self._device, self._patience)
            self._there = ModelCache(ProcessModels(self._process, self._golden_of), self._files, self._device_bytes)
        return self._there

    def _golden_of(self, digest: str, onnx: bytes) -> Golden:
        """The library's, or recorded on the CPU once."""
        if digest not in self._goldens:
            with self._host.hold(digest) as decoder:
                self._goldens[digest] = record(decoder, digest)
        return self._goldens[digest]

    def _drop(self) -> None:
        if self._process is not None:
            self._process.close()
        if self._there is not None:
            self._there.close()
        self._process, self._there = None, None
        self._refused.clear()
