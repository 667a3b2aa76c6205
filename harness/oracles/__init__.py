"""Oracles: functions of runs that say PASS, FAIL or UNKNOWN, with the records that show it (HAR-4).

Each compares two records written on different sides of a port, so that damage to either is found. An oracle that
crashes or lacks a record says UNKNOWN, never PASS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from faults.wrappers.signed import KINDS as SIGNED
from harness.oracles import (
    acknowledged,
    barrier,
    cached,
    causality,
    contained,
    durable,
    grants,
    inference,
    leaks,
    loaded,
    messages,
    ordered,
    ordering,
    pooled,
    recorded,
    refusals,
    reloaded,
    sameness,
    shared,
    stopping,
    varied,
    waiting,
)
from harness.oracles.judged import Judged
from harness.oracles.verdict import Finding, Unjudged, Verdict, guarded, merge

__all__ = ["ORACLES", "Finding", "Judged", "Oracle", "Unjudged", "Verdict", "judge", "judgeable", "merge"]


class Oracle(NamedTuple):
    """`check` returns the violations it finds, none when the run is good; `records` are what it compares."""

    id: str
    name: str
    records: str
    check: Callable[[Judged], list[str]]


ORACLES: dict[str, Oracle] = {
    oracle.id: oracle
    for oracle in (
        Oracle("twin", "equal to the twin", "journal, twin's journal", sameness.twin),
        Oracle("I1", "replay digest", "journal and trace, those of a repetition", sameness.repeated),
        Oracle("I2", "hash-seed", "journal and trace, those under other hash seeds", varied.hash_seeds),
        Oracle("I3", "worker count", "journal, journals under other numbers of workers", sameness.worker_counts),
        Oracle("I4", "host speed", "twin's journal, journals at other speeds of workers", varied.host_speeds),
        Oracle("I5", "device", "journal, journals on other devices", sameness.devices),
        Oracle("I6", "observer", "journal and trace, those of an observed run", varied.observed),
        Oracle("I7", "fault-plan purity", "twin's journal and trace, those with idle faults", varied.purity),
        Oracle("I8", "exactly-once", "client's ledger and guest log, journal", messages.exactly_once),
        Oracle("I9", "per-sender FIFO", "receivers' guest log, senders' guest log and journal", messages.fifo),
        Oracle("I10", "causal order", "receivers' guest log, senders' guest log", causality.causal),
        Oracle("I11", "no invention", "receivers' guest log, senders' guest log and client", messages.no_invention),
        Oracle("I12", "bounded wait", "journal's steps, journal's deliveries and configuration", waiting.bounded_wait),
        Oracle("I13", "barrier", "trace, guest log and journal", barrier.barrier),
        Oracle("I14", "single writer", "store log, trace, workers' lives, crashes", shared.single_writer),
        Oracle("I15", "no torn read", "readers' guest log, writers' guest log", shared.no_torn_read),
        Oracle("I16", "reader monotonic", "readers' guest log, writers' guest log", causality.monotonic),
        Oracle("I17", "capability", "guest log and journal, admitted specs", grants.capability),
        Oracle("I18", "quota", "guest log, admitted specs and configuration", grants.quota),
        Oracle("I19", "recovery liveness", "trace, twin's trace, bounds computed from the plan", contained.liveness),
        Oracle("I20", "snapshot+replay", "final state, final states of recoveries", sameness.recovered),
        Oracle("I21", "no leak", "what the adapters hold at the end, trace and journal", leaks.leaks),
        Oracle("I22", "DAG order", "guest log and journal, client's batches", ordered.in_order),
        Oracle("I23", "LRU", "account of who asks, the cache's notes; folder, compiler; loads, device log", cached.lru),
        Oracle("I24", "fallback equivalence", "device log, journal and guest log, trace, CPU", inference.fallback),
        Oracle("I25", "integrity before use", "loads at the artefacts, loads at the engine; journal", loaded.integrity),
        Oracle("I26", "signature", "guest log and journal, verdicts made elsewhere", refusals.signatures),
        Oracle("I27", "chain", "journal under the runtime's verify, under the oracle's reader", durable.chained),
        Oracle("I28", "prefix durability", "client's ledger, synced bytes and kept journals", durable.prefix_durable),
        Oracle("I29", "no false ack", "client's ledger, the disk's log of its syncs", acknowledged.no_false_ack),
        Oracle("I30", "fail-stop", "client's ledger, twin's ledger; driver, trace", stopping.fail_stop),
        Oracle("I31", "restart budget", "journal and final state; workers' lives, trace", pooled.restart_budget),
        Oracle("I32", "isolation", "guest log, injections, trace; journal, baseline's journal", contained.isolation),
        Oracle("I33", "time", "journal and trace, those under other clocks", varied.time),
        Oracle("I34", "conservation", "guest log and client, journal and final state", messages.conservation),
        Oracle("I35", "ABI", "loads and guest log, journal", loaded.abi),
        Oracle("I36", "hot reload atomicity", "guest log and its modules, journal", reloaded.atomic),
        Oracle("order", "one order", "receivers' guest log, senders' guest log and journal", ordering.one_order),
        Oracle("reads", "recorded reads", "world's ledger, guest log; journal, what was durable", recorded.recorded),
        Oracle("replay", "replay comparison", "guest log, itself on repeated steps; checks", contained.replays),
        Oracle("ledger", "client's ledger", "client's ledger, journal", durable.ledger),
        Oracle("scenario", "scenario's invariant", "as the scenario says", contained.scenario),
    )
}


OF_A_STOP = ("I27", "I30")  # the journal of a run that damage has stopped says nothing to the others


def judge(run: Judged, which: Iterable[str] | None = None) -> dict[str, Finding]:
    """The findings of the oracles named in `which` (all of them when None), by id; raises KeyError on another id."""
    ids = list(ORACLES) if which is None else list(which)
    return {id_: guarded(id_, ORACLES[id_].check, run) for id_ in ids}


def judgeable(run: Judged) -> tuple[str, ...]:
    """The ids of the oracles for which this run brings what they judge: further runs, inference, shared buffers."""
    if run.stopped:
        return OF_A_STOP
    missing = {
        "twin": run.twin is None,
        "I1": run.repeat is None,
        **{oracle: not run.varied.get(oracle) for oracle in ("I2", "I4", "I6", "I7")},
        "I33": not run.varied.get("I33") and not varied.mistimed(run),
        "I3": not run.others,
        "I5": not run.devices,
        "I15": not run.shares,
        "I16": not run.shares,
        "I19": run.bound_ns <= 0,
        "I20": not run.replays,
        "I22": not run.submits,
        "I24": not run.infers,
        "I26": not refusals.tried(run, SIGNED),
        "I30": not run.damaged and not refusals.tried(run, refusals.UNUSABLE),
        "I29": all(sync.good for sync in run.history.syncs),
        "I36": not reloaded.tried(run),
        "reads": not recorded.reads_outside(run),
        "scenario": run.invariant is None,
    }
    return tuple(id_ for id_ in ORACLES if not missing.get(id_, False))
