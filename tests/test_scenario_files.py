"""Scenarios from files: the example as written, everything wrong at once, names that are digests, cases that travel."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from cli_kit import child, here, refused

from faults.plan import Plan, parse_fault
from harness import cases
from harness.api import simulate
from harness.check import Checker
from runtime.errors import Refused
from runtime.frames import Output
from runtime.state import ChannelSpec, Group, Leave, Operate, Schedule, Send, Submit, Task
from scenarios import get
from scenarios.base import AGENTS, Outcome
from scenarios.files import known
from scenarios.files.reading import read_scenario
from scenarios.files.rules import judged
from scenarios.files.tables import RuleTable

DOCS = Path(__file__).parent.parent / "docs"
EXAMPLE = DOCS / "scenario-example"


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test knows only the files that it names."""
    monkeypatch.setattr(known, "_known", {})
    monkeypatch.setattr(known, "_typed", {})
    monkeypatch.setenv(known.ENVIRONMENT, "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example, to be damaged."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "mine"))


def rewritten(folder: Path, *changes: tuple[str, str]) -> Path:
    path = folder / "scenario.toml"
    text = path.read_text("utf-8")
    for before, after in changes:
        assert text.count(before) >= 1, before
        text = text.replace(before, after, 1)
    path.write_text(text, "utf-8")
    return path


def why(path: Path) -> str:
    with pytest.raises(Refused) as caught:
        read_scenario(path)
    return str(caught.value)


def test_the_page_shows_the_example_and_what_a_run_of_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    page = (DOCS / "scenarios.md").read_text("utf-8")
    assert f"```toml\n{(EXAMPLE / 'scenario.toml').read_text('utf-8')}```" in page
    ended = here(capsys, "run", str(EXAMPLE))
    assert ended.code == 0, ended.err
    said, shown = (re.sub(r"[0-9a-f]{16}|\d+(?= oracles)", "...", text) for text in (ended.out, page))
    assert f"$ wasm-engine run docs/scenario-example\n{said}```" in shown  # digests are the golden tests' matter


def test_what_the_file_says_is_what_runs() -> None:
    scenario = read_scenario(EXAMPLE)
    assert [spec.name for spec in scenario.agents] == ["relay-0", "relay-1", "relay-2", "reporter"]
    assert scenario.agents[0].limits.fuel == 20_000 and scenario.agents[0].capabilities == ("messages", "topics")
    assert [(tick, index) for tick, index in scenario.orders(1)][:5] == [(2, 0), (5, 1), (8, 2), (11, 3), (14, 4)]
    actions = [(item.tick, item.action) for item in scenario.workload(1)]
    assert (2, Send(0, b"2 hello")) in actions and (20, Schedule(2, b"0 late", 2)) in actions
    assert [action for _, action in scenario.fixed(1)] == [Operate("pause", 2), Operate("resume", 2)]
    run = simulate(scenario)
    run.assert_ok()
    assert sorted(output.payload for output in run.outputs) == [b"0 hello"] * 5 + [b"0 late"] * 3


