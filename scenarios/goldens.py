"""The golden answers of the models: beside them in `scenarios/golden/`, or recorded once on the CPU.

`python -m scenarios.goldens` writes those of the built-in models anew.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from runtime.inference import OrtModels
from runtime.inference.golden import Golden, from_json, record, to_json
from scenarios.models import REFERENCE, SMALL, build, digest

FOLDER = Path(__file__).parent / "golden"
_RECORDED = 16


def golden_of(model: str, onnx: bytes) -> Golden:
    """The answers that every device must give with this model; raises Refused for a damaged file, or ModelFailed."""
    file = FOLDER / f"{model}.json"
    return from_json(file.read_bytes(), file.name) if file.is_file() else recorded(model, onnx)


@lru_cache(maxsize=_RECORDED)
def recorded(model: str, onnx: bytes) -> Golden:
    """What the CPU answers, now."""
    decoder = OrtModels().load(model, onnx)
    try:
        return record(decoder, model)
    finally:
        decoder.close()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for shape in (SMALL, REFERENCE):
        golden = recorded(digest(shape), build(shape))
        (FOLDER / f"{digest(shape)}.json").write_bytes(to_json(golden))


if __name__ == "__main__":
    main()
