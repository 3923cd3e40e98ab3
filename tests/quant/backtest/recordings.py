"""Real recorded bars and ticks as datasets."""

import csv
import gzip
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np

from services.quant.backtest.data.dataset import Bars, Ticks
from tests.recorded_days import IF, RB, recorded

ZONE = ZoneInfo("Asia/Shanghai")
_TEXT = {"datetime", "symbol", "exchange", "trading_day", "pre_settle"}


def _rows(name: str) -> list[dict[str, str]]:
    with gzip.open(recorded(name), "rt", newline="") as file:
        return list(csv.DictReader(file))


def _ns(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() * 1e6) * 1000


@cache
def rb_bars() -> Bars:
    """rb, 5 minutes; the file stamps the END."""
    rows = _rows(RB)
    at = np.array([_ns(row["datetime"]) - 300 * 10**9 for row in rows])
    columns = [np.array([float(row[name]) for row in rows]) for name in ("open", "high", "low", "close", "volume")]
    return Bars("rb888.SHFE", "5m", at, *columns, np.zeros(len(rows)), np.zeros(len(rows)))


@cache
def if_ticks() -> Ticks:
    """IF2101, three days."""
    rows = _rows(IF)
    names = [name for name in rows[0] if name not in _TEXT]
    columns = {name: np.array([float(row[name] or 0) for row in rows]) for name in names}
    return Ticks("IF2101.CFFEX", np.array([_ns(row["datetime"]) for row in rows]), columns)
