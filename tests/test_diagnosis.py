"""The parts of a diagnosis on small runs: what is necessary, what differs first, which lines ran, who is named."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any

import pytest
from msgspec.structs import replace

from faults.plan import Plan, parse_fault
from harness import golden
from harness.adapters.disk import SimDisk
from harness.adapters.loop import Loop
from harness.check import Checked, Checker
from harness.diagnosis.blame import Facts, suspects
from harness.diagnosis.chain import LINKS_MAX, chain
from harness.diagnosis.coverage import module_of, traced
from harness.diagnosis.difference import Difference, first_difference
from harness.diagnosis.explain import diagnose
from harness.diagnosis.further import first_further
from harness.diagnosis.knowledge import CHECKS, GUARDS, LAYERS, ORACLES, SUBJECTS, TELLERS, WRITERS, guards_of
from harness.diagnosis.moments import Moment, earliest, leading
from harness.diagnosis.necessity import necessity
from harness.diagnosis.sentences import SAID
from harness.history import History
from harness.oracles import ORACLES as ALL_ORACLES
from harness.oracles import Finding, Verdict
from harness.simulation import simulate
from runtime import journal, recovery
from runtime.errors import FailStop
from runtime.telemetry import Telemetry
from scenarios import get
from scenarios.built_in import names

HELLO = golden.default_plan("hello")
KILL, LOSE, STALL = (
    parse_fault(text)
    for text in (
        "worker.kill@tick:3,agent:1",
        "frame.lose@tick:3,agent:1,direction:work",
        "worker.stall@tick:3,agent:1,for=50ms",
    )
)


@pytest.fixture(scope="module")
def clean() -> History:
    return simulate(get("hello"), HELLO)


@pytest.fixture(scope="module")
def passed() -> Checked:
    return Checker(get("hello")).check(replace(HELLO, faults=(KILL,)))


def altered(history: History, block: int, change: Any) -> History:
    """The run with one block's body changed, chained anew."""
    lines = journal.read(history.journal).lines
    head = history.journal[: history.journal.index(b"\n") + 1]
    prev, data = journal.GENESIS, head
    for line in lines:
        body = line.body
        if line.number == block:
            tree = json.loads(body)
            change(tree)
            body = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
        link = journal.link(prev, body)
        data += journal.line_bytes(line.number, body, link, prev)
        prev = link
    return History(plan=history.plan, journal=data, trace=history.trace, receipts=history.receipts)


@pytest.mark.parametrize(
    ("change", "section", "record", "fields"),
    [
        (lambda tree: tree["steps"].reverse(), "steps", 0, ("order",)),
        (lambda tree: tree["steps"].pop(1), "steps", 1, ("missing",)),
        (lambda tree: tree["steps"][1].update(inbox=[7], seq=3), "steps", 1, ("inbox", "seq")),
        (lambda tree: tree["events"].append(["restart", 1, 4]), "events", -1, ("restart",)),
        (lambda tree: tree.update(root="0" * 64), "", -1, ("root",)),
        (lambda tree: tree.update(tick=99), "", -1, ("tick",)),
    ],
)
def test_the_first_record_that_differs_is_named_with_what_differs_in_it(
    change: Any, section: str, record: int, fields: tuple[str, ...], clean: History
) -> None:
    found = first_difference(altered(clean, 3, change), clean)
    assert (found.where, found.block, found.section, found.fields) == ("journal", 3, section, fields)
    assert record in (-1, found.record) and found.here != found.there
    committed = next(r.at for r in clean.trace if r.kind == "committed" and r.fields["block"] == 3)
    assert found.at == committed


def test_a_journal_that_ends_early_differs_where_it_ends(clean: History) -> None:
    lines = clean.journal.splitlines(keepends=True)
    cut = History(plan=clean.plan, journal=b"".join(lines[:4]), trace=clean.trace)
    found = first_difference(cut, clean)
    assert (found.block, found.fields, found.here) == (4, ("cut short",), "") and found.there


def test_behind_equal_journals_state_receipts_and_trace_are_compared_in_this_order(clean: History) -> None:
    assert first_difference(clean, clean).where == "nothing"
    shorter = _copy(clean, trace=clean.trace[:-1])
    assert first_difference(shorter, clean).where == "trace"
    received = [clean.receipts[0]._replace(outputs=()), *clean.receipts[1:-1]]
    assert first_difference(_copy(shorter, receipts=received), clean).where == "released"
    other = simulate(get("hello"), replace(HELLO, faults=(parse_fault("agent.trap@tick:3,agent:1,hostcall:1"),)))
    found = first_difference(_copy(shorter, final_state=other.final_state), clean)
    assert found.where == "state" and found.fields[0].startswith("agents[1]")


def _copy(history: History, **changes: Any) -> History:
    names = ("journal", "trace", "receipts", "final_state", "virtual_ns")
    return History(plan=history.plan, **({name: getattr(history, name) for name in names} | changes))