def test_all_errors_are_said_at_once_with_their_places(folder: Path) -> None:
    path = rewritten(
        folder,
        ("last_tick = 40", 'last_tick = "forty"\ntopic = []'),
        ('faults = ["worker.kill@tick:3,agent:1,hostcall:1"]', 'faults = ["worker.kil@tick:3"]'),
        ('profile = "transparent"', 'profile = "mine.toml"'),
        ('manifest = "relay.toml"', 'manifest = "other.toml"\nname = "relay"'),
        ('capabilities = ["topics", "output"]', 'capabilities = ["topics"]'),
        ('to = "relay-0"', 'to = "relay-7"'),
        ('do = "schedule"', 'do = "schedul"'),
        ('text = "0 late"', 'hex = "0"'),
    )
    said = why(path)
    for words in (
        "last_tick: 'forty'",
        "topic: unknown key, did you mean topics",
        "faults.0: 'worker.kil@tick:3': unknown fault 'worker.kil'; did you mean worker.kill",
        "mine.toml: cannot be read",
        "agents.0.manifest: ",
        "other.toml: cannot be read",
        "agents.1.module: agent reporter: module refused [import]",
        "workload.1.do: 'schedul'",
        "workload.1.hex: '0'",
        "see docs/scenarios.md",
    ):
        assert words in said, words
    assert "\n" not in said


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('to = "relay-0"', 'to = "relay-7"', "workload.0.to: there is no agent 'relay-7', use one of relay, relay-0"),
        ("times = 5", "times = 14", "workload.0: its last turn is at tick 41, and the workload ends before 40"),
        ("times = 5", "times = 99999", "workload.0: its last turn is at tick"),
        ('name = "reporter"', 'name = "relay-1"', "agents: the name 'relay-1' is there twice"),
        ('topics = ["news"]', 'topics = ["news", "news"]', "topics and channels: the name 'news' is there twice"),
        ('text = "2 hello"', 'text = "4"\nhex = "00"', "workload.0: send needs either text or hex"),
        ('text = "2 hello"', 'text = "4"\ntopic = "news"', "workload.0: send has no topic"),
        ("ticks = 2", "", "workload.1: schedule needs ticks"),
        (
            "count = 3",
            "count = 3\ncapabilities = []\nlimits = {}",
            "capabilities, libraries and limits are the manifest's",
        ),
        ('["topics", "output"]', '["topics", "outpt"]', "agents.1.capabilities: there is no capability 'outpt'"),
        ("count = 3", "count = 3\nreads = ['frame']", "agents.0.reads: there is no buffer 'frame', declare it"),
        ("count = 3", "count = 10001", "agents.0.count: 10001"),
        ('module = "reporter.wat"', 'module = "../reporter.wat"', "the file lies in the scenario's folder or below it"),
        ('module = "reporter.wat"', 'module = "/etc/hostname"', "the file lies in the scenario's folder or below it"),
        ('manifest = "relay.toml"', "", "agents.0: give either manifest or module"),
        ('name = "relay"', 'name = "../x"', "name: '../x'"),
    ],
)
def test_one_error_is_said_with_its_key_and_what_may_stand_there(
    folder: Path, before: str, after: str, words: str
) -> None:
    assert words in why(rewritten(folder, (before, after)))


def test_a_link_out_of_the_folder_is_not_followed(folder: Path) -> None:
    (folder / "reporter.wat").unlink()
    (folder / "reporter.wat").symlink_to(EXAMPLE / "reporter.wat")
    assert "agents.1.module: reporter.wat: the file does not lie in the scenario's folder" in why(folder)


def test_a_module_that_does_not_assemble_is_refused_with_its_line(folder: Path) -> None:
    (folder / "reporter.wat").write_text("(module (func $f (result i32)))(", "utf-8")
    assert "agents.1.module: agent reporter" in why(folder)


def test_a_workload_that_is_all_fixed_leaves_nothing_to_draw(folder: Path) -> None:
    path = folder / "scenario.toml"
    path.write_text(
        path.read_text("utf-8").split("[[workload]]")[0] + '[[workload]]\ntick = 1\nto = "relay-0"\n'
        'text = "0"\nfixed = true\n',
        "utf-8",
    )
    assert "workload: all of it is fixed" in why(path)


def test_buffers_are_declared_by_names(folder: Path) -> None:
    path = rewritten(folder, ("count = 3", 'count = 3\nreads = ["frame"]'))
    path.write_text(
        path.read_text("utf-8") + '\n[[buffers]]\nname = "frame"\nwriter = "reporter"\ncapacity = "4 KiB"\n'
    )
    scenario = read_scenario(path)
    buffer = scenario.config(1).buffers[0]
    assert (buffer.name, buffer.writer, buffer.capacity) == ("frame", 3, 4096)
    assert [spec.reads for spec in scenario.agents] == [(0,), (0,), (0,), ()]
    rewritten(folder, ('writer = "reporter"', 'writer = "relay"'))
    assert "buffers.0.writer: there is no agent 'relay', use one of relay-0" in why(path)


