"""Validators at work: which messages may enter a guarded mailbox, and which inputs the run (VAL-1).

Guarantees: a verdict depends on the validator's bytes, the message, its number, the run's seed and the tick alone, so
whoever folds the same inputs and outcomes refuses the same. A module that is no validator finds nothing valid; one that
is not there at all ends the run, since nobody can say what it would have found.
"""

from __future__ import annotations

import hashlib

from runtime.errors import FailStop, ModuleRefused
from runtime.ports import Artifacts
from runtime.state import State
from runtime.validators import Validator
from runtime.wasm import Engine


class Guards:
    """The validators of one orchestrator, each loaded when it is first asked; `artifacts` has their bytes."""

    def __init__(self, artifacts: Artifacts | None = None) -> None:
        self._artifacts = artifacts
        self._known: dict[str, Validator | str] = {}

    def refuses(self, state: State, digest: str, number: int, message: bytes) -> str:
        """Why the validator with this digest does not find the message valid: its reason's name, "" where it does.

        `number` is the message's, and keys what the validator draws. Raises FailStop where its bytes are missing.
        """
        config = state.config
        assert config is not None
        validator = self._known.get(digest)
        if validator is None:
            validator = self._known[digest] = self._load(digest)
        if isinstance(validator, str):
            return validator
        seed = hashlib.blake2b(b"%d/%d" % (config.seed, number), digest_size=8, person=b"guard").digest()
        now_ms = config.epoch_ms + state.tick * config.tick_ms
        return validator.judge(message, now_ms, int.from_bytes(seed, "little")).reason

    def _load(self, digest: str) -> Validator | str:
        """The validator, or the reason that all it would guard is refused for."""
        try:
            data = self._artifacts.get(digest) if self._artifacts is not None else b""
        except KeyError:
            data = b""
        if hashlib.sha256(data).hexdigest() != digest:
            raise FailStop("guard", f"validator {digest[:12]} is not there as it was declared", "validators")
        try:
            return Validator(Engine().load_bytes(data, f"validator {digest[:12]}"))
        except ModuleRefused as refused:
            return f"refused:{refused.check}"


NONE = Guards()
