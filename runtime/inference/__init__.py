"""Inference: a device process as a sans-IO core, and decoders on ONNX Runtime.

`device.py` answers frames; `engine.py` is the only file that imports onnxruntime.
"""

from runtime.inference.device import DeviceCore
from runtime.inference.engine import OrtModels

__all__ = ["DeviceCore", "OrtModels"]
