"""Supervised groups, recomputed from the configuration and the failures alone (ORC-3; part of I31 and I32).

A tree of its own: what each failure must restart or quarantine, and in which ticks a group may still restart. Shares no
code with the runtime's. Against: siblings that go on, strategies mixed up, windows that do not end, limits that do not
hold, escalation past its parent.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from harness.oracles.reading import Block

_ANEW = "group_restart"
_UP = "escalated"


class Order(NamedTuple):
    """What follows from one failure: the events of groups, and who is stopped; `due` is -1 for good."""

    events: list[tuple[Any, ...]]
    agents: list[int]
    due: int


class Groups:
    """The groups of a run and the ticks in which each has restarted something."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.declared: list[dict[str, Any]] = list(config.get("groups") or ())
        self._at = {group["name"]: place for place, group in enumerate(self.declared)}
        self._of = {agent: place for place, group in enumerate(self.declared) for agent in group["agents"]}
        self._restarts: list[list[int]] = [[] for _ in self.declared]

    def has(self, agent: int) -> bool:
        return agent in self._of

    def root(self, agent: int) -> list[int]:
        """All agents whose fate this one's failure may decide; none for one in no group."""
        if agent not in self._of:
            return []
        place = self._of[agent]
        while self.declared[place]["within"]:
            place = self._at[self.declared[place]["within"]]
        return self._below(place)

    def least_backoff(self, agent: int) -> int:
        """Ticks: of its own group or one around it, whichever may have restarted it."""
        place, least = self._of[agent], 1 << 62
        while True:
            least = min(least, max(1, int(self.declared[place]["backoff_ticks"])))
            if not self.declared[place]["within"]:
                return least
            place = self._at[self.declared[place]["within"]]

    def failed(self, agent: int, tick: int) -> Order:
        return self._child_failed(self._of[agent], -1, agent, tick)

    def _child_failed(self, place: int, inner: int, agent: int, tick: int) -> Order:
        """In the group at `place` its child group `inner`, or the agent itself (-1), has failed."""
        group = self.declared[place]
        recent = [at for at in self._restarts[place] if tick - at < group["window_ticks"]]
        if len(recent) >= group["max_restarts"]:
            self._clear(place, whole=not group["within"])
            told: tuple[Any, ...] = (_UP, group["name"], agent)
            if not group["within"]:
                return Order([told], self._below(place), -1)
            up = self._child_failed(self._at[group["within"]], place, agent, tick)
            return Order([told, *up.events], up.agents, up.due)
        self._restarts[place] = [*recent, tick]
        agents: list[int] = []
        met = False
        for kind, child in self._children(place):
            mine = (kind == "agent" and inner < 0 and child == agent) or (kind == "group" and child == inner)
            met = met or mine
            if mine or group["strategy"] == "one_for_all" or (met and group["strategy"] == "rest_for_one"):
                if kind == "group":
                    self._clear(child, whole=True)
                agents += self._below(child) if kind == "group" else [child]
        told = (_ANEW, group["name"], group["strategy"], agent)
        return Order([told], agents, tick + max(1, group["backoff_ticks"]))

    def _children(self, place: int) -> list[tuple[str, int]]:
        name = self.declared[place]["name"]
        inside = [("group", other) for other, group in enumerate(self.declared) if group["within"] == name]
        return [("agent", agent) for agent in self.declared[place]["agents"]] + inside

    def _below(self, place: int) -> list[int]:
        found: list[int] = []
        for kind, child in self._children(place):
            found += self._below(child) if kind == "group" else [child]
        return found

    def _clear(self, place: int, whole: bool) -> None:
        self._restarts[place] = []
        for kind, child in self._children(place) if whole else ():
            if kind == "group":
                self._clear(child, whole)


def within_budgets(config: dict[str, Any], blocks: tuple[Block, ...]) -> list[str]:
    """Groups that restart more often than they may, and members that are back before their group's back-off is over.

    By the journal's own events: a window begins anew when its group escalates, or one around it restarts or escalates.
    """
    groups = Groups(config)
    found: list[str] = []
    ticks: dict[str, list[int]] = {group["name"]: [] for group in groups.declared}
    around = {group["name"]: group["within"] for group in groups.declared}
    backoffs = {agent: groups.least_backoff(agent) for group in groups.declared for agent in group["agents"]}
    stopped: dict[int, int] = {}
    for block in blocks:
        for event in block.events:
            if event[0] in (_ANEW, _UP):
                for name in ticks:
                    if (event[0] == _UP and name == event[1]) or _is_within(around, name, event[1]):
                        ticks[name] = []
            if event[0] == _ANEW:
                group = next(group for group in groups.declared if group["name"] == event[1])
                mine = [at for at in ticks[event[1]] if block.tick - at < group["window_ticks"]]
                if len(mine) >= group["max_restarts"]:
                    what = f"restarts after {len(mine)} in {group['window_ticks']} ticks"
                    found.append(f"block {block.block}: group {event[1]} {what}")
                ticks[event[1]] = [*mine, block.tick]
            elif event[0] == "lifecycle" and event[3] == "backoff":
                stopped[event[1]] = block.tick
            elif event[0] == "restart" and event[1] in backoffs:
                since = stopped.get(event[1], block.tick)
                if block.tick - since < backoffs[event[1]]:
                    found.append(
                        f"block {block.block}: agent {event[1]} is back in tick {block.tick}, stopped in {since}"
                    )
    return found


def _is_within(around: dict[str, str], name: str, outer: str) -> bool:
    """Whether the group `name` is inside of `outer`."""
    while name and around[name] != outer:
        name = around[name]
    return bool(name)
