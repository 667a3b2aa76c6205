"""The calls of ORC-1, as methods of the orchestrator: each action is an input of source "local" (ORC-4).

An action is applied in the next tick, is journaled with its id (source, n), and is refused there on record when it
names what does not exist. What cannot be an input at all is refused here, by name, before anything of it is kept. An
action that was not journaled before a crash is lost, as its caller is.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime import exports, tasks
from runtime.config import WORKERS_MAX
from runtime.durability import Durability
from runtime.errors import Refused
from runtime.fold import TICKS_MAX
from runtime.intake import Intake
from runtime.pool import Pool
from runtime.ports import Ports
from runtime.reloads import VERSION_MAX
from runtime.state import (
    Action,
    AgentSpec,
    Decree,
    Join,
    Leave,
    Operate,
    Publish,
    Reload,
    Schedule,
    Send,
    Spawn,
    State,
    Submit,
    Task,
)
from runtime.telemetry import Hook, Telemetry
from runtime.watermark import Watermark

ID_MAX = 0xFFFFFFFE  # the last number is the outside's


class Calls:
    """Every call that takes an action returns its id: (source, n), which the journal names once it is applied."""

    ports: Ports
    phase: str
    state: State
    telemetry: Telemetry
    _intake: Intake
    _durability: Durability
    _pool: Pool
    _decree_tickets: dict[int, Decree]

    def register_telemetry_hook(self, hook: Hook, steps: bool = False) -> None:
        """Tell `hook` what happens from now on; with `steps` also of every single step (TEL-1)."""
        self.telemetry.register(hook, steps)

    def submit(self, action: Action) -> tuple[str, int]:
        """Queue an action for the next tick."""
        if self.phase == "boot" or self.state.finished:
            why = "it has not started yet" if self.phase == "boot" else "it is over"
            raise Refused(f"the run takes no action: {why}", "submit", "wait for the record `started`")
        return self._intake.submit(action, self.state)

    def spawn_agent(self, spec: AgentSpec) -> tuple[str, int]:
        """A new agent; its number is the next free one when the action is applied."""
        return self.submit(Spawn(spec))

    def schedule_task(self, agent: int, task: bytes, ticks: int = 1) -> tuple[str, int]:
        """A WAKE message with this payload, `ticks` after the tick that admits it."""
        within("ticks", ticks, TICKS_MAX)
        return self.submit(Schedule(within("agent", agent), self._payload(task), ticks))

    def submit_tasks(self, graph: Sequence[Task]) -> tuple[str, int]:
        """Tasks that may need each other and earlier ones, all or none; a cycle among them is refused here, by name."""
        for task in graph:
            within("agent", task.agent)
            self._payload(task.payload)
        wrong = tasks.malformed(graph)
        if wrong:
            raise Refused(tasks.explain(wrong), "submit_tasks", "none of these tasks was submitted")
        return self.submit(Submit(tuple(graph)))

    def send(self, agent: int, message: bytes) -> tuple[str, int]:
        return self.submit(Send(within("agent", agent), self._payload(message)))

    def publish(self, topic: int, message: bytes) -> tuple[str, int]:
        return self.submit(Publish(self._payload(message), within("topic", topic)))

    def join_channel(self, agent: int, channel: int) -> tuple[str, int]:
        """Make the agent a member of a channel, or a topic's subscriber: it gets what is sent there from now on."""
        return self.submit(Join(within("agent", agent), within("channel", channel)))

    def leave_channel(self, agent: int, channel: int) -> tuple[str, int]:
        """The agent is no member any more; what lies in its mailbox already it still gets."""
        return self.submit(Leave(within("agent", agent), within("channel", channel)))

    def pause(self, agent: int) -> tuple[str, int]:
        return self._operate("pause", agent)

    def resume(self, agent: int) -> tuple[str, int]:
        return self._operate("resume", agent)

    def terminate(self, agent: int) -> tuple[str, int]:
        return self._operate("terminate", agent)

    def release(self, agent: int) -> tuple[str, int]:
        """Let a quarantined agent begin a new life."""
        return self._operate("release", agent)

    def cancel_reads(self, agent: int) -> tuple[str, int]:
        """End all that the agent is reading outside: it is told CANCELLED where the next part would have come."""
        return self._operate("cancel", agent)

    def reload(self, agent: int, module: str, version: int) -> tuple[str, int]:
        """Another module for the agent, by its sha256; it takes the state over, or nothing changes (docs/abi.md)."""
        within("version", version, VERSION_MAX)
        return self.submit(Reload(within("agent", agent), module, version))

    def resize_pool(self, workers: int) -> None:
        """Other workers, so many, from the next tick on; the next incarnation begins with `Physical.workers` again."""
        within("workers", workers, WORKERS_MAX, 1)
        if self.phase == "boot":
            raise Refused("there is no pool yet", "resize_pool", "wait for the record `started`")
        self._pool.resize(workers)

    def snapshot_state(self) -> bytes:
        """All that is durable now, in one checked piece (`runtime.exports`); `Orchestrator.restore` goes on from it."""
        if self.phase == "boot":
            raise Refused("there is no state yet", "snapshot_state", "wait for the record `started`")
        mark = Watermark(0, self.telemetry.incarnation, *self._durability.synced)
        return exports.take(self.ports.storage, mark, self._decree_tickets.values())

    def _operate(self, action: str, agent: int) -> tuple[str, int]:
        return self.submit(Operate(action, within("agent", agent)))

    def _payload(self, payload: bytes) -> bytes:
        config = self.state.config
        if config and len(payload) > config.max_payload:
            raise Refused(f"a payload of {len(payload)} bytes", "call", f"at most {config.max_payload} (max_payload)")
        return payload


def within(name: str, value: int, high: int = ID_MAX, low: int = 0) -> int:
    if not low <= value <= high:
        raise Refused(f"{name} is {value}", "call", f"give a number from {low} to {high}")
    return value
