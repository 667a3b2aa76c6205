"""An observer: a process of its own that reads a run's files while they are written, and can only read.

`python -I -S tail.py FOLDER HOW`: prints "ready", then "saw BYTES" when it first meets the journal with something in
it, and at the end of its input how much it read and in how many pieces. HOW is "all" (reads whatever is new), "slow"
(holds every file open and reads a little now and then) or "dies" (ends without a word once it has seen the journal).
A start puts new files in the old ones' places: under a name that is another file now, reading begins at its front.
"""

from __future__ import annotations

import os
import select
import sys

JOURNAL = "journal"
PAUSE_S, SLOW_S = 0.0005, 0.02
SLOW_BYTES = 512


def _look(folder: str, open_: dict[str, int], most: int) -> tuple[int, bool]:
    """Read what is new in every file; how many bytes, and whether any were the journal's."""
    got, journal = 0, False
    for name in sorted(os.listdir(folder)):
        try:
            file = _file(os.path.join(folder, name), open_.get(name))
        except FileNotFoundError:  # it was removed between the two calls
            continue
        open_[name] = file
        data = os.read(file, most)
        got += len(data)
        journal = journal or (name == JOURNAL and bool(data))
    return got, journal


def _file(path: str, known: int | None) -> int:
    """What is under the name now: the file that is open already, if it is still that one; raises FileNotFoundError."""
    if known is not None and os.path.samestat(os.fstat(known), os.stat(path)):
        return known
    file = os.open(path, os.O_RDONLY)
    if known is not None:
        os.close(known)
    return file


def main(arguments: list[str]) -> int:
    folder, how = arguments
    open_: dict[str, int] = {}
    total = pieces = 0
    seen = False
    print("ready", flush=True)
    while True:
        got, journal = _look(folder, open_, SLOW_BYTES if how == "slow" else 1 << 20)
        total, pieces = total + got, pieces + bool(got)
        if journal and not seen:
            seen = True
            print(f"saw {total}", flush=True)
            if how == "dies":
                os.kill(os.getpid(), 9)
        if select.select([sys.stdin], [], [], SLOW_S if how == "slow" else PAUSE_S)[0]:
            break
    if how == "all":
        got, _ = _look(folder, open_, 1 << 26)
        total, pieces = total + got, pieces + bool(got)
    print(f"read {total} {pieces}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
