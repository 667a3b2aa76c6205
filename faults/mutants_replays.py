"""Planted bugs of replays in one crossing: what a worker's death in mid-run is there to find."""

from __future__ import annotations

from faults.mutant import Edit, Mutant

_COMPARED = "        same = list(map(effects_sum, done.made)) == [replay.sum for replay in replays]\n"

_KEYLESS = Edit(
    "wasm/replaying.py",
    "(i64.store $shim (i32.const 8) (call $unsigned))  ;; random key",
    "(drop (call $unsigned))  ;; random key",
)

REPLAYS: tuple[Mutant, ...] = (
    Mutant(
        name="replay_without_randomness",
        title="the steps of a replay are not given their random keys",
        scenario="ledger",
        oracle="replay",
        edits=(_KEYLESS,),
    ),
    Mutant(
        name="replay_not_compared",
        title="the steps of a replay are not given their random keys, and what they do is not compared",
        scenario="ledger",
        oracle="replay",
        edits=(
            _KEYLESS,
            Edit("worker.py", _COMPARED, "        same = len(done.made) == len(replays)\n"),
        ),
    ),
    Mutant(
        name="replay_without_its_last_step",
        title="of several steps that are fed again at once, the last is left out",
        scenario="ledger",
        oracle="replay",
        edits=(
            Edit(
                "worker.py",
                "        done = guest.replay([replay.record for replay in replays], fuel)\n",
                "        fed = replays[:-1] or replays\n"
                "        done = guest.replay([replay.record for replay in fed], fuel)\n",
            ),
            Edit(
                "worker.py",
                _COMPARED,
                "        same = list(map(effects_sum, done.made)) == [replay.sum for replay in fed]\n",
            ),
        ),
    ),
)
