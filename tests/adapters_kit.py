"""What the contracts of the ports share: wrappers with nothing armed, which must change nothing."""

from __future__ import annotations

from typing import Any

from faults.injector import Injector
from faults.wrappers.crash import Fuse, mortal
from runtime.ports import Ports


def nothing_armed() -> Injector:
    def fired(fault: int, fields: dict[str, int | str]) -> None:
        raise AssertionError(f"fault {fault} fired: {fields}")

    return Injector([], fired)


def immortal(**ports: Any) -> Ports:
    """The ports under a fuse that never burns."""
    given = {"clock": None, "workers": None, "memory": None, "storage": None, "gateway": None, **ports}
    return mortal(Ports(**given), Fuse(nothing_armed(), lambda: (0, "await")))
