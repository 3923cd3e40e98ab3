"""The trades of a run in columns: 1 million of them in 60 MB, each shown as a Fill when somebody looks at it."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, overload
from zoneinfo import ZoneInfo

from services.strategy.backtest.costs import FeeModel
from services.strategy.backtest.result import Fill

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Fills(Sequence[Fill]):
    """The trades so far, oldest first; their ids are counted from 1, as in vnpy."""

    def __init__(self, zone: ZoneInfo, size: float, fee: FeeModel) -> None:
        self._zone = zone
        self._size = size
        self._fee = fee
        self._times = array("q")
        self._orders = array("q")
        self._prices = array("d")
        self._volumes = array("d")
        self._kinds: list[tuple[Any, Any]] = []

    def extend(self, trades: Iterable[tuple[Any, int, Any, Any, float, Any]]) -> None:
        """Take trades from a core: (time, order number, direction, offset, price, volume)."""
        kinds: dict[tuple[Any, Any], tuple[Any, Any]] = {}
        for time, order, direction, offset, price, volume in trades:
            self._times.append((time.astimezone(UTC) - _EPOCH) // _MICROSECOND)
            self._orders.append(order)
            self._prices.append(price)
            self._volumes.append(volume)
            kind = (direction, offset)
            self._kinds.append(kinds.setdefault(kind, kind))

    def __len__(self) -> int:
        return len(self._times)

    @overload
    def __getitem__(self, index: int) -> Fill: ...
    @overload
    def __getitem__(self, index: slice) -> list[Fill]: ...
    def __getitem__(self, index: int | slice) -> Fill | list[Fill]:
        if isinstance(index, slice):
            return [self._at(i) for i in range(*index.indices(len(self)))]
        return self._at(range(len(self))[index])

    def __iter__(self) -> Iterator[Fill]:
        return (self._at(index) for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(other) == len(self) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def _at(self, index: int) -> Fill:
        direction, offset = self._kinds[index]
        price, volume = self._prices[index], self._volumes[index]
        name = getattr(offset, "name", str(offset))
        return Fill(
            trade_id=str(index + 1),
            order_id=str(self._orders[index]),
            time=(_EPOCH + self._times[index] * _MICROSECOND).astimezone(self._zone),
            direction=getattr(direction, "name", str(direction)),
            offset=name,
            price=price,
            volume=volume,
            commission=self._fee.commission(price, volume, volume * self._size * price, name, index + 1),
        )
