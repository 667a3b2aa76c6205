"""Invariants that a scenario's file states as data: how many records there are, what they add up to, what each may be.

Guards against a rule that judges nothing: an agent or a topic that is not there is refused when the file is read, and a
record that is too short for the number that a rule reads in it is itself a violation. Outputs are those that left
through the gateway, all else is the journal's, so a rule over both compares two sides of a port.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from runtime.journal import effect_of
from runtime.state import Send
from scenarios.base import Outcome
from scenarios.files.tables import NUMBERS, MeasureTable, RuleTable

_SHOWN = 3  # of the records that break a rule


class Record(NamedTuple):
    """One payload: of whom, and when."""

    tick: int
    agent: int
    payload: bytes

    def __str__(self) -> str:
        return f"tick {self.tick}, agent {self.agent}: {self.payload[:24].hex() or 'nothing'}"


Wanted = Callable[[MeasureTable], tuple[frozenset[int] | None, int | None]]  # its agents and its topic as numbers


def judged(rules: Sequence[RuleTable], wanted: Wanted, outcome: Outcome) -> list[str]:
    """One line for each condition that does not hold."""
    found: list[str] = []
    for rule in rules:
        records = _records(rule.of, wanted, outcome)
        found += [
            f"{rule.name}: {line}" for line in (*_compared(rule, records, wanted, outcome), *_each(rule, records))
        ]
    return found


def _records(of: MeasureTable, wanted: Wanted, outcome: Outcome) -> list[Record]:
    agents, topic = wanted(of)
    if of.what == "output":
        found = [Record(output.tick, output.agent, output.payload) for output in outcome.outputs]
    elif of.what == "input":
        found = [
            Record(block.tick, item.action.agent, item.action.payload)
            for block in outcome.blocks
            for item in block.inputs
            if isinstance(item.action, Send)
        ]
    else:
        found = [
            Record(block.tick, step.agent, effect_of(effect, outcome.blobs).payload)
            for block in outcome.blocks
            for step in block.steps
            for effect in step.effects
            if effect.op == of.what and (topic is None or effect.target == topic)
        ]
    begins = of.begins.encode()
    return [each for each in found if (agents is None or each.agent in agents) and each.payload.startswith(begins)]


def _measure(of: MeasureTable, records: Sequence[Record]) -> int:
    if of.number is None:
        return len(records)
    return sum(value for each in records if (value := _value(of, each)) is not None)


def _value(of: MeasureTable, record: Record) -> int | None:
    """The number in the record; None where it is too short."""
    assert of.number is not None
    size, signed = NUMBERS[of.number]
    data = record.payload[of.at : of.at + size]
    return int.from_bytes(data, "little", signed=signed) if len(data) == size else None


def _compared(rule: RuleTable, records: Sequence[Record], wanted: Wanted, outcome: Outcome) -> list[str]:
    told = "the sum is" if rule.of.number else "there are"
    value, found = _measure(rule.of, records), []
    for word, bound, other in (
        ("at least", rule.at_least, rule.at_least_of),
        ("at most", rule.at_most, rule.at_most_of),
        ("exactly", rule.equals, rule.equals_of),
    ):
        if other is not None:
            others = _records(other, wanted, outcome)
            found += _short(other, others)
            bound = _measure(other, others)
        fits = bound is None or {"at least": value >= bound, "at most": value <= bound, "exactly": value == bound}[word]
        if not fits:
            found.append(f"{told} {value}, {word} {bound} are due")
    return found


def _short(of: MeasureTable, records: Sequence[Record]) -> list[str]:
    if of.number is None:
        return []
    short = [each for each in records if _value(of, each) is None]
    return [f"{each} has no {of.number} at {of.at}" for each in short[:_SHOWN]]


def _each(rule: RuleTable, records: Sequence[Record]) -> list[str]:
    """The conditions on the records themselves."""
    found = _short(rule.of, records)
    if rule.one_of is not None:
        allowed = [text.encode() for text in rule.one_of]
        found += [f"{each} is none of those allowed" for each in records if each.payload not in allowed][:_SHOWN]
    if rule.distinct:
        seen: set[bytes] = set()  # membership only
        again = []
        for each in records:
            if each.payload in seen:
                again.append(f"{each} is there a second time")
            seen.add(each.payload)
        found += again[:_SHOWN]
    if rule.rising:
        last: dict[int, int] = {}
        fallen = []
        for each in records:
            value = _value(rule.of, each)
            if value is not None and value < last.get(each.agent, value):
                fallen.append(f"{each} has {value} after {last[each.agent]}")
            if value is not None:
                last[each.agent] = value
        found += fallen[:_SHOWN]
    return found
