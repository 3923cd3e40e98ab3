"""A small cache in memory: bounded, with a time to live."""

from collections import OrderedDict
from typing import Generic, TypeVar

from services.kernel.clock import Clock

K = TypeVar("K")
V = TypeVar("V")


class TtlCache(Generic[K, V]):
    """Cache of at most `max_size` values for at most `ttl_s` seconds; the longest unused goes first."""

    def __init__(self, max_size: int, ttl_s: float, clock: Clock | None = None) -> None:
        self._max_size = max_size
        self._ttl_s = ttl_s
        self._clock = clock or Clock()
        self._items: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, or None when there is none or it has expired."""
        item = self._items.get(key)
        if item is None:
            return None
        if item[0] <= self._clock.monotonic():
            del self._items[key]
            return None
        self._items.move_to_end(key)
        return item[1]

    def put(self, key: K, value: V, ttl_s: float | None = None) -> None:
        """Keep a value, for `ttl_s` where it should live shorter than the others."""
        life = self._ttl_s if ttl_s is None else min(ttl_s, self._ttl_s)
        self._items[key] = (self._clock.monotonic() + life, value)
        self._items.move_to_end(key)
        if len(self._items) > self._max_size:
            self._items.popitem(last=False)

    def pop(self, key: K) -> V | None:
        """Forget a value."""
        item = self._items.pop(key, None)
        return item[1] if item else None

    def clear(self) -> None:
        """Forget all."""
        self._items.clear()

    def __len__(self) -> int:
        return len(self._items)
