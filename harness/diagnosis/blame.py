"""The component to blame: votes of independent witnesses, each with its sentence, added up and ranked.

Witnesses are the oracle that failed first and what it says, the first record that differs (from the twin, or from the
further run that the oracle compares with) and who writes such records, the necessary faults and who guards against them
(the more so where nothing noticed the fault), the place of an exception or of a failed check, what the runtime itself
believed at that moment, and the lines that only the failing run executes (spectrum-based fault localisation: Jones and
Harrold 2005 for the idea; here the passing runs differ from the failing one by a single fault). Nothing here reads a
build's sources, or knows what was planted in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from faults.plan import Fault
from harness.check import BROAD, COMPONENTS, Checked
from harness.diagnosis.coverage import Line, Spectrum
from harness.diagnosis.difference import Difference
from harness.diagnosis.further import SAME_PLAN, first_further
from harness.diagnosis.knowledge import (
    CARRIERS,
    CHECKS,
    ORACLES,
    SUBJECTS,
    TELLERS,
    TOLD_BY_DISK,
    WRITERS,
    Shares,
    guards_of,
)
from harness.diagnosis.moments import earliest, leading
from harness.diagnosis.sentences import SAID
from harness.history import History, Receipt
from runtime import journal, watermark

ORACLE, SENTENCE, WRITER, CHECK, RAISED, BELIEF, SPECTRUM = 0.6, 1.0, 0.8, 0.9, 1.1, 1.2, 0.65
NOTICED, UNNOTICED = 0.3, 1.2  # of a guard, for a fault that the runtime's own records answer, or do not
LATER = 0.5  # what is said of a guarantee that was broken after another one
SHOWN_MAX = 8
FEW = 15  # so many lines have half a vote: one or two may be chance, such as a batch of another size
STOPPED = ("I19", "I34")  # what a run that was stopped cannot keep; they say nothing of why it was


class Vote(NamedTuple):
    """`weight` of one witness for a component, and why."""

    component: str
    weight: float
    why: str


class Suspect(Struct, frozen=True):
    """One component (a module of the runtime), its share of all votes in thousandths, and what speaks against it."""

    component: str
    permille: int
    because: tuple[str, ...]


class Facts(NamedTuple):
    """What the witnesses see. `only` are lines of the failing run that no passing one executes."""

    checked: Checked
    oracle: str
    necessary: Sequence[Fault]
    difference: Difference
    failing: Spectrum
    only: frozenset[Line]


def suspects(facts: Facts) -> list[Suspect]:
    """All components that anything speaks against, the most suspect first; equal ones by name."""
    witnesses = (_oracle, _subject, _sentence, _writer, _further, _guard, _check, _raised, _belief, _executed)
    votes = [vote for witness in witnesses for vote in witness(facts) if vote.component not in CARRIERS]
    total = sum(vote.weight for vote in votes)
    sums: dict[str, float] = {}
    for vote in votes:
        sums[vote.component] = sums.get(vote.component, 0.0) + vote.weight
    ranked = sorted(sums, key=lambda name: (-sums[name], name))
    return [Suspect(name, round(1000 * sums[name] / total), _because(votes, name)) for name in ranked[:SHOWN_MAX]]


def _because(votes: list[Vote], component: str) -> tuple[str, ...]:
    mine = sorted((vote for vote in votes if vote.component == component), key=lambda vote: -vote.weight)
    return tuple(dict.fromkeys(vote.why for vote in mine))


def _votes(shares: Shares, weight: float, why: str) -> Iterator[Vote]:
    for component, share in shares.items():
        yield Vote(component, share * weight, why)


def _telling(facts: Facts) -> list[str]:
    """The oracles that say what is broken; all others fail because something is."""
    stopped = STOPPED if facts.checked.history.failure else ()
    return [name for name in facts.checked.failed if name not in BROAD + stopped] or [facts.oracle]


def _leading(facts: Facts) -> tuple[str, ...]:
    """Those of them whose evidence is the earliest; the recorded one where none names a moment."""
    history, findings = facts.checked.history, facts.checked.findings
    return leading({name: earliest(findings[name].evidence, history) for name in _telling(facts)}) or (facts.oracle,)


def _oracle(facts: Facts) -> Iterator[Vote]:
    """The guarantee that is broken; where several are, the first one has the greater part, and broad ones none."""
    failed, first = _telling(facts), _leading(facts)
    for name in failed:
        part = 0.6 / len(first) if name in first else 0.4 / max(1, len(failed) - len(first))
        shares = ORACLES.get(name) or {COMPONENTS.get(name, "orchestrator"): 0.5}
        yield from _votes(shares, ORACLE * (1.0 if len(failed) == 1 else part), f"{name} failed, which it keeps")


def _subject(facts: Facts) -> Iterator[Vote]:
    """What the scenario is there for; where its own rule is broken, all the more."""
    name = facts.checked.plan.scenario
    weight = ORACLE * (2 if "scenario" in _leading(facts) else 1)
    yield from _votes(SUBJECTS.get(name, {}), weight, f"{name} is there to use it")


def _sentence(facts: Facts) -> Iterator[Vote]:
    """What the oracles say beyond their names; each pattern counts once. A broad one speaks where it is the reason."""
    first = _leading(facts)
    for said in SAID:
        if said.oracle in BROAD and said.oracle != facts.oracle:
            continue
        evidence = facts.checked.findings[said.oracle].evidence if said.oracle in facts.checked.failed else ()
        line = next((line for line in evidence if said.pattern.search(line)), "")
        if line:
            weight = SENTENCE if said.oracle in first else SENTENCE * LATER
            yield from _votes(said.shares, weight, f"{said.oracle}: {line}")


def _writer(facts: Facts) -> Iterator[Vote]:
    """Who writes what differs from the twin. Only the journal's records name their writer.

    Where two runs of one plan differ, what differs from the twin need not come from the faults.
    """
    same_plan = any(name in SAME_PLAN for name in facts.checked.failed)
    if facts.difference.where == "journal" and not same_plan:
        yield from _written(facts.difference, "")


def _further(facts: Facts) -> Iterator[Vote]:
    """Who writes what differs from the further run by which an oracle failed; of such oracles the first counts."""
    for name in facts.checked.failed:
        difference = first_further(facts.checked, name)
        if difference is None:
            continue
        if difference.where == "journal":
            yield from _written(difference, f", under {name}", name in SAME_PLAN)
        elif difference.where == "trace":
            for kind in difference.fields:
                if kind in TELLERS:
                    why = f"it tells {kind} of {difference.place}, under {name}"
                    yield Vote(TELLERS[kind], WRITER / len(difference.fields), why)
        return


def _written(difference: Difference, under: str, same_arrivals: bool = False) -> Iterator[Vote]:
    for field in difference.fields:
        field = field.split("_")[0]  # refused_task is one of the refusals
        section = difference.section
        narrow = WRITERS.get((section, f"{field} as they arrived")) if same_arrivals else None
        shares = narrow or WRITERS.get((section, field)) or WRITERS.get((section, ""))
        if shares:
            why = f"it has a part in {field} of {difference.place}{under}"
            yield from _votes(shares, WRITER / len(difference.fields), why)


def _guard(facts: Facts) -> Iterator[Vote]:
    """Who stands between the necessary faults and the journal, the more so where nothing tells of the fault."""
    checked = facts.checked
    kinds = Counter(fault.kind for fault in facts.necessary)
    noticed = [fault for index, fault in enumerate(checked.plan.faults) if checked.effective.get(index)]
    seen: set[str] = set()
    for fault in facts.necessary:
        if fault.kind in seen:
            continue
        seen.add(fault.kind)
        weight, why = NOTICED, f"{fault.kind} is necessary, which it guards against"
        if fault not in noticed:
            weight, why = UNNOTICED, f"{why}, and nothing noticed it"
        yield from _votes(guards_of(fault), weight / len(kinds), why)


def _check(facts: Facts) -> Iterator[Vote]:
    failure = facts.checked.history.failure
    if failure:
        yield from _votes(CHECKS.get(failure, {}), CHECK, f"check '{failure}' stopped the run: it compares its work")


def _raised(facts: Facts) -> Iterator[Vote]:
    """An exception that nobody meant: the innermost frame of the runtime."""
    history, raised = facts.checked.history, facts.failing.raised
    if history.failure == "exception" and raised is not None:
        yield Vote(raised[0], RAISED, f"{history.failure_detail} arose in it, at line {raised[1]}")


def _belief(facts: Facts) -> Iterator[Vote]:
    """What left too early: had the runtime itself taken the block for durable, or not?

    Its `durable` records say what its durability believed, the adapter's watermark what was true. If it believed more
    than was true, it was told wrong; if it released beyond its own belief, the release was not asked for.
    """
    history = facts.checked.history
    early = _first_early(history) if "I28" in facts.checked.failed else None
    if early is None:
        return
    before = [record for record in history.trace if record.at <= early.at]
    incarnation = before[-1].incarnation if before else 0
    said = [r for r in before if r.kind == "durable" and r.incarnation == incarnation]
    started = [r for r in before if r.kind == "started" and r.incarnation == incarnation]
    told = max((int(r.fields["block"]) for r in said), default=0)
    taken = max((int(r.fields["block"]) for r in started), default=0)
    if taken >= early.block:
        yield Vote("boot", BELIEF, f"block {early.block} was taken over as durable at the start, and was not")
    elif told >= early.block and TOLD_BY_DISK.intersection(fault.kind for fault in facts.necessary):
        yield Vote("patience", BELIEF, f"block {early.block} was reported durable although the disk said otherwise")
    elif told >= early.block:
        yield Vote("durability", BELIEF, f"block {early.block} was reported durable before it was")
    else:
        yield Vote("orchestrator", BELIEF, f"block {early.block} was released, durable was {max(told, taken)}")


def _first_early(history: History) -> Receipt | None:
    """The first receipt of a block that the disk did not hold: its bytes, or its number in the synced watermark."""
    ends = {line.number: line.end for line in journal.read(history.journal).lines}
    for receipt in history.receipts:
        mark = watermark.newest(receipt.watermark)
        if mark is None or mark.block < receipt.block or receipt.durable_bytes < ends.get(receipt.block, 0):
            return receipt
    return None


def _executed(facts: Facts) -> Iterator[Vote]:
    """Lines that only the failing run executes, by module; what carries does not count."""
    counts = Counter(module for module, _ in facts.only if module not in CARRIERS)
    total = sum(counts.values()) + FEW
    for module in sorted(counts):
        plural = "line" if counts[module] == 1 else "lines"
        why = f"{counts[module]} {plural} of it run only when it fails"
        yield Vote(module, SPECTRUM * counts[module] / total, why)
