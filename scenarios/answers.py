"""What any scenario with inference judges: its answers, computed a second time in integers."""

from __future__ import annotations

from scenarios import oracle
from scenarios.deliveries import Deliveries
from scenarios.models import Exact
from scenarios.turns import Turn


def answers(deliveries: Deliveries, *shapes: Exact) -> list[str]:
    """Each answer is what the decoder, of these by their number, computes in integers for all tokens of the session."""
    sessions: dict[tuple[int, int], list[Turn]] = {}
    violations = []
    for turn in deliveries.inference.turns:
        key = turn.asked.agent, turn.asked.model
        if not turn.asked.position:
            violations += _session(sessions.pop(key, []), shapes[turn.asked.model])
        sessions.setdefault(key, []).append(turn)
    for key in sorted(sessions):
        violations += _session(sessions[key], shapes[key[1]])
    return violations


def _session(turns: list[Turn], shape: Exact) -> list[str]:
    tokens = [token for turn in turns for token in turn.asked.tokens]
    if not tokens:
        return []
    due = oracle.answers(shape, tokens)
    violations = []
    for turn in turns:
        first, end = turn.asked.position, turn.asked.position + len(turn.asked.tokens)
        where = f"tick {turn.tick}, agent {turn.asked.agent}: the answer at position {end}"
        if turn.token != due.tokens[end - 1]:
            violations.append(f"{where} is token {turn.token}, not {due.tokens[end - 1]}")
        elif turn.logits != due.logits[end - 1]:
            violations.append(f"{where} has other logits")
        if turn.kv != b"".join(due.kv[first:end]):
            violations.append(f"{where} has another KV cache")
    return violations
