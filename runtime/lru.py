"""Values within a budget of bytes: the least recently used leaves first, what is pinned never does.

Guards against a cache that grows without bound and one that throws away what is in use: what does not fit beside the
pinned is passed on and not kept, so that the budget holds at every moment. Every decision can be noted (I23).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

V = TypeVar("V")
Key = tuple[str, str]  # the content's digest, and what was made of it


class CacheEvent(NamedTuple):
    """`op` is "hit", "missed", "kept", "passed" (it does not fit), "evicted", "removed", "pinned", "released"; bytes of
    the entry, of all entries afterwards, and the budget."""

    op: str
    key: Key
    size: int
    held: int
    budget: int


Note = Callable[[CacheEvent], None]


class Pin:
    """Keeps an entry until it is released, or dropped."""

    __slots__ = ("_keys", "_released")

    def __init__(self, key: Key | None, released: deque[Key]) -> None:
        self._keys: tuple[Key, ...] = () if key is None else (key,)
        self._released = released

    def take(self, other: Pin) -> None:
        """Keeps from now on what the other one kept, which is of the same cache."""
        keys, other._keys = other._keys, ()
        self._keys += keys

    def release(self) -> None:
        """A second call does nothing. May come at any moment, from any thread: the cache takes note when it is next
        used."""
        keys, self._keys = self._keys, ()
        self._released.extend(keys)

    __del__ = release


class Lru(Generic[V]):
    """Not for two threads at once. Sizes are given by who puts. `dropped` is told of each value that leaves."""

    def __init__(self, budget: int, note: Note | None = None, dropped: Callable[[V], None] | None = None) -> None:
        self._budget, self._note, self._dropped = budget, note, dropped
        self._held = 0
        self._entries: OrderedDict[Key, tuple[V, int]] = OrderedDict()
        self._pins: dict[Key, int] = {}
        self._released: deque[Key] = deque()

    @property
    def held(self) -> int:
        """Bytes of all entries."""
        return self._held

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def get(self, key: Key) -> V | None:
        """The value, which is the most recent one from now on."""
        entry = self._entries.get(key)
        if entry is None:
            self._told("missed", key, 0)
            return None
        self._entries.move_to_end(key)
        self._told("hit", key, entry[1])
        return entry[0]

    def put(self, key: Key, value: V, size: int) -> bool:
        """Keeps it if it fits beside what is pinned; whether it does. An entry of that key stays as it is."""
        self._settle()
        if key in self._entries:
            return True
        if not self.room(size):
            self._told("passed", key, size)
            return False
        self._entries[key] = (value, size)
        self._held += size
        self._told("kept", key, size)
        return True

    def room(self, size: int) -> bool:
        """Evicts until so much fits, the least recent first; whether it does. Nothing leaves where it cannot."""
        self._settle()
        pinned = sum(self._entries[key][1] for key in self._pins)
        if size > self._budget - pinned:
            return False
        for victim in [each for each in self._entries if each not in self._pins]:
            if self._held + size <= self._budget:
                break
            self._leave(victim, "evicted")
        return True

    def spare(self) -> bool:
        """Evicts the least recent that is not pinned, though the budget would hold it; whether there was one."""
        self._settle()
        victim = next((each for each in self._entries if each not in self._pins), None)
        if victim is not None:
            self._leave(victim, "evicted")
        return victim is not None

    def remove(self, key: Key) -> bool:
        """Lets go of this one; False where it is not there, or pinned."""
        self._settle()
        if key not in self._entries or key in self._pins:
            return False
        self._leave(key, "removed")
        return True

    def clear(self) -> None:
        """Lets go of everything, pinned or not: its holder ends."""
        self._settle()
        self._pins.clear()
        for key in list(self._entries):
            self._leave(key, "removed")

    def pin(self, key: Key) -> Pin:
        """A pin on the entry; on nothing where it was not kept."""
        self._settle()
        if key not in self._entries:
            return Pin(None, self._released)
        self._pins[key] = self._pins.get(key, 0) + 1
        self._told("pinned", key, self._entries[key][1])
        return Pin(key, self._released)

    def _leave(self, key: Key, how: str) -> None:
        value, freed = self._entries.pop(key)
        self._held -= freed
        self._told(how, key, freed)
        if self._dropped is not None:
            self._dropped(value)

    def _settle(self) -> None:
        while self._released:
            key = self._released.popleft()
            if key not in self._pins:
                continue  # released after all was let go of
            self._pins[key] -= 1
            if not self._pins[key]:
                del self._pins[key]
            self._told("released", key, self._entries[key][1])

    def _told(self, op: str, key: Key, size: int) -> None:
        if self._note is not None:
            self._note(CacheEvent(op, key, size, self._held, self._budget))
