"""docs/spec.md: every row is there, and what each names exists; a row is whole or says what is missing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import spec_bugs

from faults.mutants import MUTANTS
from scenarios import get

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "spec.md").read_text("utf-8")
SCENARIOS = {"relay": str(ROOT / "docs" / "scenario-example")}
ORACLE_OF = {mutant.name: mutant.oracle for mutant in MUTANTS}
ROWS = [
    "ORC-1",
    "ORC-2",
    "ORC-4",
    "ID-1",
    "CFG-1",
    "TIM-1",
    "ORC-3",
    "SCH-1",
    "SCH-2",
    "SCH-3",
    "SCH-4",
    "MSG-1",
    "MSG-2",
    "MSG-3",
    "SCM-1",
    "MEM-1",
    "MEM-2",
    "WAS-1",
    "WAS-2",
    "VAL-1",
    "WAS-3",
    "WAS-4",
    "WAS-5",
    "WAS-6",
    "WAS-7",
    "WAS-8",
    "SEC-1",
    "SEC-2",
    "MAN-1",
    "INF-1",
    "INF-2",
    "INF-3",
    "INF-4",
    "INF-5",
    "INF-6",
    "EXT-1",
    "LOG-1",
    "LOG-2",
    "SNP-1",
    "STA-1",
    "STA-2",
    "STA-3",
    "TEN-1",
    "SDK-1",
    "TEL-1",
    "UI-1",
    "PLT-1",
]  # of the specification's section on the runtime


class Row(NamedTuple):
    id: str
    requirement: str
    where: str
    test: str
    scenario: str
    bug: str
    open: str

    @property
    def files(self) -> list[str]:
        return re.findall(r"`([^`]+)`", self.where)


def rows(page: str = PAGE) -> list[Row]:
    lines = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| row |")]
    return [Row(*(cell.strip() for cell in line.split("|")[1:-1])) for line in lines]


def problems(row: Row) -> list[str]:
    """What a row names that is not there, and what a whole one lacks."""
    found = [f"there is no file {file}" for file in row.files if not (ROOT / file).is_file()]
    test = re.fullmatch(r"\[`(test_\w+)`\]\(\.\./tests/(test_\w+)\.py\)", row.test)
    if row.test and (test is None or not _has_test(test[2], test[1])):
        found.append(f"there is no test {row.test}")
    if row.scenario:
        name = row.scenario.strip("`")
        get(SCENARIOS.get(name, name))
    bug = re.fullmatch(r"`(\w+)`, (\w+)", row.bug)
    if row.bug and (bug is None or bug[2] != ORACLE_OF.get(bug[1], "test" if bug[1] in spec_bugs.BUGS else "")):
        found.append(f"there is no such bug, or another finds it: {row.bug}")
    lacking = [name for name in ("where", "test", "scenario", "bug") if not getattr(row, name)]
    if lacking and not row.open:
        found.append(f"it is not open, and has no {', '.join(lacking)}")
    return found


def _has_test(file: str, name: str) -> bool:
    path = ROOT / "tests" / f"{file}.py"
    return path.is_file() and re.search(rf"^def {name}\(", path.read_text("utf-8"), re.M) is not None


def test_every_row_of_the_specification_is_there_once_and_in_its_order() -> None:
    assert [row.id for row in rows()] == ROWS


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_what_a_row_names_is_there_and_a_row_without_it_is_open(row: Row) -> None:
    assert problems(row) == []


def test_a_row_that_names_what_is_not_there_is_found() -> None:
    good = next(row for row in rows() if row.id == "MSG-2")
    assert problems(good) == []
    for changed in (
        {"where": "`runtime/nothing.py`"},
        {"test": good.test.replace("test_a_", "test_no_")},
        {"bug": "`mailbox_bound_two_too_high`, I18"},
        {"bug": good.bug.replace("I18", "I17")},
        {"bug": "", "open": ""},
        {"scenario": "", "open": ""},
    ):
        assert problems(good._replace(**changed)), changed


def test_each_planted_bug_of_the_page_applies_and_is_named_by_one_row() -> None:
    for name, bug in spec_bugs.BUGS.items():
        assert (ROOT / bug.file).read_text("utf-8").count(bug.before) == 1, name
        assert sum(f"`{name}`" in row.bug for row in rows()) == 1, name
        assert spec_bugs.test_of(name).startswith("tests/test_")


def test_a_planted_bug_fails_its_rows_test_and_a_bug_that_changes_nothing_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "slots_overlap"
    assert spec_bugs.found(name, tmp_path / "planted")
    bug = spec_bugs.BUGS[name]
    monkeypatch.setitem(spec_bugs.BUGS, name, bug._replace(after=bug.before))
    assert not spec_bugs.found(name, tmp_path / "same")
    shutil.rmtree(tmp_path / "planted")
