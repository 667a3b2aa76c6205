"""What faults cost a step in workers, and which of them no correct runtime could survive (`faults.budget`).

A step that loses `lost_workers_max` workers is ended by decree, so one less is what faults may take from it. A crash
loop may hit any step. Steps that must end by decree are told apart by what took their workers: nothing else may strike
them, or the decree's reason would depend on where they ran.
"""

from __future__ import annotations

from faults.plan import Fault
from runtime.errors import Refused
from runtime.physical import Physical
from runtime.second import MILLION

FAILED_STARTS_MAX = 10
DECREES_MAX = 3
_WHERE = "fault budget"
_ONE_EACH = ("worker.kill", "worker.stall", "worker.zombie", "pipe.errno", "lock.abandon")
_ENDED = ("task.poison", "task.hang")


def taken_of(fault: Fault) -> bool:
    """Whether it costs the step that it names a worker, by itself."""
    if fault.kind in ("worker.oom", "repair.kill"):
        return "tick" in fault.at and "agent" in fault.at
    return fault.kind in _ONE_EACH


def anywhere(fault: Fault, agent: int) -> int:
    """How many workers it may cost a step of this agent that it does not name."""
    if fault.kind == "worker.crash_loop":
        # Where each serves a call before it dies, what one could not finish the next one does first.
        return fault.number("times") if fault.number("calls") == 1 else min(2, fault.number("times"))
    return int(fault.kind == "worker.oom" and "tick" not in fault.at and fault.number("agent") == agent)


def check_endings(faults: list[Fault], physical: Physical) -> None:
    """Raises Refused for too many failed starts, steps that cannot end for one reason, results that nobody checks."""
    starts = sum(fault.number("attempts") for fault in faults if fault.kind == "worker.spawn_fail")
    if starts > FAILED_STARTS_MAX:
        raise Refused(f"{starts} starts of workers would fail", _WHERE, f"at most {FAILED_STARTS_MAX}")
    _check_decrees(faults)
    if physical.check_ppm < MILLION and any(fault.kind == "worker.wrong" for fault in faults):
        raise Refused("a worker would compute wrong unseen", _WHERE, f"set physical.check_ppm to {MILLION} in the plan")


def _check_decrees(faults: list[Fault]) -> None:
    ended = [fault for fault in faults if fault.kind in _ENDED]
    if len(ended) > DECREES_MAX:
        raise Refused(f"{len(ended)} steps would be ended by decree", _WHERE, f"at most {DECREES_MAX}")
    for fault in ended:
        step = (fault.number("tick"), fault.number("agent"))
        others = [f for f in faults if f is not fault and (f.number("tick"), f.number("agent")) == step]
        if fault.kind == "task.hang":
            others += [f for f in faults if anywhere(f, step[1])]
        if others:
            where = f"{_WHERE}, tick {step[0]}, agent {step[1]}"
            raise Refused(f"{others[0].kind} may strike a step with a {fault.kind}", where, "leave one of them out")
