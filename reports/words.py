"""Figures and foreign text as readers see them. Names and messages may come from agents: none can act on a terminal.

`plain` leaves no control character, no bidirectional override and no lone surrogate, and cuts what is too long.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal

LENGTH_MAX = 600
COMMAND_MAX = 4000


def plain(text: str, limit: int = LENGTH_MAX) -> str:
    """`text` on one line, with every character that is not visible written as its escape."""
    cut = text[:limit]
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)
    return shown + (f" … ({len(text) - limit} more characters)" if len(text) > limit else "")


def number(value: int) -> str:
    """2995 -> 2,995."""
    return f"{value:,}"


def milliseconds(ns: int | None) -> str:
    """Virtual ns as ms with three digits after the point, rounded half up on integers; "–" without a value."""
    if ns is None:
        return "–"
    sign, us = ("-", (-ns + 500) // 1000) if ns < 0 else ("", (ns + 500) // 1000)
    return f"{sign}{us // 1000:,}.{us % 1000:03d}"


def percent(rate: float, rounding: str = ROUND_HALF_EVEN) -> str:
    """A rate with three significant digits: 0.0213 -> 2.13%."""
    value = Context(prec=3, rounding=rounding).create_decimal(Decimal(rate) * 100)
    return f"{value.normalize():f}%"


def at_most(bound: float) -> str:
    """An upper bound on a rate, rounded up, so that the figure shown is a bound too."""
    return percent(bound, ROUND_CEILING)


def plural(n: int, noun: str) -> str:
    return f"{number(n)} {noun}" if n == 1 else f"{number(n)} {noun}s"
