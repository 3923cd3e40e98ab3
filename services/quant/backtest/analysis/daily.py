"""Each day's mark to market, by vnpy's DailyResult: the profit of the position held, of the trades, and their costs.

With fill "vnpy" days are dates of the exchange's clock, as vnpy has them: a night counts to the date it is on, not to
its trading day. With fill "sim" they are the calendar's trading days.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from services.quant.backtest.execution.costs import FeeModel, SlippageModel
from services.quant.backtest.execution.fills import Fills
from services.quant.backtest.result import Day


def daily_results(
    closes: Mapping[date, float], fills: Fills, size: float, fee: FeeModel, slippage: SlippageModel
) -> list[Day]:
    """The days in the order of `closes` (day → last price). A trade of a day without a close makes one, of its price:
    it was made in the row in which the strategy failed."""
    of_day = fills.by_day()
    prices = {**closes, **{day: fills.plain(of_day[day][0])[2] for day in of_day if day not in closes}}
    days: list[Day] = []
    pre_close = position = 0.0
    for day, price in prices.items():
        made = _day(day, price, pre_close or 1.0, position, fills, of_day.get(day, ()), size, fee, slippage)
        days.append(made)
        pre_close, position = made.close_price, made.end_pos
    return days


def _day(
    day: date,
    close_price: float,
    pre_close: float,
    start_pos: float,
    fills: Fills,
    numbers: Sequence[int],
    size: float,
    fee: FeeModel,
    slippage: SlippageModel,
) -> Day:
    end_pos = start_pos
    turnover = commission = slipped = trading_pnl = 0.0
    for number in numbers:
        direction, offset, price, volume = fills.plain(number)
        change = volume if direction == "LONG" else -volume
        end_pos += change
        turned = volume * size * price
        trading_pnl += change * (close_price - price) * size
        slipped += slippage.slippage(price, volume, size)
        turnover += turned
        commission += fee.commission(price, volume, turned, offset, number + 1)
    holding_pnl = start_pos * (close_price - pre_close) * size
    total_pnl = trading_pnl + holding_pnl
    return Day(
        date=day,
        close_price=close_price,
        pre_close=pre_close,
        trade_count=len(numbers),
        start_pos=start_pos,
        end_pos=end_pos,
        turnover=turnover,
        commission=commission,
        slippage=slipped,
        trading_pnl=trading_pnl,
        holding_pnl=holding_pnl,
        total_pnl=total_pnl,
        net_pnl=total_pnl - commission - slipped,
    )


def with_balance(days: Sequence[Day], capital: float) -> list[Day]:
    """The same days with what follows from those before: balance, drawdown (≤ 0) and logarithmic return."""
    balances = np.cumsum([day.net_pnl for day in days]) + capital
    highest = np.maximum.accumulate(balances) if len(balances) else balances
    results: list[Day] = []
    before = capital
    for day, balance, high in zip(days, balances.tolist(), highest.tolist(), strict=True):
        ratio = balance / before if before else math.nan
        drawdown = balance - high
        results.append(
            replace(
                day,
                balance=balance,
                drawdown=drawdown,
                ddpercent=drawdown / high * 100 if high else math.nan,
                daily_return=math.log(ratio) if ratio > 0 else 0.0,
            )
        )
        before = balance
    return results
