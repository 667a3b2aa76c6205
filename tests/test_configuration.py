"""CFG-1: one configuration. Each key is enforced, all errors at once, what is not supported is refused."""

from __future__ import annotations

import dataclasses
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli_kit import child, here, refused

from faults.plan import Plan
from harness import cases, kept
from harness.check import Checker
from harness.simulation import simulate as history_of
from runtime.configuration import Configuration, configuration_from, read_configuration
from runtime.errors import Refused
from runtime.journal import read
from runtime.physical import Physical
from runtime.state import AgentSpec, BufferSpec, Config, Limits
from runtime.wasm import assemble
from runtime.wasm.compiled import BUDGET
from runtime.wasm.signatures import sign
from runtime.wasm.trust import ed25519, trusting
from scenarios import get
from scenarios.base import Scenario
from scenarios.files import known
from scenarios.files.variations import configured

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "configuration.md").read_text("utf-8")
EXAMPLE = DOCS / "configuration-example.toml"
BARE = Config(last_tick=9, seed=1)


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_known", {})
    monkeypatch.setattr(known, "_typed", {})
    monkeypatch.setenv(known.ENVIRONMENT, "")


def of(text: str) -> Configuration:
    return configuration_from(text.encode())


def under(name: str, text: str, folder: Path) -> Scenario:
    path = folder / "engine.toml"
    path.write_text(text, "utf-8")
    return known.under(get(name), path)


def run(scenario: Scenario, seed: int = 1) -> Any:
    return history_of(
        scenario,
        Plan(scenario=scenario.name, seed=seed, inputs=scenario.workload(seed), physical=scenario.options()),
    )


def statuses(history: Any) -> set[str]:
    return {step.status for line in read(history.journal).lines for step in line.block.steps}


def test_the_page_shows_the_example_and_every_key_with_its_default() -> None:
    assert f"```toml\n{EXAMPLE.read_text('utf-8')}```" in PAGE
    read_configuration(EXAMPLE)
    for name, field in Configuration.model_fields.items():
        for key, one in type(field.default).model_fields.items():
            value = str(one.default).lower() if isinstance(one.default, bool) else one.default
            numbered = f"{value:_}" if isinstance(value, int) else str(value)
            shown = f'"{value}"' if isinstance(one.default, str) else numbered
            assert f"| `{name}` | `{key}` | `{shown}` |" in PAGE


def test_an_empty_file_changes_nothing() -> None:
    empty = of("")
    assert (empty.config(BARE), empty.physical()) == (BARE, Physical())
    spec = AgentSpec(capabilities=(), module="0" * 64, name="a")
    assert empty.spec(spec) == spec and empty.cache.modules == BUDGET


def test_each_logical_and_physical_option_has_a_key() -> None:
    """Left out: what a scenario alone can say, and a figure of this machine."""
    every = Configuration.model_fields
    keys = {
        at.field
        for table in every.values()
        for key in type(table.default).model_fields.values()
        for at in key.metadata
        if hasattr(at, "kind")
    }
    fields = {*Config.__struct_fields__, *Physical.__struct_fields__, *Limits.__struct_fields__}
    declared = msgspec.structs.fields(Config)  # what a scenario alone says has no default, none set, or is a list
    scenarios_own = {one.name for one in declared if one.default in (msgspec.NODEFAULT, msgspec.UNSET, ())}
    assert fields - keys == scenarios_own | {"worst_ns_per_fuel"}


def test_what_the_file_says_outranks_and_what_it_leaves_out_stays() -> None:
    given = of('[messages]\nmailbox = 5\n[waiting]\nlease = "3 ms"\n[memory]\nagent = "128 KiB"\n')
    assert given.config(Config(last_tick=9, seed=1, mailbox=32, send_limit=7)) == Config(
        last_tick=9, seed=1, mailbox=5, send_limit=7
    )
    assert given.physical(Physical(workers=4)) == Physical(workers=4, lease_ns=3_000_000)
    spec = AgentSpec(capabilities=(), module="0" * 64, name="a")
    assert given.spec(spec).limits == Limits(memory=128 << 10)
    own = msgspec.structs.replace(spec, limits=Limits(memory=256 << 10, fuel=9))
    assert given.spec(own) == own


