"""Hazards on two levels: a site is active in one run of four, and then fires one time in four.

A hazard is a rare but legal choice inside the runtime; it may change the trace, never the journal. Draws are keyed by
the site's stable name and the place where it is asked, so that another site, or another order of asking, changes none.
"""

from __future__ import annotations

from faults.streams import draw

SITES = {
    "pool.tiny_batch": "a worker gets its batch one step at a time",
    "pool.resend_base": "a batch carries its agents' bases although the worker holds the agents",
    "pool.backwards": "the batches of a tick go to the workers in the other order",
    "pool.impatient": "an unanswered frame is sent again after half the time",
    "sync.one_block": "no block is opened while another one is not synced",
    "archive.skip_image": "an agent's image does not reach the disk",
    "archive.skip_state": "a snapshot of the state does not reach the disk",
    "archive.keep_more": "an old snapshot stays although newer ones are durable",
    "releases.again": "a block that a client has not reported is released again at once",
    "recovery.older_snapshot": "a recovery begins with an older snapshot of the state than it could",
    "router.tiny_batch": "requests of one shape go to a device one by one",
    "router.second_opinion": "an answer of a trusted device is checked on the CPU",
}
ACTIVE_IN = FIRES_IN = 4


class Hazards:
    """The `Hazard` port of one run; `taken` counts how often each site made its rare choice."""

    def __init__(self, seed: int, taken: dict[str, int] | None = None) -> None:
        self._seed = seed
        self._taken = {} if taken is None else taken
        self._active = {name: draw(seed, "hazard active", name) % ACTIVE_IN == 0 for name in sorted(SITES)}

    def __call__(self, name: str, *key: int) -> bool:
        if not self._active[name] or draw(self._seed, "hazard fires", name, *key) % FIRES_IN:
            return False
        self._taken[name] = self._taken.get(name, 0) + 1
        return True
