"""Backtests' results made without an engine: a position that turns every few bars, marked to market by the day."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from services.quant.backtest.analysis.performance import extra_statistics
from services.quant.backtest.data.dataset import Bars
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.optimise import Axis, Failure, OptimisationResult, Point, Space
from services.quant.backtest.optimise.walk_forward import WalkForwardResult, Window
from services.quant.backtest.result import BacktestResult, Day, Fill

ZONE = ZoneInfo("Asia/Shanghai")


def fill(
    number: int, at: datetime, direction: str, offset: str, price: float, volume: float, commission: float = 0.0
) -> Fill:
    return Fill(str(number), str(number), at, direction, offset, price, volume, commission)


def day(on: date, **values: float) -> Day:
    names = (
        "close_price", "pre_close", "start_pos", "end_pos", "turnover", "commission", "slippage", "trading_pnl",
        "holding_pnl", "total_pnl", "net_pnl",
    )  # fmt: skip
    return Day(date=on, trade_count=int(values.pop("trade_count", 0)), **(dict.fromkeys(names, 0.0) | values))


def finished(days: list[Day], capital: float) -> list[Day]:
    """Days with balance, drawdown and return by the net profits."""
    balance = highest = capital
    done = []
    for one in days:
        before, balance = balance, balance + one.net_pnl
        highest = max(highest, balance)
        done.append(
            Day(
                **{name: getattr(one, name) for name in Day.__slots__[:13]},
                balance=balance,
                drawdown=balance - highest,
                ddpercent=(balance - highest) / highest * 100,
                daily_return=float(np.log(balance / before)) if balance > 0 and before > 0 else 0.0,
            )
        )
    return done


def turning(bars: Bars, every: int = 200, **job_values: object) -> BacktestResult:
    """Long and short in turn, by one contract, every `every` bars; logs and findings included."""
    job = BacktestJob(
        **({"class_name": "TurningStrategy", "symbol": bars.symbol, "interval": bars.interval} | job_values)  # type: ignore[arg-type]
    )
    times = [datetime.fromtimestamp(ns // 10**9, UTC).astimezone(ZONE) for ns in bars.time_ns.tolist()]
    fills: list[Fill] = []
    for turn, row in enumerate(range(every, len(bars), every)):
        price, direction = float(bars.close[row]), "LONG" if turn % 2 == 0 else "SHORT"
        for offset in ("CLOSE", "OPEN") if turn else ("OPEN",):
            commission = price * job.size * job.rate
            fills.append(fill(len(fills) + 1, times[row], direction, offset, price, 1.0, commission))
    days = _days(job, bars, times, fills)
    net = sum(one.net_pnl for one in days)
    statistics = {
        "start_date": days[0].date, "end_date": days[-1].date, "total_days": len(days), "capital": job.capital,
        "end_balance": job.capital + net, "total_net_pnl": net, "total_return": net / job.capital * 100,
        "annual_return": net / job.capital * 100 / len(days) * 240, "sharpe_ratio": 1.25,
        "max_ddpercent": min(one.ddpercent for one in days), "max_drawdown": min(one.drawdown for one in days),
        "total_trade_count": len(fills), "total_commission": sum(one.commission for one in days),
    }  # fmt: skip
    return BacktestResult(
        job, fills, days, statistics | extra_statistics(job, days, fills), row_count=len(bars), order_count=len(fills),
        elapsed_s=0.5,
    )  # fmt: skip


def searched(
    points: list[tuple[dict[str, object], float]], target: str, failures: tuple[Failure, ...] = ()
) -> OptimisationResult:
    """A search with these points as its result."""
    names = list(points[0][0]) if points else ["a"]
    values = {name: tuple(dict.fromkeys(given[name] for given, _ in points)) or (1,) for name in names}
    job = BacktestJob("TurningStrategy", "rb2501.SHFE", "1m")
    ran = [
        Point(given, value, {target: value, "total_trade_count": number})
        for number, (given, value) in enumerate(points)
    ]
    ran.sort(key=lambda point: -point.value if point.value == point.value else np.inf)
    space = Space(tuple(Axis(name, values[name]) for name in names))  # type: ignore[arg-type]
    return OptimisationResult(job, space, target, "grid", tuple(ran), failures)


def walked(result: BacktestResult) -> WalkForwardResult:
    """A walk-forward of two windows, the second without a test."""
    days = result.days
    best = Point({"every": 3}, 1.25, {"sharpe_ratio": 1.25, "annual_return": 10.0})
    windows = (
        Window(days[0].date, days[4].date, days[5].date, days[9].date, best, -0.5, {"sharpe_ratio": -0.5}),
        Window(days[5].date, days[9].date, days[10].date, days[14].date, None, error="no point ran <b>to its end</b>"),
    )
    return WalkForwardResult(
        result.job, "sharpe_ratio", windows, tuple(days), tuple(result.trades), result.statistics, -0.07
    )


def _days(job: BacktestJob, bars: Bars, times: list[datetime], fills: list[Fill]) -> list[Day]:
    close = {at.date(): float(bars.close[row]) for row, at in enumerate(times)}
    of: dict[date, list[Fill]] = {}
    for one in fills:
        of.setdefault(one.time.date(), []).append(one)
    days, before, position = [], 0.0, 0.0
    for on, price in close.items():
        start, trading = position, 0.0
        for one in of.get(on, []):
            change = one.volume if one.direction == "LONG" else -one.volume
            position += change
            trading += change * (price - one.price) * job.size
        held = start * (price - before) * job.size if before else 0.0
        turnover = sum(one.volume * one.price * job.size for one in of.get(on, []))
        commission = turnover * job.rate
        slippage = sum(one.volume for one in of.get(on, [])) * job.size * job.slippage
        total = held + trading
        days.append(
            day(
                on, close_price=price, pre_close=before, trade_count=len(of.get(on, [])), start_pos=start,
                end_pos=position, turnover=turnover, commission=commission, slippage=slippage, trading_pnl=trading,
                holding_pnl=held, total_pnl=total, net_pnl=total - commission - slippage,
            )
        )  # fmt: skip
        before = price
    return finished(days, job.capital)
