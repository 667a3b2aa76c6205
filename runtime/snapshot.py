"""Images of agents and snapshots of the state tree, as digests, page differences and checked files.

Guards against torn, stale and forgotten parts: an image's digest covers every page and every mutable global; a
difference names the image it is based on; a file that does not verify is no snapshot (STA-2).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from runtime.errors import FrameRefused
from runtime.frames import Image, ImageDelta
from runtime.versions import SNAPSHOT

PAGE = 4096
ZERO = bytes(PAGE)
SIZE_MAX = 1 << 32
_ZERO_HASH = hashlib.sha256(ZERO).digest()
_FILE_HEAD = struct.Struct("<4sI32s")
_MAGIC = b"WES1"


def image_digest(hashes: Sequence[bytes], global_bits: Sequence[int]) -> str:
    """The digest of an image: over its pages' hashes in order, its size, and its mutable globals as raw bits."""
    rest = struct.pack(f"<{1 + len(global_bits)}Q", len(hashes), *global_bits)
    return hashlib.sha256(b"".join([*hashes, rest])).hexdigest()


class HeldImage:
    """The image of one agent as last taken or restored: its pages that are not zero, and all pages' hashes."""

    def __init__(self, digest: str = "", n: int = 0) -> None:
        self.digest, self.n = digest, n
        self.size = 0
        self.pages: dict[int, bytes] = {}
        self.hashes: list[bytes] = []
        self.globals: tuple[int, ...] = ()

    def take(self, n: int, memory: memoryview, global_bits: Sequence[int]) -> ImageDelta:
        """Compare with the memory as it is now, hash and copy the pages that differ, and become the new image."""
        now = bytes(memory)  # comparing bytes is a memcmp, comparing views is a loop
        base, changed = self.digest, []
        self._resize(len(now))
        for index, start in enumerate(range(0, self.size, PAGE)):
            if not now.startswith(self.pages.get(index, ZERO), start):  # compares in place
                page = now[start : start + PAGE]
                changed.append((index, page))
                self._put(index, page)
        self.globals = tuple(global_bits)
        self.digest, self.n = image_digest(self.hashes, self.globals), n
        return ImageDelta(base, self.digest, n, self.size, tuple(changed), self.globals)

    def apply(self, delta: ImageDelta) -> HeldImage:
        """The image that `delta` makes of this one; raises FrameRefused when base or digest do not fit."""
        if delta.base != self.digest:
            raise FrameRefused("page difference for another base", todo="the step runs again")
        image = HeldImage(delta.digest, delta.n)
        image.size, image.pages, image.hashes = self.size, dict(self.pages), list(self.hashes)
        image.globals = delta.globals
        if not image._fill(delta.size, delta.pages):
            raise FrameRefused("page difference outside the memory", todo="the step runs again")
        if image_digest(image.hashes, delta.globals) != delta.digest:
            raise FrameRefused("page difference does not give its digest", todo="the step runs again")
        return image

    def adopt(self, image: Image) -> None:
        """Become `image`, hashing its pages; `digest` is then what they give, "" for pages that cannot be."""
        self.size, self.pages, self.hashes = 0, {}, []
        self.globals, self.n = image.globals, image.n
        self.digest = image_digest(self.hashes, self.globals) if self._fill(image.size, image.pages) else ""

    def image(self) -> Image:
        return Image(self.digest, self.n, self.size, tuple(sorted(self.pages.items())), self.globals)

    def _fill(self, size: int, pages: Sequence[tuple[int, bytes]]) -> bool:
        """Take over these pages; False when the size or one of them is impossible."""
        if size % PAGE or not 0 <= len(pages) * PAGE <= size <= SIZE_MAX:
            return False
        self._resize(size)
        for index, page in pages:
            if len(page) != PAGE or not 0 <= index < len(self.hashes):
                return False
            self._put(index, page)
        return True

    def _resize(self, size: int) -> None:
        count = size // PAGE
        if size == self.size:
            return
        if count < len(self.hashes):
            self.pages = {index: page for index, page in self.pages.items() if index < count}
        self.hashes = self.hashes[:count] + [_ZERO_HASH] * (count - len(self.hashes))
        self.size = size

    def _put(self, index: int, page: bytes) -> None:
        self.hashes[index] = hashlib.sha256(page).digest()
        if page == ZERO:
            self.pages.pop(index, None)
        else:
            self.pages[index] = page


def memory_of(image: Image) -> bytes:
    """The whole memory that an image stands for."""
    memory = bytearray(image.size)
    for index, page in image.pages:
        memory[index * PAGE : (index + 1) * PAGE] = page
    return bytes(memory)


class AgentFile(Struct, frozen=True):
    """An agent's image on disk."""

    agent: int
    image: Image
    version: int = SNAPSHOT


class StateFile(Struct, frozen=True):
    """The state tree on disk, as it was after `block`."""

    block: int
    state: bytes
    version: int = SNAPSHOT


class _Versioned(Struct):
    """What is read of a file of any version."""

    version: int


F = TypeVar("F", AgentFile, StateFile)


def agent_name(agent: int, n: int) -> str:
    return f"agent-{agent:05d}-{n:08d}"


def state_name(block: int) -> str:
    return f"state-{block:08d}"


def pack_file(content: AgentFile | StateFile) -> bytes:
    body = msgspec.msgpack.encode(content)
    return _FILE_HEAD.pack(_MAGIC, len(body), hashlib.sha256(body).digest()) + body


def unpack_agent(data: bytes) -> AgentFile | str:
    """The file's content, or what is wrong with it."""
    content = _content(data, AgentFile)
    if isinstance(content, str):
        return content
    held = HeldImage()
    held.adopt(content.image)
    return content if held.digest == content.image.digest else "image does not give its digest"


def unpack_state(data: bytes) -> StateFile | str:
    """The file's content, or what is wrong with it."""
    return _content(data, StateFile)


def _content(data: bytes, kind: type[F]) -> F | str:
    body = _body(data)
    if isinstance(body, str):
        return body
    try:
        version = msgspec.msgpack.decode(body, type=_Versioned).version
        if version != SNAPSHOT:
            return f"snapshot version {version}, this build reads {SNAPSHOT}"
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        return f"a snapshot of something else: {error}"


def _body(data: bytes) -> bytes | str:
    if len(data) < _FILE_HEAD.size:
        return "shorter than its head"
    magic, length, digest = _FILE_HEAD.unpack_from(data)
    body = data[_FILE_HEAD.size :]
    if magic != _MAGIC or length != len(body):
        return "cut or not a snapshot"
    if hashlib.sha256(body).digest() != digest:
        return "damaged"
    return body