def test_execution_time_is_fuel() -> None:
    spec = AgentSpec(capabilities=(), module="0" * 64, name="a")
    assert of('[execution]\ntime = "2 ms"').spec(spec).limits.fuel == 2_000_000


def test_everything_wrong_is_said_at_once() -> None:
    text = """
    bufers = 1
    [parallelism]
    threads = true
    workers = 0
    [memory]
    stack = "1 MiB"
    agent = "3 QB"
    [execution]
    fuel = 1
    time = "1 s"
    policy = "fair"
    [buffers]
    slots = 2
    [waiting]
    lease = "soon"
    """
    with pytest.raises(Refused) as caught:
        of(text)
    for words in (
        "parallelism.threads: True: threads inside a module are not supported; say false",
        "parallelism.workers: 0: input should be greater than or equal to 1",
        "memory.stack: '1 MiB': the stack is the engine's, 512 KiB for all",
        "memory.agent: '3 QB': give a number of bytes",
        "execution.policy: 'fair': use one of round_robin",
        "buffers.slots: 2: a buffer has 3 slots",
        "waiting.lease: 'soon': give a number of ns, or a text such as",
        "bufers: unknown key, did you mean buffers",
        "see docs/configuration.md",
    ):
        assert words in str(caught.value), words
    with pytest.raises(Refused, match="fuel and time are one limit"):
        of('[execution]\nfuel = 1\ntime = "1 s"')


def test_options_that_do_not_go_together_are_refused_by_name() -> None:
    with pytest.raises(Refused, match="send_limit: its effects, send_limit x max_payload"):
        of('[messages]\nmax_payload = "16 MiB"').config(BARE)
    buffers = (BufferSpec(capacity=4096, name="a", writer=0), BufferSpec(capacity=64, name="b", writer=0))
    config = msgspec.structs.replace(BARE, buffers=buffers)
    assert of('[buffers]\ntotal = "1 MiB"').config(config) == config
    with pytest.raises(Refused, match=r"buffers\.total: the buffers take 12672 bytes, more than 12671"):
        of("[buffers]\ntotal = 12671").config(config)


def test_a_mailbox_is_as_small_as_the_configuration_says(tmp_path: Path) -> None:
    small = under("ledger", "[messages]\nmailbox = 3", tmp_path)
    refusals = [
        sum(event[0] == "refused" for line in read(run(one).journal).lines for event in line.block.events)
        for one in (get("ledger"), small)
    ]
    assert refusals[1] > refusals[0]


def test_fuel_ends_steps_and_restarts_are_counted_as_it_says(tmp_path: Path) -> None:
    history = run(under("hello", "[execution]\nfuel = 200\n[budgets]\nmax_restarts = 0", tmp_path))
    assert "fuel" in statuses(history) and "fuel" not in statuses(run(get("hello")))
    moves = [event for line in read(history.journal).lines for event in line.block.events if event[0] == "lifecycle"]
    assert any(event[3] == "quarantined" for event in moves) and not any(event[3] == "backoff" for event in moves)


def test_a_module_that_needs_more_memory_than_it_gets_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="limit"):
        under("hello", '[memory]\nagent = "64 KiB"', tmp_path)


def test_physical_options_stand_in_the_plan_and_leave_the_journal_alone(tmp_path: Path) -> None:
    scenario = under("hello", '[parallelism]\nworkers = 3\n[cache]\nmodules = 0\n[waiting]\nlease = "9 ms"', tmp_path)
    history, plain = run(scenario), run(get("hello"))
    assert history.plan.physical == Physical(workers=3, lease_ns=9_000_000)
    assert len({record.fields["worker"] for record in history.trace if record.kind == "spawned"}) == 3
    assert read(history.journal).lines[-1].hash == read(plain.journal).lines[-1].hash


