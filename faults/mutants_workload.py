"""Planted bugs that show where a run is given more than usual: two sources, floods, graphs, reloads, another pool."""

from __future__ import annotations

from faults.mutant import Edit, Mutant


def _mutant(name: str, title: str, scenario: str, oracle: str, *edits: Edit, one_in: int = 1) -> Mutant:
    return Mutant(name=name, title=title, scenario=scenario, oracle=oracle, edits=edits, one_in=one_in)


WORKLOAD: tuple[Mutant, ...] = (
    _mutant(
        "second_source_not_awaited",
        "a tick waits for the inputs of the first source that owes one, and takes of the others what is there",
        "ledger",
        "twin",
        Edit(
            "intake.py",
            "        for source, schedule in self._owed.items():\n            n = state.admitted.get(source, 0)\n"
            "            while",
            "        for source, schedule in list(self._due.items())[:1]:\n"
            "            n = state.admitted.get(source, 0)\n"
            "            while",
        ),
    ),
    _mutant(
        "flood_overtakes_for_ever",
        "a task that is ready is overtaken by those of higher priority as often as there are any",
        "pipeline",
        "I22",
        Edit(
            "tasks.py",
            "    if queue.given - queue.oldest[0][0] >= OVERTAKEN_MAX:\n",
            "    if queue.given - queue.oldest[0][0] >= TASKS_MAX:\n",
        ),
        one_in=90,
    ),
    _mutant(
        "failed_task_counts_as_done",
        "a task ends well with its step, however that ended, and what depends on it runs",
        "pipeline",
        "I22",
        Edit(
            "tasks.py",
            '    if reason != "ok":\n        queue.current = ""\n        _fail(graph, name, reason, events)\n',
            '    if reason != "ok":\n        queue.current = ""\n        _done(state, graph, name, events)\n',
        ),
    ),
    _mutant(
        "late_child_of_a_failure_runs",
        "a task that comes after one that it needs has failed is ready at once",
        "pipeline",
        "I22",
        Edit("tasks.py", "        elif need.phase != DONE:\n", "        elif need.phase not in _ENDED:\n"),
    ),
    _mutant(
        "reload_applied_at_admission",
        "a reload counts from its admission, so one that fails later has changed what the agent is said to be",
        "upgrade",
        "I36",
        Edit(
            "reloads.py",
            "    changes[index] = Change(spec, action.version, before, agent.phase in (ACTIVE, PAUSED))\n",
            "    changes[index] = Change(spec, action.version, before, agent.phase in (ACTIVE, PAUSED))\n"
            "    agent.spec, agent.version = spec, action.version\n",
        ),
        Edit("reloads.py", "    agent.spec, agent.version = change.spec, change.version\n", ""),
    ),
    _mutant(
        "refused_version_swallowed",
        "a reload to a module that cannot be loaded is told as one that went well",
        "upgrade",
        "I36",
        Edit(
            "worker.py",
            '            status, effects = f"refused:{refused.check}", NO_EFFECTS\n        guest = hosted.guest\n',
            '            status, effects = "ok" if refused.check else "", NO_EFFECTS\n        guest = hosted.guest\n',
        ),
    ),
    _mutant(
        "rollback_without_a_record",
        "a reload that fails is undone, and the journal has no event of it",
        "upgrade",
        "I36",
        Edit(
            "reloads.py",
            '    events.append(("rolled_back", record.agent, change.version, status))\n',
            '    if status == "ok":\n        events.append(("rolled_back", record.agent, change.version, status))\n',
        ),
    ),
    _mutant(
        "pool_resized_at_once",
        "a pool gets its new size in the middle of a tick, and what its workers had to do is forgotten",
        "ledger",
        "I19",
        Edit(
            "pool.py",
            "        self._wanted = workers\n",
            "        self._wanted = workers\n        self._begin_anew()\n",
        ),
    ),
    _mutant(
        "leaving_worker_never_gone",
        "the end of a worker of the old size is not noticed, and those of the new one wait for it",
        "ledger",
        "I19",
        Edit("pool.py", "        self._leaving.pop(worker, None)\n", ""),
    ),
    _mutant(
        "tenants_without_turns",
        "where a tick is full, the tenant of the lowest number begins again and again",
        "shares",
        "I12",
        Edit("tenants.py", "        state.cursor = turns[0]\n", "        state.cursor = 0\n"),
    ),
    _mutant(
        "tenant_takes_all_its_turns",
        "a tenant whose turn it is runs all of its agents that are ready before the next one has a turn",
        "shares",
        "I12",
        Edit("tenants.py", "            turns.append(tenant)\n", "            turns.appendleft(tenant)\n"),
    ),
)
