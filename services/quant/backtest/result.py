"""The result of a backtest: trades, days, statistics, and sentences that comment on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from services.quant.backtest.data.dataset import Finding
from services.quant.backtest.job import BacktestJob

_LONGEST_LINE = 300


def last_line(traceback: str) -> str:
    """Return the exception of a traceback, in one line that is not too long for a sentence."""
    return traceback.strip().rpartition("\n")[2][:_LONGEST_LINE]


@dataclass(frozen=True, slots=True)
class Fill:
    """A trade: `time` aware in the exchange's zone, `direction` LONG or SHORT, `offset` OPEN, CLOSE, CLOSETODAY or
    CLOSEYESTERDAY (vnpy's names), price in currency, volume in contracts; ids as vnpy counts them, from 1."""

    trade_id: str
    order_id: str
    time: datetime
    direction: str
    offset: str
    price: float
    volume: float
    commission: float = 0.0


@dataclass(frozen=True, slots=True)
class Day:
    """A day's mark to market, field for field vnpy's DailyResult; then what follows from the days before."""

    date: date
    close_price: float
    pre_close: float
    trade_count: int
    start_pos: float
    end_pos: float
    turnover: float
    commission: float
    slippage: float
    trading_pnl: float
    holding_pnl: float
    total_pnl: float
    net_pnl: float
    balance: float = 0.0
    drawdown: float = 0.0
    ddpercent: float = 0.0
    daily_return: float = 0.0
    """vnpy's column `return`: logarithmic."""


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """One finished run. `statistics` has vnpy's keys first, then ours (sortino_ratio, calmar_ratio, win_rate,
    profit_factor, average_trade, turnover_ratio, var_95, cvar_95, …); dates in it are date objects.
    """

    job: BacktestJob
    trades: Sequence[Fill]
    days: Sequence[Day]
    statistics: Mapping[str, float | int | date | str]
    diagnostics: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    logs: Sequence[str] = ()
    row_count: int = 0
    order_count: int = 0
    elapsed_s: float = 0.0
    variables: Mapping[str, object] = field(default_factory=dict)
    """The strategy's variables at the end."""
    error: str = ""
    """The traceback when the strategy raised: what it did until then is in the rest, as vnpy has it."""
