"""The text format: WAT in, a module's bytes out; what is wrong is named with its line and column."""

from __future__ import annotations

import re

import wasmtime

from runtime.errors import Refused

_PLACE = re.compile(r"<anon>:(\d+):(\d+)")


def assemble(wat_text: str) -> bytes:
    """The binary module; the same text gives the same bytes. Raises Refused (`where` is the line and column)."""
    try:
        return bytes(wasmtime.wat2wasm(wat_text.encode("utf-8")))
    except UnicodeEncodeError as error:
        raise Refused("WAT text is not valid unicode", f"character {error.start}", "save it as utf-8") from None
    except wasmtime.WasmtimeError as error:
        message = str(error)
    place = _PLACE.search(message)
    where = f"line {place.group(1)}, column {place.group(2)}" if place else "WAT text"
    raise Refused(message.strip().split("\n")[0].strip(), where, "correct the text")
