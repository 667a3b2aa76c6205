"""Files that are there whole or not at all, and `latest` beside them: what every report is written with."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import msgspec

LATEST = "latest"


def json_bytes(value: object) -> bytes:
    """Sorted keys, indented, a newline at the end: the same bytes for the same value."""
    text = json.dumps(msgspec.to_builtins(value), sort_keys=True, indent=2, ensure_ascii=False)
    return text.encode() + b"\n"


def put(path: Path, data: bytes) -> None:
    """The file under its name only when it is complete and on disk."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def point(target: Path) -> None:
    """`latest` beside `target` names it, replaced in one step; a reader sees the old report or the new one."""
    if target.name == LATEST:
        return
    parent = target.resolve().parent
    temporary = Path(tempfile.mkdtemp(prefix=f".{LATEST}.", dir=parent))
    try:
        (temporary / LATEST).symlink_to(target.resolve().name)
        (temporary / LATEST).replace(parent / LATEST)
    finally:
        (temporary / LATEST).unlink(missing_ok=True)
        temporary.rmdir()
