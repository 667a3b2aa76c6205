"""One run, judged: the plan, its twin and the further runs that oracles need, in one verdict and one row.

The twin is the plan without its transparent faults, the baseline without visible ones as well; both are cached, as one
twin serves many fault schedules. Oracles that need further runs (repetition, other worker counts, recoveries from
snapshots) judge the runs for which `deep` is set.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Iterable
from contextlib import nullcontext
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from faults import effect
from faults.catalogue import kind_of
from faults.plan import Fault, Plan, plan_to_json
from faults.workload_rules import Told
from harness import restarts, sometimes
from harness.adapters.workers import Timing
from harness.bounds import horizon_ns, liveness_bound
from harness.history import History
from harness.oracles import Finding, Judged, Verdict, judge, judgeable
from harness.oracles.contained import longest_wait
from harness.simulation import collector_resting, simulate, trace_digest
from harness.verification import further
from reports import RunRow
from reports.frames import Verdict as RowVerdict
from runtime import journal
from runtime.errors import Refused
from runtime.frames import InferenceItem
from runtime.inference import OrtModels
from runtime.journal import Block
from runtime.ports import Decoder
from runtime.state import Decree, Inference, decode
from runtime.telemetry import Hook
from scenarios.base import Outcome, Scenario

OTHER_WORKERS = (1, 2, 7)
TWINS_MAX = 12
COMPUTED_MAX = 4096  # results of requests, a few KB each

# Which part of the runtime an oracle's finding points at first.
COMPONENTS = {
    "twin": "orchestrator",
    "I1": "orchestrator",
    "I2": "orchestrator",
    "I3": "pool",
    "I4": "pool",
    "I5": "router",
    "I6": "orchestrator",
    "I7": "orchestrator",
    "I8": "broker",
    "I9": "broker",
    "I10": "broker",
    "I11": "frames",
    "I12": "scheduler",
    "I13": "orchestrator",
    "I14": "buffers",
    "I15": "buffers",
    "I16": "buffers",
    "I17": "worker",
    "I18": "broker",
    "I19": "pool",
    "I20": "snapshot",
    "I21": "pool",
    "I22": "tasks",
    "I23": "wasm.compiled",
    "I24": "router",
    "I25": "wasm",
    "I26": "wasm.signatures",
    "I27": "journal",
    "I28": "durability",
    "I29": "durability",
    "I30": "recovery",
    "I31": "pool",
    "I32": "worker",
    "I33": "orchestrator",
    "I34": "broker",
    "I35": "wasm",
    "I36": "worker",
    "order": "channels",
    "reads": "reads",
    "replay": "snapshot",
    "ledger": "durability",
    "scenario": "agents",
}


APART = ("I2", "I6")  # the oracles that need further processes
DEEP = ("I1", *APART, "I3", "I4", "I5", "I7", "I20", "I33")  # the oracles that need further runs

UNREPEATABLE = ("I1", "I2", "I33")  # they fail because the same plan gives another run

# They see that something is wrong; where others fail as well, those say better what it is.
BROAD = ("twin", *DEEP, "scenario")


class Checked(NamedTuple):
    """A run with everything known of it. `effective` tells per fault of the plan whether it took effect.

    `judged` are the records that the oracles had, with those of the further runs.
    """

    plan: Plan
    history: History
    twin: History
    findings: dict[str, Finding]
    effective: dict[int, bool]
    row: RunRow
    judged: Judged | None = None

    @property
    def failed(self) -> tuple[str, ...]:
        return self.row.failed_oracles


def transparent(kind: str) -> bool:
    """Whether the twin is run without it: what must leave no mark in the journal, if the run comes to its end.

    So a wrong computation, since it is let through only if checked, and damage that is found or stops the run.
    """
    return kind_of(kind).class_ in ("transparent", "measured", "failstop")


def lasting(plan: Plan) -> Plan:
    """The plan with those of its faults alone that are part of its workload."""
    return replace(plan, faults=tuple(f for f in plan.faults if kind_of(f.kind).class_ == "workload"))


def twin_plan(plan: Plan, decrees: tuple[Decree, ...]) -> Plan:
    """The plan without its transparent faults; indices of the others do not matter to their address."""
    return replace(plan, faults=tuple(f for f in plan.faults if not transparent(f.kind)), decrees=decrees)


class Read(Struct, frozen=True, eq=False):
    """A journal as the runtime reads it, and what follows from that alone. `statuses` are by (tick, agent)."""

    journal: bytes
    blocks: list[Block]
    digest: str
    decrees: tuple[Decree, ...]
    statuses: dict[tuple[int, int], str]
    counts: sometimes.Counts


def read_of(journal_: bytes) -> Read:
    verified = journal.read(journal_)
    blocks = [line.block for line in verified.lines]
    return Read(
        journal_,
        blocks,
        "" if verified.damage or not blocks else verified.lines[-1].hash,
        tuple(decree for block in blocks for decree in block.decrees),
        {(block.tick, step.agent): step.status for block in blocks for step in block.steps},
        sometimes.counts_of(blocks),
    )


class Checker:
    """Judges runs of one scenario; keeps its twins, and what oracles found in them.

    A twin is judged like any run, once; a run that has the very same records in part is, in that part, judged by them
    (`Judged.settled`). Journals that were read are kept: a run's has, as a rule, its twin's bytes.
    """

    def __init__(self, scenario: Scenario, timing: Timing | None = None) -> None:
        self.scenario = scenario
        self.timing = timing or Timing()
        self._twins: OrderedDict[bytes, Judged] = OrderedDict()
        self._read: list[Read] = []  # the newest last
        self._computed: OrderedDict[tuple[str, int, tuple[int, ...], bytes], Inference] = OrderedDict()
        self._decoders: dict[str, Decoder] = {}
        self._sizes = {digest: len(onnx) for digest, onnx in scenario.models().items()}

    def clean(self, plan: Plan) -> History:
        """The history of a plan without transparent faults, from the cache if it has run."""
        return self._clean(plan).history

    def holds_without_faults(self, plan: Plan) -> bool:
        """Whether the scenario's own rule holds for the plan's workload alone: if not, the workload breaks it."""
        bare = self._clean(replace(lasting(plan), decrees=()))
        return judge(bare, ("scenario",))["scenario"].verdict is Verdict.PASS

    def _clean(self, plan: Plan) -> Judged:
        key = hashlib.sha256(plan_to_json(plan).encode()).digest()
        if key in self._twins:
            self._twins.move_to_end(key)
            return self._twins[key]
        judged = Judged(simulate(self.scenario, plan, self.timing), invariant=self._invariant)
        self._twins[key] = judged
        if len(self._twins) > TWINS_MAX:
            self._twins.popitem(last=False)
        return judged

    def _reading(self, journal_: bytes) -> Read:
        """The journal read by the runtime; one with the same bytes is not read again."""
        found = next((read for read in reversed(self._read) if read.journal == journal_), None)
        if found is None:
            found = read_of(journal_)
        else:
            self._read.remove(found)
        self._read = [*self._read[1 - TWINS_MAX :], found]
        return found

    def check(
        self, plan: Plan, run: int = 0, deep: bool = False, apart: bool | None = None, hook: Hook | None = None
    ) -> Checked:
        """Run and judge. `deep` adds the oracles that need further runs, `apart` (as `deep` unless said) those of them
        that need further processes. `hook` is told what happens in the run itself.
        """
        with nullcontext() if deep else collector_resting():  # what many runs leave behind would add up
            return self._check(plan, run, deep, deep if apart is None else apart, hook)

    def _check(self, plan: Plan, run: int, deep: bool, apart: bool, hook: Hook | None) -> Checked:
        history = self.simulate(plan, hook)
        read = self._reading(history.journal)
        bare = twin_plan(plan, read.decrees)
        known = self._clean(bare)
        twin = known.history
        bound = liveness_bound(self.scenario, plan, self.timing)
        judged = Judged(
            history=history,
            twin=twin,
            baseline=self.clean(lasting(bare)) if lasting(bare) != bare else twin,
            bound_ns=bound,
            invariant=self._invariant,
            recompute=self._recompute,
            known=known,
            modules=self.scenario.modules,
            models=self._sizes,
        )
        if deep and not judged.damaged:  # other runs would not be damaged where this one is
            judged.repeat = self.simulate(plan)
            judged.others = self._others(plan)
            judged.devices = self._devices(plan, bare, history)
            judged.replays = tuple(restarts.from_snapshots(self.scenario, plan, bare, self.timing))
            judged.varied |= further.here(self.scenario, plan, bare, self.timing)
        if apart:
            judged.varied |= further.apart(self.scenario, plan, self.timing)
        findings = judge(judged, judgeable(judged))
        known.forget()
        told = Told(read.blocks, history.owners)
        effective = effect.effective(plan, history.injections, judged.trace, read.statuses, told)
        row = _row(plan, judged, findings, effective, read, self._reading(twin.journal).digest, run)
        seen = sometimes.Seen(history, read.blocks, effective, judged.trace, read.counts)
        row = replace(row, reached=sometimes.reached(seen))
        judged.forget()
        return Checked(plan, history, twin, findings, effective, row, judged)

    def simulate(self, plan: Plan, hook: Hook | None = None) -> History:
        """A run that is given up once nothing that heals could still be under way: its end is then a finding."""
        return simulate(self.scenario, plan, self.timing, horizon_ns(self.scenario, plan, self.timing), hook)

    def _others(self, plan: Plan) -> dict[int, History]:
        counts = [n for n in OTHER_WORKERS if n != plan.physical.workers]
        return {n: self.simulate(replace(plan, physical=replace(plan.physical, workers=n))) for n in counts}

    def _devices(self, plan: Plan, bare: Plan, history: History) -> dict[str, History]:
        """The plan on the CPU alone; without its faults on both devices, and with the accelerator gone at a request."""
        requests = sorted({event.request for event in history.inferences})
        if not requests:
            return {}
        alone = replace(self.timing, devices=replace(self.timing.devices, accelerator=None))
        pick = int.from_bytes(hashlib.sha256(plan_to_json(plan).encode()).digest()[:8], "big")
        gone = Fault(kind="gpu.remove", at={"request": requests[pick % len(requests)]})
        return {
            "the CPU alone": simulate(self.scenario, plan, alone),
            "sim-accel (simulated)": self.clean(bare),
            f"sim-accel (simulated), gone at request {gone.at['request']}": simulate(
                self.scenario, replace(bare, faults=(*bare.faults, gone)), self.timing
            ),
        }

    def _recompute(self, digest: str, item: InferenceItem) -> Inference:
        """A request's result on the CPU, apart from any run; the same ones come again in run after run."""
        key = (digest, item.position, item.tokens, hashlib.sha256(item.kv).digest())
        known = self._computed.get(key)
        if known is None:
            decoder = self._decoders.get(digest)
            if decoder is None:
                decoder = self._decoders[digest] = OrtModels().load(digest, self.scenario.models()[digest])
            known = self._computed[key] = decoder.run([item])[0]
            if len(self._computed) > COMPUTED_MAX:
                self._computed.popitem(last=False)
        return replace(known, request=item.request)

    def _invariant(self, history: History) -> list[str]:
        outputs = [output for receipt in history.receipts for output in receipt.outputs]
        blocks = self._reading(history.journal).blocks
        boxes = [agent.mailbox for agent in decode(history.final_state).agents]
        try:
            found: Any = self.scenario.invariant(Outcome(outputs, blocks, boxes, history.blobs))  # a user's own code
        except AssertionError as error:  # the natural way to say it in a test
            return [f"assertion failed: {error}" if str(error) else "an assertion failed"]
        if not isinstance(found, list) or not all(isinstance(line, str) for line in found):
            what = f"the invariant returned {type(found).__name__}"
            raise Refused(what, f"scenario {self.scenario.name}", "return a list of lines, empty when it holds")
        return list(found)


