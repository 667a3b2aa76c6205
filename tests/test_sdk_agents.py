"""`wasm-engine agent`: a folder made, built, looked into, signed and tested; and all that can be wrong with one."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli_kit import here, refused
from sdk_kit import COMPILED, needs, project

from harness.builds import ROOT
from harness.sdk import compilers, finishing
from harness.sdk.compilers import build
from harness.sdk.projects import FILES, LANGUAGES, find
from runtime.errors import Refused
from runtime.wasm import assemble
from runtime.wasm.abi import SECTION
from runtime.wasm.binary import START, customs, outline

PAGE = (ROOT / "docs" / "sdk.md").read_text("utf-8")
FIVE = re.search(r"```sh\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_five_commands_of_the_page_lead_to_an_agent_that_passes(language: str, tmp_path: Path) -> None:
    needs(language)
    assert FIVE
    commands = FIVE[1].strip().splitlines()
    assert len(commands) == 5 and commands[0].endswith("--language wat") and commands[-1] == "wasm-engine agent test"
    script = "\n".join(["set -e", *commands]).replace("--language wat", f"--language {language}")
    program = tmp_path / "bin" / "wasm-engine"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m harness.bootstrap - harness.cli "$@"\n')
    program.chmod(0o755)
    ended = subprocess.run(
        ["bash", "-c", f'PATH="{program.parent}:$PATH"\n{script}'],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    assert "PASS  greeter: 2 turns, 4 steps, as written" in ended.stdout
    assert "as agent      accepted" in ended.stdout


def test_an_agent_goes_into_a_scenario_as_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = re.search(r"```toml\n(name = .*?)```", PAGE, re.S)
    assert text
    (tmp_path / "scenario.toml").write_text(text[1], "utf-8")
    assert here(capsys, "agent", "new", "greeter").code == 0
    refused(here(capsys, "run", "./scenario.toml"), "agent.wasm")
    assert here(capsys, "agent", "build", "greeter").code == 0
    told = here(capsys, "run", "./scenario.toml", "--fault", "worker.kill@tick:6,agent:1", "--json").json
    assert (told["verdict"], told["faults_fired"]) == ("PASS", {"worker.kill": 1})
    assert told["journal_digest"] == told["twin_digest"] and told["agent_steps"] > 12


def test_the_page_shows_the_examples_as_they_are() -> None:
    for language, file, fence in (
        ("rust", "src/lib.rs", "rust"),
        ("c", "agent.c", "c"),
        ("assemblyscript", "agent.ts", "ts"),
    ):
        shown = re.search(rf"```{fence}\n(.*?)```", PAGE, re.S)
        assert shown
        there = (FILES / language / file).read_text("utf-8").splitlines()
        missing = [line for line in shown[1].splitlines() if line not in there]
        assert missing == []
    assert (FILES / "common" / "conversation.toml").read_text("utf-8").split("\n\n", 1)[1] in PAGE


def test_a_new_agent_has_its_files_and_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = here(capsys, "agent", "new", "greeter", "--language", "c", "--json").json
    assert told["files"] == sorted(
        [".gitignore", "README.md", "agent.c", "agent.toml", "conversation.toml", "sdk/wasm_engine.h"]
    )
    assert all((tmp_path / "greeter" / file).is_file() for file in told["files"])
    assert told["next"] == ["cd greeter", "wasm-engine agent build", "wasm-engine agent test"]
    texts = [(tmp_path / "greeter" / file).read_text("utf-8") for file in told["files"]]
    assert not any("@NAME@" in text or "@ABI@" in text or "@LANGUAGE@" in text for text in texts)
    assert 'name = "greeter"' in (tmp_path / "greeter" / "agent.toml").read_text("utf-8")


def test_what_new_agents_get_is_packaged_and_every_file_goes_into_one(tmp_path: Path) -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert tool["tool"]["setuptools"]["package-data"]["harness.sdk"] == ["files/**/*"]
    ours = [path for path in FILES.rglob("*") if path.is_file()]
    assert not any(part.startswith(".") for path in ours for part in path.relative_to(FILES).parts), (
        "a glob passes it over"
    )
    given = {
        path.read_bytes().replace(b"agent-x", b"@NAME@")
        for language in LANGUAGES
        for path in project(tmp_path, language, name=f"agent-x{LANGUAGES.index(language)}").rglob("*")
        if path.is_file()
    }
    stray = [
        p.name
        for p in ours
        if p.suffix in (".h", ".rs", ".ts") and "@NAME@" not in p.read_text("utf-8") and p.read_bytes() not in given
    ]
    assert stray == []
    [zig] = tool["project"]["optional-dependencies"]["sdk"]
    wanted = (ROOT / ".ci" / "compilers" / "requirements.txt").read_text("utf-8")
    assert zig in wanted and wanted.count("--hash=sha256:") >= 2
    assert "://" not in wanted + (ROOT / ".ci" / "compilers" / "package-lock.json").read_text("utf-8")


WRONG: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "a name that leads elsewhere": (("new", "../greeter"), ("'../greeter'", "letters")),
    "a name with a line break": (("new", "a\nb"), ("'a\\nb'",)),
    "a name that is there": (("new", "there"), ("there already", "another name")),
    "a language": (("new", "x", "--language", "cobol"), ("cobol", "rust")),
    "no agent": (("build", "empty"), ("agent.toml", "agent new")),
    "no such folder": (("test", "nowhere"), ("nowhere", "agent new")),
    "not built": (("test", "there"), ("not built", "agent build there")),
    "nothing to sign": (("sign", "there", "--key", "there/agent.toml"), ("not built", "agent build there")),
    "nothing to look into": (("inspect", "there"), ("not built", "agent build there")),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_typed_wrong_is_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    project(tmp_path, "wat", name="there")
    arguments, words = WRONG[name]
    refused(here(capsys, "agent", *arguments), *words)
    assert not list(tmp_path.glob(".*"))


def test_a_place_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot be made"):
        project(tmp_path / "file", "wat")


def test_two_sources_or_none_beside_a_manifest_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = project(tmp_path, "wat")
    (place / "agent.c").write_text("")
    refused(here(capsys, "agent", "build", str(place)), "wat and c")
    (place / "agent.c").unlink()
    (place / "agent.wat").unlink()
    refused(here(capsys, "agent", "build", str(place)), "no source")


def test_an_entry_that_is_no_module_to_build_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = project(tmp_path, "wat")
    manifest = place / "agent.toml"
    manifest.write_text(manifest.read_text("utf-8").replace("agent.wasm", "agent.wat"), "utf-8")
    refused(here(capsys, "agent", "build", str(place)), "module.entry", "agent.wat")


def test_a_built_agent_is_signed_in_place_and_verifies_until_it_is_built_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = project(tmp_path, "wat")
    module = str(place / "agent.wasm")
    key = str(tmp_path / "release")
    assert here(capsys, "module", "keygen", key).code == 0
    assert here(capsys, "agent", "build", str(place)).code == 0
    assert here(capsys, "module", "verify", module, "--key", f"{key}.public").code == 4
    told = here(capsys, "agent", "sign", str(place), "--key", f"{key}.secret", "--json")
    assert (told.code, told.json["file"]) == (0, module)
    assert here(capsys, "module", "verify", module, "--key", f"{key}.public").code == 0
    assert here(capsys, "agent", "inspect", str(place), "--json").json["signed"] is True
    assert here(capsys, "agent", "test", str(place)).code == 0
    assert here(capsys, "agent", "build", str(place)).code == 0
    assert here(capsys, "module", "verify", module, "--key", f"{key}.public").code == 4


def test_a_module_that_its_manifest_does_not_allow_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = project(tmp_path, "wat")
    manifest = place / "agent.toml"
    manifest.write_text(manifest.read_text("utf-8").replace("output = true", "output = false"), "utf-8")
    refused(here(capsys, "agent", "build", str(place)), "engine.output is not granted")
    assert not (place / "agent.wasm").exists()
    manifest.write_text(manifest.read_text("utf-8").replace("1 MiB", "64 KiB").replace("false", "true"), "utf-8")
    refused(here(capsys, "agent", "build", str(place), "--json"), "limits.memory")


def test_a_source_that_is_wrong_names_its_place_and_leaves_the_old_module(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = project(tmp_path, "wat")
    assert here(capsys, "agent", "build", str(place)).code == 0
    before = (place / "agent.wasm").read_bytes()
    (place / "agent.wat").write_text("(module\n  (func nonsense))", "utf-8")
    refused(here(capsys, "agent", "build", str(place)), "agent.wat, line 2")
    (place / "agent.wat").write_bytes(b"(module \xff)")
    refused(here(capsys, "agent", "build", str(place)), "not UTF-8")
    assert (place / "agent.wasm").read_bytes() == before


BROKEN = {"c": "int nonsense(", "rust": "fn nonsense(", "assemblyscript": "export function nonsense("}


@pytest.mark.parametrize("language", COMPILED)
def test_what_a_compiler_says_is_shown_and_the_answer_is_one_line(
    language: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs(language)
    place = project(tmp_path, language, BROKEN[language])
    ended = here(capsys, "agent", "build", str(place))
    *said, last = ended.err.splitlines()
    assert (ended.code, ended.out) == (4, "") and "Traceback" not in ended.err
    assert any("error" in line.lower() for line in said)
    assert last.startswith("wasm-engine: ") and "correct the source" in last
    assert not (place / "agent.wasm").exists()


@pytest.mark.parametrize("language", COMPILED)
def test_a_missing_compiler_is_said_with_how_to_get_it(
    language: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(compilers._FINDERS, language, lambda folder: None)
    place = project(tmp_path, language)
    refused(here(capsys, "agent", "build", str(place)), f"no compiler for {language}", compilers.HOW[language])
    assert not (place / "agent.wasm").exists()


def program(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(place.stat().st_mode | stat.S_IXUSR)


def test_a_cargo_without_the_target_is_passed_over_for_one_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "libcore-1.rlib").write_text("")
    for name, answer in (("broken", "exit 1"), ("without", f"echo {tmp_path}/nowhere"), ("with", f"echo {library}")):
        program(tmp_path / name / "cargo", "exit 0")
        program(tmp_path / name / "rustc", answer)
    program(tmp_path / "alone" / "cargo", "exit 0")  # no rustc beside it
    folders = [tmp_path / name for name in ("broken", "alone", "without", "with")]
    monkeypatch.setenv("PATH", ":".join(map(str, folders)))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    found = compilers.compiler_of("rust", tmp_path)
    assert found and found.command == (str(tmp_path / "with" / "cargo"),)
    shutil.rmtree(tmp_path / "with")
    assert compilers.compiler_of("rust", tmp_path) is None


def test_asc_is_found_in_the_folder_or_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    assert compilers.compiler_of("assemblyscript", folder) is None
    program(tmp_path / "node_modules" / ".bin" / "asc", "exit 0")
    found = compilers.compiler_of("assemblyscript", folder)
    assert found and found.command == (str(tmp_path / "node_modules" / ".bin" / "asc"),)


def test_a_compiler_that_leaves_nothing_or_no_module_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "zig", "exit 0")
    found = compilers.Compiler("zig", (str(tmp_path / "zig"),), {})
    monkeypatch.setitem(compilers._FINDERS, "c", lambda folder: found)
    place = project(tmp_path, "c")
    refused(here(capsys, "agent", "build", str(place)), "target/agent.wasm", "cannot be read")
    program(tmp_path / "zig", "echo nonsense > target/agent.wasm")
    refused(here(capsys, "agent", "build", str(place)), "no core module", "magic number")
    gone = compilers.Compiler("zig", (str(tmp_path / "gone"),), {})
    monkeypatch.setitem(compilers._FINDERS, "c", lambda folder: gone)
    refused(here(capsys, "agent", "build", str(place)), "zig cannot be run")


def test_a_compiler_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "zig", "exec sleep 60")
    found = compilers.Compiler("zig", (str(tmp_path / "zig"),), {})
    monkeypatch.setitem(compilers._FINDERS, "c", lambda folder: found)
    monkeypatch.setattr(compilers, "SECONDS_MAX", 1)
    with pytest.raises(Refused, match="zig takes more than 1 s"):
        build(find(project(tmp_path, "c")))


def test_what_is_finished_has_no_names_and_says_its_abi() -> None:
    wasm = assemble('(module (func $nonsense) (@custom "producers" "x") (@custom "wasm-engine.reasons" "1 a"))')
    done = finishing.finished(wasm, "here", "1.0")
    assert [name for name, _ in customs(done, outline(done))] == ["wasm-engine.reasons", SECTION]
    assert outline(done).abi == (b"1.0",)
    assert finishing.finished(done, "here", "1") == done


def test_a_start_section_runs_at_the_beginning_of_agent_init_and_only_there() -> None:
    text = """(module
      (import "env" "note" (func $note (param i32)))
      (func $begin (call $note (i32.const 1)))
      (func (export "agent_init") (result i32) (call $note (i32.const 2)) (i32.const 7))
      (func (export "other") (result i32) (i32.const 3))
      (start $begin))"""
    wasm = assemble(text)
    assert any(section.id == START for section in outline(wasm).sections)
    done = finishing.finished(wasm, "here", "1.0")
    assert not any(section.id == START for section in outline(done).sections)
    from runtime.wasm import Engine

    noted: list[int] = []
    with Engine().load_bytes(done).instantiate(host={"env.note": noted.append}) as instance:
        assert noted == []
        assert (instance.call("other"), noted) == (3, [])
        assert (instance.call("agent_init"), noted) == (7, [1, 2])


@pytest.mark.parametrize("globals_", ["", "(global $own (mut i64) (i64.const 5))"])
def test_a_start_section_beside_a_migration_runs_once_in_the_first_call_of_a_life_or_of_a_reload(globals_: str) -> None:
    text = f"""(module
      (import "env" "note" (func $note (param i32))) {globals_}
      (func $begin (call $note (i32.const 1)))
      (func (export "agent_alloc") (param i32) (result i32)
        (call $note (i32.const 3)) (i32.add (local.get 0) (i32.const 8)))
      (func (export "agent_init") (result i32) (call $note (i32.const 2)) (i32.const 7))
      (func (export "agent_migrate") (param i32 i32 i32) (result i32) (call $note (i32.const 4)) (i32.const 0))
      (start $begin))"""
    done = finishing.finished(assemble(text), "here", "1.0")
    assert not any(section.id == START for section in outline(done).sections)
    from runtime.wasm import Engine

    lives = {
        (("agent_init",), ("agent_alloc", 5), ("agent_init",)): ([7, 13, 7], [1, 2, 3, 2]),
        (("agent_alloc", 6), ("agent_migrate", 1, 2, 3), ("agent_alloc", 7)): ([14, 0, 15], [1, 3, 4, 3]),
    }
    for calls, (answers, told) in lives.items():
        noted: list[int] = []
        with Engine().load_bytes(done).instantiate(host={"env.note": noted.append}) as instance:
            assert [instance.call(*call) for call in calls] == answers and noted == told


def test_a_module_says_that_it_was_made_for_what_its_manifest_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = project(tmp_path, "wat")
    manifest = place / "agent.toml"
    manifest.write_text(re.sub(r'abi = ".*"', 'abi = "1"', manifest.read_text("utf-8")), "utf-8")
    assert here(capsys, "agent", "build", str(place)).code == 0
    assert here(capsys, "agent", "inspect", str(place), "--json").json["abi"] == ["1"]
    manifest.write_text(re.sub(r'abi = ".*"', 'abi = "2.0"', manifest.read_text("utf-8")), "utf-8")
    refused(here(capsys, "agent", "build", str(place)), "module.abi", "ABI 2.0")


@pytest.mark.parametrize(
    "text", ["(module (func $begin) (start $begin))", '(module (func $b) (func (export "agent_init")) (start $b))']
)
def test_a_start_section_without_an_agent_init_is_left_to_the_load_checks(text: str) -> None:
    done = finishing.finished(assemble(text), "here", "1.0")
    assert [section.id for section in outline(done).sections if section.id == START] == []


def test_an_agent_with_a_library_is_built_tested_and_disturbed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = project(tmp_path, "wat")
    (place / "doubling.wat").write_text(
        '(module (func (export "twice") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2))))', "utf-8"
    )
    source = place / "agent.wat"
    text = source.read_text("utf-8")
    head, module, rest = text.partition("(module")
    take = '(import "doubling" "twice" (func $twice (param i32) (result i32)))'
    source.write_text(head + module + take + rest, "utf-8")
    refused(here(capsys, "agent", "build", str(place)), "doubling.twice is not offered")
    manifest = place / "agent.toml"
    manifest.write_text(manifest.read_text("utf-8") + '\n[libraries.doubling]\nfile = "doubling.wat"\n', "utf-8")
    assert here(capsys, "agent", "build", str(place)).code == 0
    told = here(capsys, "agent", "test", str(place), "--runs", "3", "--json")
    assert told.code == 0 and told.json["passed"] is True and told.json["faults"]["passed"] == 3
    (place / "doubling.wat").unlink()
    refused(here(capsys, "agent", "test", str(place)), "doubling.wat", "cannot be read")
