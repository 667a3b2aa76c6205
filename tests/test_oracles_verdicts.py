"""Verdicts: how they merge, what a crash or a missing record becomes, and that judging is quick."""

from __future__ import annotations

from typing import Any

import pytest
from oracles_kit import MODULE, WASM, b64, call, crossing, envelope, step, world

from faults.plan import Plan
from harness.history import History
from harness.oracles import ORACLES, Finding, Judged, Oracle, Verdict, judge, judgeable, merge
from runtime.state import Input, Send

PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("verdicts", "merged"),
    [
        ([], UNKNOWN),
        ([PASS, PASS], PASS),
        ([PASS, UNKNOWN], UNKNOWN),
        ([UNKNOWN, FAIL], FAIL),
        ([FAIL, PASS], FAIL),
        ([UNKNOWN], UNKNOWN),
    ],
)
def test_fail_outranks_unknown_and_unknown_outranks_pass(verdicts: list[Verdict], merged: Verdict) -> None:
    assert merge(verdicts) is merged


@pytest.mark.parametrize("oracle", sorted(ORACLES))
def test_an_oracle_that_crashes_is_unknown_and_says_where(oracle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(run: Judged) -> list[str]:
        return [str(1 // 0)]

    monkeypatch.setitem(ORACLES, oracle, Oracle(oracle, "", "", crash))
    found = judge(Judged(world().history()), [oracle])[oracle]
    assert found.verdict is UNKNOWN
    assert "ZeroDivisionError" in found.evidence[0]
    assert "test_oracles_verdicts.py" in found.evidence[0]


def empty() -> History:
    return History(plan=Plan(scenario="hand", seed=1, inputs=()))


@pytest.mark.parametrize("oracle", sorted(ORACLES))
def test_a_history_without_records_is_unknown_to_every_oracle(oracle: str) -> None:
    assert judge(Judged(empty()), [oracle])[oracle].verdict is UNKNOWN


@pytest.mark.parametrize("oracle", sorted(set(ORACLES) - {"I14", "I27", "I28", "ledger"}))
@pytest.mark.parametrize("damage", [b"", b"\x00" * 300, b'{"header":{}}\n'])
def test_a_journal_that_cannot_be_read_never_passes_on_its_own_records(oracle: str, damage: bytes) -> None:
    history = world().history()
    history.journal = damage
    found = judge(Judged(history), [oracle])[oracle]
    assert found.verdict is not PASS


def test_all_oracles_are_judged_unless_some_are_named() -> None:
    run = Judged(world().history())
    assert list(judge(run)) == list(ORACLES)
    assert judge(run, ["I9"]) == {"I9": Finding("I9", PASS)}
    with pytest.raises(KeyError):
        judge(run, ["I99"])


def test_what_needs_further_runs_is_judgeable_only_with_them() -> None:
    good = world().history()
    alone = judgeable(Judged(good))
    assert not {"twin", "I1", "I3", "I5", "I19", "I20", "I24", "scenario"} & set(alone)
    assert {"I14", "I15"} <= set(alone)
    unshared = world()
    unshared.stores = []
    unshared.bodies[0]["inputs"][0]["action"]["config"]["buffers"] = []
    assert "I15" not in judgeable(Judged(unshared.history()))
    assert {"I14", "I15"} <= set(judgeable(Judged(empty())))  # what cannot be read is judged, and UNKNOWN
    run = Judged(good, good, good, good, {1: good}, (("state-1", good.final_state),), 1000, lambda history: [])
    run.devices = {"cpu": good}
    run.modules = {MODULE: WASM}
    varied = ("I2", "I4", "I6", "I7", "I33")
    unjudged = ("I22", "I24", "I26", "I29", "I30", "I36", "reads", *varied)
    assert judgeable(run) == tuple(id_ for id_ in ORACLES if id_ not in unjudged)
    # There are no graphs, no inference and no reload in this world, no sync failed, no module was signed, nothing was
    # damaged.
    assert merge(found.verdict for found in judge(run, judgeable(run)).values()) is PASS


def test_evidence_is_cut_and_says_so() -> None:
    made = world()
    del made.guests[1:]
    evidence = judge(Judged(made.history()), ["I8"])["I8"].evidence
    assert len(evidence) == 6
    assert evidence[-1].startswith("and ")


def ring(agents: int, ticks: int) -> History:
    """Every agent sends one message to the next one in every tick."""
    made = world()
    first = made.bodies[0]
    first["inputs"] = first["inputs"][:2] + [{**first["inputs"][1], "n": n} for n in range(3, agents + 2)]
    first["inputs"].append({"source": "bank", "n": 1, "tick": 0, "action": {"do": "send", "agent": 0, "payload": ""}})
    made.sent = [Input(Send(0, b""), 1, "bank", 0)]
    made.bodies, made.guests, made.receipts, made.outputs = [first], [], [], {}
    first["steps"] = [step(agent, 1, "init") for agent in range(agents)]
    first["events"] = [["lifecycle", agent, "starting", "active"] for agent in range(agents)]
    made.guests = [crossing(0, agent, "init") for agent in range(agents)]
    for tick in range(1, ticks + 1):
        body: dict[str, Any] = {**first, "tick": tick, "inputs": [], "steps": [], "events": [], "root": ""}
        for agent in range(agents):
            before, target, data = (agent - 1) % agents, (agent + 1) % agents, b"%d" % tick
            inbox = [(before + 1 << 32) + tick - 1]
            got = envelope(1, before, inbox[0], 0, b"%d" % (tick - 1))
            if tick == 1:
                inbox, got = [1], envelope(3, 0xFFFFFFFF, 1, 0, b"")
            taken = inbox if tick > 1 or agent == 0 else []
            seq = (agent + 1 << 32) + tick
            body["steps"].append(step(agent, tick + 1, inbox=taken, effects=[["send", target, b64(data)]], seq=seq))
            calls = (call("send", target, data),)
            made.guests.append(crossing(tick, agent, inbox=(got,) if taken else (), calls=calls))
        made.bodies.append(body)
    ended = [["lifecycle", agent, "active", "terminated"] for agent in range(agents)]
    made.bodies[-1]["events"] = [*ended, ["finished"]]
    made.deliver()
    history = made.history()
    history.final_state = b""
    return history


def test_sixteen_agents_in_a_hundred_ticks_pass() -> None:
    history = ring(16, 100)
    run = Judged(history, history, history, history, {1: history, 7: history}, (), 1000)
    found = judge(run, ["twin", "I3", "I8", "I9", "I11", "I15", "I27", "I28", "I32", "replay", "ledger"])
    assert {name: f for name, f in found.items() if f.verdict is not PASS} == {}


def test_a_bug_inside_an_index_that_oracles_share_is_unknown_to_each(monkeypatch: pytest.MonkeyPatch) -> None:
    history = world().history()
    history.final_state = b"not a state"
    found = judge(Judged(history), ["I34", "I8"])
    assert (found["I34"].verdict, found["I8"].verdict) == (UNKNOWN, PASS)
