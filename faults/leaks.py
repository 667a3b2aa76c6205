"""Planted leaks: small patches to a copy of `runtime` by which something unrepeatable reaches a journal or a trace.

Each is what a hurried change might look like, names the class under which `verify` must report it, and the record in
which it shows first: a section of a block, and the beginning of the record's text. A leak whose text is not there
exactly once no longer applies, as with mutants.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from faults.mutants import Edit, Mutant, plant


class Leak(Struct, frozen=True, kw_only=True):
    """`class_` as `verify` names it; `part` is "journal" or "trace"; `section` and `shows` say which record it is in.

    `shows` stands in the text of the first record that differs, on both sides.
    """

    name: str
    title: str
    class_: str
    edits: tuple[Edit, ...]
    scenario: str = "hello"
    part: str = "journal"
    section: str = "events"
    shows: str = ""


_ORDER, _ADDRESS, _CLOCK = "set or dict order", "id() or address", "wall clock"
_THREAD, _FLOAT, _COLLECTOR = "thread", "float", "garbage collection"
_STATE, _RANDOM = "state left from an earlier run", "unseeded randomness"

_IMPORTS = "import bisect\nimport hashlib\n"
_BEGIN = "    state.tick = tick\n    events: list[Event] = []\n"
_FINISHED = '        events.append(("finished",))\n'
_ENTRIES = "    if opened.tick >= config.last_tick:\n        state.finished = True\n"
_DELIVER = "    requests.deliver(state, tick, inferences)\n"


def _fold(*changes: tuple[str, str], imports: str = "") -> tuple[Edit, ...]:
    edits = [Edit("fold.py", before, after) for before, after in changes]
    return (Edit("fold.py", _IMPORTS, f"import bisect\nimport hashlib\n{imports}"), *edits) if imports else tuple(edits)


def _begins(value: str) -> tuple[str, str]:
    """Every tick's record begins with an event that carries this value."""
    return _BEGIN, f'    state.tick = tick\n    events: list[Event] = [("began", {value})]\n'


