"""A run that is watched at its ports: which calls the orchestrator makes, in which phase, and to which files it writes.

The plan is given one kill that never comes, so that hazards act as they do in the runs that are enumerated from this
one, and the calls have the same numbers there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from faults.injector import Injector
from faults.plan import Fault, Plan
from harness.adapters.disk import SimDisk
from harness.adapters.workers import Timing
from harness.simulation import Setting, Simulation
from scenarios.base import Scenario

NEVER_CALLED = 1 << 20  # port calls of one run: far more than any has


class PortCall(NamedTuple):
    """One call of the first incarnation, numbered from 1; `wrote` is the file that it wrote to, "" for none."""

    number: int
    tick: int
    phase: str
    wrote: str


class _Asked(Injector):
    """An injector that notes when it is asked for a kill: at each port call, as one is armed to the end."""

    def __init__(self, faults: tuple[Fault, ...], seed: int, asked: Callable[[], None]) -> None:
        super().__init__(faults, lambda fault, fields: None, seed)
        self._asked = asked

    def armed(self, *kinds: str) -> list[tuple[int, Fault]]:
        if "orchestrator.kill" in kinds:
            self._asked()
        return super().armed(*kinds)


class _Written(SimDisk):
    """A disk that tells which file is written."""

    told: Callable[[str], None]

    def write(self, name: str, offset: int, data: bytes) -> int:
        self.told(name)
        return super().write(name, offset, data)


class _Watching(Simulation):
    def __init__(self, scenario: Scenario, plan: Plan, timing: Timing) -> None:
        super().__init__(scenario, plan, timing, setting=Setting(disk=_Written))
        self.calls: dict[int, tuple[int, str]] = {}
        self.writes: dict[int, str] = {}
        assert isinstance(self.disk, _Written)
        self.disk.told = self._wrote
        self.injector = _Asked(plan.faults, plan.seed, self._asked)
        self.world = self.world._replace(injector=self.injector)

    def _asked(self) -> None:
        assert self._present is not None
        tick, phase = self._present.where()
        self.calls.setdefault(self._present.fuse.calls, (max(tick, 0), phase))

    def _wrote(self, name: str) -> None:
        assert self._present is not None
        self.writes[self._present.fuse.calls] = name


def port_calls(scenario: Scenario, plan: Plan, timing: Timing) -> list[PortCall]:
    """The orchestrator's port calls in a run of this plan, in order. The plan has no kill of its own."""
    never = Fault(kind="orchestrator.kill", at={"call": NEVER_CALLED})
    watching = _Watching(scenario, replace(plan, faults=(*plan.faults, never)), timing)
    watching.run()
    writes = watching.writes
    return [PortCall(n, *where, writes.get(n, "")) for n, where in sorted(watching.calls.items())]
