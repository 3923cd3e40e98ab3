"""A mapping that remembers only the latest keys, for what is looked up soon after it happened or never."""

from typing import TypeVar

V = TypeVar("V")
_MOST = 20_000


class RecentKeys(dict[str, V]):
    """A dict of at most 20,000 keys; the one that was set first goes first."""

    def __setitem__(self, key: str, value: V) -> None:
        super().__setitem__(key, value)
        if len(self) > _MOST:
            del self[next(iter(self))]
