"""A comparison as its readers see it: the verdict, the files, and text that cannot act."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from msgspec.structs import replace
from pairs_kit import ABOUT, FINGERPRINT, failure, failures_of, pair

from reports import comparison, comparison_page, comparison_text
from reports.comparison import Comparison, load, write
from reports.pairs import Difference
from runtime.errors import Refused

HOSTILE = "</code><script>alert(1)</script>\x1b[31m\u202e|`#"


def made(new: int = 0, plans: int = 100, **fields: str) -> Comparison:
    pairs = [pair(n, head="FAIL" if n < new else "PASS") for n in range(plans)]
    told = [replace(one, **fields) for one in failures_of(pairs)] if fields else failures_of(pairs)
    return comparison.comparison(pairs, told, ABOUT)


@pytest.mark.parametrize(
    ("new", "plans", "verdict", "reason"),
    [
        (0, 100, "NO REGRESSION", "New failures in at most"),
        (20, 100, "REGRESSION", FINGERPRINT),
        (2, 100, "TOO LITTLE DATA", "too few to tell from chance. About 450 runs would"),
        (0, 5, "TOO LITTLE DATA", "5 plans could be judged on both builds; a regression shows in 9 at the least"),
    ],
)
def test_the_verdict_and_its_reason(new: int, plans: int, verdict: str, reason: str) -> None:
    found = made(new, plans)
    assert found.verdict == verdict and reason in found.because


def test_a_plan_that_an_oracle_could_not_judge_is_no_pass() -> None:
    pairs = [pair(n, head="UNKNOWN" if n == 7 else "PASS") for n in range(60)]
    assert comparison.comparison(pairs, [], ABOUT).verdict == "TOO LITTLE DATA"


def test_what_took_effect_on_neither_build_and_who_never_judged_are_named() -> None:
    gaps = {gap.what: gap.why for gap in made().not_tested}
    assert gaps == {"buffer.flip": "took effect on neither build", "I28": "judged no plan"}


def test_the_files_are_whole_the_same_twice_and_read_back(tmp_path: Path) -> None:
    found = made(20)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(found, tmp_path / name)
    for file in ("compare.json", "report.html", "summary.md", "junit.xml"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert load(tmp_path / "a") == found and (tmp_path / "latest").resolve() == tmp_path / "b"


def test_a_damaged_or_missing_comparison_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no comparison here"):
        load(tmp_path)
    (tmp_path / "compare.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(Refused, match="damaged"):
        load(tmp_path)


def test_the_page_has_everything_a_reader_looks_for_and_no_script() -> None:
    found = made(20, replay="wasm-engine replay out/cases/x --build ../b")
    page = comparison_page.render(found)
    for text in (
        "REGRESSION",
        "What was compared",
        "95% interval",
        FINGERPRINT,
        "wasm-engine replay out/cases/x",
        "New",
    ):
        assert text in page
    assert "<script" not in page and "default-src 'none'" in page


def test_text_of_agents_can_act_nowhere() -> None:
    pairs = [pair(n, head="FAIL") for n in range(20)]
    difference = Difference(block=1, tick=2, path=HOSTILE, base=HOSTILE, head=HOSTILE)
    pairs[0] = replace(pairs[0], difference=difference)
    told = [failure(n, "head", detail=HOSTILE, replay=HOSTILE) for n in range(20)]
    found = comparison.comparison(pairs, told, replace(ABOUT, arguments=(HOSTILE,)))
    page, text = comparison_page.render(found), comparison_text.markdown(found)
    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page
    fenced = re.compile(r"^```$.*?^```$", re.MULTILINE | re.DOTALL)  # in a fence nothing forms markup
    assert "\x1b" not in text and "<script" not in fenced.sub("", text)


def test_junit_has_a_failure_for_what_is_worse_and_an_error_for_what_is_undecided() -> None:
    worse = ElementTree.fromstring(comparison_text.junit(made(20)))
    assert worse.attrib["failures"] == "2" and worse.attrib["errors"] == "0"
    rare = ElementTree.fromstring(comparison_text.junit(made(2)))
    assert (rare.attrib["failures"], rare.attrib["errors"]) == ("0", "1")
