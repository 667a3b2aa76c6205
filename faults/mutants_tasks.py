"""Planted bugs of tasks that need each other, and of groups of agents: order, skipping, refusals, strategies."""

from __future__ import annotations

from faults.mutant import Edit, Mutant

TASKS: tuple[Mutant, ...] = (
    Mutant(
        name="task_started_after_one_parent",
        title="a task is ready when the first of those that it needs has ended well",
        scenario="pipeline",
        oracle="I22",
        edits=(Edit("tasks.py", "        if not graph.tasks[child].waits:\n", "        if child:\n"),),
    ),
    Mutant(
        name="descendants_skipped_twice",
        title="what depends on a failed task is skipped once for each way that leads to it",
        scenario="pipeline",
        oracle="I22",
        edits=(
            Edit(
                "tasks.py",
                "        if graph.tasks[child].phase == WAITING:\n            lost +=",
                "        if child:\n            lost +=",
            ),
        ),
    ),
    Mutant(
        name="descendants_never_skipped",
        title="what depends on a failed task waits for ever",
        scenario="pipeline",
        oracle="I22",
        edits=(
            Edit(
                "tasks.py",
                "    lost = [(child, name) for child in _end(graph, name, FAILED)]\n",
                "    lost = [(child, name) for child in _end(graph, name, FAILED) if not child]\n",
            ),
        ),
    ),
    Mutant(
        name="task_priority_ignored",
        title="of an agent's ready tasks the one that was submitted first is next, whatever their priority",
        scenario="pipeline",
        oracle="I22",
        edits=(
            Edit(
                "tasks.py",
                "    heappush(queue.ranked, (task.level, -task.priority, task.seq, name))\n",
                "    heappush(queue.ranked, (task.level, 0, task.seq, name))\n",
            ),
        ),
    ),
    Mutant(
        name="dag_order_ignored",
        title="policy dag takes the agents of a tick in order of their numbers",
        scenario="pipeline",
        oracle="I22",
        edits=(
            Edit(
                "scheduler.py",
                "    return (2, index) if mine is None else (1, *mine)\n",
                "    return (2 if mine is None else 1, index)\n",
            ),
        ),
    ),
    Mutant(
        name="task_ends_before_its_answer",
        title="a task ends with the step that takes it, though that asked for inference",
        scenario="pipeline",
        oracle="I22",
        edits=(
            Edit(
                "tasks.py",
                "    elif not any(request.agent == agent for request in state.requests)"
                " and not reads.pending(state, agent):\n",
                "    else:\n",
            ),
        ),
    ),
    Mutant(
        name="cycle_accepted",
        title="tasks that need each other in a cycle are taken, and wait for ever",
        scenario="pipeline",
        oracle="I22",
        edits=(Edit("tasks.py", "    return order(tasks)[1]\n", "    return ()\n"),),
    ),
    Mutant(
        name="task_given_late",
        title="a task that is ready is given to its agent only in the next tick that something else makes",
        scenario="pipeline",
        oracle="I12",
        edits=(
            Edit(
                "fold.py",
                "    tasks.give(state)\n    if opened.tick >= config.last_tick:\n",
                "    if opened.tick >= config.last_tick:\n",
            ),
        ),
    ),
    Mutant(
        name="one_for_all_restarts_one",
        title="with one_for_all only the failed agent is restarted",
        scenario="pipeline",
        oracle="I32",
        edits=(Edit("groups.py", "    if group.strategy == ONE_FOR_ALL:\n", "    if not group.strategy:\n"),),
    ),
    Mutant(
        name="rest_for_one_restarts_all",
        title="with rest_for_one those before the failed agent are restarted as well",
        scenario="pipeline",
        oracle="I32",
        edits=(Edit("groups.py", "every[every.index(child) :]", "every"),),
    ),
    Mutant(
        name="group_never_escalates",
        title="a group restarts its agents as often as they fail",
        scenario="pipeline",
        oracle="I31",
        edits=(Edit("groups.py", "        if len(restarts[place]) < group.max_restarts:\n", "        if restarts:\n"),),
    ),
    Mutant(
        name="sibling_keeps_its_requests",
        title="an agent that is restarted with its group gets the answers to what its last life had asked",
        scenario="pipeline",
        oracle="I11",
        edits=(
            Edit(
                "groups.py",
                "    if index != failed:\n        requests.forget(state, index, events)\n",
                "    if index != failed:\n",
            ),
        ),
    ),
)
