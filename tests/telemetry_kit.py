"""Every record of telemetry that the runtime's sources make: kind -> the fields that it may have."""

from __future__ import annotations

import ast
from pathlib import Path

RUNTIME = Path(__file__).resolve().parent.parent / "runtime"


def _texts(node: ast.expr) -> list[str]:
    """The constants that an expression may be."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    return [str(node.value)] if isinstance(node, ast.Constant) else []


def emitted() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in sorted(RUNTIME.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit":
                fields = {keyword.arg for keyword in node.keywords if keyword.arg}
                for kind in _texts(node.args[0]):
                    found.setdefault(kind, set()).update(fields)
    return found
