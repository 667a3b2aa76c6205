"""What readers see: the page, the Markdown and the terminal, with honest and with hostile input."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from typing import Any

import pytest

from reports import Meta, NotTested, RunRow, charts, html, junit, markdown, tables
from reports.summary import closest_calls, groups, not_tested

HOSTILE = "</code></pre><script>alert(1)</script>\x1b[31m\u202e[bold]{{7*7}}${x}$&\"'`|\n# h"
META = Meta(profile="default", fault_kinds=("clock.jump",), oracles=("I40",), versions={"python": "3.11"})
REPLAY = "wasm-engine run ledger --seed 7 --fault 'worker.kill@tick:41,agent:3,hostcall:2' --fault 'frame.lose@tick:60'"


def row(run: int = 0, **fields: Any) -> RunRow:
    defaults: dict[str, Any] = {
        "scenario": "ledger",
        "seed": run,
        "workers": 2,
        "verdict": "PASS",
        "judged": ("twin",),
        "faults_planned": {"worker.kill": 1},
        "faults_fired": {"worker.kill": 1},
        "recoveries_ns": (1_000_000 * (run + 1),),
        "margin_ns": 100_000_000 - run,
        "bound_ns": 200_000_000,
        "replay": REPLAY,
    }
    return RunRow(run=run, **(defaults | fields))


def hostile(run: int = 0) -> RunRow:
    return row(
        run,
        scenario=HOSTILE,
        verdict="FAIL" if run % 2 else "PASS",
        failed_oracles=(HOSTILE,),
        judged=(HOSTILE,),
        faults_planned={HOSTILE: 1},
        faults_fired={HOSTILE: 1},
        case=HOSTILE,
        replay=HOSTILE,
        component=HOSTILE,
        detail=HOSTILE,
    )


HOSTILE_META = Meta(
    title=HOSTILE,
    profile=HOSTILE,
    arguments=(HOSTILE,),
    build=HOSTILE,
    commit=HOSTILE,
    versions={HOSTILE: HOSTILE},
    hashes={HOSTILE: HOSTILE},
    fault_kinds=(HOSTILE + "2",),
    oracles=(HOSTILE + "3",),
    meanings={HOSTILE + "3": HOSTILE},
    assumptions=(HOSTILE,),
    not_tested=(NotTested(what=HOSTILE, why=HOSTILE),),
)


class Outline(HTMLParser):
    """The elements of a page, their attributes, and its visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words += data + " "


def test_the_page_needs_nothing_from_outside() -> None:
    page = html.render([row(n) for n in range(20)], META)
    outline = Outline(page)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(outline.tags)
    loads = [value for name, value in outline.attributes if name in {"src", "href", "xlink:href", "action", "srcset"}]
    assert all(value and value.startswith("#") for value in loads)
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    assert not re.search(r"20\d\d-\d\d-\d\d", page), "a date would make two equal reports differ"


def test_the_verdict_stands_first_and_in_words() -> None:
    passed = html.render([row()], META)
    failed = html.render([row(0), row(1, verdict="FAIL", failed_oracles=("twin",))], META)
    assert "<h1>PASSED</h1>" in passed and 'class="verdict good"' in passed
    assert "<h1>FAILED</h1>" in failed and 'class="verdict bad"' in failed
    assert "<h1>NOTHING RAN</h1>" in html.render([], META)
    assert "No fault took effect in any run" in html.render([row(verdict="IDLE", faults_fired={})], META)


def test_no_element_or_template_of_a_hostile_string_survives() -> None:
    calm = Outline(
        html.render([row(n, verdict="FAIL" if n % 2 else "PASS", case="c", detail="d") for n in range(4)], META)
    )
    page = html.render([hostile(n) for n in range(4)], HOSTILE_META)
    attacked = Outline(page)
    assert set(attacked.tags) <= set(calm.tags) | {"code", "tbody", "td", "th"}
    assert "<script" not in page
    assert "49" not in re.findall(r"\[bold\](\d+)", page)
    assert "{{7*7}}" in page
    assert not set(page) & set("\x1b\u202e")
    assert not [name for name, _ in attacked.attributes if name.startswith("on")]


def test_identifiers_in_the_page_are_unique_and_every_reference_has_its_target() -> None:
    page = html.render([row(n, scenario=f"s{n % 3}") for n in range(30)], META)
    identifiers = re.findall(r'\sid="([^"]*)"', page)
    assert len(identifiers) == len(set(identifiers)) > 0
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', page)) <= set(identifiers)


def test_each_replay_command_can_be_copied_whole() -> None:
    failing = row(1, verdict="FAIL", failed_oracles=("I8",))
    assert REPLAY in Outline(html.render([failing], META)).words
    assert REPLAY in markdown.render([failing], META).splitlines()
    assert f"    {REPLAY}" in tables.text([failing, row(2)], META, width=80).splitlines()