LEAKS: tuple[Leak, ...] = (
    Leak(
        name="set_iterated",
        title="the last event names the agents in the order of a set",
        class_=_ORDER,
        shows='["ended",',
        edits=_fold(
            (
                _FINISHED,
                "        names = {agent.spec.name for agent in state.agents}\n"
                '        opened.events.append(("ended", *names))\n' + _FINISHED,
            )
        ),
    ),
    Leak(
        name="dict_from_set",
        title="agents are told apart by a dict that was made from a set, and listed in its order",
        class_=_ORDER,
        scenario="ledger",
        shows='["ready",',
        edits=_fold(
            (
                _DELIVER,
                _DELIVER
                + "    waiting = {a.spec.name: len(a.mailbox) for a in state.agents}\n"
                + '    events.append(("ready", *dict.fromkeys(frozenset(waiting), 1)))\n',
            )
        ),
    ),
    Leak(
        name="hash_of_a_name",
        title="ties between tasks are broken by hash() of the agent's name",
        class_=_ORDER,
        section="steps",
        shows='"agent":',
        edits=(
            Edit(
                "scheduler.py",
                "    chosen = ordered[: config.max_tasks_per_tick]\n",
                "    ordered = sorted(ordered, key=lambda i: hash(agents[i].spec.name))\n"
                "    chosen = ordered[: config.max_tasks_per_tick]\n",
            ),
        ),
    ),
    Leak(
        name="id_recorded",
        title="a transition is recorded with id() of the agent beside its number",
        class_=_ADDRESS,
        shows='["lifecycle",',
        edits=(
            Edit(
                "lifecycle.py",
                '    events.append(("lifecycle", index, agent.phase, phase))\n',
                '    events.append(("lifecycle", index, agent.phase, phase, id(agent)))\n',
            ),
        ),
    ),
    Leak(
        name="address_in_text",
        title="an event carries the default text of an object",
        class_=_ADDRESS,
        shows="object at 0x",
        edits=_fold((_FINISHED, '        opened.events.append(("ended", repr(object())))\n' + _FINISHED)),
    ),
    Leak(
        name="wall_clock",
        title="a tick is recorded with the time of day",
        class_=_CLOCK,
        shows='["began",',
        edits=_fold(_begins("int(time.time() * 1000)"), imports="import time\n"),
    ),
    Leak(
        name="monotonic_in_trace",
        title="telemetry is stamped by the machine's clock, not by the clock port",
        class_=_CLOCK,
        part="trace",
        section="record",
        shows='"at":',
        edits=(
            Edit("telemetry.py", "        at = self._now()\n", "        at = time.monotonic_ns()\n"),
            Edit(
                "telemetry.py",
                "from collections.abc import Callable\n",
                "import time\nfrom collections.abc import Callable\n",
            ),
        ),
    ),
    Leak(
        name="thread_race",
        title="payloads are hashed by threads, and recorded in the order in which these are done",
        class_=_THREAD,
        shows='["hashed",',
        edits=_fold(
            (
                _ENTRIES,
                "    done: list[int] = []\n\n"
                "    def work(agent: int) -> None:\n"
                '        hashlib.sha256(b"x" * 400_000 * (1 + agent % 2)).digest()\n'
                "        done.append(agent)\n\n"
                "    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]\n"
                "    for thread in threads:\n        thread.start()\n"
                "    for thread in threads:\n        thread.join()\n"
                '    opened.events.append(("hashed", *done))\n' + _ENTRIES,
            ),
            imports="import threading\n",
        ),
    ),
    Leak(
        name="float_summed",
        title="a load is summed up in floats, in the order in which the answers came",
        class_=_FLOAT,
        scenario="ledger",
        shows='["load",',
        edits=_fold(
            (
                _ENTRIES,
                "    load = 0.0\n"
                "    for agent in outcomes:\n        load += 0.1 * (agent + 1)\n"
                '    opened.events.append(("load", repr(load)))\n' + _ENTRIES,
            )
        ),
    ),
    Leak(
        name="collected_or_not",
        title="a weak cache is counted: what is left in it depends on when the collector ran",
        class_=_COLLECTOR,
        shows='["cached",',
        edits=_fold(
            (
                _ENTRIES,
                "    _cached.add(_Entry())\n"
                '    opened.events.append(("cached", min(len(_cached), state.block)))\n' + _ENTRIES,
            ),
            (
                "class Open(Struct):\n",
                "class _Entry:\n    def __init__(self) -> None:\n        self.me = self\n\n\n"
                "_cached: weakref.WeakSet[_Entry] = weakref.WeakSet()\n\n\nclass Open(Struct):\n",
            ),
            imports="import weakref\n",
        ),
    ),
    Leak(
        name="counter_left",
        title="ticks are numbered by a counter of the module, which the next run goes on with",
        class_=_STATE,
        shows='["began",',
        edits=_fold(
            _begins("next(_numbers)"),
            ("class Open(Struct):\n", "_numbers = itertools.count(1)\n\n\nclass Open(Struct):\n"),
            imports="import itertools\n",
        ),
    ),
    Leak(
        name="random_jitter",
        title="a task's number is jittered by the global generator",
        class_=_RANDOM,
        shows='["began",',
        edits=_fold(_begins("random.randrange(1_000)"), imports="import random\n"),
    ),
    Leak(
        name="uuid_recorded",
        title="a tick is given a random identifier",
        class_=_RANDOM,
        shows='["began",',
        edits=_fold(_begins("uuid.uuid4().hex"), imports="import uuid\n"),
    ),
    Leak(
        name="urandom_key",
        title="agents' randomness is keyed by the machine's entropy beside the seed",
        class_=_RANDOM,
        scenario="ledger",
        section="steps",
        edits=_fold(
            (
                '    stream = hashlib.shake_256(b"%d/random/%d" % (seed, tick)).digest(8 * agents)\n',
                "    stream = os.urandom(8 * agents)\n",
            ),
            imports="import os\n",
        ),
    ),
)


def plant_leak(leak: Leak, source: Path, folder: Path) -> Path:
    """A copy of the package `source` with the leak, as `folder`/runtime; raises Refused when an edit is stale."""
    mutant = Mutant(name=leak.name, title=leak.title, scenario=leak.scenario, oracle="", edits=leak.edits)
    return plant(mutant, source, folder)
