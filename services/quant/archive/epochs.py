"""The epochs of rows: within a symbol and trading day, a later one replaces earlier ones in the time that it covers.

An epoch is one run of a feed. So the same recording replayed twice is there once, a fuller replay completes a partial
one, and it does not matter which of two recordings of different times is replayed first.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

Span = tuple[int, int]
"""First and last time of an epoch's rows, both included, in nanoseconds."""


class Spans:
    """The time that each epoch covers in one trading day of a symbol."""

    def __init__(self) -> None:
        self._spans: dict[int, Span] = {}

    def add(self, epoch: int, first_ns: int, last_ns: int) -> None:
        """Add rows of an epoch."""
        first, last = self._spans.get(epoch, (first_ns, last_ns))
        self._spans[epoch] = min(first, first_ns), max(last, last_ns)

    def later(self, epoch: int) -> list[Span]:
        """The spans of later epochs."""
        return [span for other, span in self._spans.items() if other > epoch]

    def edges(self, epoch: int) -> Span:
        """The epoch's own span."""
        return self._spans[epoch]


def shown(times: Any, spans: Iterable[Span]) -> Any:
    """A mask of the times (an array, ns) that are in none of these spans; None when that is all of them."""
    mask = None
    for first, last in spans:
        outside = (times < first) | (times > last)
        mask = outside if mask is None else mask & outside
    return None if mask is None or np.all(mask) else mask