_RICH = """
name = "rich"
last_tick = 30
guard = "guard_object.wasm"
topics = ["news"]

[[agents]]
module = "guarded_teller.wasm"
name = "teller"
capabilities = ["messages", "output"]

[[agents]]
module = "guarded_clerk.wasm"
name = "clerk"
capabilities = ["output"]
guard = "guard_amount.wasm"

[[agents]]
module = "assistant.wasm"
name = "assistant"
count = 2
capabilities = ["messages", "output", "inference"]

[[channels]]
name = "staff"
members = ["teller", "assistant"]
closed = true

[[groups]]
name = "desk"
agents = ["teller", "clerk"]
strategy = "rest_for_one"
max_restarts = 1

[[models]]
name = "decoder"
file = "decoder.onnx"
context = CONTEXT
vocabulary = VOCABULARY
kv_bytes = KV_BYTES

[[workload]]
tick = 2
every = 3
times = 6
to = "teller"
text = '{"amount":12}'

[[workload]]
tick = 3
to = "teller"
text = "[1]"

[[workload]]
do = "leave"
tick = 9
to = "assistant-1"
topic = "staff"

[[workload]]
do = "submit"
tick = 5
tasks = [
    { id = "count", to = "teller" },
    { id = "add", to = "clerk", needs = ["count"], text = '{"amount":7}', priority = 2 },
]
"""


def _rich(folder: Path) -> Path:
    """A scenario with what the example has not: channels, validators, a model; its modules are the harness's own."""
    folder.mkdir()
    for name in ("guarded_teller", "guarded_clerk", "guard_object", "guard_amount", "assistant"):
        shutil.copy(AGENTS / f"{name}.wasm", folder)
    spec = get("assistants").config(1).models[0]
    (folder / "decoder.onnx").write_bytes(get("assistants").models()[spec.digest])
    text = _RICH.replace("CONTEXT", str(spec.context)).replace("VOCABULARY", str(spec.vocabulary))
    (folder / "scenario.toml").write_text(text.replace("KV_BYTES", str(spec.kv_bytes)), "utf-8")
    return folder


def test_channels_validators_and_models_are_declared_by_names_and_files(tmp_path: Path) -> None:
    scenario = read_scenario(_rich(tmp_path / "rich"))
    config = scenario.config(1)
    assert config.channels == (ChannelSpec(closed=True, members=(0, 2, 3), name="staff"),)
    assert scenario.agents[1].guard == get("guarded").agents[1].guard and config.guard == get("guarded").config(1).guard
    assert config.models[0].digest == get("assistants").config(1).models[0].digest
    assert [action for _, action in scenario.fixed(1)] == [] and Leave(3, 1) in [i.action for i in scenario.workload(1)]
    desk = Group(agents=(0, 1), max_restarts=1, name="desk", strategy="rest_for_one")
    assert config.groups == (desk,)
    tasks = (
        Task(agent=0, id="count"),
        Task(agent=1, id="add", needs=("count",), payload=b'{"amount":7}', priority=2),
    )
    assert Submit(tasks) in [item.action for item in scenario.workload(1)]
    run = simulate(scenario, faults=("worker.kill@tick:5,agent:0", "orchestrator.kill@tick:6,phase:sync"))
    run.assert_ok()
    events = [event for block in run.blocks for event in block.events]
    assert any(event[0] == "invalid" for event in events)  # the run's guard refused what is no object


