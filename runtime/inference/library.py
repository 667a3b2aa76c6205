"""Models by id and version: where their bytes are, what digest they must have, and their golden answers (INF-1).

Guards against a model that is found by its name alone: a version is one digest for ever, and the bytes are read anew,
and checked against it, on each load.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from runtime.errors import Refused
from runtime.inference import golden
from runtime.inference.service import ModelFile
from runtime.validated import read_bytes, read_toml

MAIN = "models.toml"
ONNX_MAX = 1 << 30  # bytes of a model's file
_TODO = "see docs/devices.md"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,60}$")]
    version: Annotated[int, Field(ge=1, le=(1 << 31) - 1)]
    file: Annotated[str, Field(pattern="^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$")]
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    golden: Annotated[str, Field(pattern="^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$")] | None = None


class _Models(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: Annotated[tuple[_Entry, ...], Field(strict=False, min_length=1, max_length=4096)]


def read_library(folder: Path) -> dict[tuple[str, int], ModelFile]:
    """The models that `folder`/models.toml lists, each by the name of a file beside it; raises Refused."""
    found: dict[tuple[str, int], ModelFile] = {}
    for entry in read_toml(folder / MAIN, _Models, _TODO).model:
        where = f"{folder / MAIN}, model {entry.id} version {entry.version}"
        if (entry.id, entry.version) in found:
            raise Refused("it is there twice", where, "a version is one model; give the other a new one")
        answers = None
        if entry.golden is not None:
            answers = golden.from_json(read_bytes(folder / entry.golden, golden.BYTES_MAX), str(folder / entry.golden))
            if answers.model != entry.digest:
                raise Refused("its golden answers are another model's", where, "record them again")
        found[entry.id, entry.version] = ModelFile(entry.digest, _reader(folder / entry.file), answers)
    return found


def _reader(path: Path) -> Callable[[], bytes]:
    return lambda: read_bytes(path, ONNX_MAX)
