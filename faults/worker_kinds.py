"""Faults of workers beyond a single death: no memory, no process, loops, late writers, wrong results, endless calls.

Most cost the runtime a worker and are repaired. Two never end by themselves (`task.poison`, `task.hang`): the step that
they strike is ended by decree, which the twin is given. One is silent (`worker.wrong`): it is let through only
where every step is executed a second time.
"""

from __future__ import annotations

from faults.kind import AGENT, HOSTCALL, OCCURRENCE, TICK, FaultKind, Form, Key

WRONG = ("effect", "state")
DEATHS_MAX = 20
ATTEMPTS_MAX = 5
_STEP = (Form(needs=("tick", "agent")),)

WORKER_KINDS: tuple[FaultKind, ...] = (
    FaultKind(
        slug="worker.oom",
        rows=("F10",),
        class_="transparent",
        layer="worker",
        title="the machine has no memory left: the worker dies in a step, or as it makes an agent's instance",
        keys=(TICK, AGENT, OCCURRENCE),
        forms=(Form(needs=("tick", "agent")), Form(needs=("agent",), may=("occurrence",))),
        counts_when="that worker is lost",
    ),
    FaultKind(
        slug="worker.crash_loop",
        rows=("F12",),
        class_="transparent",
        layer="worker",
        title="the worker that gets a step dies, and then each one that was started since, in one of its first calls",
        keys=(TICK, AGENT),
        forms=_STEP,
        params=(
            Key(name="times", meaning="how many workers die in all", low=1, high=DEATHS_MAX, default=3),
            Key(name="calls", meaning="in which call after its start each dies", low=1, high=DEATHS_MAX, default=1),
        ),
        counts_when="each of them is lost, and at least one of them was started since the first death",
    ),
    FaultKind(
        slug="worker.zombie",
        rows=("F13",),
        class_="transparent",
        layer="worker",
        title="the worker that has a step is stopped; what it wrote arrives when another one has been given the step",
        keys=(TICK, AGENT),
        forms=_STEP,
        counts_when="what it wrote arrives stale, after its step went to another worker of this or a later incarnation",
    ),
    FaultKind(
        slug="worker.spawn_fail",
        rows=("F14",),
        class_="transparent",
        layer="worker",
        title="no worker can be started: the first attempts from a tick on fail",
        keys=(Key(name="tick", meaning="first attempt at this tick or later"),),
        forms=(Form(needs=("tick",)),),
        params=(Key(name="attempts", meaning="how many fail", low=1, high=ATTEMPTS_MAX, default=1),),
        counts_when="the runtime says that each of them failed, and later starts one",
    ),
    FaultKind(
        slug="worker.wrong",
        rows=("F15",),
        class_="measured",
        layer="worker",
        title="the first execution of a step computes wrong, silently: one step, or one in so many from a tick on",
        keys=(TICK, AGENT),
        forms=(*_STEP, Form(needs=("tick",))),
        params=(
            Key(name="what", meaning="one bit of an effect, or of the agent's memory", words=WRONG, default="effect"),
            Key(name="one_in", meaning="without an agent: of how many steps one", low=1, high=10**6, default=1000),
        ),
        counts_when="a second execution disagrees with that worker's",
    ),
    FaultKind(
        slug="task.poison",
        rows=("F08",),
        class_="transparent",
        layer="worker",
        title="a step takes every worker with it that enters its host call",
        keys=(TICK, AGENT, HOSTCALL),
        forms=(Form(needs=("tick", "agent", "hostcall")),),
        counts_when="the step is ended by decree",
    ),
    FaultKind(
        slug="task.hang",
        rows=("F09",),
        class_="transparent",
        layer="worker",
        title="a host call of a step never returns, on whichever worker",
        keys=(TICK, AGENT, HOSTCALL),
        forms=(Form(needs=("tick", "agent", "hostcall")),),
        counts_when="the step is ended by decree, for its deadline",
    ),
)
