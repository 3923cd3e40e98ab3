"""Recorded market data: real days where they lie beside the project, else a likeness of them that is made here.

A likeness has the columns, sessions and oddities of the real file, and prices of a random walk that is always the
same. What is right for real days only asks for `recorded_days`.
"""

import csv
import gzip
import io
import os
import random
import tempfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import cache
from pathlib import Path

from services.quant.calendar.closures import load_closures
from tests.machine import lacks

DATA = Path(os.environ.get("REDFIRE_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
RB, IF = "bars_5m_SHFE_rb_HOT_2019-2020.csv.gz", "ticks_CFFEX_IF2101_20210104-06.csv.gz"
IF_DAILY = "bars_1d_CFFEX_IF_HOT_2010-2021.csv.gz"
WHAT = {
    RB: "5-minute bars of SHFE's rebar, 2019-08 to 2020-08",
    IF: "500 ms snapshots of CFFEX's IF2101, 4 to 6 January 2021",
    IF_DAILY: "daily bars of CFFEX's IF, 2010 to 2021, whose figures the ticks of IF2101 must agree with",
}
_IF_COLUMNS = (
    "datetime,symbol,exchange,last_price,last_volume,volume,turnover,open_interest,bid_price_1,bid_volume_1,"
    "ask_price_1,ask_volume_1,open_price,high_price,low_price,pre_close,pre_settle,limit_up,limit_down,trading_day"
)
MISSING = {4: 700, 5: 690, 6: 690}  # snapshots of a day that never came
_FOLDER = tempfile.TemporaryDirectory(prefix="redfire-likeness-")


def recorded(name: str) -> Path:
    """The real file, or its likeness."""
    return DATA / name if (DATA / name).exists() else _likeness(name)


def recorded_days(name: str) -> Path:
    """The real file. Absent: the test is skipped, under CI it fails."""
    if not (DATA / name).exists():
        lacks(f"needs real days that are not part of RedFire: {WHAT[name]}, as {DATA.parent.name}/{DATA.name}/{name}")
    return DATA / name


@cache
def _likeness(name: str) -> Path:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows({RB: _rb_rows, IF: _if_rows}[name]())
    file = Path(_FOLDER.name) / name
    file.write_bytes(gzip.compress(text.getvalue().encode(), 1, mtime=0))
    return file


def _rb_rows() -> Iterator[list[object]]:
    """Stamped at their end; the night before 26 December 2019 begins late, in spring 2020 there is none."""
    chance = random.Random(20190801)
    yield ["datetime", "open", "high", "low", "close", "volume"]
    price = 3888
    day, before = date(2019, 8, 1), date(2019, 7, 31)
    while day <= date(2020, 8, 13):
        if day.weekday() < 5 and not load_closures().closes((day - date(1970, 1, 1)).days):
            sessions = [(day, 9, 0, 75), (day, 10, 30, 60), (day, 13, 30, 90)]
            follows = day - before <= timedelta(days=3 if day.weekday() == 0 else 1)
            if follows and not date(2020, 2, 1) <= day <= date(2020, 5, 6):
                sessions.insert(0, (before, 21, 0, 120))
            for on, hour, minute, minutes in sessions:
                missing = 90 if (on, hour) == (date(2019, 12, 25), 21) else 0
                for end in range(missing + 5, minutes + 1, 5):
                    opened = max(price + chance.randint(-2, 2), 2000)
                    price = max(opened + round(chance.gauss(0, 5)), 2000)
                    high, low = max(opened, price) + chance.randint(0, 5), min(opened, price) - chance.randint(0, 5)
                    stamp = datetime.combine(on, time(hour, minute)) + timedelta(minutes=end)
                    yield [stamp, opened, high, low, price, chance.randint(2_000, 60_000) * (1 + (day.year < 2020))]
            before = day
        day += timedelta(days=1)


def _if_rows() -> Iterator[list[object]]:
    """Rows with an auction's tick before each day, some missing snapshots, and eight without a trade after it."""
    chance = random.Random(20210104)
    yield _IF_COLUMNS.split(",")
    price, held = 26_150, 90_767  # in ticks of 0.2
    for number in (4, 5, 6):
        day = date(2021, 1, number)
        close, volume, turnover = price, 0, 0.0
        opened = high = low = price = price + chance.randint(-40, 40)
        moments = [datetime.combine(day, time(9, 29, 0, 400_000))]
        for start in (time(9, 30), time(13)):
            moments += [datetime.combine(day, start) + timedelta(seconds=0.4 + i / 2) for i in range(14_400)]
        silent = [datetime.combine(day, time(15, 1, 30)) + timedelta(minutes=5 * i) for i in range(8)]
        for lost in sorted(chance.sample(range(1, len(moments)), MISSING[number]), reverse=True):
            del moments[lost]
        for moment in (*moments, *silent):
            traded = chance.choice((0, 0, 0, 1, 1, 2, 3, 9)) if moment < silent[0] else 0
            traded += 240 if moment == moments[0] else 0
            if traded:
                price += chance.choice((-2, -1, -1, 0, 0, 0, 1, 1, 2))
                high, low = max(high, price), min(low, price)
                volume, turnover = volume + traded, turnover + traded * price * 60.0
                held += chance.randint(-traded, traded)
            bid = price - chance.randint(0, 1)
            ask = bid + chance.randint(1, 3)
            yield [
                moment.isoformat(" ", "microseconds"), "IF2101", "CFFEX", _points(price), traded, volume, turnover,
                held,
                _points(bid), chance.randint(1, 9), _points(ask), chance.randint(1, 9), _points(opened), _points(high),
                _points(low), _points(close), _points(close), _points(round(close * 1.1)), _points(round(close * 0.9)),
                day.strftime("%Y%m%d"),
            ]  # fmt: skip


def _points(ticks: int) -> float:
    return round(ticks * 0.2, 1)
