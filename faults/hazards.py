"""Hazards on two levels: a site is active in one run of four, and then fires one time in four.

A hazard is a rare but legal choice inside the runtime; it may change the trace, never the journal. Draws are keyed by
the site's stable name and the place where it is asked, so that another site, or another order of asking, changes none.
"""

from __future__ import annotations

from faults.streams import draw

SITES = {
    "pool.tiny_batch": "a worker gets its batch one step at a time",
    "pool.resend_base": "a batch carries its agents' bases although the worker holds the agents",
    "sync.one_block": "no block is opened while another one is not synced",
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