def _failing(needed: Any, checked: Checked) -> Any:
    """A run that fails by "twin" when `needed` holds for its faults; all else of it is a real one's."""

    def run(plan: Plan) -> Checked:
        failed = ("twin",) if needed({str(fault) for fault in plan.faults}) else ()
        return checked._replace(plan=plan, row=replace(checked.row, failed_oracles=failed))

    return run


def test_each_fault_is_left_out_once_and_the_rest_is_tried_alone(passed: Checked) -> None:
    plan = replace(HELLO, faults=(KILL, LOSE, STALL))
    found = necessity(plan, "twin", _failing(lambda faults: {str(KILL), str(STALL)} <= faults, passed))
    assert (found.necessary, found.needless, found.alone, found.runs) == ((0, 2), (1,), True, 4)
    assert found.passing[0].faults == (LOSE, STALL)


def test_faults_that_stand_in_for_each_other_are_needless_one_by_one_but_not_together(passed: Checked) -> None:
    plan = replace(HELLO, faults=(KILL, LOSE))
    found = necessity(plan, "twin", _failing(bool, passed))
    assert (found.necessary, found.needless, found.alone) == ((), (0, 1), False)


def test_what_is_beyond_the_bound_is_said_to_be_untried(passed: Checked) -> None:
    plan = replace(HELLO, faults=(KILL, LOSE, STALL))
    found = necessity(plan, "twin", _failing(bool, passed), runs_max=1)
    assert (found.necessary, found.needless, found.untried) == ((), (0,), (1, 2))


def test_only_lines_of_the_runtime_are_traced_and_tracing_changes_nothing(clean: History) -> None:
    again, spectrum = traced(lambda: simulate(get("hello"), HELLO))
    assert again.journal == clean.journal and again.trace == clean.trace
    modules = {module for module, _ in spectrum.lines}
    assert {"orchestrator", "pool", "worker", "wasm.guest"} <= modules and "" not in modules
    assert module_of(__file__) == ""
    _, killed = traced(lambda: simulate(get("hello"), replace(HELLO, faults=(KILL,))))
    assert "pool" in {module for module, _ in killed.lines - spectrum.lines}


def test_a_fault_that_nothing_answered_is_said_to_be_unnoticed_and_the_chain_is_in_order(passed: Checked) -> None:
    history = passed.history
    blind = passed._replace(effective={0: False})
    links = chain(blind, "twin", (0,), Difference(where="journal", block=4, at=history.virtual_ns))
    assert links[0].kind == "injected" and "did not notice" in links[0].text
    assert {"detected", "repaired"} <= {link.kind for link in links}
    moments = [link.at for link in links if link.at >= 0]
    assert moments == sorted(moments) and len(links) <= LINKS_MAX
    assert "did not notice" not in chain(passed, "twin", (0,), Difference(where="nothing"))[0].text


def test_an_exception_accuses_the_innermost_frame_of_the_runtime(passed: Checked) -> None:
    spectrum = traced(lambda: None)[1]._replace(raised=("archive", 12))
    broken = passed._replace(history=_copy(passed.history), row=replace(passed.row, failed_oracles=("replay",)))
    broken.history.failure, broken.history.failure_detail = "exception", "KeyError: 3"
    facts = Facts(broken, "replay", [KILL], Difference(where="nothing"), spectrum, frozenset())
    assert suspects(facts)[0].component == "archive"
    assert "line 12" in suspects(facts)[0].because[0]


def _told(passed: Checked, **evidence: str) -> Facts:
    """A run in which these oracles say this; all else of it is a real one's."""
    findings = passed.findings | {name: Finding(name, Verdict.FAIL, (line,)) for name, line in evidence.items()}
    row = replace(passed.row, failed_oracles=tuple(evidence))
    failing = passed._replace(findings=findings, row=row, judged=None)
    return Facts(failing, next(iter(evidence)), [], Difference(where="nothing"), traced(lambda: None)[1], frozenset())


def test_of_two_records_of_one_time_the_earlier_one_leads_where_they_can_be_compared() -> None:
    assert leading({"I14": Moment(9, "trace record", 25), "I31": Moment(9, "trace record", 27), "I8": None}) == ("I14",)
    both = {"I14": Moment(9, "trace record", 25), "I11": Moment(9, "guest event", 31), "I31": Moment(10, "store", 1)}
    assert leading(both) == ("I14", "I11") and leading({"I8": None}) == ()