def test_a_folder_with_such_files_makes_a_case_that_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = get(str(_rich(tmp_path / "rich")))
    known.put(scenario, tmp_path / "case")
    shutil.rmtree(tmp_path / "rich")
    monkeypatch.setattr(known, "_known", {})
    known.adopt(tmp_path / "case", scenario.name)
    assert get(scenario.name).models() == scenario.models()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('members = ["teller", "assistant"]', 'members = ["teler"]', "channels.0.members: there is no agent 'teler'"),
        ('name = "staff"', 'name = "news"', "topics and channels: the name 'news' is there twice"),
        ('topic = "staff"', 'topic = "stuff"', "workload.2.topic: there is no topic 'stuff', use one of news, staff"),
        ('guard = "guard_object.wasm"', 'guard = "guarded_clerk.wasm"', "guard: "),
        ('file = "decoder.onnx"', 'file = "none.onnx"', "models.0.file: "),
        ('do = "leave"', 'do = "publish"', "workload.2: publish has no to"),
        ('agents = ["teller", "clerk"]', 'agents = ["cleric"]', "groups.0.agents: there is no agent 'cleric'"),
        ('strategy = "rest_for_one"', 'strategy = "one"', "groups.0.strategy: 'one'"),
        (
            'needs = ["count"]',
            'needs = ["cuont"]',
            "workload.3.tasks.1.needs: there is no task 'cuont'",
        ),
        ('id = "count", to', 'id = "count", needs = ["add"], to', "in a circle, count needs add needs count"),
        ('id = "add"', 'id = "count"', "tasks: the name 'count' is there twice"),
        ('do = "submit"', 'do = "submit"\ntimes = 2', "workload.3: submit happens once"),
        ('to = "clerk", needs', 'to = "clark", needs', "workload.3.tasks.1.to: there is no agent 'clark'"),
    ],
)
def test_wrong_names_and_files_of_those_are_said_too(tmp_path: Path, before: str, after: str, words: str) -> None:
    assert words in why(rewritten(_rich(tmp_path / "rich"), (before, after)))


def test_the_name_says_what_it_means_and_not_how_it_is_written(folder: Path) -> None:
    before = read_scenario(folder).name
    rewritten(folder, ("# Three relays", "# Four relays"), ("times = 5", "times = 5   # of them"))
    assert read_scenario(folder).name == before
    rewritten(folder, ("2 hello", "5 hello"))
    assert read_scenario(folder).name != before


def test_a_known_file_that_changes_means_another_scenario(folder: Path) -> None:
    name = get(str(folder)).name
    assert get(name).name == name
    rewritten(folder, ("2 hello", "5 hello"))
    known._known.clear()
    with pytest.raises(Refused, match="are not known, or mean something else now"):
        get(name)


def test_an_unknown_reference_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    refused(here(capsys, "run", "relay@0123456789abcdef"), "relay@0123456789abcdef", "give the path of its .toml file")
    refused(here(capsys, "run", "./nothing.toml"), "nothing.toml: cannot be read", "No such file")


def test_faults_of_the_file_are_those_of_a_run_where_none_are_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert here(capsys, "run", str(EXAMPLE), "--json").json["faults_fired"] == {"worker.kill": 1}
    assert here(capsys, "run", str(EXAMPLE), "--no-faults", "--json").json["faults_fired"] == {}
    typed = here(capsys, "run", str(EXAMPLE), "--fault", "orchestrator.kill@tick:5,phase:sync", "--json")
    assert typed.json["faults_fired"] == {"orchestrator.kill": 1}


def test_a_campaign_runs_it_in_children_and_takes_its_profile(tmp_path: Path, folder: Path) -> None:
    ended = child("stress", "./mine", "--runs", "9", "--jobs", "2", "--store", "out", "--json", cwd=tmp_path)
    assert ended.code in (0, 12), ended.err
    assert ended.json["profile"] == "transparent" and ended.json["runs"] == 9 and ended.json["failed"] == 0


def test_two_profiles_at_once_need_one_that_is_typed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = folder.parent / "other"
    shutil.copytree(folder, other)
    rewritten(other, ('profile = "transparent"', 'profile = "storm"'), ("2 hello", "3 hello"))
    refused(here(capsys, "stress", str(folder), str(other)), "different profiles, storm and transparent", "--profile")
    refused(here(capsys, "stress", str(folder), "--until-covered"), "which states relay@", "--runs")