def test_a_cache_without_room_keeps_nothing(tmp_path: Path) -> None:
    from harness.assembly import _modules

    scenario = under("hello", "[cache]\nmodules = 0", tmp_path)
    assert scenario.cache_bytes == 0
    run(scenario)
    assert _modules(0).held == 0
    assert of('[cache]\nmodules = "1 MiB"').module_cache().held == 0


def test_a_built_in_scenario_states_its_own_clock_and_one_of_files_does_not(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"engine.toml: time: frames states its own; leave the table out"):
        under("frames", "[time]\ntick_ms = 3", tmp_path)
    assert under(str(DOCS / "scenario-example"), "[time]\ntick_ms = 3", tmp_path).config(1).tick_ms == 3


def test_a_logical_option_makes_another_scenario_and_a_physical_one_does_not(tmp_path: Path) -> None:
    names = [under("hello", text, tmp_path).name for text in ("", "[parallelism]\nworkers = 3", "[snapshots]\nevery=9")]
    assert names[0] == names[1] != names[2]
    assert all(name.startswith("hello@") for name in names)


def test_the_command_runs_under_it_and_refuses_a_bad_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "run", "ledger", "--config", str(EXAMPLE), "--json")
    assert ended.code == 0, ended.err
    assert ended.json["journal_digest"] != here(capsys, "run", "ledger", "--json").json["journal_digest"]
    bad = tmp_path / "bad.toml"
    bad.write_text("[parallelism]\nthreads = true\n", "utf-8")
    for command in ("run", "stress", "verify", "explore", "enumerate"):
        refused(here(capsys, command, "hello", "--config", str(bad)), "bad.toml: parallelism.threads", "not supported")
    refused(here(capsys, "run", "hello", "--config", str(tmp_path / "no.toml")), "no.toml: cannot be read")


def test_workers_that_are_typed_outrank_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for typed, expected in (((), 3), (("--workers", "6"), 6)):
        keep = tmp_path / f"kept-{expected}"
        assert here(capsys, "run", "ledger", "--config", str(EXAMPLE), *typed, "--keep", str(keep)).code == 0
        assert kept.find(str(keep)).plan.physical.workers == expected


def test_a_case_under_a_configuration_replays_where_the_file_is_not(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(DOCS / "scenario-example", tmp_path / "mine"))
    scenario = under(str(copy), "[snapshots]\nevery = 5\n[parallelism]\nworkers = 3", tmp_path)
    plan = Plan(scenario=scenario.name, seed=3, inputs=scenario.workload(3), physical=scenario.options())
    case = cases.write(Checker(scenario).check(plan), scenario, tmp_path / "cases")
    shutil.rmtree(copy)
    (tmp_path / "engine.toml").unlink()
    replayed = child("replay", str(case), "--json", **{known.ENVIRONMENT: ""}).json
    assert replayed["outcome"] == "FIXED" and replayed["trace_digest"] == replayed["recorded_trace_digest"]


def test_a_variation_names_its_base_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "hello"\nname = "quick"\nfaults = ["worker.kill@tick:2,agent:0"]\n', "utf-8")
    assert get(str(path)).name.startswith("quick@") and get(str(path)).faults
    path.write_text('base = "helo"\nconfig = "none.toml"\nagents = []\n', "utf-8")
    with pytest.raises(Refused) as caught:
        get(str(path))
    assert "agents: unknown key" in str(caught.value) and "none.toml: cannot be read" in str(caught.value)
    path.write_text('base = "helo"\n', "utf-8")
    with pytest.raises(Refused, match="base: unknown scenario 'helo'"):
        get(str(path))


def test_the_schema_is_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    schema = here(capsys, "schema", "config").json
    assert set(schema["properties"]) == set(Configuration.model_fields)
    assert set(tomllib.loads(EXAMPLE.read_text("utf-8"))) <= set(schema["properties"])
    assert set(here(capsys, "schema", "variation").json["properties"]) == {
        "base",
        "config",
        "faults",
        "name",
        "profile",
    }


# --- signatures -------------------------------------------------------------------------------------------------------

SEED = bytes(range(32))


def demanding(*more: str, public: bytes = ed25519.public_key(SEED)) -> str:
    return "\n".join(
        ["[signatures]", "demand = true", "[[signatures.key]]", 'name = "us"', f'public = "{public.hex()}"', *more]
    )


