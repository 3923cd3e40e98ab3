"""The signals of a run, in columns: each order that the strategy sent, when, and of what kind."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from services.quant.backtest.data.zone_offsets import utc_us
from services.quant.backtest.execution.fill_model import is_native
from services.quant.backtest.result import BacktestResult

Signal: TypeAlias = tuple[str, float, float]
"""The order: "LONG OPEN" and the like, price, volume."""


@dataclass(frozen=True, slots=True)
class Signals:
    """The signals in the order in which they were sent; `time_us` since 1970 UTC, that of the row which the strategy
    saw. `kinds` are places in `names`, which all runs that are to be compared share."""

    names: dict[str, int]
    time_us: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int64]
    prices: npt.NDArray[np.float64]
    volumes: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.time_us)

    def until(self, time_us: int) -> "Signals":
        """Signals up to a time, included."""
        count = int(np.searchsorted(self.time_us, time_us, side="right"))
        columns = (self.time_us, self.kinds, self.prices, self.volumes)
        return Signals(self.names, *(column[:count] for column in columns))  # type: ignore[arg-type]

    def first_difference(self, other: "Signals") -> int | None:
        """The number of the first signal that the two do not share; None: they are the same."""
        count = min(len(self), len(other))
        same = (self.time_us[:count] == other.time_us[:count]) & (self.kinds[:count] == other.kinds[:count])
        for mine, theirs in ((self.prices, other.prices), (self.volumes, other.volumes)):
            same &= (mine[:count] == theirs[:count]) | (np.isnan(mine[:count]) & np.isnan(theirs[:count]))
        if same.all():
            return None if len(self) == len(other) else count
        return int(np.argmin(same))

    def by_time(self, first: int, most: int) -> dict[int, list[Signal]]:
        """Signals from number `first` on, those of each time together, of at most so many times."""
        labels = list(self.names)
        grouped: dict[int, list[Signal]] = {}
        for index in range(first, len(self)):
            time_us = int(self.time_us[index])
            if time_us not in grouped and len(grouped) == most:
                break
            signal = (labels[self.kinds[index]], float(self.prices[index]), float(self.volumes[index]))
            grouped.setdefault(time_us, []).append(signal)
        return grouped


class Recorder:
    """Writes down what a strategy sends while it runs; what it sends from on_stop is none: each run has its own end."""

    def __init__(self, core: Any, strategy: Any, names: dict[str, int]) -> None:
        self._core = core
        self._names = names
        self._times, self._kinds = array("q"), array("q")
        self._prices, self._volumes = array("d"), array("d")
        self._stopped = False
        self._late = 0
        self._strategy = strategy
        on_stop = strategy.on_stop

        def stop() -> None:
            self._stopped = True
            on_stop()

        strategy.on_stop = stop
        if is_native(strategy):
            strategy.broker.send = self._sender(strategy.broker.send)
        else:
            strategy.send_order = self._order_sender(strategy.send_order)

    def signals(self, result: BacktestResult) -> Signals:
        """All of them, once. Those of a strategy that goes round its own methods are known by their trades only."""
        # Round in a circle both would stay until the collector comes, and there may be millions of signals.
        self._strategy.__dict__.pop("send_order", None)
        self._strategy.__dict__.pop("on_stop", None)
        self._strategy = None
        if len(self._times) + self._late < result.order_count:
            return self._of_trades(result)
        return self._made(self._times, self._kinds, self._prices, self._volumes)

    def _order_sender(self, send: Callable[..., Any]) -> Callable[..., Any]:
        """CtaTemplate.send_order."""

        def sent(
            direction: Any, offset: Any, price: Any, volume: Any, stop: Any = False, lock: Any = False, net: Any = False
        ) -> Any:
            ids = send(direction, offset, price, volume, stop, lock, net)
            if ids:
                name = f"{direction.name} {offset.name}" + (" stop" if stop else "")
                self._note(name, self._core.round_price(price), volume)
            return ids

        return sent

    def _sender(self, send: Callable[[Any], str]) -> Callable[[Any], str]:
        """A BaseStrategy's broker."""

        def sent(request: Any) -> str:
            client_order_id = send(request)
            direction = "LONG" if request.side.sign > 0 else "SHORT"
            name = f"{direction} {request.effect.name}" + (" stop" if request.kind.name == "STOP" else "")
            self._note(name, float("nan") if request.price is None else request.price, request.quantity)
            return client_order_id

        return sent

    def _note(self, name: str, price: Any, volume: Any) -> None:
        if self._stopped:
            self._late += 1
            return
        row = self._core.row
        self._times.append(utc_us(self._core.start if row is None else row.datetime))
        self._kinds.append(self._names.setdefault(name, len(self._names)))
        self._prices.append(float(price))
        self._volumes.append(float(volume))

    def _of_trades(self, result: BacktestResult) -> Signals:
        times, kinds, prices, volumes = array("q"), array("q"), array("d"), array("d")
        for fill in result.trades:
            times.append(utc_us(fill.time))
            name = f"{fill.direction} {fill.offset} (its trade)"
            kinds.append(self._names.setdefault(name, len(self._names)))
            prices.append(fill.price)
            volumes.append(fill.volume)
        return self._made(times, kinds, prices, volumes)

    def _made(self, times: Any, kinds: Any, prices: Any, volumes: Any) -> Signals:
        return Signals(
            self._names,
            np.frombuffer(times, dtype=np.int64),
            np.frombuffer(kinds, dtype=np.int64),
            np.frombuffer(prices, dtype=np.float64),
            np.frombuffer(volumes, dtype=np.float64),
        )
