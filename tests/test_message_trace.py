"""MSG-1: from any delivered message back to the input that caused it, and what cannot be is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import here, refused
from msgspec.structs import replace

from harness.history import History
from harness.kept import Kept, find
from harness.message_trace import Messages, Sent, Taken
from harness.oracles.judged import Judged
from harness.plans import default_plan
from harness.simulation import simulate
from runtime.errors import Refused
from runtime.journal import read
from runtime.state import (
    INFERENCE,
    OUTSIDE,
    TASK,
    AgentSpec,
    Config,
    Configure,
    Input,
    Schedule,
    Spawn,
    Submit,
    Task,
)
from scenarios import get

NAMES = ("hello", "ledger", "frames", "assistants", "edges")
EXAMPLE = str(Path(__file__).parent.parent / "docs" / "scenario-example")


def run(name: str) -> tuple[Kept, History]:
    scenario = get(name)
    plan = default_plan(scenario.name)
    history = simulate(scenario, plan)
    return Kept(name, plan, scenario, history.journal, history.blobs), history


@pytest.mark.parametrize("name", NAMES)
def test_the_journals_account_is_that_of_the_senders_themselves(name: str) -> None:
    """Against what guests passed and the client handed in, joined by the oracles."""
    kept, history = run(name)
    mine, flows = Messages(kept).sent, Judged(history).flows
    assert set(mine) == set(flows.sent) and not flows.unjoined
    for number, sent in flows.sent.items():
        one = mine[number]
        assert (one.sender, one.kind, one.tick, one.payload) == (sent.sender, sent.kind, sent.tick, sent.data)


@pytest.mark.parametrize("name", [*NAMES, EXAMPLE])
def test_every_delivered_message_leads_back_to_an_input(name: str) -> None:
    messages = Messages(run(name)[0])
    assert messages.delivered or name == "frames"
    for number in sorted(messages.delivered):
        trace = messages.trace(number)
        assert isinstance(trace.chain[0], Sent) and trace.chain[0].seq == number
        assert isinstance(trace.chain[-1], Input) and trace.chain[-1] in trace.inputs
        assert all(number in step.entry.inbox for step in trace.delivered)


def test_each_hop_of_a_chain_is_in_the_journal() -> None:
    kept, _ = run("ledger")
    steps = {
        (block.tick, entry.agent): entry
        for line in read(kept.journal).lines
        for block in [line.block]
        for entry in block.steps
    }
    messages = Messages(kept)
    longest = max((messages.trace(number) for number in messages.delivered), key=lambda trace: len(trace.chain))
    assert len(longest.chain) >= 5
    for one, cause in zip(longest.chain, longest.chain[1:], strict=False):
        if isinstance(one, Sent) and isinstance(cause, Taken):
            entry = steps[cause.tick, cause.entry.agent]
            assert (
                one.sender == entry.agent
                and one.seq >= entry.seq
                and entry.effects[one.effect].op in ("send", "publish")
            )
        elif isinstance(one, Taken) and isinstance(cause, Sent):
            assert (
                cause.seq in steps[one.tick, one.entry.agent].inbox and cause.tick < one.tick
            ) or cause.sender == OUTSIDE


def test_what_a_reader_did_comes_from_the_writers_step_and_timers_from_who_set_them() -> None:
    messages = Messages(run("frames")[0])
    reading = next(step for step in messages.taken if step.entry.views)
    writer = [messages.taken[index] for index in reading.steps]
    assert any(effect.op == "buffer" for step in writer for effect in step.entry.effects)
    woken = next(step for step in messages.taken if 0 in step.entry.inbox)
    assert woken.steps or woken.inputs


def test_a_request_is_traced_like_any_message() -> None:
    messages = Messages(run("assistants")[0])
    number = next(n for n in messages.delivered if messages.sent[n].kind == INFERENCE)
    trace = messages.trace(number)
    assert isinstance(trace.chain[1], Taken) and trace.chain[1].entry.agent == trace.message.sender
    assert {step.entry.agent for step in trace.delivered} == {trace.message.sender}


def test_what_was_refused_says_so_and_came_from_an_input_all_the_same() -> None:
    messages = Messages(run("ledger")[0])
    refused_ = [number for number, lost in messages.lost.items() if lost[0][0] == "refused"]
    assert refused_
    trace = messages.trace(refused_[0])
    assert trace.lost and trace.inputs


def test_tasks_are_numbered_as_they_were_submitted() -> None:
    """A history made by hand: a graph of two tasks, one that was refused, and a task for nobody."""
    kept, _ = run("hello")
    lines = read(kept.journal).lines
    spec = AgentSpec(capabilities=(), module="0" * 64, name="a")
    inputs = (
        Input(Configure(Config(last_tick=3, seed=1)), 1, "genesis", 0),
        Input(Spawn(spec), 2, "genesis", 0),
        Input(Submit((Task(agent=0, id="bad"),)), 1, "user", 0),
        Input(Submit((Task(agent=0, id="a"), Task(agent=0, id="b", needs=("a",)))), 2, "user", 0),
        Input(Schedule(7, b"x", 1), 3, "user", 0),
    )
    events = (("refused_tasks", "user", 1, "cycle"),)
    messages = Messages(replace(kept, journal=b""))
    messages._block(replace(lines[0].block, inputs=inputs, events=events, steps=()))
    assert [(m.seq, m.kind, m.origin.n) for m in messages.sent.values() if isinstance(m.origin, Input)] == [
        (1, TASK, 2),
        (2, TASK, 2),
        (3, messages.sent[3].kind, 3),
    ]


def test_a_number_that_nobody_gave_or_two_did_is_refused_by_name() -> None:
    kept, _ = run("hello")
    blocks = [line.block for line in read(kept.journal).lines]
    read_first = next(block for block in blocks if any(entry.inbox for entry in block.steps))
    empty = Messages(replace(kept, journal=b""))
    with pytest.raises(Refused, match="which nobody gave"):
        empty._block(replace(read_first, inputs=()))
    sends = next(
        block for block in blocks if any(effect.op == "send" for entry in block.steps for effect in entry.effects)
    )
    twice = Messages(kept)
    with pytest.raises(Refused, match="is given twice"):
        twice._block(replace(sends, inputs=(), events=()))


def test_the_command_shows_the_chain_and_tells_it_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "trace-message", "hello", "1:3")
    assert ended.code == 0 and ended.out.startswith("delivered to agent 3 critic in tick ")
    told = here(capsys, "trace-message", "hello", "8589934595", "--json").json
    assert told["message"]["seq"] == 2 << 32 | 3 and told["message"]["sender"] == 1
    assert [link["what"] for link in told["chain"]] == ["message", "step", "message", "step", "message", "input"]
    assert told["chain"][-1]["source"] == "user" and told["chain"][-1]["n"] in {item["n"] for item in told["inputs"]}


def test_it_reads_what_run_kept_and_a_fault_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        here(capsys, "run", "hello", "--fault", "worker.kill@tick:2,agent:0", "--keep", str(tmp_path / "k")).code == 0
    )
    kept = here(capsys, "trace-message", str(tmp_path / "k"), "1:3", "--json").json
    fresh = here(capsys, "trace-message", "hello", "1:3", "--json").json
    assert {**kept, "run": ""} == {**fresh, "run": ""}
    assert find(str(tmp_path / "k")).name == kept["run"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hello", "1:99999"), ("no message has number", "agent 1 sent 8589934593 to")),
        (("hello", "77:1"), ("agent 77 sent none",)),
        (("hello", "outside:0"), ("the outside sent 1 to",)),
        (("hello", "x"), ("SEQ: cannot read 'x'", "AGENT:COUNT")),
        (("nothing", "1"), ("there is no such run",)),
    ],
)
def test_wrong_input_is_one_line(
    arguments: tuple[str, ...], words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    refused(here(capsys, "trace-message", *arguments), *words)