def signed_folder(folder: Path, *, config: str, seed: bytes = SEED, altered: bool = False) -> Path:
    """The scenario of two relays, their module signed."""
    shutil.copytree(DOCS / "scenario-example", folder)
    for name in ("relay", "reporter"):
        wasm = bytearray(sign(assemble((folder / f"{name}.wat").read_text("utf-8")), seed))
        wasm[-1] ^= altered
        (folder / f"{name}.wasm").write_bytes(wasm)
    for name in ("relay.toml", "scenario.toml"):
        text = (
            (folder / name)
            .read_text("utf-8")
            .replace("relay.wat", "relay.wasm")
            .replace("reporter.wat", "reporter.wasm")
        )
        (folder / name).write_text(text, "utf-8")
    (folder / "engine.toml").write_text(config, "utf-8")
    main = folder / "scenario.toml"
    main.write_text(
        main.read_text("utf-8").replace("last_tick = 40", 'last_tick = 40\nconfig = "engine.toml"'), "utf-8"
    )
    return folder


def test_a_run_that_demands_signatures_runs_signed_modules(tmp_path: Path) -> None:
    scenario = known.load(str(signed_folder(tmp_path / "a", config=demanding())))
    history = run(scenario)
    assert not history.failure and statuses(history) == {"ok"}
    bare = known.load(str(signed_folder(tmp_path / "b", config="")))
    assert bare.trust is None and bare.name != scenario.name  # who may sign is a part of what a run is of


@pytest.mark.parametrize(
    ("changes", "more", "words"),
    [
        ({"seed": bytes(32)}, (), "bad_signature"),
        ({"altered": True}, (), "refused ["),
        ({}, ('revoked = "stolen"',), "revoked_key"),
        ({}, ("not_after = 2020-01-01T00:00:00Z",), "expired_key"),
        ({}, ("not_before = 2030-01-01T00:00:00Z",), "early_key"),
    ],
)
def test_a_module_whose_signature_does_not_count_is_refused_before_a_run(
    changes: dict[str, Any], more: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    folder = signed_folder(tmp_path / "a", config=demanding(*more), **changes)
    with pytest.raises(Refused, match=re.escape(words)):
        known.load(str(folder))


def test_unsigned_modules_are_refused_where_signatures_are_demanded(tmp_path: Path) -> None:
    (tmp_path / "engine.toml").write_text(demanding(), "utf-8")
    ended = child("run", "hello", "--config", str(tmp_path / "engine.toml"))
    refused(ended, "module refused [signature]: unsigned")


def test_every_worker_asks_for_the_signature_again(tmp_path: Path) -> None:
    """What got past the check before the run is refused by the runtime, by name."""
    scenario = known.load(str(signed_folder(tmp_path / "a", config=demanding())))
    other = trusting(ed25519.public_key(bytes(32)))
    history = run(dataclasses.replace(scenario, trust=other))
    assert statuses(history) == {"refused:signature"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[signatures]\ndemand = true", "a demand without keys refuses every module"),
        (demanding().replace("demand = true", ""), "keys that nothing asks for"),
        (demanding(public=bytes(32)), "weak_key"),
        (demanding() + "\n[[signatures.key]]\n" + demanding().split("\n", 3)[3], "two keys have the same name"),
        ("[signatures]\nrequired = 2\n" + demanding().split("\n", 1)[1], "required is 2, and there are 1 keys"),
        (demanding("kye_id = 3"), "kye_id"),
    ],
)
def test_a_demand_that_cannot_be_meant_is_refused(text: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        of(text)


@pytest.mark.parametrize("name", ["plugins", "upgrade"])
def test_a_scenario_goes_under_a_configuration_with_what_it_offers_its_agents(name: str) -> None:
    made = configured(get(name), configuration_from(b"[snapshots]\nevery = 5\n"), "config")
    assert made.config(1).snapshot_every == 5
    assert [spec.libraries for spec in made.agents] == [spec.libraries for spec in get(name).agents]