def verdict_of(plan: Plan, findings: dict[str, Finding], effective: dict[int, bool]) -> RowVerdict:
    verdicts = {finding.verdict for finding in findings.values()}
    if Verdict.FAIL in verdicts:
        return "FAIL"
    if Verdict.UNKNOWN in verdicts:
        return "UNKNOWN"
    return "IDLE" if plan.faults and not any(effective.values()) else "PASS"


def recoveries(judged: Judged, effective: dict[int, bool]) -> tuple[int, ...]:
    """Virtual ns from each effective fault to the commit of the tick that it interrupted, once per tick."""
    history = judged.history
    commits = [(record.at, record.tick) for _, record in judged.trace.of("committed")]
    times: dict[int, int] = {}
    for injection in history.injections:
        if effective.get(injection.fault) and transparent(history.plan.faults[injection.fault].kind):
            after = bisect_right(commits, injection.at, key=itemgetter(0))
            if after < len(commits):
                at, tick = commits[after]
                times[tick] = max(times.get(tick, 0), at - injection.at)
    return tuple(times[tick] for tick in sorted(times))


def _row(
    plan: Plan,
    judged: Judged,
    findings: dict[str, Finding],
    effective: dict[int, bool],
    read: Read,
    twin_digest: str,
    run: int,
) -> RunRow:
    history = judged.history
    failed = tuple(i for i, f in findings.items() if f.verdict is Verdict.FAIL)
    unknown = tuple(i for i, f in findings.items() if f.verdict is Verdict.UNKNOWN)
    judged_ids = tuple(i for i, f in findings.items() if f.verdict is not Verdict.UNKNOWN)
    times = recoveries(judged, effective)
    wrong, found = effect.detections(plan, history.injections, judged.trace)
    telling = sorted(failed, key=lambda i: i in BROAD)
    first = next((findings[i].evidence[0] for i in (*telling, *unknown) if findings[i].evidence), "")
    return RunRow(
        run=run,
        scenario=plan.scenario,
        seed=plan.seed,
        workers=plan.physical.workers,
        verdict=verdict_of(plan, findings, effective),
        failed_oracles=failed,
        unknown_oracles=unknown,
        judged=judged_ids,
        faults_planned=_counted(fault.kind for fault in plan.faults),
        faults_fired=_counted(plan.faults[i].kind for i, fired in effective.items() if fired),
        steps_redone=len(history.guests) - judged.steps_crossed,
        workers_lost=len(judged.trace.of("lost")),
        wrong_results=wrong,
        wrong_found=found,
        recoveries_ns=times,
        margin_ns=judged.bound_ns - longest_wait(judged),
        bound_ns=judged.bound_ns,
        ticks=len(read.blocks),
        messages=read.counts.messages,
        agent_steps=read.counts.steps,
        virtual_ns=history.virtual_ns,
        journal_digest=read.digest,
        trace_digest=trace_digest(history.trace),
        twin_digest=twin_digest,
        plan_digest=plan_digest(plan),
        component=COMPONENTS[telling[0]] if failed else "",
        detail=first,
    )


def _counted(kinds: Iterable[str]) -> dict[str, int]:
    counts = Counter(kinds)
    return {kind: counts[kind] for kind in sorted(counts)}


def plan_digest(plan: Plan) -> str:
    return hashlib.sha256(plan_to_json(plan).encode()).hexdigest()


def summary(checked: Checked) -> dict[str, object]:
    """What `run --json` prints."""
    row = checked.row
    return {
        "verdict": row.verdict,
        "journal_digest": row.journal_digest,
        "twin_digest": row.twin_digest,
        "trace_digest": row.trace_digest,
        "ticks": row.ticks,
        "messages": row.messages,
        "agent_steps": row.agent_steps,
        "virtual_ns": row.virtual_ns,
        "faults_fired": row.faults_fired,
        "oracles": {id_: str(finding.verdict) for id_, finding in checked.findings.items()},
    }


def encoded(history: History) -> bytes:
    """The trace as JSON lines."""
    return b"".join(msgspec.json.encode(r, order="sorted") + b"\n" for r in history.trace)
