"""Faults of modules at load: malformed, not linkable, altered, slow to compile, made for another ABI.

An agent's next step waits for the load of such a module. The load must refuse it under its own name, and nothing of it
may run; some are good, as controls, so that a load which refuses everything is found as well. The modules themselves
are in `wrappers.vectors` and `wrappers.libraries`.
"""

from __future__ import annotations

from faults.kind import AGENT, TICK, FaultKind, Form, Key

MALFORMED = (
    "cut", "empty", "magic", "version", "component", "section_order", "section_twice", "section_length", "number_long",
    "vector_length", "name", "type_form", "operand_type", "stack_empty", "end_missing", "opcode", "local", "function",
    "branch", "alignment", "export_twice", "export_place", "trailing", "count_mismatch", "pages", "constant",
    "memory_shared", "memory_64", "memories", "table_write",
)  # fmt: skip
UNLINKABLE = (
    "module", "function", "wasi", "type", "memory", "table", "global", "start", "start_trap", "data", "elements",
    "good",
)  # fmt: skip
BOMBS = ("functions", "loops", "size", "vector", "locals", "branches", "memory", "elements")
LIBRARIES = (
    "type", "function", "kind", "digest", "state", "memory", "data", "start", "segment", "host", "size", "tables",
    "circle", "undeclared", "good", "good_memory",
)  # fmt: skip
FOREIGN = (
    "major", "minor", "older", "word", "empty", "twice", "missing", "extra", "type", "kind", "reserved", "memory",
    "good",
)  # fmt: skip
BITS = 1 << 24
_STEP = Form(needs=("tick", "agent"))
_COUNTS = "the journal says that the step ended as the load check of this module must make it end"


def _kind(slug: str, row: str, layer: str, title: str, what: Key) -> FaultKind:
    return FaultKind(
        slug=slug,
        rows=(row,),
        class_="refused",
        layer=layer,
        title=title,
        keys=(TICK, AGENT),
        forms=(_STEP,),
        params=(what,),
        counts_when=_COUNTS,
    )


def _what(meaning: str, words: tuple[str, ...]) -> Key:
    return Key(name="what", meaning=meaning, words=words, default=words[0])


MODULE_KINDS: tuple[FaultKind, ...] = (
    _kind(
        "module.malformed",
        "F20",
        "wasm",
        "an agent's next module is not one: its bytes are malformed, do not validate, or ask for what agents lack",
        _what("what is wrong with it", MALFORMED),
    ),
    _kind(
        "module.unlinkable",
        "F21",
        "wasm",
        "an agent's next module cannot be linked, or would run code at its start (or is good, as a control)",
        _what("what it asks for, or does", UNLINKABLE),
    ),
    _kind(
        "module.library",
        "F21",
        "wasm",
        "an agent's next module imports from a library that cannot be linked, or could remember (or that is good)",
        _what("what is wrong with the library", LIBRARIES),
    ),
    _kind(
        "module.flip",
        "F22",
        "wasm",
        "one bit of the agent's own module is another when it is loaded anew, under the digest that it had",
        Key(name="bit", meaning="which bit, modulo the module's length", high=BITS - 1, default=0),
    ),
    _kind(
        "module.bomb",
        "F25",
        "wasm",
        "an agent's next module is made to be slow to compile, or to fill the memory",
        _what("what there is too much of", BOMBS),
    ),
    _kind(
        "module.abi",
        "F75",
        "plugins",
        "an agent's next module is for another ABI, or exports not what one must (or is good, as a control)",
        _what("what is another", FOREIGN),
    ),
)
