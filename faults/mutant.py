"""Mutants: planted bugs, each a small realistic patch to a copy of `runtime`, run as a build (HAR-9).

A mutant names the oracle that must find it. An equivalent one changes no behaviour that the design allows to be seen;
it is kept with its reason, and must stay unseen. An edit whose text is not there exactly once no longer applies, and
the mutant is UNKNOWN until it is written anew.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from msgspec import Struct

from runtime.errors import Refused

RARE = 500  # from here on a mutant is scored apart, with more runs: about one run of a thousand shows it
MARK = "MUTANT"  # a file beside a planted `runtime`, with the mutant's name: such a build does not last


class Edit(Struct, frozen=True):
    """Replace `before`, which stands exactly once in `file` (relative to `runtime`), by `after`."""

    file: str
    before: str
    after: str


class Mutant(Struct, frozen=True, kw_only=True):
    """`oracle` is who must name it in runs of `scenario`; `equivalent` is the reason why nothing can, else "".

    `one_in` is in about how many random runs it shows once, as measured; 1 for one that shows in every few. `profile`
    names the profile of those runs, "" the default one.
    """

    name: str
    title: str
    scenario: str
    oracle: str
    edits: tuple[Edit, ...]
    equivalent: str = ""
    one_in: int = 1
    profile: str = ""

    @property
    def rare(self) -> bool:
        return self.one_in >= RARE

    @property
    def components(self) -> tuple[str, ...]:
        """The modules of the runtime that it changes, as `why` calls them: `pool`, `wasm.checks`."""
        return tuple(dict.fromkeys(edit.file.removesuffix(".py").replace("/", ".") for edit in self.edits))


def plant(mutant: Mutant, source: Path, folder: Path) -> Path:
    """A copy of the package `source` with the mutant's edits, as `folder`/runtime; raises Refused when one is stale."""
    target = folder / "runtime"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / MARK).write_text(mutant.name, "utf-8")
    for edit in mutant.edits:
        path = target / edit.file
        text = path.read_text("utf-8") if path.is_file() else ""
        if text.count(edit.before) != 1:
            where = f"mutant {mutant.name}, runtime/{edit.file}"
            raise Refused(f"the text to change stands there {text.count(edit.before)} times", where, "write it anew")
        path.write_text(text.replace(edit.before, edit.after), "utf-8")
    return folder
