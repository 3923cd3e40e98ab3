"""The tables of a report: months, statistics by group, costs, and round trips by side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.quant.backtest.analysis.round_trip import RoundTrip
from services.quant.backtest.report import numbers
from services.quant.backtest.report.catalogue import Catalogue, Statistic
from services.quant.backtest.result import BacktestResult, Day

GROUPS = ("return", "risk", "ratio", "trade", "activity", "period", "other")


@dataclass(frozen=True, slots=True)
class MonthCell:
    """A month's (or a year's) return in percent, None where there were no days; `tint` 0 … 1 by its size."""

    value: float | None
    tint: float = 0.0


@dataclass(frozen=True, slots=True)
class YearRow:
    """A line of the monthly table."""

    year: int
    months: Sequence[MonthCell]
    total: MonthCell


@dataclass(frozen=True, slots=True)
class Cost:
    """A line of the costs: amount in currency, shares in percent of the gross profit and basis points of turnover."""

    name: str
    amount: float
    of_gross: float | None
    of_turnover_bp: float | None


@dataclass(frozen=True, slots=True)
class Side:
    """The round trips of one side together."""

    name: str
    count: int
    win_rate: float
    profit: float
    average: float
    hours: float


def months(days: Sequence[Day], capital: float) -> list[YearRow]:
    """Returns by year and month, compounded over the balance; none once the balance is gone."""
    ends: dict[tuple[int, int], float] = {}
    for day in days:
        ends[day.date.year, day.date.month] = day.balance
    returns: dict[tuple[int, int], float] = {}
    before = capital
    for month, balance in ends.items():
        returns[month] = (balance / before - 1) * 100 if before > 0 else 0.0
        before = balance
    largest = max((abs(value) for value in returns.values()), default=0.0)
    rows = []
    before = capital
    for year in sorted({year for year, _ in ends}):
        cells = [_cell(returns.get((year, month)), largest) for month in range(1, 13)]
        last = [balance for (of, _), balance in ends.items() if of == year][-1]
        total = (last / before - 1) * 100 if before > 0 else 0.0
        before = last
        rows.append(YearRow(year, cells, MonthCell(total)))
    return rows


def _cell(value: float | None, largest: float) -> MonthCell:
    # The square root keeps small months apart from none at all.
    return MonthCell(value, round(math.sqrt(abs(value) / largest), 3) if value and largest else 0.0)


def statistics_by_group(result: BacktestResult, texts: Catalogue) -> list[tuple[str, list[tuple[Statistic, str]]]]:
    """(group, its statistics with their values as text), those of the catalogue in its order, unknown ones last."""
    known = [name for name in texts.statistics if name in result.statistics]
    unknown = [name for name in result.statistics if name not in texts.statistics]
    groups: dict[str, list[tuple[Statistic, str]]] = {group: [] for group in GROUPS}
    for name in known + unknown:
        statistic = texts.statistic(name)
        groups[statistic.group].append((statistic, numbers.statistic(result.statistics[name], statistic.unit)))
    return [(group, rows) for group, rows in groups.items() if rows]


def costs(days: Sequence[Day]) -> list[Cost]:
    """Gross profit, commission, slippage, net profit."""
    commission = sum(day.commission for day in days)
    slippage = sum(day.slippage for day in days)
    net = sum(day.net_pnl for day in days)
    gross = net + commission + slippage
    turnover = sum(day.turnover for day in days)

    def line(name: str, amount: float) -> Cost:
        return Cost(
            name,
            amount,
            100 * amount / gross if gross > 0 else None,
            10_000 * amount / turnover if turnover > 0 else None,
        )

    return [line("gross", gross), line("commission", -commission), line("slippage", -slippage), line("net", net)]


def sides(trips: Sequence[RoundTrip]) -> list[Side]:
    """Long, short and both together, those that there are."""
    named: Mapping[str, Sequence[RoundTrip]] = {
        "LONG": [trip for trip in trips if trip.direction == "LONG"],
        "SHORT": [trip for trip in trips if trip.direction != "LONG"],
        "both": trips,
    }
    return [_side(name, of) for name, of in named.items() if of]


def _side(name: str, trips: Sequence[RoundTrip]) -> Side:
    profit = sum(trip.net_pnl for trip in trips)
    return Side(
        name=name,
        count=len(trips),
        win_rate=100 * sum(1 for trip in trips if trip.net_pnl > 0) / len(trips),
        profit=profit,
        average=profit / len(trips),
        hours=sum(trip.holding_hours for trip in trips) / len(trips),
    )


def best_and_worst(trips: Sequence[RoundTrip], count: int = 5) -> list[RoundTrip]:
    """The `count` best and the `count` worst round trips, best first; all when there are no more."""
    ordered = sorted(trips, key=lambda trip: trip.net_pnl, reverse=True)
    return ordered if len(ordered) <= 2 * count else ordered[:count] + ordered[-count:]