def _case(folder: Path, tmp_path: Path) -> Path:
    """A recorded run of the scenario in `folder`, far from it; the folder itself is gone."""
    scenario = get(str(folder))
    plan = Plan(scenario=scenario.name, seed=7, inputs=scenario.workload(7), faults=(parse_fault(scenario.faults[0]),))
    case = cases.write(Checker(scenario).check(plan), scenario, tmp_path / "cases")
    shutil.rmtree(folder)
    return Path(shutil.move(case, tmp_path / "elsewhere"))


def test_a_case_brings_its_scenario_and_replays_elsewhere(folder: Path, tmp_path: Path) -> None:
    case = _case(folder, tmp_path)
    replayed = child("replay", str(case), "--json").json
    assert replayed["outcome"] == "FIXED" and not replayed["mismatches"]
    assert replayed["trace_digest"] == replayed["recorded_trace_digest"]
    command = re.search(r"^    wasm-engine (run .*)$", (case / "REPRO.md").read_text("utf-8"), re.M)
    assert command and "/scenario/scenario.toml" in command.group(1)


def test_a_case_with_another_or_no_scenario_is_refused_by_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = _case(folder, tmp_path)
    name = cases.plan_of(cases.read(case), str(case)).scenario
    for forgotten in range(2):
        monkeypatch.setattr(known, "_known", {})
        monkeypatch.setenv(known.ENVIRONMENT, "")
        if forgotten:
            shutil.rmtree(case / "scenario")
            refused(here(capsys, "replay", str(case)), f"the files of scenario '{name}' are not known")
        else:
            rewritten(case / "scenario", ("2 hello", "3 hello"))
            refused(here(capsys, "replay", str(case)), f"the case was recorded with {name}", "get the case anew")


def test_a_kept_run_brings_its_scenario(folder: Path, tmp_path: Path) -> None:
    assert child("run", str(folder), "--keep", str(tmp_path / "kept")).code == 0
    shutil.rmtree(folder)
    ended = child("state", str(tmp_path / "kept"), "--tick", "5", "--json")
    assert ended.code == 0, ended.err


def test_the_schema_is_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    schema = here(capsys, "schema", "scenario").json
    assert schema["additionalProperties"] is False
    assert {"name", "last_tick", "agents", "workload"} == set(schema["required"])
    page = (DOCS / "scenarios.md").read_text("utf-8").split("## Keys")[1]
    tables = schema["$defs"].values()
    keys = set(schema["properties"]).union(*(table.get("properties", {}) for table in tables))
    assert {key for key in keys if f"`{key}`" not in page and f"`[[{key}]]`" not in page} == set()


def test_the_environment_names_paths_and_is_bounded(folder: Path) -> None:
    for number in range(known.PATHS_MAX + 3):
        rewritten(folder, ("hello", f"hello {number} "))
        copy = folder.parent / f"copy-{number}"
        shutil.copytree(folder, copy)
        get(str(copy))
    paths = os.environ[known.ENVIRONMENT].split(os.pathsep)
    assert len(paths) == known.PATHS_MAX and paths[0].endswith(f"copy-{known.PATHS_MAX + 2}")


# --- plugins and libraries --------------------------------------------------------------------------------------------

TURNING = """(module (memory (export "memory") 1)
  (func (export "allocate") (param i32) (result i32) (i32.const 8))
  (func (export "turn") (param $at i32) (param $length i32) (result i32 i32)
    (i32.store8 (local.get $at) (i32.add (i32.load8_u (local.get $at)) (i32.const 1)))
    (local.get $at) (local.get $length)))"""
SHIFTING = """(module (import "agent" "memory" (memory 1))
  (func (export "shift") (param $at i32) (i32.store8 (local.get $at)
    (i32.add (i32.load8_u (local.get $at)) (i32.const {}))))) """
