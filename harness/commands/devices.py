"""`wasm-engine devices`: which devices of this machine may serve inference, each admitted or refused and why."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import to_builtins

from harness.commands.common import examples, json_option, print_json, progress
from harness.devices import survey
from runtime.configuration import Configuration, read_configuration
from runtime.errors import Refused
from runtime.inference.admission import Admission, digest_of
from runtime.validated import read_bytes
from scenarios.models import REFERENCE, SMALL, build, digest

MODEL_MAX = 1 << 30


@click.command(
    short_help="Which devices may serve inference, and why others may not.",
    epilog=examples(
        "wasm-engine devices",
        "wasm-engine devices --json",
        "wasm-engine devices --model decoder.onnx --config engine.toml",
    ),
)
@click.option(
    "--model", type=click.Path(path_type=Path), metavar="FILE", help="An ONNX decoder, instead of the built-in ones."
)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Its [devices] say which and how fast.")
@json_option
def devices(model: Path | None, config: Path | None, as_json: bool) -> int:
    """Start each device that this build knows in a process of its own and hold its answers to the golden ones.

    The evidence is physical: processes, kernels and times of this machine. A device serves a model only when all of its
    answers are the golden ones, bit for bit, and every node of the model was placed on it.
    """
    configuration = Configuration() if config is None else read_configuration(config)
    if model is None:
        models = {digest(shape): build(shape) for shape in (SMALL, REFERENCE)}
    else:
        onnx = read_bytes(model, MODEL_MAX)
        models = {digest_of(onnx): onnx}
    settings = configuration.devices.settings()
    found: list[Admission] = []
    with progress("devices", len(settings.known()) * len(models)) as step:
        for one in survey(models, settings):
            found.append(one)
            step(one.device)
    if all(not one.admitted for one in found if one.device == "cpu"):
        reason = next(one.reason for one in found if one.device == "cpu")
        raise Refused(f"not even the CPU serves it: {reason}", str(model or "model"), "give an exact decoder")
    if as_json:
        print_json({"evidence": "physical", "devices": [to_builtins(one) for one in found]})
    else:
        _print(found)
    return 0


def _print(found: list[Admission]) -> None:
    for one in found:
        verdict = "admitted" if one.admitted else "refused"
        why = f"[{one.stage}] {one.reason}"
        if one.latency is not None:
            took = f"a token in {_ms(one.latency.p50_ns)} (p99 {_ms(one.latency.p99_ns)})"
            placed = f", {one.nodes} nodes on {one.execution}" if one.nodes else ""
            why = f"its answers are the golden ones; {took}{placed}"
        print(f"{one.device:<10} {verdict:<8}  model {one.model[:12]}  {why}")
    print("\nphysical: processes and times of this machine; wasm-engine run assistants --device NAME uses one")


def _ms(ns: int) -> str:
    return f"{ns / 1e6:.3f} ms"
