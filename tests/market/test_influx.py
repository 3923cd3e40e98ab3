"""Ticks and bars in a real InfluxDB: all of them, as they were, whatever becomes of it meanwhile."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redfire.market.v1 import market_pb2 as pb

from services.market import metrics
from services.market.influx import sink as sink_module
from services.market.influx.sink import InfluxSink
from services.market.settings import MarketSettings, influx_write_url
from services.quant.bars import Bar, Interval
from services.quant.bars.local_clock import LocalClock
from tests.influx import PASSWORD, USER, InfluxServer, influx_server
from tests.market.recorder import SCANNER, ticks
from tests.market.running_market import running
from tests.market.ticks import SYMBOL, at, batch, tick
from tests.waiting import until

pytestmark = pytest.mark.slow  # a server of its own is started


@pytest.fixture(scope="module")
def influx() -> Iterator[InfluxServer]:
    with influx_server() as server:
        yield server


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_module, "BATCH_S", 0.02)
    monkeypatch.setattr(sink_module, "_RETRY_S", 0.02)
    monkeypatch.setattr(sink_module, "_LONGEST_RETRY_S", 0.1)


@asynccontextmanager
async def sending(url: str, token: str = "") -> AsyncIterator[InfluxSink]:
    sink = InfluxSink(url, LocalClock("Asia/Shanghai"), token)
    task = asyncio.create_task(sink.run())
    yield sink
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await sink.close()


def publish(sink: InfluxSink, *sent: pb.Tick) -> None:
    sink.on_batch(SCANNER.scan(batch(*sent)))


def count(counter: Any) -> float:
    return float(counter._value.get())


async def rows(influx: InfluxServer, database: str, query: str, number: int) -> list[dict[str, Any]]:
    """The rows of a query, when there are so many, whole: InfluxDB shows a point's fields one after the other."""

    async def found() -> list[dict[str, Any]]:
        there = await asyncio.to_thread(influx.rows, database, query)
        whole = len(there) >= number and there == await asyncio.to_thread(influx.rows, database, query)
        return there if whole else []

    return await until(found, timeout_s=20)


async def test_ticks_arrive_as_they_were(influx: InfluxServer, database: str) -> None:
    sent = [*ticks(300), tick(301, gateway="SIM", last_price=1e300, volume=0.1 + 0.2, turnover=-0.0)]
    async with sending(influx.url(database)) as sink:
        publish(sink, *sent[:7])
        publish(sink, *sent[7:])
        there = await rows(influx, database, "SELECT * FROM ticks", 301)
    assert [row["time"] for row in there] == [one.time_ns for one in sent]
    for row, one in zip(there, sent, strict=True):
        assert row["symbol"] == SYMBOL
        assert row["gateway"] == (one.gateway or None)
        for name in ("sequence", "trading_day", "last_price", "volume", "turnover", "limit_up"):
            assert row[name] == getattr(one, name)
        for level, price in enumerate(one.bid_prices, 1):
            assert (row[f"bid_price_{level}"], row[f"bid_quantity_{level}"]) == (price, one.bid_quantities[level - 1])
        assert row["ask_price_1"] == (one.ask_prices[0] if one.ask_prices else None)


async def test_bars_arrive_at_their_starts(influx: InfluxServer, database: str) -> None:
    start = at("2026-11-20 09:30:00")
    sent = [
        Bar(SYMBOL, Interval.MINUTE, start, 1.0, 4.0, 0.5, 2.5, 10.0, 25.0, 100.0, 20261120),
        Bar(SYMBOL, Interval.DAY, start, 1.0, 4.0, 0.5, 2.5, 10.0, 25.0, 100.0, 20261120, True),
    ]
    async with sending(influx.url(database)) as sink:
        for bar in sent:
            sink.on_bar(bar)
        there = await rows(influx, database, "SELECT * FROM bars", 2)
    assert {row["interval"]: row["incomplete"] for row in there} == {"1m": False, "1d": True}
    for row in there:
        assert (row["time"], row["symbol"], row["trading_day"]) == (start, SYMBOL, 20261120)
        assert [row[name] for name in ("open", "high", "low", "close", "volume", "turnover", "open_interest")] == [
            1.0, 4.0, 0.5, 2.5, 10.0, 25.0, 100.0,
        ]  # fmt: skip


