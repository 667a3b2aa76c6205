"""The kinds of faults as data: slug, rows of the catalogue, address forms, parameters with bounds and defaults."""

from __future__ import annotations

from faults.clock_kinds import CLOCK_KINDS
from faults.disk_kinds import DISK_KINDS
from faults.kind import AGENT, HOSTCALL, MS, OCCURRENCE, TICK, TOP, UNITS, FaultKind, Form, Key, Value
from faults.memory_kinds import MEMORY_KINDS
from faults.model_kinds import MODEL_KINDS
from faults.module_kinds import MODULE_KINDS
from faults.pipe_kinds import PIPE_KINDS
from faults.repair_kinds import REPAIR_KINDS
from faults.signed_kinds import SIGNED_KINDS
from faults.wasm_kinds import WASM_KINDS
from faults.worker_kinds import WORKER_KINDS
from faults.workload_kinds import WORKLOAD_KINDS

__all__ = ["KINDS", "MS", "TOP", "UNITS", "FaultKind", "Form", "Key", "Value"]

PHASES = ("boot", "admit", "dispatch", "await", "commit", "sync", "release", "snapshot")
POINTS = ("before", "within", "after")
DIRECTIONS = ("work", "done", "inputs", "release")
DEVICE_PHASES = ("idle", "generation", "load")
DEVICE_ENDS = ("exit", "failure", "hang", "late")
SILENT_ENDS = ("hang", "late")  # no answer comes, or only when nobody waits for it any more: each costs a lease

_FRAME_KEYS = (
    TICK,
    AGENT,
    Key(name="direction", meaning="which frame: to a worker, back, from a client, to clients", words=DIRECTIONS),
    Key(name="block", meaning="block of a release"),
    OCCURRENCE,
)
_FRAME_FORMS = (
    Form(needs=("tick", "agent", "direction"), may=("occurrence",), only=("direction", ("work", "done"))),
    Form(needs=("direction",), may=("occurrence",), only=("direction", ("inputs",))),
    Form(needs=("direction", "block"), may=("occurrence",), only=("direction", ("release",))),
)
_REQUEST = Key(name="request", meaning="a batch with this inference request, by its message number")
_BATCH_KEYS = (
    Key(name="tick", meaning="first batch for an accelerator at this tick or later"),
    Key(name="agent", meaning="with a request of this agent", high=2**21 - 2),
    _REQUEST,
)
_BATCH_FORMS = (Form(needs=("tick",), may=("agent",)), Form(needs=("request",)))
_ABSENCE = Key(
    name="for",
    meaning="how long the device is not there; 0: only its process is lost",
    unit="ns",
    high=60_000 * MS,
    default=30 * MS,
)
_CRASH = (Key(name="crash", meaning="crash of the orchestrator in this run, counted from 1", low=1),)


def _frame(verb: str, rows: tuple[str, ...], title: str, counts: str, *params: Key) -> FaultKind:
    return FaultKind(
        slug=f"frame.{verb}",
        rows=rows,
        class_="transparent",
        layer="messaging",
        title=title,
        keys=_FRAME_KEYS,
        forms=_FRAME_FORMS,
        params=params,
        counts_when=counts,
    )


