"""Performance of a strategy, computed from its trades: pure functions over plain values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise

from services.quant.calendar import Calendar
from services.quant.calendar.days import to_date

# vnpy's, and the usual of Chinese exchanges.
TRADING_DAYS_A_YEAR = 240
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Fill:
    """A trade as far as performance needs it. `sign`: 1 bought, -1 sold; `realized_pnl` is before commission.

    `trading_day` is the books' (YYYYMMDD); 0: the calendar's.
    """

    time: datetime
    sign: int
    closes: bool
    price: Decimal
    quantity: Decimal
    commission: Decimal
    realized_pnl: Decimal
    trading_day: int = 0


@dataclass(slots=True)
class Day:
    """One trading day."""

    date: date
    net_pnl: Decimal = _ZERO
    commission: Decimal = _ZERO
    turnover: Decimal = _ZERO
    trade_count: int = 0


@dataclass(frozen=True, slots=True)
class Performance:
    """The performance of a strategy. Ratios are parts, not percent; annual figures count 240 trading days."""

    total_return: float
    annual_return: float
    annual_volatility: float
    sharpe_ratio: float
    sortino_ratio: float
    max_drawdown: float
    win_rate: float
    profit_factor: float
    turnover: Decimal
    trade_count: int
    realized_pnl: Decimal
    unrealized_pnl: Decimal
    commission: Decimal
    daily: tuple[Day, ...]


def by_day(
    fills: Sequence[Fill], contract_size: Decimal, symbol: str, calendar: Calendar, until: datetime | None = None
) -> list[Day]:
    """Every trading day from the first fill to the last one (or `until`), also those without fills."""
    if not fills:
        return []

    def day_of(time: datetime) -> int:
        return calendar.trading_day(symbol, int(time.timestamp()) * 1_000_000_000)

    numbers = [fill.trading_day or day_of(fill.time) for fill in fills]
    last = max(numbers[-1], day_of(until) if until else 0)
    days = {day: Day(to_date(day)) for day in calendar.trading_days(symbol.rpartition(".")[2], numbers[0], last)}
    for number, fill in zip(numbers, fills, strict=True):
        entry = days.setdefault(number, Day(to_date(number)))
        entry.net_pnl += fill.realized_pnl - fill.commission
        entry.commission += fill.commission
        entry.turnover += fill.price * fill.quantity * contract_size
        entry.trade_count += 1
    return [days[key] for key in sorted(days)]


def performance(
    fills: Sequence[Fill],
    contract_size: Decimal,
    capital: Decimal,
    last_price: Decimal | None,
    symbol: str,
    calendar: Calendar,
    until: datetime | None = None,
) -> Performance:
    """Performance of fills in order of time. Open positions count at the last price, on the last day."""
    days = by_day(fills, contract_size, symbol, calendar, until)
    open_pnl = unrealized(fills, contract_size, last_price)
    equity = [float(capital)]
    for index, day in enumerate(days):
        equity.append(equity[-1] + float(day.net_pnl + (open_pnl if index == len(days) - 1 else _ZERO)))
    returns = [now / before - 1 if before > 0 else 0.0 for before, now in pairwise(equity)]
    total_return = equity[-1] / equity[0] - 1 if equity[0] > 0 else 0.0
    annual_return = total_return / len(days) * TRADING_DAYS_A_YEAR if days else 0.0
    volatility = _deviation(returns) * math.sqrt(TRADING_DAYS_A_YEAR)
    downside = _downside(returns) * math.sqrt(TRADING_DAYS_A_YEAR)
    closes = [fill.realized_pnl for fill in fills if fill.closes]
    won = sum((pnl for pnl in closes if pnl > 0), _ZERO)
    lost = -sum((pnl for pnl in closes if pnl < 0), _ZERO)
    return Performance(
        total_return=total_return,
        annual_return=annual_return,
        annual_volatility=volatility,
        sharpe_ratio=annual_return / volatility if volatility else 0.0,
        sortino_ratio=annual_return / downside if downside else 0.0,
        max_drawdown=max_drawdown(equity),
        win_rate=sum(1 for pnl in closes if pnl > 0) / len(closes) if closes else 0.0,
        profit_factor=float(won / lost) if lost else 0.0,
        turnover=sum((day.turnover for day in days), _ZERO),
        trade_count=len(fills),
        realized_pnl=sum((fill.realized_pnl for fill in fills), _ZERO),
        unrealized_pnl=open_pnl,
        commission=sum((fill.commission for fill in fills), _ZERO),
        daily=tuple(days),
    )


def unrealized(fills: Sequence[Fill], contract_size: Decimal, last_price: Decimal | None) -> Decimal:
    """Profit that closing now would bring: all cash flows and the position at the last price, less what is realised."""
    if last_price is None:
        return _ZERO
    position = sum((fill.quantity * fill.sign for fill in fills), _ZERO)
    cash = -sum((fill.price * fill.quantity * fill.sign for fill in fills), _ZERO)
    realized = sum((fill.realized_pnl for fill in fills), _ZERO)
    return (cash + position * last_price) * contract_size - realized


def max_drawdown(equity: Sequence[float]) -> float:
    """The deepest fall below an earlier peak as a part of it, 0 or negative."""
    deepest, peak = 0.0, -math.inf
    for value in equity:
        peak = max(peak, value)
        if peak > 0:
            deepest = min(deepest, value / peak - 1)
    return deepest


def _deviation(returns: Sequence[float]) -> float:
    """The sample's standard deviation."""
    if len(returns) < 2:
        return 0.0
    mean = sum(returns) / len(returns)
    return math.sqrt(sum((value - mean) ** 2 for value in returns) / (len(returns) - 1))


def _downside(returns: Sequence[float]) -> float:
    """The root mean square of losses, days without one counting as 0 (Sortino's, with target 0)."""
    if not returns:
        return 0.0
    return math.sqrt(sum(min(value, 0.0) ** 2 for value in returns) / len(returns))
