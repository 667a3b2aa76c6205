"""A conversation against an agent: what is as written passes, everything else is named by its tick; bad files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_kit import RUNTIME, child, here, refused
from sdk_kit import OUTPUT, SEND, WAKE, conversation, played, project, wat

from faults.mutants import MUTANTS, plant
from harness.sdk.conversations import Conversation
from harness.sdk.playing import Difference, shown
from runtime.errors import Refused

BACK = """(if (result i32) (i32.eq (i32.load (local.get $at)) (i32.const 1))
  (then (call $send (i32.load offset=4 (local.get $at)) (i32.add (local.get $at) (i32.const 24))
    (i32.load offset=20 (local.get $at))))
  (else (i32.const 0)))"""
ECHO = wat(BACK, SEND)
HEARD = """peers = ["friend"]
[[turn]]
tick = 2
hears = [{ from = "friend", text = "are you there?" }]
"""


def lines(found: list[Difference]) -> list[str]:
    return [str(difference) for difference in found]


def test_what_goes_as_written_has_no_difference(tmp_path: Path) -> None:
    told = played(
        tmp_path, ECHO, HEARD + 'does = [{ call = "send", to = "friend", text = "are you there?" }]', "messages"
    )
    assert lines(told.differences) == [] and (told.steps, told.calls) == (3, 1)
    assert (
        told.journal
        == played(tmp_path, ECHO, HEARD + 'does = [{ call = "send", to = "friend", any = true }]', "messages").journal
    )


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("", 'tick 2: call 1: expected nothing, got send friend "are you there?"'),
        (
            '{ call = "send", to = "friend", text = "no" }',
            'expected send friend "no", got send friend "are you there?"',
        ),
        ('{ call = "send", to = "self", text = "are you there?" }', 'expected send self "are'),
        ('{ call = "send", to = "friend" }', "expected send friend no bytes, got send"),
        ('{ call = "wake", ticks = 3 }', "expected wake 3, got send"),
        ('{ call = "output", hex = "00ff" }', "expected output 0x00ff, got send"),
        (
            '{ call = "send", to = "friend", any = true }, { call = "output" }',
            "call 2: expected output no bytes, got nothing",
        ),
    ],
)
def test_another_call_than_the_written_one_is_a_difference(does: str, said: str, tmp_path: Path) -> None:
    [found] = lines(played(tmp_path, ECHO, f"{HEARD}does = [{does}]", "messages").differences)
    assert said in found and found.startswith("tick 2: ")


def test_a_step_that_fails_is_a_difference_unless_it_is_written(tmp_path: Path) -> None:
    trap = wat("(unreachable)")
    text = '[[turn]]\ntick = 1\nhears = [{ from = "outside", text = "x" }]\n'
    assert lines(played(tmp_path, trap, text).differences) == [
        "tick 1: how the step ended: expected ok, got trap:unreachable"
    ]
    assert played(tmp_path, trap, text + 'status = "trap:unreachable"').differences == []
    assert lines(played(tmp_path, ECHO, text + 'status = "fuel"', "messages").differences) == [
        "tick 1: how the step ended: expected fuel, got ok"
    ]


def test_codes_fuel_and_room_end_a_step_by_their_names(tmp_path: Path) -> None:
    text = '[[turn]]\ntick = 1\nhears = [{ from = "outside", text = "x" }]\nstatus = '
    assert played(tmp_path, wat("(i32.const 3)"), f'{text}"agent_error:3"').differences == []
    assert played(tmp_path, wat("(loop $l (br $l)) (i32.const 0)"), f'{text}"fuel"').differences == []
    no_room = wat().replace("(i32.sub (global.get $free) (local.get 0))", "(i32.const 0)")
    assert played(tmp_path, no_room, f'{text}"alloc"').differences == []


def test_a_step_that_nobody_wrote_is_a_difference_when_it_does_something(tmp_path: Path) -> None:
    text = '[[turn]]\ntick = 1\nhears = [{ from = "outside", text = "x" }]\n'
    ending = "end = 9\n"
    wakes = wat("(call $wake (i32.const 3))", WAKE)  # each envelope asks for another one, 3 ticks later
    got = lines(played(tmp_path, wakes, f'{ending}{text}does = [{{ call = "wake", ticks = 3 }}]', "timers").differences)
    assert got == [
        "tick 4: call 1: expected nothing, got wake 3",
        "tick 7: call 1: expected nothing, got wake 3",
    ]
    more = "".join(f'[[turn]]\ntick = {tick}\ndoes = [{{ call = "wake", ticks = 3 }}]\n' for tick in (4, 7))
    whole = f'{ending}{text}does = [{{ call = "wake", ticks = 3 }}]\n{more}'
    assert played(tmp_path, wakes, whole, "timers").differences == []
    silent = f"{ending}{text}[[turn]]\ntick = 5\n"
    assert lines(played(tmp_path, ECHO, silent, "messages").differences) == ["tick 5: a step: expected ok, got none"]


def test_the_first_and_the_last_step_are_compared_too(tmp_path: Path) -> None:
    agent = wat("(i32.const 0)", OUTPUT, init="(call $output (i32.const 8) (i32.const 5))")
    text = '[[turn]]\ntick = 1\nhears = [{ from = "outside", text = "x" }]\n'
    assert lines(played(tmp_path, agent, text, "output").differences) == [
        'tick 0: call 1: expected nothing, got output "hello"'
    ]
    assert (
        played(tmp_path, agent, f'{text}[init]\ndoes = [{{ call = "output", text = "hello" }}]', "output").differences
        == []
    )
    assert lines(
        played(tmp_path, agent, f'{text}[init]\nstatus = "fuel"\n[shutdown]\nstatus = "fuel"', "output").differences
    ) == [
        "tick 0: how the step ended: expected fuel, got ok",
        'tick 0: call 1: expected nothing, got output "hello"',
        "tick 2: how the step ended: expected fuel, got ok",
    ]


def test_peers_topics_buffers_and_operators_reach_the_agent_as_in_any_run(tmp_path: Path) -> None:
    text = """peers = ["ann", "bob"]
    topics = ["news", "weather"]
    buffers = [{ name = "frames", capacity = 64, writer = "bob" }]
    reads = ["frames"]
    [init]
    does = [{ call = "subscribe", topic = "weather" }]
    [[turn]]
    tick = 3
    hears = [
      { from = "ann", text = "1" },
      { from = "ann", topic = "weather", text = "2" },
      { from = "bob", text = "3" },
      { from = "outside", topic = "weather", text = "4" },
      { from = "outside", text = "5" },
      { from = "bob", buffer = "frames", hex = "07" },
    ]
    does = [
      { call = "output", parts = [{ u32 = 1 }, { u32 = 1 }, { u32 = 0 }] },
      { call = "output", parts = [{ u32 = 2 }, { u32 = 1 }, { u32 = 1 }] },
      { call = "output", parts = [{ u32 = 1 }, { u32 = 2 }, { u32 = 0 }] },
      { call = "output", parts = [{ u32 = 2 }, { u32 = 4294967295 }, { u32 = 1 }] },
      { call = "output", parts = [{ u32 = 3 }, { u32 = 4294967295 }, { u32 = 0 }] },
      { call = "output", parts = [{ u32 = 6 }, { u32 = 0 }, { u32 = 0 }] },
    ]
    [[turn]]
    tick = 5
    hears = [{ from = "operator", action = "pause" }, { from = "outside", text = "unheard" }]
    """
    agent = """(module
      (import "engine" "output" (func $output (param i32 i32) (result i32)))
      (import "engine" "subscribe" (func $subscribe (param i32) (result i32)))
      (memory (export "memory") 2)
      (global $free (mut i32) (i32.const 1024))
      (func (export "agent_alloc") (param i32) (result i32)
        (global.set $free (i32.add (global.get $free) (local.get 0)))
        (i32.sub (global.get $free) (local.get 0)))
      (func (export "agent_init") (result i32) (call $subscribe (i32.const 1)))
      (func (export "agent_receive") (param $at i32) (param i32) (result i32)
        (i32.store offset=8 (local.get $at) (i32.load offset=16 (local.get $at)))
        (call $output (local.get $at) (i32.const 12)))
      (func (export "agent_step") (param i32) (result i32) (i32.const 0))
      (func (export "agent_shutdown") (result i32) (i32.const 0)))"""
    told = played(tmp_path, agent, text, "output", "topics", "buffers")
    assert lines(told.differences) == ["tick 5: a step: expected ok, got none"]


def test_a_model_answers_in_a_conversation_as_it_does_in_a_run(tmp_path: Path) -> None:
    asks = wat(
        """(if (result i32) (i32.eq (i32.load (local.get $at)) (i32.const 3))
          (then (i32.store (i32.const 64) (i32.const 1)) (i32.store (i32.const 68) (i32.const 5))
            (call $infer (i32.const 0) (i32.const 64) (i32.const 8)))
          (else (call $output (i32.add (local.get $at) (i32.const 28)) (i32.const 4))))""",
        OUTPUT,
        '(import "engine" "infer" (func $infer (param i32 i32 i32) (result i32)))',
    )
    text = """models = ["small"]
    [[turn]]
    tick = 1
    hears = [{ from = "outside", text = "go" }]
    does = [{ call = "infer", model = "small", parts = [{ u32 = 1 }, { u32 = 5 }] }]
    [[turn]]
    tick = 3
    does = [{ call = "output", parts = [{ u32 = 1 }] }]
    """
    assert lines(played(tmp_path, asks, text, "inference", "output").differences) == []


def test_a_peer_that_cannot_do_its_part_is_a_difference(tmp_path: Path) -> None:
    text = """peers = ["ann"]
    buffers = [{ name = "frames", capacity = 4, writer = "ann" }]
    [[turn]]
    tick = 3
    hears = [{ from = "ann", buffer = "frames", text = "too long" }]
    """
    assert "tick 2: peer ann: expected its part, got bad_length" in lines(
        played(tmp_path, ECHO, text, "messages").differences
    )


def test_a_refused_call_is_no_effect_and_a_full_mailbox_is_told_of(tmp_path: Path) -> None:
    nobody = wat("(drop (call $send (i32.const 9) (i32.const 0) (i32.const 1))) (i32.const 0)", SEND)
    text = '[[turn]]\ntick = 1\nhears = [{ from = "outside", text = "x" }]\n'
    assert played(tmp_path, nobody, text, "messages").differences == []


BAD = """peers = ["ann", "self"]
topic = ["news"]
topics = ["t", "t"]
buffers = [{ name = "frames", capacity = 0, writer = "bob" }]
reads = ["pictures"]
end = 1
[[turn]]
tick = 1
hears = [
  { from = "carl", text = "x" },
  { from = "ann", text = "x", hex = "00" },
  { from = "outside", hex = "0" },
  { from = "outside", buffer = "frames" },
  { from = "operator" },
  { from = "outside", parts = [{ u32 = -1 }, { u8 = 1, u32 = 1 }, {}] },
]
does = [
  { call = "shout" },
  { call = "send" },
  { call = "wake", ticks = 1, text = "x" },
  { call = "output", to = "ann" },
  { call = "publish", topic = "news", any = true, text = "x" },
]
status = "fine"
"""
SAID = [
    "topics: t is there twice",
    "peers.1: 'self': this name",
    "topic: unknown key, did you mean topics",
    "buffers.0.capacity: 0: ",
    "buffers.0.writer: 'bob': it is none of agents: self, ann",
    "reads.0: 'pictures': ",
    "end: 1: ",
    "turn.0.hears.0.from: 'carl': it is none of those who speak: outside, operator, ann",
    "turn.0.hears.1: text and hex: give one",
    "turn.0.hears.2.hex: '0': give pairs",
    "turn.0.hears.3: only agents write buffers",
    "turn.0.hears.4: an action is what",
    "turn.0.hears.5.parts.0.u32: -1: ",
    "turn.0.hears.5.parts.1: give one value",
    "turn.0.hears.5.parts.2: give one value",
    "turn.0.does.0.call: 'shout': ",
    "turn.0.does.1: send needs to",
    "turn.0.does.2: text: it has no payload",
    "turn.0.does.3: output has no to",
    "turn.0.does.4.topic: 'news': it is none of topics: t, t",
    "turn.0.status: 'fine': ",
]


def test_all_that_is_wrong_with_a_file_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refusal:
        conversation(tmp_path, BAD)
    missing = [said for said in SAID if said not in str(refusal.value)]
    assert missing == [] and "\n" not in str(refusal.value) and "said.toml" in str(refusal.value)


TURN = "[[turn]]\ntick = {}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "turn: Field required"),
        ("turn = []", "turn: "),
        (TURN.format(0), "turn.0.tick: 0"),
        (TURN.format(3) + TURN.format(3), "turn: tick 3 comes after tick 3"),
        ("end = 3\n" + TURN.format(3), "end: 3 is not after the last turn"),
        ('peers = ["a"]\n' + TURN.format(1) + 'hears = [{ from = "a" }]', "tick 2 at the earliest"),
        ('peers = ["a", "b"]\n' + TURN.format(2) + 'hears = [{ from = "b" }, { from = "a" }]', "another order"),
        ('peers = ["a"]\n' + TURN.format(2) + 'hears = [{ from = "outside" }, { from = "a" }]', "then outside"),
        (TURN.format(2) + 'status = "fuel"\ndoes = [{ call = "output" }]', "fails does nothing"),
        (TURN.format(2) + 'hears = [{ from = "operator", action = "pause", text = "x" }]', "nothing beside it"),
        (
            'peers = ["a"]\ntopics = ["t"]\n'
            + TURN.format(2)
            + 'does = [{ call = "publish", topic = "t", any = true, hex = "" }]',
            "any says it all",
        ),
        (TURN.format(2) + 'hears = [{ from = "outside", text = "' + "x" * 70_000 + '" }]', "more than 65536"),
        ('models = ["large"]\n' + TURN.format(2), "models.0: 'large'"),
    ],
)
def test_a_conversation_that_cannot_be_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=re.escape(said)):
        conversation(tmp_path, text)


@pytest.mark.parametrize("text", [b"\xff", b"turn = [", b"[[turn]]\ntick = 1\ntick = 2", b"x = " + b"[" * 9000])
def test_what_is_no_toml_is_refused_in_one_line(
    text: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = project(tmp_path, "wat")
    assert here(capsys, "agent", "build", str(place)).code == 0
    (place / "bad.toml").write_bytes(text)
    refused(here(capsys, "agent", "test", str(place), "--conversation", str(place / "bad.toml")), "bad.toml")
    refused(
        here(capsys, "agent", "test", str(place), "--conversation", str(place / "gone.toml"), "--json"), "gone.toml"
    )


def test_the_command_tells_every_difference_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = project(tmp_path, "wat")
    assert here(capsys, "agent", "build", str(place)).code == 0
    told = here(capsys, "agent", "test", str(place), "--json")
    assert (told.code, told.json["passed"], told.json["differences"], told.json["turns"]) == (0, True, [], 2)
    said = place / "conversation.toml"
    said.write_text(said.read_text("utf-8").replace('text = "hello" }]', 'text = "hullo" }]'), "utf-8")
    ended = here(capsys, "agent", "test", str(place))
    assert ended.code == 1 and ended.out.endswith("FAIL  agent: 2 turns, 4 steps, 1 differences\n")
    assert "tick 1: call 1: expected output 0x010000000500000068656c6c6f, got output 0x" in ended.out
    again = here(capsys, "agent", "test", str(place), "--json")
    assert (again.code, again.json["passed"], len(again.json["differences"])) == (1, False, 1)
    assert set(again.json["differences"][0]) == {"tick", "what", "expected", "got"}


def test_runs_under_faults_leave_the_journal_as_it_is_and_say_what_took_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = project(tmp_path, "wat")
    assert here(capsys, "agent", "build", str(place)).code == 0
    told = here(capsys, "agent", "test", str(place), "--runs", "6", "--json")
    faults = told.json["faults"]
    assert (told.code, faults["runs"], faults["failures"]) == (0, 6, [])
    assert faults["passed"] + faults["idle"] == 6 and faults["passed"] > 3
    assert sum(faults["faults_fired"].values()) > 6
    assert here(capsys, "agent", "test", str(place), "--runs", "6", "--json").json == told.json
    shown = here(capsys, "agent", "test", str(place), "--runs", "2").out
    assert "PASS  2 runs under faults: 2 with the same journal" in shown
    refused(here(capsys, "agent", "test", str(place), "--runs", "-1"), "--runs", "-1")


def test_a_build_that_loses_state_between_steps_fails_under_faults_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = project(tmp_path, "wat")
    assert here(capsys, "agent", "build", str(place)).code == 0
    folder = plant(next(m for m in MUTANTS if m.name == "snapshot_without_globals"), RUNTIME, tmp_path)
    told = child("agent", "test", str(place), "--runs", "20", "--json", "--build", str(folder))
    assert (told.code, told.json["passed"], told.json["differences"]) == (1, False, [])
    assert told.json["faults"]["failures"]
    assert all(re.match(r"run \d+: FAIL .*; under .*@", failure) for failure in told.json["faults"]["failures"])
    refused(child("agent", "test", str(place), "--build", str(tmp_path / "nowhere")), "nowhere")


def test_a_source_newer_than_the_module_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import os

    place = project(tmp_path, "wat")
    assert here(capsys, "agent", "build", str(place)).code == 0
    assert here(capsys, "agent", "test", str(place)).err == ""
    os.utime(place / "agent.wat", (2**33, 2**33))
    assert "newer than agent.wasm" in here(capsys, "agent", "test", str(place)).err


def test_the_page_names_every_key_of_a_conversation() -> None:
    page = (Path(__file__).parent.parent / "docs" / "sdk.md").read_text("utf-8")
    keys = set(Conversation.model_fields)
    for name, model in Conversation.model_json_schema(by_alias=True)["$defs"].items():
        if name not in ("Buffer", "Source"):
            keys |= set(model["properties"])
    assert [key for key in sorted(keys) if f"`{key}" not in page and f"`{key}`" not in page] == []


def test_bytes_are_shown_so_that_one_can_tell_them_apart() -> None:
    assert [shown(data) for data in (None, b"", b"a b", b"\n", b"x" * 70)] == [
        "anything",
        "no bytes",
        '"a b"',
        "0x0a",
        '"' + "x" * 64 + '"… (70 B)',
    ]
