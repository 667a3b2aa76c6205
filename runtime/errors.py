"""The errors of the runtime: each says what is wrong, where, and what to do."""

from __future__ import annotations


class EngineError(Exception):
    """Base of all errors that a user may meet. `str()` is one line: what (where): what to do."""

    def __init__(self, what: str, where: str = "", todo: str = "") -> None:
        self.what, self.where, self.todo = what, where, todo
        super().__init__(what, where, todo)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; {self.todo}" if self.todo else text


class Refused(EngineError):
    """Input that is refused before anything of it runs: a plan, an option, a damaged case."""


class ModuleRefused(Refused):
    """A module that fails a load check. `check` is the name of the first check that failed, in the order of WAS-3:

    size, digest, signature, format, abi, import, limit.
    """

    def __init__(self, check: str, what: str, where: str = "", todo: str = "") -> None:
        self.check = check
        super().__init__(f"module refused [{check}]: {what}", where, todo)


class SignatureRefused(ModuleRefused):
    """A module whose signature is missing, malformed, wrong or by nobody who is trusted.

    `error` is the name of what is wrong, one of `runtime.wasm.signatures.ERRORS` (docs/signing.md).
    """

    def __init__(self, error: str, what: str, where: str = "", todo: str = "") -> None:
        self.error = error
        super().__init__("signature", f"{error}: {what}", where, todo)


class CallFailed(EngineError):
    """A call into a module ended without its results. `reason` is "trap:NAME", "limit:NAME", or "alloc"."""

    def __init__(self, reason: str, what: str, where: str = "", todo: str = "") -> None:
        self.reason = reason
        super().__init__(f"call failed [{reason}]: {what}", where, todo)


class Cancelled(CallFailed):
    """A call that was ended at the end of a slice, because somebody asked for it."""

    def __init__(self, what: str, where: str = "", todo: str = "") -> None:
        super().__init__("cancelled", what, where, todo)


class LimitExceeded(CallFailed):
    """A call was ended by a limit. `limit` is its name: "fuel", "memory", "stack" or "table" (WAS-4)."""

    def __init__(self, limit: str, what: str, where: str = "", todo: str = "") -> None:
        self.limit = limit
        super().__init__(f"limit:{limit}", what, where, todo)


class NoRoom(EngineError):
    """The host has no memory or address space left for an instance; the module is not to blame."""


class ModelFailed(EngineError):
    """A model or its device could not do what was asked. `failure` is "load", "memory" or "device", `reason` why."""

    def __init__(self, failure: str, what: str, where: str = "") -> None:
        self.failure, self.reason = failure, what
        super().__init__(f"inference failed [{failure}]: {what}", where, "the request runs on another device")


class SpawnFailed(EngineError):
    """No worker could be started (no process, descriptor or memory was left); nothing of it exists."""

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(what, where, "it is tried again after a while")


class FrameRefused(EngineError):
    """A frame whose length, checksum or content is not what its sender wrote."""


class SyncFailed(EngineError):
    """A sync reported an error: what it covered may be lost although it can still be read.

    Syncing the same file again proves nothing (its pages count as clean). Whoever needs those bytes ends with this
    error, and a successor writes them into a new file. `ticket` is the sync's, `file` "" for the directory's.
    """

    def __init__(self, ticket: int, file: str) -> None:
        self.ticket, self.file = ticket, file
        super().__init__("a sync failed", file or "the directory", "start again: the next start writes new files")


class ReadFailed(EngineError):
    """A file cannot be read to its end: `readable` are its bytes before the first sector that cannot be read."""

    def __init__(self, file: str, readable: bytes) -> None:
        self.file, self.readable = file, readable
        super().__init__(f"byte {len(readable)} cannot be read", file, "restore it from a second copy")


class FailStop(EngineError):
    """A check found what repair cannot mend; the runtime stops, nothing partial leaves. `check` names it.

    `block` is the first block of the journal that is damaged, 0 its header; -1 where it is not about a block.
    """

    def __init__(self, check: str, what: str, where: str = "", block: int = -1) -> None:
        self.check, self.block = check, block
        super().__init__(f"stopped by check '{check}': {what}", where, "restore from a second copy or report it")
