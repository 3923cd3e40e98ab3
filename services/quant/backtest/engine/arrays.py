"""vnpy's ArrayManager, with the shifting of its seven arrays done at once.

The arrays stay what they are in vnpy: the same objects always, changed in place. They are rows of one block, so that
one move of the block by one number shifts them all: what a row pushes into the one before is overwritten at once.
"""

from copy import deepcopy
from operator import attrgetter
from typing import Any

import numpy as np
from vnpy.trader.utility import ArrayManager as VnpyArrayManager

FIELDS = ("open", "high", "low", "close", "volume", "turnover", "open_interest")


def _row(name: str) -> Any:
    kept = f"_{name}_row"

    def put(self: Any, value: Any) -> None:
        setattr(self, kept, value)
        self._own = False  # somebody's own array: shifted as vnpy does

    return property(attrgetter(kept), put)


class ArrayManager(VnpyArrayManager):
    """Substitute for vnpy.trader.utility.ArrayManager."""

    open_array, high_array, low_array, close_array = (_row(name) for name in FIELDS[:4])
    volume_array, turnover_array, open_interest_array = (_row(name) for name in FIELDS[4:])

    def __init__(self, size: int = 100) -> None:
        self.count = 0
        self.size = size
        self.inited = False
        block = np.zeros(7 * size)
        for index, name in enumerate(FIELDS):
            setattr(self, f"_{name}_row", block[index * size : (index + 1) * size])
        # As plain memory it is quicker to move and to write to than as an array.
        self._block = block.data
        self._into = self._block[:-1]
        self._from = self._block[1:]
        self._own = size > 0

    def __getstate__(self) -> dict[str, Any]:
        # A copy has arrays of its own, which are no longer rows of one block.
        return {**self.__dict__, "_own": False, "_block": None, "_into": None, "_from": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> "ArrayManager":
        made = type(self).__new__(type(self))
        for name, value in self.__getstate__().items():
            made.__dict__[name] = deepcopy(value, memo)
        return made

    def update_bar(self, bar: Any) -> None:
        """A bar at the end, the oldest out."""
        if not self._own:
            super().update_bar(bar)
            return
        self.count += 1
        size = self.size
        if not self.inited and self.count >= size:
            self.inited = True
        self._into[:] = self._from
        block = self._block
        last = size - 1
        block[last] = bar.open_price
        block[last + size] = bar.high_price
        last += 2 * size
        block[last] = bar.low_price
        block[last + size] = bar.close_price
        last += 2 * size
        block[last] = bar.volume
        block[last + size] = bar.turnover
        block[last + 2 * size] = bar.open_interest
