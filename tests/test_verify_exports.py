"""An export is read back as it was written; one that is damaged, forged, hostile or of another version is refused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.plans import default_plan
from harness.simulation import simulate
from harness.verification import exports
from harness.verification.divergence import first_divergence
from harness.verification.sample import Sample
from runtime.errors import Refused
from scenarios import get

PLAN = default_plan("hello")
PLAIN = Sample(simulate(get("hello"), PLAN).journal)


def written(folder: Path) -> Path:
    file = folder / "export.json"
    exports.write(file, [exports.exported(PLAN, PLAIN, True)])
    return file


def test_an_export_reads_as_what_was_written_and_holds_no_path(tmp_path: Path) -> None:
    file = written(tmp_path)
    export = exports.read(file)
    other = exports.sample_of(export.scenarios[0])
    assert first_divergence(PLAIN, other) is None and other.journal_digest == PLAIN.journal_digest
    exports.comparable(export.scenarios[0], PLAN, "export.json")
    assert str(tmp_path) not in file.read_text("utf-8") and os.uname().nodename not in file.read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["export.json"]


def test_a_journal_of_another_plan_or_of_other_agents_cannot_be_compared(tmp_path: Path) -> None:
    one = exports.read(written(tmp_path)).scenarios[0]
    with pytest.raises(Refused, match="another plan"):
        exports.comparable(one, default_plan("hello", 2), "export.json")
    with pytest.raises(Refused, match="another plan"):
        exports.comparable(one, default_plan("ledger"), "export.json")


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def relinked(scenario: dict[str, Any]) -> None:
    previous = "0" * 64
    for block in scenario["blocks"]:
        previous = block["hash"] = hashlib.sha256(previous.encode() + raw(block["body"])).hexdigest()


def body(text: str) -> Callable[[dict[str, Any]], None]:
    def change(tree: dict[str, Any]) -> None:
        tree["scenarios"][0]["blocks"][0]["body"] = text
        relinked(tree["scenarios"][0])

    return change


def block(change: Callable[[list[dict[str, Any]]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda tree: change(tree["scenarios"][0]["blocks"])


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another version": (lambda tree: tree.update(version=2), "export version 2, this reads 1"),
    "a version that is true": (lambda tree: tree.update(version=True), "export version"),
    "no version": (lambda tree: tree.pop("version"), "export version None"),
    "another journal version": (lambda tree: tree["versions"].update(journal=9), "journal version 9"),
    "an unknown key": (lambda tree: tree.update(more=1), "more"),
    "a seed that is a word": (lambda tree: tree["scenarios"][0].update(seed="1"), "seed"),
    "equal that is a number": (lambda tree: tree["scenarios"][0].update(equal=1), "equal"),
    "a scenario twice": (lambda tree: tree["scenarios"].append(tree["scenarios"][0]), "twice"),
    "no scenario": (lambda tree: tree["scenarios"].clear(), "twice, or none"),
    "no block": (block(lambda blocks: blocks.clear()), "0 blocks"),
    "a block altered": (block(lambda blocks: blocks[1].update(body=blocks[1]["body"] + " ")), "block 2 does not"),
    "a block cut out": (block(lambda blocks: blocks.pop(1)), "block 2 does not"),
    "blocks swapped": (block(lambda blocks: blocks.reverse()), "block 1 does not"),
    "a hash altered": (block(lambda blocks: blocks[0].update(hash="0" * 64)), "block 1 does not"),
    "a body that is no block": (body("[]"), "not a block"),
    "a body that is not canonical": (body('{"tick": 1}'), "not a block"),
    "a body of deep nesting": (body("[" * 100_000), "nested too deeply"),
    "a body of no text": (body("\ud800"), "not a block"),
    "a hash that is a list": (block(lambda blocks: blocks[0].update(hash=["a"])), "hash"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_forged_export_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    change, words = HOSTILE[name]
    tree = json.loads(written(tmp_path).read_text("utf-8"))
    change(tree)
    (tmp_path / "export.json").write_text(json.dumps(tree), "utf-8")
    with pytest.raises(Refused) as refused:
        exports.read(tmp_path / "export.json")
    assert words in str(refused.value) and "\n" not in str(refused.value) and len(str(refused.value)) < 600


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged"),
        (b"\xff\xfe", "damaged"),
        (b"[]", "export version"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"version":1,"version":1}', "twice"),
        (b'{"version":1.0}', "not an integer"),
        (b'{"version":' + b"9" * 5000 + b"}", "not an integer"),
        (b'{"version":NaN}', "not an integer"),
        (b'{"version":1', "damaged"),
        (b'{"version":1}', "not an export"),
    ],
)
def test_what_is_no_export_at_all_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_bytes(content)
    with pytest.raises(Refused, match=words):
        exports.read(tmp_path / "export.json")


def test_a_file_that_is_too_large_or_not_there_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(exports.BYTES_MAX + 1)
    for name, words in (("large", "too large"), ("missing", "No such file"), ("", "directory")):
        with pytest.raises(Refused, match=words):
            exports.read(tmp_path / name)
    with pytest.raises(Refused, match="cannot be written"):
        exports.write(tmp_path / "no" / "folder.json", [])
