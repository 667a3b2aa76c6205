"""Planted bugs of the load checks of modules: what is altered, foreign, too heavy or runs at its start is let in."""

from __future__ import annotations

from faults.mutant import Edit, Mutant


def _mutant(name: str, title: str, oracle: str, file: str, before: str, after: str) -> Mutant:
    edits = (Edit(file, before, after),)
    return Mutant(name=name, title=title, scenario="hello", oracle=oracle, edits=edits, profile="refused")


LOADS: tuple[Mutant, ...] = (
    _mutant(
        "module_digest_remembered",
        "a module that was loaded before under the declared digest is not hashed again",
        "I25",
        "wasm/checks.py",
        "    digest = hashlib.sha256(wasm).hexdigest()\n",
        '    known = _parsed.get((spec.module, ""))\n'
        "    digest = spec.module if known else hashlib.sha256(wasm).hexdigest()\n",
    ),
    _mutant(
        "start_section_accepted",
        "a module with a start function is loaded, and runs before its agent begins",
        "I30",
        "wasm/binary.py",
        "    if START in readers:\n",
        "    if START in readers and not parsed.exports:\n",
    ),
    _mutant(
        "loops_counted_at_the_end",
        "loops within each other are compared with their limit when all of them are closed",
        "I18",
        "wasm/scan.py",
        "        if loops > allowed:\n            return False\n    return True\n",
        "    return loops <= allowed\n",
    ),
    _mutant(
        "reserved_export_accepted",
        "of the reserved names of exports only the bare prefix is refused",
        "I35",
        "wasm/checks.py",
        "        if name.startswith(RESERVED):\n",
        "        if name == RESERVED:\n",
    ),
)
