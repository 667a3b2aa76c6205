"""The README says what is so: its figures, commands, options, links and codes are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from harness import cli, golden
from harness.builds import ROOT
from harness.oracles import ORACLES

README = golden.README.read_text("utf-8")
PAGES = [golden.README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIRST_SCREEN = 24  # lines


@pytest.mark.parametrize(("command", "printed"), golden.blocks(README))
def test_the_readme_shows_what_its_command_prints(command: str, printed: str) -> None:
    assert golden.answer(command) == printed, "run: python -m harness.golden --write"


def test_the_face_is_on_the_first_screen() -> None:
    [(command, printed), *_] = golden.blocks(README)
    assert command.startswith("wasm-engine run ledger --fault ")
    assert printed.startswith("journal  ") and "\ntrace    " in printed
    assert "equal to the run without faults" in printed and "orchestrator recovered from block" in printed
    before = README[: README.index(printed) + len(printed)]
    assert before.count("\n") <= FIRST_SCREEN


def test_a_wrong_figure_in_the_readme_is_found_and_mended() -> None:
    wrong = re.sub(r"\d+ steps? redone", "3 steps redone", README, count=1)
    assert wrong != README and golden.refreshed(wrong) == README


def test_the_two_commands_and_every_other_make_target_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"(?m)(?:^|`)make ([a-z]+)", README))
    assert {"run", "test", "check"} <= targets
    assert all(re.search(rf"(?m)^{target}:", makefile) for target in targets)


def typed(text: str) -> list[list[str]]:
    """Every `wasm-engine …` that a page shows in a block or between backticks, in words."""
    shown = re.findall(
        r"(?m)^(?:\$ |    )?wasm-engine ([a-z]+[^\n#]*)", "\n".join(re.findall(r"```.*?```", text, re.S))
    )
    shown += re.findall(r"`(?:uv run )?wasm-engine\s([a-z]+[^`|]*)`", re.sub(r"```.*?```", "", text, flags=re.S))
    return [line.split() for line in shown]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_that_a_page_shows_exists(page: Path) -> None:
    for name, *words in typed(page.read_text("utf-8")):
        command = cli.group.commands.get(name)
        assert command is not None, f"wasm-engine {name}"
        if isinstance(command, click.Group) and words and not words[0].startswith("-"):
            command = command.commands.get(words[0])
            assert command is not None, f"wasm-engine {name} {words[0]}"
        options = {text for option in command.params if isinstance(option, click.Option) for text in option.opts}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in options | {"--help"}, f"wasm-engine {name} {word}"


def test_every_command_is_in_the_readme() -> None:
    shown = {name for name, *_ in typed(README)}
    assert set(cli.group.commands) <= shown


def test_the_exit_codes_of_the_readme_are_those_of_the_command_line() -> None:
    listed = set(re.findall(r"(?m)^\| (\d+) \|", README))
    named = set(re.findall(r"\b(\d+) [a-z]", (cli.__doc__ or "").split("\n\n")[0]))
    assert listed == named == {"0", "1", "2", "3", "4", "5", "10", "11", "12"}


def test_the_page_of_oracles_lists_each_with_what_it_compares() -> None:
    page = (ROOT / "docs" / "oracles.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| (\S+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", page)
    assert [row[:3] for row in rows if row[0] != "id"] == [(o.id, o.name, o.records) for o in ORACLES.values()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    for name in re.findall(r"`((?:runtime|faults|scenarios|harness|reports|tests|docs)/[\w./]*)`", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_path_of_one_machine(page: Path) -> None:
    assert re.findall(r"(?<![\w.])/(?:home|root|work|tmp|Users|usr|opt)/", page.read_text("utf-8")) == []