def test_failures_are_grouped_by_oracles_and_component_and_lists_are_capped() -> None:
    rows = [row(n, verdict="FAIL", failed_oracles=("I8", "twin"), component="runtime.broker") for n in range(9)]
    rows += [row(100 + n, verdict="FAIL", failed_oracles=("twin", "I8"), component=f"part {n}") for n in range(60)]
    found = groups(rows)
    assert (found[0].oracles, found[0].component, len(found[0].rows)) == (("I8", "twin"), "runtime.broker", 9)
    words = Outline(html.render(rows, META)).words
    assert "6 more runs of this group" in words
    assert "21 more groups" in words
    assert len(html.render(rows, META)) < 200_000


def test_the_closest_calls_are_the_passed_runs_with_the_least_margin() -> None:
    rows = [row(n, margin_ns=1000 - n) for n in range(10)]
    rows += [
        row(20, verdict="FAIL", margin_ns=-5),
        row(21, recoveries_ns=(), margin_ns=0),
        row(22, verdict="IDLE", margin_ns=1),
    ]
    assert [call.run for call in closest_calls(rows)] == [9, 8, 7, 6, 5]


def test_what_never_took_effect_or_never_judged_is_said() -> None:
    rows = [row(faults_planned={"worker.kill": 1, "disk.tear": 2})]
    meta = Meta(fault_kinds=("clock.jump",), oracles=("I40",), not_tested=(NotTested(what="F31", why="not built"),))
    assert [gap.what for gap in not_tested(rows, meta)] == ["clock.jump", "disk.tear", "I40", "F31"]
    for text in (html.render(rows, meta), markdown.render(rows, meta).replace("\\", "")):
        assert all(name in text for name in ("clock.jump", "disk.tear", "I40", "F31", "never judged"))


def test_a_failure_rate_is_bounded_only_for_runs_that_were_drawn() -> None:
    drawn = Outline(html.render([row(n) for n in range(100)], META)).words
    chosen = Outline(html.render([row(n) for n in range(100)], Meta(random=False))).words
    assert "2.96%" in drawn and "under profile default" in drawn.lower()
    assert "2.96%" not in chosen and "chosen, not drawn" in chosen


