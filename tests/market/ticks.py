"""Ticks for tests: made up ones, and the recorded days."""

import csv
import gzip
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from redfire.market.v1 import market_pb2 as pb

from tests import recorded_days
from tests.recorded_days import IF, IF_DAILY

SHANGHAI = ZoneInfo("Asia/Shanghai")
SYMBOL = "IF2101.CFFEX"


def at(text: str) -> int:
    """A local time of the exchange in nanoseconds: `at("2026-11-20 09:30:00.5")`."""
    moment = datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def tick(sequence: int, symbol: str = SYMBOL, **fields: Any) -> pb.Tick:
    fields.setdefault("time_ns", at("2026-11-20 09:30:00") + sequence * 500_000_000)
    fields.setdefault("last_price", 5000.0)
    fields.setdefault("volume", float(sequence))
    fields.setdefault("trading_day", 20261120)
    return pb.Tick(symbol=symbol, sequence=sequence, **fields)


def batch(*ticks: pb.Tick) -> bytes:
    return pb.StreamTicksResponse(ticks=ticks).SerializeToString()


def recorded(first_sequence: int = 1) -> Iterator[pb.Tick]:
    """The recorded days of IF2101, in order."""
    with gzip.open(recorded_days.recorded(IF), "rt") as file:
        for sequence, row in enumerate(csv.DictReader(file), first_sequence):
            number = {
                key: float(value or 0) for key, value in row.items() if key not in {"datetime", "symbol", "exchange"}
            }
            yield pb.Tick(
                symbol=SYMBOL,
                time_ns=at(row["datetime"]),
                sequence=sequence,
                last_quantity=number["last_volume"],
                pre_close_price=number["pre_close"],
                bid_prices=[number["bid_price_1"]],
                bid_quantities=[number["bid_volume_1"]],
                ask_prices=[number["ask_price_1"]],
                ask_quantities=[number["ask_volume_1"]],
                trading_day=int(row["trading_day"]),
                **{
                    name: number[name]
                    for name in (
                        "last_price", "volume", "turnover", "open_interest", "open_price", "high_price", "low_price",
                        "limit_up", "limit_down",
                    )
                },
            )  # fmt: skip


def daily() -> dict[int, dict[str, float]]:
    """The recorded daily bars of IF by trading day."""
    with gzip.open(recorded_days.recorded_days(IF_DAILY), "rt") as file:
        rows = list(csv.DictReader(file))
    return {
        int(row["datetime"].replace("-", "")): {key: float(value) for key, value in row.items() if key != "datetime"}
        for row in rows
    }
