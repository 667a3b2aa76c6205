"""Inference: devices, decoders on ONNX Runtime, and calls for who has no orchestrator.

`device.py` answers frames, `service.py` calls; `providers.py` is the only file that imports onnxruntime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.inference.device import DeviceCore
from runtime.inference.engine import OrtModels
from runtime.inference.service import Ask, InferenceService, ModelFile

if TYPE_CHECKING:
    from runtime.inference.library import read_library

__all__ = ["Ask", "DeviceCore", "InferenceService", "ModelFile", "OrtModels", "read_library"]


def __getattr__(name: str) -> Any:
    """A device's process has no use for what reads lists of models, and starts sooner without."""
    if name == "read_library":
        from importlib import import_module

        return import_module("runtime.inference.library").read_library
    raise AttributeError(name)