async def test_bars_of_two_trading_days_with_the_same_start_are_both_there(influx: InfluxServer, database: str) -> None:
    start = at("2026-11-20 16:00:00")
    async with sending(influx.url(database)) as sink:
        for volume, trading_day in ((1.0, 20261120), (2.0, 20261123)):
            sink.on_bar(Bar(SYMBOL, Interval.HOURS_4, start, 1.0, 1.0, 1.0, 1.0, volume, 1.0, 1.0, trading_day))
        there = await rows(influx, database, "SELECT * FROM bars", 2)
    found = sorted((row["session"], row["trading_day"], row["volume"]) for row in there)
    assert found == [("day", 20261120, 1.0), ("night", 20261123, 2.0)]


async def test_ticks_of_the_same_time_are_all_there(influx: InfluxServer, database: str) -> None:
    time_ns = at("2026-11-20 09:30:00")
    sent = [tick(n + 1, symbol, time_ns=time_ns + n // 3 * 500) for n in range(9) for symbol in (SYMBOL, "a.SHFE")]
    async with sending(influx.url(database)) as sink:
        publish(sink, *sent[:5])
        publish(sink, *sent[5:])
        there = await rows(influx, database, f"SELECT * FROM ticks WHERE symbol = '{SYMBOL}'", 9)
    assert [row["sequence"] for row in there] == list(range(1, 10))
    assert [row["time"] - time_ns for row in there] == [0, 1, 2, 500, 501, 502, 1000, 1001, 1002]


async def test_a_tick_a_nanosecond_later_replaces_none_of_before(influx: InfluxServer, database: str) -> None:
    time_ns = at("2026-11-20 09:30:00")
    sent = [tick(n + 1, time_ns=time_ns + later) for n, later in enumerate((0, 0, 0, 1, 2, 2, 9))]
    async with sending(influx.url(database)) as sink:
        publish(sink, *sent)
        there = await rows(influx, database, "SELECT sequence FROM ticks", 7)
    assert [row["time"] - time_ns for row in there] == [0, 1, 2, 3, 4, 5, 9]
    assert [row["sequence"] for row in there] == list(range(1, 8))


@pytest.mark.parametrize(
    ("text", "arrives"),
    [
        ("CTP", "CTP"),
        ("a b,c=d", "a b,c=d"),
        ("模拟 柜台", "模拟 柜台"),
        ('say "hi"', 'say "hi"'),
        ("two\nlines\r\t.", "two lines  ."),
        ("back\\", "back/"),
        ("a\\,b\\=c\\ d", "a/,b/=c/ d"),
        ("#x,y=1 z=2 3", "#x,y=1 z=2 3"),
    ],
)
async def test_tags_are_escaped(influx: InfluxServer, database: str, text: str, arrives: str) -> None:
    name = f"tags {abs(hash(text))}"
    async with sending(influx.url(name)) as sink:
        publish(sink, tick(1, text, gateway=text))
        sink.on_bar(Bar(text, Interval.MINUTE, 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 20261120))
        (row,) = await rows(influx, name, "SELECT * FROM ticks", 1)
        (bar,) = await rows(influx, name, "SELECT * FROM bars", 1)
    assert (row["symbol"], row["gateway"], bar["symbol"]) == (arrives, arrives, arrives)
    assert row["last_price"] == 5000.0


async def test_numbers_that_it_does_not_know_are_left_out(influx: InfluxServer, database: str) -> None:
    async with sending(influx.url(database)) as sink:
        publish(sink, tick(1, turnover=math.nan, limit_up=math.inf, limit_down=-math.inf, bid_prices=[math.nan, 2.0]))
        (row,) = await rows(influx, database, "SELECT * FROM ticks", 1)
    assert row["last_price"] == 5000.0
    assert row["bid_price_2"] == 2.0
    assert not {"turnover", "limit_up", "limit_down", "bid_price_1"} & row.keys()


async def test_what_comes_while_it_is_away_arrives_later(
    influx: InfluxServer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    sent, url = ticks(500), influx.url(database)
    failures, points = count(metrics.influx_failures), count(metrics.influx_points)
    async with sending(url) as sink:
        publish(sink, *sent[:100])
        await rows(influx, database, "SELECT sequence FROM ticks", 100)
        influx.stop()
        try:
            for first in range(100, 500, 10):
                publish(sink, *sent[first : first + 10])
            await until(lambda: count(metrics.influx_failures) > failures + 2)
        finally:
            influx.start()  # by this thread: it ends with it
        there = await rows(influx, database, "SELECT sequence FROM ticks", 500)
    assert [row["sequence"] for row in there] == [one.sequence for one in sent]
    await until(lambda: count(metrics.influx_points) == points + 500)
    assert len([one for one in caplog.records if "takes no points" in one.message]) == 1
    assert len([one for one in caplog.records if "takes points again" in one.message]) == 1


async def test_more_than_it_may_hold_is_dropped_counted_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    size = len(batch(*ticks(10)))
    monkeypatch.setattr(sink_module, "HELD_BYTES", 3 * size)
    monkeypatch.setattr(sink_module, "_LAST_S", 0.0)
    dropped = count(metrics.influx_dropped)
    async with sending("http://127.0.0.1:9/nobody") as sink:
        for _ in range(10):
            publish(sink, *ticks(10))
        assert count(metrics.influx_dropped) == dropped + 70
    assert count(metrics.influx_dropped) == dropped + 100
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) == 1


async def test_points_that_are_refused_stop_no_others(influx: InfluxServer, database: str) -> None:
    dropped = count(metrics.influx_dropped)
    url = influx.url(database)
    async with sending(url) as sink:
        publish(sink, tick(1))
        await rows(influx, database, "SELECT sequence FROM ticks", 1)
        # No time that InfluxDB has.
        publish(sink, tick(2, time_ns=(1 << 63) - 1))
        await until(lambda: count(metrics.influx_dropped) == dropped + 1)
        publish(sink, tick(3))
        there = await rows(influx, database, "SELECT sequence FROM ticks", 2)
    assert [row["sequence"] for row in there] == [1, 3]


async def test_points_that_are_refused_are_said_once(
    influx: InfluxServer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    dropped = count(metrics.influx_dropped)
    async with sending(influx.url(database)) as sink:
        for sequence in (1, 2, 3):
            publish(sink, tick(sequence, time_ns=(1 << 63) - 1))  # no time that InfluxDB has
            await until(lambda done=dropped + sequence: count(metrics.influx_dropped) == done)
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) == 1


async def test_a_point_that_has_no_line_costs_no_other(
    influx: InfluxServer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    dropped, points = count(metrics.influx_dropped), count(metrics.influx_points)
    bar = Bar(SYMBOL, 99, 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 20261120)  # type: ignore[arg-type] no such interval
    async with sending(influx.url(database)) as sink:
        publish(sink, *ticks(5))
        sink.on_bar(bar)
        sink.on_bar(bar)
        publish(sink, tick(6))
        there = await rows(influx, database, "SELECT sequence FROM ticks", 6)
    assert [row["sequence"] for row in there] == [1, 2, 3, 4, 5, 6]
    assert count(metrics.influx_dropped) == dropped + 2
    assert count(metrics.influx_points) == points + 6
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) == 1


async def test_a_token_of_version_1_is_a_user_and_a_password() -> None:
    with influx_server(auth=True) as influx:
        url = influx.url("private")
        async with sending(url, f"{USER}:{PASSWORD}") as sink:
            publish(sink, tick(1))
            await rows(influx, "private", "SELECT sequence FROM ticks", 1)
        refused = count(metrics.influx_failures)
        async with sending(url, f"{USER}:wrong") as sink:
            publish(sink, tick(2))
            await until(lambda: count(metrics.influx_failures) > refused)
        assert len(influx.rows("private", "SELECT sequence FROM ticks")) == 1


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://host:8086/market", "http://host:8086/write?db=market&precision=ns"),
        ("https://host/a%20b/", "https://host/write?db=a+b&precision=ns"),
        (
            "http://host:8086/api/v2/write?org=my org&bucket=b",
            "http://host:8086/api/v2/write?org=my+org&bucket=b&precision=ns",
        ),
        ("http://host:8086/write?db=x&rp=week&precision=s", "http://host:8086/write?db=x&rp=week&precision=ns"),
    ],
)
def test_lines_are_posted_to(url: str, address: str) -> None:
    assert influx_write_url(url) == address


@pytest.mark.parametrize("url", ["host:8086/x", "ftp://host/x", "http://host:8086", "http://u:p@host/x", "http:///x"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="influx_url"):
        MarketSettings(influx_url=url)


@pytest.mark.slow
async def test_the_service_sends_what_it_publishes(influx: InfluxServer, database: str, tmp_path: Path) -> None:
    async with running(data_dir=tmp_path, influx_url=influx.url(database)) as market:
        sent = ticks(300)
        await market.send(*sent)
        there = await rows(influx, database, "SELECT sequence FROM ticks", 300)
        assert [row["sequence"] for row in there] == [one.sequence for one in sent]
        bars = await rows(influx, database, "SELECT volume FROM bars WHERE interval = '1m'", 2)
        assert [row["volume"] for row in bars] == [119, 120]
