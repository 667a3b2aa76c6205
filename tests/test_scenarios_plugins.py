"""`plugins`: function modules from four languages, called by agents; each does what Python computes, whoever dies."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace
from sdk_kit import needs
from straight import run

from harness import golden
from harness.api import simulate
from harness.plans import default_plan
from harness.sdk import functions
from harness.simulation import journal_digest
from harness.simulation import simulate as simulated
from runtime.state import Send
from runtime.wasm import Engine
from runtime.wasm.plugins import LIMITED, TOO_LONG, TRAPPED
from scenarios.plugins import AGENTS, FUNCTIONS, LANGUAGES, LONGEST, NAMES, PLUGINS, TICKET, transformed

TEXTS = (b"", b"a", b"aaabbc", b"Zz{`@[", bytes(range(1, 256)), b"x" * 600, b"\xff" * 255)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ticket"])
def test_a_function_module_gives_what_python_computes(name: str) -> None:
    step = NAMES.index(name)
    module = Engine().load(FUNCTIONS / f"{name}.wasm")
    for text in TEXTS:
        with module.instantiate() as instance:
            assert instance.call_bytes("transform", text) == transformed(step, text)


def test_an_agent_gets_a_number_instead_of_bytes() -> None:
    assert transformed(TICKET, b"!x") == LIMITED and transformed(NAMES.index("checksum"), b"\0") == TRAPPED
    assert transformed(NAMES.index("pack"), bytes(range(256)) * 9) == TOO_LONG and LONGEST < 2 * 256 * 9


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_straight_run_keeps_the_invariant(seed: int) -> None:
    assert PLUGINS.invariant(run(PLUGINS, seed)) == []


def test_the_default_run_calls_every_plugin_and_meets_a_trap_and_a_limit() -> None:
    outcome = run(PLUGINS)
    answers = {int.from_bytes(out.payload[4:8], "little", signed=True) for out in outcome.outputs}
    assert answers == {0, TRAPPED, LIMITED}
    jobs = [item.action.payload for item in PLUGINS.workload(1) if isinstance(item.action, Send)]
    steps = {step for payload in jobs for step in payload[5:][: payload[4]]}
    assert steps == set(range(len(NAMES)))
    assert {step.agent for block in outcome.blocks for step in block.steps if step.effects} == set(range(AGENTS))


def test_a_changed_or_a_missing_output_breaks_the_invariant() -> None:
    outcome = run(PLUGINS)
    first, *others = outcome.outputs
    changed = replace(first, payload=first.payload[:-1] + bytes([first.payload[-1] ^ 1]))
    assert PLUGINS.invariant(outcome._replace(outputs=[changed, *others]))
    assert PLUGINS.invariant(outcome._replace(outputs=others))
    blocks = [replace(block, steps=block.steps[1:]) if block.tick == 9 else block for block in outcome.blocks]
    assert PLUGINS.invariant(outcome._replace(blocks=blocks))


def test_the_journal_is_the_golden_one_under_any_number_of_workers() -> None:
    digests = {journal_digest(simulated(PLUGINS, default_plan("plugins", workers=workers))) for workers in (1, 2, 7)}
    assert digests == {golden.recorded()["plugins"]}


def test_faults_change_nothing_and_visible_ones_stay_where_they_strike() -> None:
    calling = {}
    for block in run(PLUGINS).blocks:
        calling |= {step.agent: block.tick for step in block.steps if step.effects and block.tick < 18}
    assert set(calling) == set(range(AGENTS))
    faults = [f"worker.kill@tick:{tick},agent:{agent},hostcall:1" for agent, tick in sorted(calling.items())]
    killed = simulate("plugins", faults=[*faults, "orchestrator.kill@tick:20,phase:commit"])
    killed.assert_ok()
    assert killed.journal_digest == killed.twin_digest and sum(killed.faults_fired.values()) >= AGENTS
    trapped = simulate("plugins", faults=[f"agent.trap@tick:{calling[3]},agent:3,hostcall:1"])
    trapped.assert_ok()
    assert trapped.faults_fired == {"agent.trap": 1}


# --- the modules beside their sources ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("folder", "kib"), [(functions.FUNCTIONS, 4), (functions.CALLERS, 32)])
def test_each_module_is_the_one_that_was_built_of_its_source(folder: Path, kib: int) -> None:
    assert functions.stale(folder) == []
    assert {Path(name).suffix for name in functions.recorded(folder)} >= {".c", ".rs", ".ts"}
    assert sum(file.stat().st_size for file in folder.glob("*.wasm")) < kib << 10
    assert functions.main(["--check"]) == 0


def test_a_changed_source_a_changed_module_and_a_missing_one_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "functions"
    shutil.copytree(FUNCTIONS, folder)
    assert functions.stale(folder) == []
    with (folder / "pack.rs").open("a") as file:
        file.write("\n")
    with (folder / "turn.wasm").open("ab") as module:
        module.write(b"\0")
    (folder / "checksum.wasm").unlink()
    (folder / "stray.wasm").write_bytes(b"")
    assert [line.partition(":")[0] for line in functions.stale(folder)] == [
        "checksum.c",
        "pack.rs",
        "turn.ts",
        "stray.wasm",
    ]
    (folder / functions.BUILT).write_text(json.dumps({}))
    assert len(functions.stale(folder)) == len(NAMES) + 1


@pytest.mark.parametrize("source", functions.sources(functions.CALLERS), ids=lambda source: source.name)
def test_an_agent_compiles_to_one_that_does_the_same(source: Path) -> None:
    needs(functions._LANGUAGES[source.suffix])
    wasm, _ = functions.built(source)
    digest = hashlib.sha256(wasm).hexdigest()
    place = LANGUAGES.index(source.suffix[1:])
    agents = [replace(spec, module=digest) if n == place else spec for n, spec in enumerate(PLUGINS.agents)]
    built = dataclasses.replace(PLUGINS, agents=tuple(agents), modules={**PLUGINS.modules, digest: wasm})
    assert built.invariant(run(built)) == []


@pytest.mark.parametrize("source", functions.sources(), ids=lambda source: source.name)
def test_a_source_compiles_to_a_module_that_does_the_same(source: Path) -> None:
    needs(functions._LANGUAGES[source.suffix])
    wasm, compiler = functions.built(source)
    assert compiler == functions.recorded()[source.name]["compiler"]
    module = Engine().load_bytes(wasm)
    for text in TEXTS:
        with module.instantiate() as instance:
            assert instance.call_bytes("transform", text) == transformed(NAMES.index(source.stem), text)
    if source.suffix == ".wat":  # whose compiler is pinned
        assert hashlib.sha256(wasm).hexdigest() == functions.recorded()[source.name]["module"]
