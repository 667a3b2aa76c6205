"""Hostile names, safe on one line."""

from __future__ import annotations


def shown(name: str, longest: int = 80) -> str:
    """The name, cut where it is long, escaped where it is not plain text."""
    text = name if len(name) <= longest else name[: longest - 3] + "..."
    return text if text.isascii() and text.isprintable() else ascii(text)
