"""Models' files under fault, as one device process reads them: altered, cut, another model's, old, or gone.

Guards the check of the digest before a model is loaded: a file with one bit turned would load in silence and answer
otherwise, as would an old one. The first reads are bad, over all processes of a device; then the file is good again.
"""

from __future__ import annotations

from functools import lru_cache

from faults.injector import Fields, Injector
from faults.plan import Fault
from faults.wrappers import onnx_edit
from faults.wrappers.models import CPU, DeviceSite
from runtime.ports import Artifacts

KINDS = ("model.flip", "model.swap")


class FaultyModelFiles:
    """The `Artifacts` port of one device process."""

    def __init__(self, inner: Artifacts, injector: Injector, site: DeviceSite) -> None:
        self._inner, self._injector, self._site = inner, injector, site

    def get(self, digest: str) -> bytes:
        data = self._inner.get(digest)
        for index, fault in self._injector.faults(*KINDS):
            if (fault.get("device") == "cpu") != (self._site.device == CPU):
                continue
            attempt = self._injector.count("model file", index)
            if attempt > fault.number("attempts"):
                continue
            fields: Fields = {**self._site.about(), "attempt": attempt}
            if self._injector.is_armed(index):
                self._injector.fire(index, fields)
            else:
                self._injector.note(index, fields)
            if fault.get("what") == "missing":
                raise KeyError(digest)
            return altered(fault, data)
        return data


def altered(fault: Fault, data: bytes) -> bytes:
    """What is read in place of the file."""
    if fault.kind == "model.flip":
        place = fault.number("bit") % (8 * len(data))
        return data[: place // 8] + bytes([data[place // 8] ^ 1 << place % 8]) + data[place // 8 + 1 :]
    return _swapped(str(fault.get("what")), data)


@lru_cache(maxsize=16)
def _swapped(what: str, data: bytes) -> bytes:
    if what == "cut":
        return data[: len(data) // 2]
    if what == "empty":
        return b""
    return onnx_edit.stale(data) if what == "stale" else onnx_edit.other(data)
