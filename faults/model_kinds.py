"""Faults of models: a file whose bytes are not those of its digest, a device whose results are not a decoder's, and one
that has memory for one model alone.

A load refuses the first by name, before anything of it runs; the checks of results find the second. Neither may reach
the journal: the request runs again, on that device when the file is good again, or on another one.
"""

from __future__ import annotations

from faults.kind import FaultKind, Form, Key

SWAPS = ("cut", "empty", "other", "stale", "missing")
OUTPUTS = (
    "nan", "inf", "minus_inf", "denormal", "fraction", "huge", "shape", "rank", "double", "half", "integer", "missing",
)  # fmt: skip
PLACES = ("logits", "kv")
BITS = 1 << 26
ATTEMPTS_MAX = 5

_DEVICE = Key(name="device", meaning="on the CPU, or on an accelerator", words=("cpu", "accel"))
_ATTEMPTS = Key(name="attempts", meaning="how many reads of it", low=1, high=ATTEMPTS_MAX, default=1)
_FORM = (Form(needs=("device",)),)
_BATCH = (
    Key(name="tick", meaning="first batch for an accelerator at this tick or later"),
    Key(name="agent", meaning="with a request of this agent", high=2**21 - 2),
    Key(name="request", meaning="a batch with this inference request, by its message number"),
)
_BATCH_FORMS = (Form(needs=("tick",), may=("agent",)), Form(needs=("request",)))

MODEL_KINDS: tuple[FaultKind, ...] = (
    FaultKind(
        slug="model.bad_output",
        rows=("F53",),
        class_="transparent",
        layer="inference/GPU",
        title="an accelerator gives values, shapes or types for one batch that the model's results cannot have",
        keys=_BATCH,
        forms=_BATCH_FORMS,
        params=(
            Key(name="what", meaning="what it gives", words=OUTPUTS, default=OUTPUTS[0]),
            Key(
                name="of",
                meaning="in the logits, or in a part of the KV cache",
                words=PLACES,
                default="logits",
            ),
        ),
        counts_when="its process is lost for it",
    ),
    FaultKind(
        slug="model.evict",
        rows=("F58",),
        class_="transparent",
        layer="models/cache",
        title="an accelerator has memory for one model alone for a while: the others leave, and all are loaded again",
        keys=_BATCH,
        forms=_BATCH_FORMS,
        params=(Key(name="for", meaning="how long", unit="ns", high=60_000_000_000, default=5_000_000),),
        counts_when="a model leaves the device's cache as it begins",
    ),
    FaultKind(
        slug="model.flip",
        rows=("F54",),
        class_="transparent",
        layer="models/cache",
        title="one bit of a model's file is another when a device reads it",
        keys=(_DEVICE,),
        forms=_FORM,
        params=(_ATTEMPTS, Key(name="bit", meaning="which bit, modulo the file's length", high=BITS - 1, default=0)),
        counts_when="its process is lost for a load that failed",
    ),
    FaultKind(
        slug="model.swap",
        rows=("F55",),
        class_="transparent",
        layer="models/cache",
        title="a model's file is cut, empty, another model, an older one that loads and answers, or not there",
        keys=(_DEVICE,),
        forms=_FORM,
        params=(_ATTEMPTS, Key(name="what", meaning="what is read", words=SWAPS, default=SWAPS[0])),
        counts_when="its process is lost for a load that failed",
    ),
)
