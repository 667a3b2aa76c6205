"""Planted bugs of the cache of compiled modules: wrong victims, bytes that are not counted, code used unverified."""

from __future__ import annotations

from faults.mutant import Edit, Mutant


def _mutant(name: str, title: str, file: str, before: str, after: str) -> Mutant:
    return Mutant(name=name, title=title, scenario="hello", oracle="I23", edits=(Edit(file, before, after),))


_LRU, _ARTEFACTS = "lru.py", "wasm/artefacts.py"

MODULES: tuple[Mutant, ...] = (
    _mutant(
        "cache_hit_not_recent",
        "a module that is found in the cache does not count as used",
        _LRU,
        "        self._entries.move_to_end(key)\n",
        "",
    ),
    _mutant(
        "cache_pin_forgotten",
        "a pin that is released takes all others on the same module with it, so what is in use is evicted",
        _LRU,
        "            self._pins[key] -= 1\n",
        "            self._pins[key] = 0\n",
    ),
    _mutant(
        "cache_evicted_still_counted",
        "the bytes of a module that was evicted stay counted",
        _LRU,
        "        self._held -= freed\n",
        "        self._held -= 0\n",
    ),
    _mutant(
        "cache_budget_without_newcomer",
        "there is room in the cache if what it holds now is within the budget",
        _LRU,
        "            if self._held + size <= self._budget:\n",
        "            if self._held <= self._budget:\n",
    ),
    _mutant(
        "artefact_unverified",
        "a compiled module on disk is used if its file is long enough",
        _ARTEFACTS,
        "            if not hmac.compare_digest(data[:_HEAD], self._head(name, code)):\n",
        "            if len(data) <= _HEAD:\n",
    ),
    _mutant(
        "artefact_name_unverified",
        "a compiled module on disk may be another's, if only it is one of ours",
        _ARTEFACTS,
        "        begins = MAGIC + bytes.fromhex(name)\n",
        "        begins = MAGIC + bytes(len(name) // 2)\n",
    ),
    _mutant(
        "artefact_use_forgotten",
        "a compiled module that is read from disk does not count as used",
        _ARTEFACTS,
        "            self._folder.touch(name, self._newest(self._folder.entries()) + 1)\n",
        "            self._folder.entries()\n",
    ),
    _mutant(
        "artefact_budget_without_newcomer",
        "there is room on disk if what lies there now is within the budget",
        _ARTEFACTS,
        "                if held + size > self._budget and entry.name != name:\n",
        "                if held > self._budget and entry.name != name:\n",
    ),
)
