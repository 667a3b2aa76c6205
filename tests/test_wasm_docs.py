"""docs/abi.md against the code: its tables are the ABI, its example runs."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from wasm_kit import arguments, envelope, guest

from runtime import state
from runtime.ports import Call
from runtime.wasm import assemble
from runtime.wasm.abi import EXPORTS, HOST
from runtime.wasm.engine import STACK

PAGE = (Path(__file__).parent.parent / "docs" / "abi.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    table = PAGE.split(heading, 1)[1].split("\n\n|", 1)[1].split("\n\n")[0]
    return [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_the_page_lists_every_import_with_its_type_group_and_class() -> None:
    listed = {name: (kind, group, cls) for name, kind, _, group, cls in rows("## What the module may import")}
    assert listed == {
        name: (str(function.signature), function.group or "always granted", function.kind)
        for name, function in HOST.items()
    }


def test_the_page_lists_every_export_with_its_type() -> None:
    listed = {row[0]: row[1] for row in rows("## What the module exports")}
    assert listed == {"memory": "memory"} | {name: str(signature) for name, signature in EXPORTS.items()}


def test_the_page_has_the_codes_and_kinds_of_the_state_tree() -> None:
    listed = {name: int(code) for code, name, _ in rows("### Status of an effect")}
    assert listed == {"ok": state.OK, "E_LIMIT": state.E_LIMIT, "E_TARGET": state.E_TARGET, "E_SIZE": state.E_SIZE}
    kinds = (state.MESSAGE, state.TOPIC, state.INPUT, state.WAKE, state.REFUSED, state.BUFFER, state.INFERENCE)
    assert [f"{kind} " in PAGE.split("Kinds: ")[1].splitlines()[0] for kind in kinds] == [True] * 7
    assert str(state.OUTSIDE) in PAGE


def test_the_page_names_each_limit_that_an_agent_declares_and_the_stack_that_it_does_not() -> None:
    table = PAGE.split("## Limits")[1].split("\n## ")[0]
    assert set(re.findall(r"`limits\.(\w+)`", table)) == set(state.Limits.__struct_fields__)
    assert f"| stack | {STACK >> 10} KiB" in table


def test_the_example_answers_its_messages() -> None:
    found = re.search(r"```wat\n(.*?)```", PAGE, re.S)
    assert found
    instance = guest(found.group(1), capabilities=("messages", "output"))
    assert instance.run(arguments(kind="init")).status == "ok"
    inbox = [envelope(b"hello", sender=4), envelope(b"tick", kind=state.WAKE), envelope(b"again", sender=5)]
    for turn in (1, 2):
        step = instance.run(arguments(inbox=inbox))
        assert step.status == "ok"
        memory = instance.memory()
        sent = [(call.target, bytes(memory[call.pointer : call.pointer + call.length])) for call in step.calls[:2]]
        assert sent == [(4, b"hello"), (5, b"again")]
        assert step.calls[2] == Call("output", 0, 0, 4)
        assert struct.unpack_from("<I", memory) == (3 * turn,)
    assert assemble(found.group(1)) == assemble(found.group(1))
    assert instance.run(arguments(inbox=[envelope(bytes(200_000))], max_payload=1 << 20)).status == "alloc"
