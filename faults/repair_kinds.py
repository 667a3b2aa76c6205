"""Faults inside the handling of faults: whoever repairs a loss is lost in turn (F07).

The address is the repair itself, not a time: the worker that is given an agent's image and steps again, the device that
is given a request for a second time, the device that is tried again after it failed. Where nothing is being repaired,
nothing is struck.
"""

from __future__ import annotations

from faults.kind import AGENT, TICK, FaultKind, Form, Key

OF_WORKERS = ("restore", "replay")
OF_REQUESTS = ("failover",)
OF_DEVICES = ("probe",)
DURING = (*OF_WORKERS, *OF_REQUESTS, *OF_DEVICES)

REPAIR_KINDS: tuple[FaultKind, ...] = (
    FaultKind(
        slug="repair.kill",
        rows=("F07",),
        class_="transparent",
        layer="scheduler",
        title="who repairs a loss is lost too: as it restores or replays an agent, has a request again, is on trial",
        keys=(
            TICK,
            AGENT,
            Key(name="request", meaning="an inference request that is given to a device again"),
            Key(
                name="during",
                meaning="before it has the agent's base; in a replayed step; as it has the request; on its first batch",
                words=DURING,
            ),
        ),
        forms=(
            Form(needs=("tick", "agent", "during"), only=("during", OF_WORKERS)),
            Form(needs=("request", "during"), only=("during", OF_REQUESTS)),
            Form(needs=("tick", "during"), only=("during", OF_DEVICES)),
        ),
        counts_when="that worker, or that device's process, is lost",
    ),
)
