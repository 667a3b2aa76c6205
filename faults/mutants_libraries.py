"""Planted bugs of libraries: another version than the declared one is linked, or one of another type."""

from __future__ import annotations

from faults.mutant import Edit, Mutant

LIBRARIES: tuple[Mutant, ...] = (
    Mutant(
        name="library_kept_by_its_name",
        title="compiled libraries are kept by name: whoever comes second is linked with the first one's version",
        scenario="upgrade",
        oracle="scenario",
        edits=(
            Edit(
                "wasm/checks.py",
                '        cache.use((hashlib.sha256(each.wasm).hexdigest(), "library"), ',
                '        cache.use((each.name, "library"), ',
            ),
        ),
    ),
    Mutant(
        name="library_digest_unchecked",
        title="a library is taken for what is declared, whatever its bytes are",
        scenario="upgrade",
        oracle="I25",
        edits=(
            Edit(
                "wasm/checks.py",
                "        _identified(library.module, data, ",
                "        _identified(hashlib.sha256(data).hexdigest(), data, ",
            ),
        ),
    ),
    Mutant(
        name="library_with_globals_accepted",
        title="a library may have mutable globals, which no image of its agent holds, if it has no memory",
        scenario="hello",
        oracle="I30",
        profile="refused",
        edits=(
            Edit(
                "wasm/libraries.py",
                '        "mutable globals": bool(parsed.mutable),\n',
                '        "mutable globals": bool(parsed.mutable and parsed.memories),\n',
            ),
        ),
    ),
    Mutant(
        name="library_type_unchecked",
        title="the type under which an agent imports from a library is not compared",
        scenario="upgrade",
        oracle="scenario",
        edits=(
            Edit(
                "wasm/linking.py",
                "            if found != entry.signature:\n",
                "            if found != entry.signature and name:\n",
            ),
        ),
    ),
)
