"""Faults of what a run is given to do: floods, graphs of tasks that cannot be or are huge, reloads, hostile names.

Workload is part of the scenario: the twin has it as well, and what must hold is that the runtime stays within its
bounds and says in its journal what it refused. What is added comes from a source of its own, so that no input of the
plan changes its number. A pool that is resized in mid-run is here too: an operator does it, and no journal may show it.
"""

from __future__ import annotations

from faults.kind import AGENT, TICK, FaultKind, Form, Key

FLOODS = ("messages", "tasks")
FLOOD_MAX = 10_000
BURST_MAX = 20
GRAPHS = ("late", "failing", "cycle", "deep", "wide")
NODES_MAX = 10_000
DEPTH_MAX = 1_000
VERSIONS_MAX = 8
STRUCK = ("no", "trap", "fuel")
POOL_MAX = 16
NAMES = ("html", "ansi", "lines", "bidi", "quotes", "path", "formula", "long", "empty", "null")
FLOATS = ("add", "divide", "root", "least", "most", "round", "narrow", "widen", "copy_sign", "order")
_AT_TICK = (Form(needs=("tick",)),)
_AT_STEP = (Form(needs=("tick", "agent")),)
_BURST = Key(name="ticks", meaning="in how many ticks it comes", low=1, high=BURST_MAX, default=1)

WORKLOAD_KINDS: tuple[FaultKind, ...] = (
    FaultKind(
        slug="agent.flood",
        rows=("F05",),
        class_="workload",
        layer="scheduler",
        title="one agent is given up to ten thousand messages, or ready tasks of the highest priority, in a few ticks",
        keys=(Key(name="tick", meaning="first tick of the burst"), Key(name="agent", meaning="who gets them")),
        forms=_AT_STEP,
        params=(
            Key(
                name="what",
                meaning="messages as the scenario's clients send them, or tasks",
                words=FLOODS,
                default="messages",
            ),
            Key(name="count", meaning="how many", low=1, high=FLOOD_MAX, default=1000),
            _BURST,
        ),
        counts_when="the agent takes two of them at once or its mailbox refuses one; of tasks, one ends",
    ),
    FaultKind(
        slug="dag.edit",
        rows=("F06",),
        class_="workload",
        layer="scheduler",
        title="a graph of tasks is submitted that comes in parts, has failing nodes, a back edge, or is deep or wide",
        keys=(Key(name="tick", meaning="the tick that admits it"),),
        forms=_AT_TICK,
        params=(
            Key(name="what", meaning="what is the matter with it", words=GRAPHS, default=GRAPHS[0]),
            Key(name="size", meaning="how many tasks; a deep one has 1,000 at most", low=2, high=NODES_MAX, default=12),
            Key(name="percent", meaning="how many of a failing one's tasks fail", low=1, high=100, default=10),
            Key(name="ticks", meaning="how much later the second part of a late one comes", low=1, high=20, default=3),
        ),
        counts_when="the journal refuses it for its cycle; one of its tasks ends, of a failing one by failing",
    ),
    FaultKind(
        slug="agent.reload",
        rows=("F77",),
        class_="visible",
        layer="plugins",
        title="an operator reloads an agent's module, to a later version or an earlier one; it may be struck meanwhile",
        keys=(Key(name="tick", meaning="tick of the reload"), AGENT),
        forms=_AT_STEP,
        params=(
            Key(
                name="version",
                meaning="which of the scenario's versions, modulo; a version lower than the present is a downgrade",
                low=1,
                high=VERSIONS_MAX,
                default=1,
            ),
            Key(name="struck", meaning="how its migration is made to fail", words=STRUCK, default="no"),
        ),
        counts_when="the journal has the agent's reload; where it is struck, rolled back for that reason",
    ),
    FaultKind(
        slug="pool.resize",
        rows=("F84",),
        class_="transparent",
        layer="worker",
        title="the pool is given another number of workers while it works, or right after a recovery",
        keys=(
            Key(name="tick", meaning="first call at this tick or later"),
            Key(name="after", meaning="first call after this successor has started, counted from 1", low=1),
        ),
        forms=(Form(needs=("tick",)), Form(needs=("after",))),
        params=(Key(name="workers", meaning="how many it then has", low=1, high=POOL_MAX, default=1),),
        counts_when="the runtime says that its pool has that size",
    ),
    FaultKind(
        slug="step.cancel",
        rows=("F85",),
        class_="transparent",
        layer="worker",
        title="an operator ends a step while it runs, in a scenario whose agents read outside",
        keys=(TICK, AGENT),
        forms=_AT_STEP,
        counts_when="the step is ended by decree, as cancelled",
    ),
    FaultKind(
        slug="wasm.nan",
        rows=("F24",),
        class_="visible",
        layer="wasm",
        title="a step makes NaNs with payloads of all sorts, or sums in another order, and says which bits came out",
        keys=(TICK, AGENT),
        forms=_AT_STEP,
        params=(Key(name="what", meaning="which operation", words=FLOATS, default=FLOATS[0]),),
        counts_when="the journal says that the step found the canonical bits",
    ),
    FaultKind(
        slug="observer.hostile_text",
        rows=("F80",),
        class_="workload",
        layer="observer",
        title="an agent's name is made to break a page, a terminal, a table or a log",
        keys=(Key(name="agent", meaning="whose name", high=2**32 - 2),),
        forms=(Form(needs=("agent",)),),
        params=(Key(name="what", meaning="what is in it", words=NAMES, default=NAMES[0]),),
        counts_when="the journal has the agent under that name, and a step of it",
    ),
)