KINDS: tuple[FaultKind, ...] = (
    *PIPE_KINDS,
    *MEMORY_KINDS,
    *WASM_KINDS,
    FaultKind(
        slug="orchestrator.kill",
        rows=("F01",),
        class_="transparent",
        layer="scheduler",
        title="the orchestrator dies at a port call; a successor recovers from the disk alone",
        keys=(
            Key(name="after", meaning="of this successor, counted from 1; without it, of the first incarnation", low=1),
            Key(name="call", meaning="port call of that incarnation, counted from 1", low=1),
            Key(name="tick", meaning="first call at this tick or later"),
            Key(name="phase", meaning="in this phase", words=PHASES),
            Key(name="point", meaning="before the call, within it, or after it", words=POINTS, default="before"),
            OCCURRENCE,
        ),
        forms=(
            Form(needs=("tick", "phase"), may=("point", "occurrence")),
            Form(needs=("call",), may=("point",)),
            Form(needs=("after", "call"), may=("point",)),
        ),
        counts_when="a successor has recovered or started",
    ),
    FaultKind(
        slug="worker.kill",
        rows=("F08", "F27"),
        class_="transparent",
        layer="worker",
        title="the worker that has a step dies: idle, in mid-call, between calls, in mid-copy, or after it",
        keys=(
            TICK,
            AGENT,
            HOSTCALL,
            Key(name="byte", meaning="bytes of the step's shared buffers that were still stored"),
            Key(name="fuel", meaning="units of fuel that it still used; it dies at the next check", high=(1 << 62) - 1),
            Key(
                name="point",
                meaning="before the work reaches it, or before the result leaves",
                words=("idle", "after"),
                default="idle",
            ),
        ),
        forms=(
            Form(needs=("tick", "agent"), may=("point",)),
            Form(needs=("tick", "agent", "hostcall")),
            Form(needs=("tick", "agent", "byte")),
            Form(needs=("tick", "agent", "fuel")),
        ),
        counts_when="that worker is lost",
    ),
    FaultKind(
        slug="worker.stall",
        rows=("F09",),
        class_="transparent",
        layer="worker",
        title="the worker that ran a step is stopped; its result arrives when a replacement has the step",
        keys=(TICK, AGENT),
        forms=(Form(needs=("tick", "agent")),),
        params=(
            Key(
                name="for",
                meaning="how long its frames are held back; 0 until the replacement's result has arrived",
                unit="ns",
                high=60_000 * MS,
                default=0,
            ),
        ),
        counts_when="its lease expires and its result then arrives stale",
    ),
    FaultKind(
        slug="agent.trap",
        rows=("F16",),
        class_="visible",
        layer="wasm",
        title="a step traps on entering a host call",
        keys=(TICK, AGENT, HOSTCALL),
        forms=(Form(needs=("tick", "agent", "hostcall")),),
        counts_when="the journal says that the step failed so",
    ),
    FaultKind(
        slug="agent.bad_pointer",
        rows=("F23",),
        class_="visible",
        layer="wasm",
        title="a step passes the pointer -4 to a host call that has an effect",
        keys=(TICK, AGENT),
        forms=(Form(needs=("tick", "agent")),),
        params=(
            Key(
                name="hostcall", meaning="which of the step's calls with an effect, from 1", low=1, high=4096, default=1
            ),
        ),
        counts_when="the journal says that the step failed so",
    ),
    FaultKind(
        slug="buffer.flip",
        rows=("F28",),
        class_="transparent",
        layer="shared memory",
        title="bits of a published slot flip before the first reader of that version loads it",
        keys=(
            Key(name="buffer", meaning="shared buffer"),
            Key(name="version", meaning="its version", low=1),
        ),
        forms=(Form(needs=("buffer", "version")),),
        params=(
            Key(name="bit", meaning="first bit, counted in the bytes that a reader verifies, modulo", default=0),
            Key(name="bits", meaning="how many bits in a row", low=1, high=32_768, default=1),
        ),
        counts_when="that version is repaired",
    ),
    _frame("lose", ("F35",), "a frame is lost", "it is sent again, or its lease expires"),
    _frame(
        "duplicate",
        ("F36",),
        "a frame arrives twice",
        "the surplus copy, or the answer to it, is met and has no effect",
        Key(name="for", meaning="how much later the second arrives", unit="ns", high=60_000 * MS, default=0),
    ),
    _frame(
        "delay",
        ("F38",),
        "a frame is held back; frames behind it overtake",
        "it is sent again before it arrives, or arrives stale",
        Key(name="for", meaning="how long", unit="ns", low=1, high=60_000 * MS, default=30 * MS),
    ),
    _frame(
        "corrupt",
        ("F41",),
        "a frame arrives with other bytes, short, or with a wrong length",
        "it is found garbled, or sent again",
        Key(name="bit", meaning="the bit that flips, or where it is cut, modulo the frame's bits", default=0),
        Key(name="mode", meaning="what changes", words=("flip", "truncate", "length"), default="flip"),
    ),
    FaultKind(
        slug="disk.lose",
        rows=("F60", "F61"),
        class_="transparent",
        layer="log/snapshot",
        title="a crash of the orchestrator takes the machine: nothing that was not synced survives",
        keys=_CRASH,
        forms=(Form(needs=("crash",)),),
        counts_when="at least one byte or name was lost and a successor recovered",
    ),
    FaultKind(
        slug="disk.tear",
        rows=("F60", "F61"),
        class_="transparent",
        layer="log/snapshot",
        title="as disk.lose, but some unsynced sectors of 512 B survive, and one may be torn",
        keys=_CRASH,
        forms=(Form(needs=("crash",)),),
        counts_when="at least one byte or name was lost and a successor recovered",
    ),
    FaultKind(
        slug="gpu.remove",
        rows=("F46", "F47", "F48", "F49", "F52"),
        class_="transparent",
        layer="inference/GPU",
        title="an accelerator goes: it dies, answers errors, never answers, or answers late and wrong; it returns",
        keys=(
            *_BATCH_KEYS,
            Key(
                name="phase",
                meaning="before the batch reaches it, in the run, or while the model loads",
                words=DEVICE_PHASES,
                default="generation",
            ),
        ),
        forms=(Form(needs=("tick",), may=("agent", "phase")), Form(needs=("request",), may=("phase",))),
        params=(
            Key(
                name="how",
                meaning="its process dies, fails from then on, is silent, or answers when it has been given up",
                words=DEVICE_ENDS,
                default="exit",
            ),
            _ABSENCE,
        ),
        counts_when="its process is lost; what a late one answers is then thrown away",
    ),
    FaultKind(
        slug="gpu.absent",
        rows=("F44",),
        class_="transparent",
        layer="inference/GPU",
        title="no accelerator is listed, from the first time one is looked for at this tick or later",
        keys=(Key(name="tick", meaning="first look at this tick or later"),),
        forms=(Form(needs=("tick",)),),
        params=(
            Key(
                name="for",
                meaning="how long",
                unit="ns",
                low=1,
                high=60_000 * MS,
                default=30 * MS,
            ),
        ),
        counts_when="the CPU gets a batch meanwhile",
    ),
    FaultKind(
        slug="gpu.oom",
        rows=("F45",),
        class_="transparent",
        layer="inference/GPU",
        title="an accelerator has no memory left for one batch",
        keys=_BATCH_KEYS,
        forms=_BATCH_FORMS,
        counts_when="its process is lost for lack of memory",
    ),
    FaultKind(
        slug="gpu.slow",
        rows=("F51",),
        class_="transparent",
        layer="inference/GPU",
        title="an accelerator takes many times as long for one batch, perhaps longer than its lease",
        keys=_BATCH_KEYS,
        forms=_BATCH_FORMS,
        params=(Key(name="factor", meaning="how many times as long", low=2, high=1000, default=10),),
        counts_when="the answer comes as late as that, or its lease expires",
    ),
    FaultKind(
        slug="gpu.wrong",
        rows=("F50",),
        class_="measured",
        layer="inference/GPU",
        title="an accelerator computes one result wrong, silently; only where every answer is checked",
        keys=_BATCH_KEYS,
        forms=_BATCH_FORMS,
        params=(Key(name="what", meaning="what differs", words=("token", "logits", "kv"), default="token"),),
        counts_when="the check disagrees with that result",
    ),
    FaultKind(
        slug="model.load_fail",
        rows=("F83",),
        class_="transparent",
        layer="models/cache",
        title="the first loads of a model on a device fail",
        keys=(Key(name="device", meaning="on the CPU, or on an accelerator", words=("cpu", "accel")),),
        forms=(Form(needs=("device",)),),
        params=(Key(name="attempts", meaning="how many loads fail", low=1, high=5, default=1),),
        counts_when="its process is lost for a load that failed",
    ),
    *WORKER_KINDS,
    *REPAIR_KINDS,
    *DISK_KINDS,
    *SIGNED_KINDS,
    *MODULE_KINDS,
    *MODEL_KINDS,
    *CLOCK_KINDS,
    *WORKLOAD_KINDS,
)