def test_the_guarantee_that_was_broken_first_leads_and_the_later_ones_follow(passed: Checked) -> None:
    last = len(passed.history.guests) - 1
    torn, invented = "guest event {}: version 1 of buffer 0 is not the 4 B that X passed", "guest event {}: not from X"
    assert earliest(["no record", torn.format(3)], passed.history) == (passed.history.guests[3].at, "guest event", 3)
    assert earliest(["no record", f"guest event {last + 1}: beyond"], passed.history) is None
    first = suspects(_told(passed, I11=invented.format(last), I15=torn.format(2)))
    later = suspects(_told(passed, I11=invented.format(2), I15=torn.format(last)))
    assert first[0].component == "buffers"
    shares = [{one.component: one.permille for one in found} for found in (first, later)]
    assert shares[0]["buffers"] > shares[1]["buffers"] and shares[0]["frames"] < shares[1]["frames"]


def test_a_fault_that_nothing_noticed_accuses_its_guard_the_more(passed: Checked) -> None:
    facts = _told(passed, I8="no block admits it")._replace(necessary=[KILL])
    blind = facts._replace(checked=facts.checked._replace(effective={0: False}))
    seen, unseen = ({one.component: one.permille for one in suspects(given)} for given in (facts, blind))
    assert passed.effective == {0: True} and unseen["pool"] > seen["pool"]
    assert any("nothing noticed it" in why for one in suspects(blind) for why in one.because)


def test_who_guards_depends_on_a_parameter_where_the_table_says_so() -> None:
    def guards(text: str) -> str:
        shares = guards_of(parse_fault(text))
        return max(shares, key=lambda name: shares[name])

    step = "agent.misuse@tick:3,agent:1,what="
    assert [guards(step + what) for what in ("capability", "flood", "handle")] == [
        "wasm.checks",
        "wasm.modules",
        "worker",
    ]
    assert guards("agent.misuse@tick:3,agent:1") == "worker", "the default misuse is a pointer"
    assert guards("gpu.oom@tick:3") == "router", "by its layer"


def test_a_run_is_compared_with_the_further_run_that_differs_by_trace_only_where_both_must_be_equal(
    passed: Checked,
) -> None:
    assert passed.judged is not None
    other = _copy(passed.history, trace=passed.history.trace[:4])
    failing = passed._replace(row=replace(passed.row, failed_oracles=("I1", "I3")))
    further = dataclasses.replace(passed.judged, repeat=other, others={1: other})
    found = first_further(failing._replace(judged=further), "I1")
    assert found is not None and (found.where, found.record) == ("trace", 4)
    assert first_further(failing._replace(judged=further), "I3") is None
    assert first_further(failing, "I1") is None and first_further(passed, "I1") is None


def test_what_a_port_raises_arose_in_no_module_of_the_runtime() -> None:
    def ask(storage: SimDisk) -> None:
        with contextlib.suppress(FailStop, KeyError):
            recovery.load(storage, Telemetry(lambda: 0))

    class Forgetful(SimDisk):
        def names(self) -> list[str]:
            return ["journal"]

    sound = SimDisk(Loop(), 1, lambda: None)
    sound.load({"journal": b"no journal"})
    _, stopped = traced(lambda: ask(sound))
    assert stopped.raised is not None and stopped.raised[0] in ("recovery", "journal")
    assert traced(lambda: ask(Forgetful(Loop(), 1, lambda: None)))[1].raised is None


def test_shares_add_up_and_no_witness_names_an_oracle_or_a_module_that_there_is_not(passed: Checked) -> None:
    failing = passed._replace(row=replace(passed.row, failed_oracles=("twin",)))
    lines = frozenset({("pool", n) for n in range(40)} | {("errors", 1)})
    facts = Facts(failing, "twin", [KILL], Difference(where="nothing"), traced(lambda: None)[1], lines)
    found = suspects(facts)
    assert found[0].component == "pool" and "errors" not in {one.component for one in found}
    assert 990 <= sum(one.permille for one in found) <= 1010
    known = {module_of(str(path)) for path in _runtime_files()}
    tables = [
        *ORACLES.values(),
        *SUBJECTS.values(),
        *GUARDS.values(),
        *LAYERS.values(),
        *CHECKS.values(),
        *WRITERS.values(),
    ]
    tables += SUBJECTS.values()
    tables += [{module: 1.0} for module in TELLERS.values()] + [said.shares for said in SAID]
    assert {module for shares in tables for module in shares} <= known
    assert all(0 < sum(shares.values()) <= 1.0001 for shares in tables)
    assert {*ORACLES, *(said.oracle for said in SAID)} <= set(ALL_ORACLES) and SUBJECTS.keys() <= set(names())


def _runtime_files() -> list[Any]:
    from harness.builds import ROOT

    return sorted((ROOT / "runtime").rglob("*.py"))


def test_a_plan_that_does_not_fail_has_nothing_to_explain() -> None:
    why = diagnose(get("hello"), replace(HELLO, faults=(KILL,)), {"twin"})
    assert (why.outcome, why.oracle, why.suspects, why.chain) == ("FIXED", "", [], [])
