"""Planted bugs of function modules that agents call: bytes that are lost, an answer that hides what happened."""

from __future__ import annotations

from faults.mutant import Edit, Mutant

_FILE = "wasm/plugins.py"

PLUGINS: tuple[Mutant, ...] = (
    Mutant(
        name="plugin_input_cut",
        title="a plugin is given 64 bytes at most",
        scenario="plugins",
        oracle="scenario",
        edits=(
            Edit(
                _FILE,
                "        data = memory.read(pointer, length)\n",
                "        data = memory.read(pointer, min(length, 64))\n",
            ),
        ),
    ),
    Mutant(
        name="plugin_limit_as_trap",
        title="a plugin that exceeds a limit counts as one that trapped",
        scenario="plugins",
        oracle="scenario",
        edits=(Edit(_FILE, "        except LimitExceeded:\n            return LIMITED\n", ""),),
    ),
    Mutant(
        name="chunks_newest_first",
        title="of what a module emits in one slice the last comes first",
        scenario="readings",
        oracle="scenario",
        edits=(
            Edit(
                "wasm/running.py",
                "        taken, self._pending, self._bytes = self._pending, [], 0\n",
                "        taken, self._pending, self._bytes = self._pending[::-1], [], 0\n",
            ),
        ),
    ),
    Mutant(
        name="last_slice_unheard",
        title="what a module emits in the slice that ends its call is lost",
        scenario="readings",
        oracle="scenario",
        edits=(
            Edit(
                "sources.py",
                "for chunk in self._stream.taken())\n",
                "for chunk in self._stream.taken() if status == MORE)\n",
            ),
        ),
    ),
)
