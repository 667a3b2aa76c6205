"""Devices by name: which execution provider of ONNX Runtime each stands for, and the settings of its sessions.

`cpu` is the reference: one thread, sequential, one level of optimisation, and what every other device is compared with.
`cpu-other` is the same kernels under other settings in a process of its own: an exact model gives the same bits there,
a float model need not. Nothing here says that a device works; `runtime.inference.admission` finds that out.
"""

from __future__ import annotations

import os
from typing import Any

from msgspec import Struct

from runtime.errors import ModelFailed

CPU_EXECUTION, CUDA_EXECUTION = "CPUExecutionProvider", "CUDAExecutionProvider"
OPTIMISATIONS = ("none", "basic", "extended", "all")
_LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")


class Provider(Struct, frozen=True, kw_only=True):
    """One device. `execution` is the provider's name in ONNX Runtime, `options` what it is told (both texts).

    `plugin` is the Python package that brings the provider, "" for one that is built in.
    """

    name: str
    execution: str
    plugin: str = ""
    options: tuple[tuple[str, str], ...] = ()
    threads: int = 1
    optimisation: str = "basic"
    prepacking: bool = True


CPU = Provider(name="cpu", execution=CPU_EXECUTION)
KNOWN: tuple[Provider, ...] = (
    # TF32 keeps 11 bits of a product's factors, and an exact model needs 24.
    Provider(
        name="cuda",
        execution=CUDA_EXECUTION,
        options=(("arena_extend_strategy", "kSameAsRequested"), ("use_tf32", "0")),
    ),
    Provider(name="webgpu", execution="WebGpuExecutionProvider", plugin="onnxruntime_ep_webgpu"),
    Provider(name="cpu-other", execution=CPU_EXECUTION, threads=2, optimisation="all", prepacking=False),
    CPU,
)
ORDER = ("cuda", "webgpu")  # of preference, where a user asks for any device


def library() -> Any:
    """The module onnxruntime, without its telemetry; a variable of another value is overruled."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def offered(provider: Provider) -> str:
    """Why this installation of ONNX Runtime does not offer the provider in this process, or ""; creates no session."""
    ort = library()
    if provider.plugin:
        try:
            _register(ort, provider)
        except Exception as error:
            return f"package {provider.plugin} cannot be used: {line(error)}"
        found = [device.ep_name for device in ort.get_ep_devices()]
        return "" if provider.execution in found else f"{provider.execution} finds no device here"
    found = ort.get_available_providers()
    return "" if provider.execution in found else f"this ONNX Runtime has no {provider.execution}: {', '.join(found)}"


_registered: set[str] = set()  # membership only, never iterated


def _register(ort: Any, provider: Provider) -> None:
    if provider.plugin not in _registered:
        from importlib import import_module

        path = import_module(provider.plugin).get_library_path()
        ort.register_execution_provider_library(provider.name, path)
        _registered.add(provider.plugin)


def opened(onnx: bytes, provider: Provider) -> Any:
    """An onnxruntime.InferenceSession on this provider and on nothing else; raises ModelFailed("load") otherwise.

    Asked for a provider that it has not, ONNX Runtime warns and computes on the CPU; so the placement of each node is
    read back.
    """
    ort = library()
    options = _options(ort, provider)
    try:
        if provider.execution == CUDA_EXECUTION and hasattr(ort, "preload_dlls"):
            ort.preload_dlls()  # those that were installed as Python packages; prints what it does not find
        if provider.plugin:
            _register(ort, provider)
            chosen = [device for device in ort.get_ep_devices() if device.ep_name == provider.execution]
            options.add_provider_for_devices(chosen[:1], dict(provider.options))
            made = ort.InferenceSession(onnx, options, enable_fallback=0)
        else:
            asked: Any = [(provider.execution, dict(provider.options))] if provider.options else [provider.execution]
            made = ort.InferenceSession(onnx, options, providers=asked, enable_fallback=0)
    except Exception as error:
        raise ModelFailed("load", _why(error), provider.name) from None
    placed = made.get_providers()
    if placed[:1] != [provider.execution] or (provider.execution == CPU_EXECUTION and len(placed) > 1):
        raise ModelFailed("load", f"placed on {placed}, not on {provider.execution}", provider.name)
    elsewhere = [node for node in nodes(made, provider) if node[0] != provider.execution]
    if elsewhere:
        what = ", ".join(sorted({operator for _, operator in elsewhere})[:4])
        raise ModelFailed("load", f"{len(elsewhere)} nodes are not on {provider.execution}: {what}", provider.name)
    return made


def _why(error: Exception) -> str:
    """What ONNX Runtime raised, in one line; what it says of the fallback that we forbid is put into words of ours."""
    text = line(error)
    return "it leaves nodes to the CPU; its device or its libraries are missing" if "fallback to CPU" in text else text


def nodes(made: Any, provider: Provider) -> list[tuple[str, str]]:
    """(provider, operator) of each node of the session; [] for the CPU's, where nothing else is asked for."""
    if provider.execution == CPU_EXECUTION:
        return []
    return [
        (part.ep_name, node.op_type) for part in made.get_provider_graph_assignment_info() for node in part.get_nodes()
    ]


def _options(ort: Any, provider: Provider) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = provider.threads, 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    level = _LEVELS[OPTIMISATIONS.index(provider.optimisation)]
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.add_session_config_entry("session.disable_prepacking", "0" if provider.prepacking else "1")
    if provider.execution != CPU_EXECUTION:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.enable_mem_pattern = False  # a plan kept for each shape would grow with every length of a conversation
    options.log_severity_level = 4  # what fails is raised; nothing is written to stderr
    return options


def line(error: BaseException) -> str:
    """An exception as one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