def test_more_runs_of_the_same_workloads_do_not_improve_the_bound() -> None:
    rows = [row(n, seed=n // 8) for n in range(80)]
    rows[3] = row(3, seed=0, verdict="FAIL", failed_oracles=("twin",))
    rows[4] = row(4, seed=0, verdict="FAIL", failed_oracles=("twin",))
    said = "1 of 10 independent workloads failed, in 80 runs of which 2 failed"
    for text in (Outline(html.render(rows, META)).words, markdown.render(rows, META)):
        assert "39.5%" in text, "1 in 10: the 0.95 quantile of Beta(2, 9) is 39.42%, rounded up"
        assert said in text
    assert said not in markdown.render(rows, Meta(random=False))


def test_idle_runs_do_not_improve_the_bound() -> None:
    few = [row(n) for n in range(10)]
    idle = [row(100 + n, verdict="IDLE", faults_fired={}, recoveries_ns=()) for n in range(1000)]
    assert "25.9%" in html.render(few, META)
    assert "25.9%" in html.render(few + idle, META)


@pytest.mark.parametrize(
    "sample",
    [[1000], [0, 2000, 2000], [5_000_000] * 9, [12_000_000, 17_000_000], [1, 10**12], list(range(10**6, 10**7, 10**5))],
)
def test_any_distribution_is_drawn_as_valid_svg_with_a_labelled_axis(sample: list[int]) -> None:
    drawings = charts.recovery_times({"ledger": sample, "_under": sample, "$x^{$": sample})
    assert set(drawings) == {"wide", "narrow"}
    for svg in drawings.values():
        texts = [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]
        assert any(text.startswith("p99 ") for text in texts)
        assert {"ledger", "_under", "$x^{$"} <= {text.strip() for text in texts}
        assert sum(bool(re.fullmatch(r"[\d.,e+-]+", text)) for text in texts) >= 3
        assert not re.search(r"#0[0-9a-f]{5}\b", svg), "every colour is one of the page's"


def test_recoveries_that_were_over_at_once_are_counted_but_do_not_stretch_the_axis() -> None:
    rows = [row(n, recoveries_ns=(ns,)) for n, ns in enumerate([0, 1, 999, 1000, 5_000_000])]
    words = " ".join(Outline(html.render(rows, META)).words.split())
    assert "over 5 interrupted ticks; 3 of them took less than 1 µs and are not drawn" in words
    assert charts.recovery_times({"ledger": [0, 1]}) == {}
    assert "p50 0.002 ms" in charts.recovery_times({"ledger": [0, 0, 2000, 9000, 9000]})["wide"]
    assert "1e-0" not in charts.recovery_times({"ledger": [0, 1, 1_000_000, 90_000_000]})["wide"]


def test_the_first_screen_says_what_the_verdict_rests_on() -> None:
    rows = [row(faults_planned={"worker.kill": 2}, judged=("twin", "I8"))]
    page = html.render(rows, Meta(fault_kinds=("clock.jump",), oracles=("I8", "I40", "twin")))
    words = " ".join(Outline(page).words.split())
    first_screen = words[: words.index("What ran")]
    assert "simulated, in virtual time" in first_screen
    assert "1 effective faults, of 1 of 2 kinds" in first_screen
    assert "2 of 3 oracles judged" in first_screen
    assert "2 not tested" in first_screen and 'href="#not-tested"' in page


def test_an_oracle_is_said_to_compare_what_it_compares_and_gaps_stand_by_their_reason() -> None:
    gaps = tuple(NotTested(what=f"F{n}", why="comes with the live driver" if n % 2 else "not built") for n in range(6))
    meta = Meta(oracles=("I8",), meanings={"I8": "exactly-once: journal against modules <b>"}, not_tested=gaps)
    page = html.render([row(judged=("I8",))], meta)
    assert "<small>exactly-once: journal against modules &lt;b&gt;</small>" in page
    assert page.count("comes with the live driver") == 1
    assert "- comes with the live driver: F1, F3, F5" in markdown.render([row(judged=("I8",))], meta)


def test_a_chart_with_many_scenarios_draws_the_rest_as_one() -> None:
    svg = charts.recovery_times({f"s{n:02}": [1000 + n, 9000] for n in range(12)})["wide"]
    assert "others" in svg and "s04" in svg and "s06" not in svg


def test_a_user_s_own_plot_settings_change_nothing_and_are_kept() -> None:
    import matplotlib as mpl

    before = charts.recovery_times({"a": [1000, 2000, 3000]})
    assert before
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": "mine"}):
        assert charts.recovery_times({"a": [1000, 2000, 3000]}) == before
        assert mpl.rcParams["font.size"] == 30


def test_the_markdown_cannot_be_escaped_from() -> None:
    text = markdown.render([hostile(n) for n in range(4)], HOSTILE_META)
    fence = re.compile(r"^(`{3,})\n.*\n\1$", re.M)
    outside = fence.sub("", text)
    assert "<script" not in outside
    assert not re.search(r"(?m)^# h", text)
    assert not re.search(r"(?<!\\)`", outside)
    assert "\x1b" not in text


def test_junit_of_hostile_strings_is_valid_xml() -> None:
    document = ElementTree.fromstring(junit.render([hostile(n) for n in range(4)], HOSTILE_META))
    assert len(list(document.iter("testcase"))) == 4
    assert document.find(".//script") is None


def test_the_table_fits_80_columns_but_for_commands() -> None:
    rows = [
        row(n, scenario="a-scenario-with-a-long-name" * 3, recoveries_ns=(10**14 + n,), steps_redone=10**9, ticks=10**9)
        for n in range(6)
    ]
    rows += [row(n, faults_planned={"layer.verb" * 8: 10**6}, faults_fired={"layer.verb" * 8: 10**6}) for n in range(9)]
    rows += [row(50, verdict="FAIL", failed_oracles=tuple(f"I{n}" for n in range(40)), detail="word " * 60)]
    lines = tables.text(rows, META, width=80).splitlines()
    assert [line for line in lines if len(line) > 80 and REPLAY not in line] == []
    assert "…" not in "".join(line for line in lines if "ms" in line or line.lstrip()[:1].isdigit())


def test_the_table_shows_all_that_is_asked_of_it() -> None:
    text = tables.text([row(n) for n in range(8)] + [row(9, verdict="IDLE", faults_fired={}, recoveries_ns=())], META)
    for word in ("runs", "passed", "failed", "unknown", "idle", "steps redone", "worker.kill", "took effect"):
        assert word in text
    assert "p50 4.000, p99 8.000, worst 8.000" in text
    assert text.count(REPLAY) == 5
    assert "evidence: simulated" in text.splitlines()
    assert text.rstrip().splitlines()[-1].startswith("PASSED  9 runs: 8 passed, 0 failed, 0 unknown, 1 idle")


def test_hostile_text_reaches_the_terminal_escaped_and_unread() -> None:
    text = tables.text([hostile(n) for n in range(4)], HOSTILE_META)
    assert "\x1b" not in text and "\u202e" not in text
    assert "[bold]" in text


def test_nothing_is_coloured_when_not_on_a_terminal_or_under_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    failing = [row(0, verdict="FAIL", failed_oracles=("I8",))]
    colour, grey, pipe = Terminal(), Terminal(), io.StringIO()
    tables.show(failing, META, colour)
    tables.show(failing, META, pipe)
    monkeypatch.setenv("NO_COLOR", "1")
    tables.show(failing, META, grey)
    assert "\x1b[1;31m" in colour.getvalue()
    assert "31m" not in grey.getvalue()
    assert "\x1b" not in pipe.getvalue()


def test_an_empty_campaign_has_a_table_too() -> None:
    assert tables.text([], META).startswith("NOTHING RAN  0 runs")