SHIFTER = """(module
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (import "turning" "turn" (func $turn (param i32 i32 i32 i32) (result i32)))
  (import "shifting" "shift" (func $shift (param i32)))
  (memory (export "memory") 1)
  (func (export "agent_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "agent_init") (result i32) (i32.const 0))
  (func (export "agent_receive") (param i32 i32) (result i32)
    (drop (call $turn (i32.add (local.get 0) (i32.const 24)) (i32.const 1) (i32.const 512) (i32.const 1)))
    (call $shift (i32.const 512))
    (call $output (i32.const 512) (i32.const 1)))
  (func (export "agent_step") (param i32) (result i32) (i32.const 0))
  (func (export "agent_shutdown") (result i32) (i32.const 0)))"""
OF_MODULE = """module = "shifter.wat"
capabilities = ["output", "turning"]
libraries = { shifting = "shifting.wat" }"""
SHIFTED = """name = "shifts"
last_tick = 6
[[plugins]]
name = "turning"
file = "turning.wat"
exports = ["turn"]
[[agents]]
AGENT
[[workload]]
tick = 1
to = "shifter"
text = "a"
"""
MANIFEST = """[module]
name = "shifter"
version = "1.0.0"
entry = "shifter.wat"
abi = "1.1"
[capabilities]
output = true
turning = true
[libraries.shifting]
file = "shifting.wat"
"""


def shifting(folder: Path, agent: str = OF_MODULE, by: int = 2, **changed: str) -> Path:
    files = {"turning": TURNING, "shifting": SHIFTING.format(by), "shifter": SHIFTER} | changed
    for name, text in files.items():
        (folder / f"{name}.wat").write_text(text, "utf-8")
    (folder / "shifter.toml").write_text(MANIFEST, "utf-8")
    (folder / "scenario.toml").write_text(SHIFTED.replace("AGENT", agent), "utf-8")
    return folder


@pytest.mark.parametrize("agent", [OF_MODULE, 'manifest = "shifter.toml"'])
def test_agents_of_files_call_plugins_and_libraries_of_files(tmp_path: Path, agent: str) -> None:
    scenario = read_scenario(shifting(tmp_path, agent))
    run = simulate(scenario)
    run.assert_ok()
    assert [output.payload for output in run.outputs] == [b"d"]  # a, one on by the plugin, two by the library
    assert {"turning.wat", "shifting.wat", "shifter.wat"} <= set(scenario.files)
    assert read_scenario(shifting(tmp_path, agent)).name == scenario.name
    assert read_scenario(shifting(tmp_path, agent, by=3)).name != scenario.name
    assert (
        read_scenario(shifting(tmp_path, agent, turning=TURNING.replace("const 1)", "const 2)"))).name != scenario.name
    )


def test_what_is_wrong_with_plugins_and_libraries_is_said_at_once(tmp_path: Path) -> None:
    folder = shifting(tmp_path, shifting=SHIFTING.format(2).replace('"shift"', '"shft"'))
    (folder / "scenario.toml").write_text(
        SHIFTED.replace("AGENT", OF_MODULE)
        + '[[plugins]]\nname = "none"\nfile = "none.wasm"\nexports = []\n[[plugins]]\nname = "output"\n'
        + 'file = "turning.wat"\nexports = ["turn"]\n',
        "utf-8",
    )
    said = why(folder / "scenario.toml")
    for words in (
        "plugins.1.exports: there is none",
        "plugins.2: capability: no capability can be called 'output'",
        "agents.0.module: agent shifter: module refused [import]: shifting.shift is not exported; it exports shft",
    ):
        assert words in said, said


# --- invariants -------------------------------------------------------------------------------------------------------

RULE = '[[invariants]]\nname = "mine"\nof = { what = "output", agent = "shifter" }\n'


