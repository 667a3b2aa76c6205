"""Gate expressions: `failure_rate.upper95 < 1e-3`, read by a parser of our own; nothing in a file is executed.

    gate   = sum ("<" | "<=" | ">" | ">=" | "==" | "!=") sum
    sum    = term {("+" | "-") term}
    term   = factor {("*" | "/") factor}
    factor = NUMBER ["%"] | METRIC | "-" factor | "(" sum ")"

A metric is a name with dots. Raises Malformed, with the place, for anything else; length and nesting are bounded.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

LENGTH_MAX = 500
DEPTH_MAX = 20
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:_\d+)*(?:\.\d+)?(?:[eE][+-]?\d{1,3})?%?)"
    r"|(?P<metric>[A-Za-z_][\w]*(?:\.[\w]+)*)"
    r"|(?P<sign><=|>=|==|!=|[<>()+*/-]))"
)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPUTE: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


class Malformed(Exception):
    """What is wrong with an expression, and where in it."""


class Term(NamedTuple):
    """A number, a metric, or two terms with a sign between them."""

    number: float | int = 0
    metric: str = ""
    sign: str = ""
    sides: tuple[Term, ...] = ()

    def value(self, metrics: Mapping[str, float]) -> float:
        """Raises KeyError for a metric that is not there, ZeroDivisionError where something is divided by zero."""
        if self.metric:
            return metrics[self.metric]
        if not self.sign:
            return self.number
        left, right = (side.value(metrics) for side in self.sides)
        return _COMPUTE[self.sign](left, right)

    def names(self) -> tuple[str, ...]:
        found = (self.metric,) if self.metric else ()
        return found + tuple(name for side in self.sides for name in side.names())


class Expression(NamedTuple):
    """Left and right of a comparison."""

    text: str
    left: Term
    sign: str
    right: Term

    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.left.names() + self.right.names()))

    def holds(self, metrics: Mapping[str, float]) -> bool:
        return _COMPARE[self.sign](self.left.value(metrics), self.right.value(metrics))


def parse(text: str) -> Expression:
    """The expression that `text` says; raises Malformed."""
    if len(text) > LENGTH_MAX:
        raise Malformed(f"{len(text)} characters, at most {LENGTH_MAX}")
    reader = _Reader(text)
    left = reader.sum(0)
    sign = reader.take()
    if sign not in _COMPARE:
        raise Malformed(
            f"{_said(sign)} where one of {' '.join(_COMPARE)} is due, after {text[: reader.before].strip()!r}"
        )
    right = reader.sum(0)
    if reader.next:
        raise Malformed(f"{_said(reader.next)} after the end of the comparison")
    return Expression(text, left, sign, right)


def _said(token: str) -> str:
    return repr(token) if token else "the end"


class _Reader:
    """Recursive descent over the tokens; `next` is the token to come, "" at the end."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self.before = 0
        self.next = self._token()

    def _token(self) -> str:
        rest = self._text[self._at :]
        if not rest.strip():
            return ""
        match = _TOKEN.match(rest)
        if match is None:
            raise Malformed(f"cannot read {rest.strip()[:20]!r}")
        self._at += match.end()
        return match[0].strip()

    def take(self) -> str:
        token = self.next
        self.before = self._at - len(token)
        self.next = self._token()
        return token

    def sum(self, depth: int) -> Term:
        return self._chain(("+", "-"), self._product, depth)

    def _product(self, depth: int) -> Term:
        return self._chain(("*", "/"), self._factor, depth)

    def _chain(self, signs: tuple[str, ...], part: Callable[[int], Term], depth: int) -> Term:
        found = part(depth)
        while self.next in signs:
            sign = self.take()
            found = Term(sign=sign, sides=(found, part(depth)))
        return found

    def _factor(self, depth: int) -> Term:
        if depth > DEPTH_MAX:
            raise Malformed(f"nested more than {DEPTH_MAX} deep")
        token = self.take()
        if token == "(":
            found = self.sum(depth + 1)
            if self.take() != ")":
                raise Malformed("a parenthesis is not closed")
            return found
        if token == "-":
            return Term(sign="-", sides=(Term(), self._factor(depth + 1)))
        if token[:1].isdigit():
            return Term(number=_number(token))
        if token[:1].isalpha() or token[:1] == "_":
            return Term(metric=token)
        raise Malformed(f"{_said(token)} where a number or a metric is due")


def _number(token: str) -> float | int:
    digits = token.rstrip("%").replace("_", "")
    value: float | int = int(digits) if digits.isdigit() and len(digits) < 19 else float(digits)
    return value / 100 if token.endswith("%") else value
