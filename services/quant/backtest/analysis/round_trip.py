"""Round trips: which opening each closing trade belongs to, first in first out, and what the pair earned."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.quant.backtest.job import BacktestJob
from services.quant.backtest.result import Day, Fill

_DUST = 1e-9
"""Volumes below this are what adding floats leaves behind, not contracts."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One opening fill (or a part of it) and the fill that closed it. `direction` is the opening's: LONG or SHORT.

    `gross_pnl` is the price difference in currency; `net_pnl` is what is left of it after the commission and the
    slippage of both sides, each side's by its share of the volume.
    """

    direction: str
    volume: float
    open_time: datetime
    close_time: datetime
    open_price: float
    close_price: float
    gross_pnl: float
    net_pnl: float

    @property
    def holding_hours(self) -> float:
        """Hours from the opening to the closing by the calendar, nights and holidays included."""
        return (self.close_time - self.open_time).total_seconds() / 3600


@dataclass(slots=True)
class _Lot:
    fill: Fill
    left: float
    cost: float


def round_trips(job: BacktestJob, days: Sequence[Day], fills: Sequence[Fill]) -> Iterator[RoundTrip]:
    """The round trips of `fills`, in the order in which they were closed; what is open at the end is left out.

    A fill against the position closes its oldest parts first, whichever offset it has, as vnpy's net position does;
    what it has left over (a flip) opens the other way.
    """
    cost = _Costs(job, days, fills)
    lots: deque[_Lot] = deque()
    for fill in fills:
        left = fill.volume
        if left <= _DUST:
            continue
        per_contract = cost.of(fill)
        while left > _DUST and lots and lots[0].fill.direction != fill.direction:
            lot = lots[0]
            volume = min(left, lot.left)
            yield _trip(lot, fill, volume, job.size, per_contract)
            left -= volume
            lot.left -= volume
            if lot.left <= _DUST:
                lots.popleft()
        if left > _DUST:
            lots.append(_Lot(fill, left, per_contract))


def _trip(lot: _Lot, closing: Fill, volume: float, size: float, closing_cost: float) -> RoundTrip:
    opening = lot.fill
    points = closing.price - opening.price if opening.direction == "LONG" else opening.price - closing.price
    gross = points * volume * size
    return RoundTrip(
        direction=opening.direction,
        volume=volume,
        open_time=opening.time,
        close_time=closing.time,
        open_price=opening.price,
        close_price=closing.price,
        gross_pnl=gross,
        net_pnl=gross - volume * (lot.cost + closing_cost),
    )


class _Costs:
    """Commission and slippage of a contract. Fills that carry no commission share the days' by turnover; the days'
    slippage is shared by volume, which for vnpy's model is exactly its price units a contract.
    """

    def __init__(self, job: BacktestJob, days: Sequence[Day], fills: Sequence[Fill]) -> None:
        volume = turnover = 0.0
        carried = False
        for fill in fills:  # once: a run's own sequence makes its fills anew each time
            volume += fill.volume
            turnover += fill.volume * fill.price * job.size
            carried = carried or fill.commission != 0
        self._carried = carried
        self._size = job.size
        self._rate = sum(day.commission for day in days) / turnover if turnover and not carried else 0.0
        self._slippage = sum(day.slippage for day in days) / volume if volume else 0.0

    def of(self, fill: Fill) -> float:
        commission = fill.commission / fill.volume if self._carried else fill.price * self._size * self._rate
        return commission + self._slippage