def judged_by(folder: Path, rules: str) -> list[str]:
    """What the file's rules say of a run without faults, which lets out the first byte of each input, three on."""
    place = shifting(folder) / "scenario.toml"
    text = SHIFTED.replace("AGENT", OF_MODULE).replace('text = "a"', 'text = "a"\ntimes = 3')
    place.write_text(text + rules, "utf-8")
    run = simulate(read_scenario(place))
    assert run.failed in ((), ("scenario",))
    return list(run.findings["scenario"].evidence)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("at_least = 3\nat_most = 3\nequals = 3", ""),
        ("at_least = 4", "mine: there are 3, at least 4 are due"),
        ("at_most = 2", "mine: there are 3, at most 2 are due"),
        ("equals = 2", "mine: there are 3, exactly 2 are due"),
        ('equals_of = { what = "input", agent = "shifter" }', ""),
        ('at_most_of = { what = "input", begins = "b" }', "mine: there are 3, at most 0 are due"),
        ('at_least_of = { what = "send" }\nat_most_of = { what = "input" }', ""),
        ('one_of = ["d", "e"]', ""),
        ('one_of = ["e"]', "mine: tick 1, agent 0: 64 is none of those allowed"),
        ("distinct = true", "mine: tick 2, agent 0: 64 is there a second time"),
    ],
)
def test_a_rule_holds_or_says_what_does_not(tmp_path: Path, rule: str, says: str) -> None:
    found = judged_by(tmp_path, RULE + rule)
    assert (found == []) if not says else (found[0] == says), found


@pytest.mark.parametrize(
    ("measure", "rule", "says"),
    [
        ('as = "u8"', "equals = 300\nrising = true", ""),
        ('as = "u8"', 'equals_of = { what = "input", as = "u8" }', "mine: the sum is 300, exactly 291 are due"),
        ('as = "u32"', "at_least = 0", "mine: tick 1, agent 0: 64 has no u32 at 0"),
        ('as = "u8", at = 1', "at_least = 0", "mine: tick 1, agent 0: 64 has no u8 at 1"),
        ('as = "u8", begins = "e"', "equals = 0", ""),
    ],
)
def test_a_rule_adds_up_the_numbers_in_payloads(tmp_path: Path, measure: str, rule: str, says: str) -> None:
    text = f'[[invariants]]\nname = "mine"\nof = {{ what = "output", {measure} }}\n{rule}'
    found = judged_by(tmp_path, text)
    assert (found == []) if not says else (found[0] == says), found


def test_numbers_of_one_agent_that_fall_are_named() -> None:
    table = RuleTable.model_validate({"name": "up", "of": {"what": "output", "as": "u8"}, "rising": True})
    outputs = [Output(tick, 0, 0, agent, bytes([value])) for tick, agent, value in ((1, 0, 5), (2, 1, 3), (3, 0, 4))]
    found = judged((table,), lambda of: (None, None), Outcome(outputs, (), ()))
    assert found == ["up: tick 3, agent 0: 04 has 4 after 5"]


def test_the_examples_invariant_can_fail_and_then_the_run_does(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rewritten(folder, ('at_most_of = { what = "publish", topic = "news" }', "at_most = 2"))
    ended = here(capsys, "run", str(path))
    said = "FAIL scenario: what is let out was published: there are 8, at most 2 are due"
    assert ended.code == 1 and said in ended.out


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("", "invariants.0: it has no condition"),
        ("distinct = false", "invariants.0: it has no condition"),
        ("rising = true", "invariants.0: rising needs of.as"),
        ("at_most = 1\nat_most_of = { what = 'output' }", "invariants.0: give at_most or at_most_of"),
        ("at_most_of = { what = 'outputs', agent = 'nobody' }", "invariants.0.at_most_of.what: 'outputs'"),
        ("at_most_of = { what = 'outputs', agent = 'nobody' }", "0.at_most_of.agent: there is no agent 'nobody'"),
        ("at_most_of = { what = 'send', topic = 'news' }", "send has no topic"),
        ("at_most_of = { what = 'publish', topic = 'none' }", "at_most_of.topic: there is no topic 'none'"),
        ("at_mots = 1", "invariants.0.at_mots: unknown key, did you mean at_most"),
        ("at_most = 'one'", "invariants.0.at_most: 'one'"),
        ("of = 3", "not TOML"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_with_its_place(folder: Path, rule: str, words: str) -> None:
    path = rewritten(folder, ('at_most_of = { what = "publish", topic = "news" }', rule))
    assert words in why(path)
