"""The contents of the archive's files: columns, their order, and the numbers that stand for intervals."""

from collections.abc import Mapping
from pathlib import Path

from services.quant.archive.archive import Archive
from services.quant.archive.parquet_files import EPOCH
from services.quant.archive.storage import LocalStorage

FOLDER = "market"
"""Below the data folder."""
TICK_LISTS = ("bid_prices", "bid_quantities", "ask_prices", "ask_quantities")
TICK_COLUMNS = (
    "time_ns", "sequence", "last_price", "last_quantity", "volume", "turnover", "open_interest", "open_price",
    "high_price", "low_price", "pre_close_price", "limit_up", "limit_down", *TICK_LISTS, "trading_day",
)  # fmt: skip
"""The fields of market.v1.Tick, in its order, without the symbol and the gateway: a symbol has one at a time."""
BAR_COLUMNS = ("interval", "start_ns", "open", "high", "low", "close", "volume", "turnover", "open_interest")
INCOMPLETE = "incomplete"
"""1 for a bar that was built over a gap; files of before it, and imported ones, have no such column."""
INTERVALS: Mapping[str, int] = {
    "1m": 1, "5m": 2, "15m": 3, "30m": 4, "1h": 5, "4h": 6, "1d": 7,
    "3m": 1003, "10m": 1010, "2h": 1120, "1w": 11080,
}  # fmt: skip
"""Numbers as in common.v1.Interval; for those that it does not have 1000 + minutes: market leaves them alone."""


def ticks(folder: Path) -> Archive:
    """The ticks below the archive's folder."""
    integers = ("time_ns", "sequence", "trading_day", EPOCH)
    return Archive(LocalStorage(folder), "ticks", ("time_ns", "sequence"), integers, TICK_LISTS)


def bars(folder: Path) -> Archive:
    """The bars below the archive's folder. Of duplicate bars the one of the later checkpoint counts."""
    order = ("start_ns", "interval", "checkpoint")
    return Archive(LocalStorage(folder), "bars", order, (*order, INCOMPLETE))
