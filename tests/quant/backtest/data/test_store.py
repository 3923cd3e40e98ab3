"""The store: what is imported comes back, once, also beside a market that records."""

import asyncio
import threading
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.market.v1 import market_pb2 as pb

from services.quant.archive import layout
from services.quant.archive.layout import BAR_COLUMNS, INTERVALS, TICK_COLUMNS
from services.quant.backtest.data.dataset import BAR_VALUES, Bars, first_rows
from services.quant.backtest.data.store import DataStore, Imported
from services.quant.backtest.job import INTERVALS_S, BacktestError
from services.quant.bars import Interval
from services.quant.calendar import Calendar
from services.quant.calendar.columns import day_numbers, trading_day_column
from tests.market.recorder import recorder, ticks
from tests.market.ticks import SYMBOL, at
from tests.quant.backtest.generated import NIGHT, times_ns
from tests.quant.backtest.recordings import if_ticks, rb_bars

COLUMNS = ("time_ns", *BAR_VALUES)


def part(bars, chosen):
    return replace(bars, **{name: getattr(bars, name)[chosen] for name in COLUMNS})


def made(days=3, symbol="rb2105.SHFE", seed=1):
    at_ns = np.sort(times_ns(days, NIGHT))
    values = np.random.default_rng(seed).uniform(3000, 3100, (7, len(at_ns)))
    return Bars(symbol, "1m", at_ns, *values)


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in COLUMNS)


def test_layout_is_the_contracts():
    fields = [field.name for field in pb.Tick.DESCRIPTOR.fields]
    assert ["symbol", *TICK_COLUMNS, "gateway"] == fields
    assert {name for name, number in INTERVALS.items() if number < 1000} == {"1m", "5m", "15m", "30m", "1h", "4h", "1d"}
    for name, number in INTERVALS.items():
        seconds = Interval(number).length_ns // 10**9 if number < 1000 else (number - 1000) * 60
        assert seconds == INTERVALS_S[name]
    assert BAR_COLUMNS[0] == "interval"


@pytest.mark.slow
def test_what_is_imported_is_loaded_again(tmp_path):
    store, bars, recorded = DataStore(tmp_path), rb_bars(), if_ticks()
    assert store.import_dataset(bars) == Imported(len(bars), 0)
    assert store.import_dataset(recorded) == Imported(len(recorded), 0)
    assert same(store.load("rb888.SHFE", "5m"), bars)
    loaded = store.load("IF2101.CFFEX", "tick")
    assert np.array_equal(loaded.time_ns, recorded.time_ns)
    for name, values in recorded.columns.items():
        assert np.array_equal(loaded.columns[name], values), name
    rows = [(one.symbol, one.kind, one.interval, one.rows, one.first_ns, one.last_ns) for one in store.list()]
    assert rows == [
        ("IF2101.CFFEX", "ticks", "tick", len(recorded), recorded.time_ns[0], recorded.time_ns[-1]),
        ("rb888.SHFE", "bars", "5m", len(bars), bars.time_ns[0], bars.time_ns[-1]),
    ]
    assert all(one.bytes > 1000 for one in store.list())


def test_what_is_imported_is_loaded_also_where_another_market_took_over(tmp_path):
    store, bars = DataStore(tmp_path), made()
    store.import_dataset(bars)
    layout.bars(tmp_path / layout.FOLDER).supersede(bars.symbol, int(bars.time_ns[-1]))
    assert same(store.load(bars.symbol, "1m"), bars)


@pytest.mark.slow
def test_the_same_again_changes_no_file(tmp_path):
    store = DataStore(tmp_path)
    for data in (rb_bars(), if_ticks()):
        store.import_dataset(data)
        before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}
        assert store.import_dataset(data) == Imported(0, len(data))
        assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")} == before


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 600)), min_size=1, max_size=4))
def test_overlapping_imports_keep_the_first_of_each_bar(tmp_path_factory, pieces):
    store, bars = DataStore(tmp_path_factory.mktemp("store")), made()
    close = np.full(len(bars), np.nan)
    for number, (first, length) in enumerate(pieces):
        chosen = slice(first, min(first + length, len(bars)))
        piece = replace(part(bars, chosen), close=np.full(chosen.stop - first, float(number)))
        fresh = np.isnan(close[chosen])
        assert store.import_dataset(piece) == Imported(int(fresh.sum()), int((~fresh).sum()))
        close[chosen] = np.where(fresh, float(number), close[chosen])
    loaded = store.load(bars.symbol, "1m")
    there = ~np.isnan(close)
    assert np.array_equal(loaded.time_ns, bars.time_ns[there])
    assert np.array_equal(loaded.close, close[there])


def test_a_night_before_a_holiday_is_known_whichever_file_it_came_in(tmp_path):
    store, bars = DataStore(tmp_path), rb_bars()
    # 2019-09-30's day session, nothing at night, then 2019-10-08: and a file that ends with the night of 2020-01-22.
    night = np.searchsorted(bars.time_ns, at("2020-01-22 21:00"))
    store.import_dataset(part(bars, slice(0, night + 12)))
    assert store.import_dataset(bars).known == night + 12
    assert same(store.load("rb888.SHFE", "5m"), bars)


def test_trading_days_of_a_column_are_those_of_the_calendar():
    times = (
        "2020-01-03 21:00",
        "2020-01-04 01:00",
        "2020-01-06 09:00",
        "2020-01-06 21:00",
        "2020-01-09 10:00",
        "2020-01-10 21:00",
        "2020-01-23 21:00",
    )
    moments, calendar = np.array([at(text) for text in times]), Calendar.load()
    days = day_numbers(trading_day_column(calendar, "rb2005.SHFE", moments)).tolist()
    assert days == [20200106, 20200106, 20200106, 20200107, 20200109, 20200113, 20200203]
    assert days == [calendar.trading_day("rb2005.SHFE", at(text)) for text in times]
    in_utc = day_numbers(trading_day_column(calendar, "BTCUSDT.BINANCE", moments)).tolist()
    assert in_utc == [calendar.trading_day("BTCUSDT.BINANCE", at(text)) for text in times]


@pytest.mark.slow
def test_longer_bars_are_made_of_shorter_ones(tmp_path):
    store, bars = DataStore(tmp_path), rb_bars()
    store.import_dataset(bars)
    for interval, step in (("15m", 3), ("1h", 12)):
        longer = store.load("rb888.SHFE", interval)
        assert longer.interval == interval
        assert longer.volume.sum() == bars.volume.sum()
        assert (longer.time_ns % (step * 300 * 10**9) == 0).all()
    days = store.load("rb888.SHFE", "1d")
    assert days.time_ns[0] == at("2019-08-01 00:00")  # the evening of 31 July is the first of August's
    first = slice(0, int(np.searchsorted(bars.time_ns, at("2019-08-01 17:00"))))
    assert (days.open[0], days.high[0], days.low[0]) == (bars.open[0], bars.high[first].max(), bars.low[first].min())
    assert days.volume[0] == bars.volume[first].sum()
    assert len(store.load("rb888.SHFE", "1w")) == 54
    with pytest.raises(BacktestError, match=r"the store has no 1m bars of rb888.SHFE: it has 5m"):
        store.load("rb888.SHFE", "1m")


def test_days_are_the_clocks_both_included(tmp_path):
    store, bars = DataStore(tmp_path), rb_bars()
    store.import_dataset(bars)
    loaded = store.load("rb888.SHFE", "5m", date(2020, 1, 2), date(2020, 1, 3))
    assert loaded.time_ns[0] == at("2020-01-02 09:00")
    assert loaded.time_ns[-1] == at("2020-01-03 22:55")
    with pytest.raises(BacktestError, match=r"no 5m bars of rb888.SHFE from 2021-01-01: it has 5m"):
        store.load("rb888.SHFE", "5m", date(2021, 1, 1))


@pytest.mark.parametrize("symbol", ["../rb.SHFE", "rb/x.SHFE", "rb", ".SHFE", "rb.shfe"])
def test_a_symbol_is_no_path(tmp_path, symbol):
    store = DataStore(tmp_path / "data")
    with pytest.raises(BacktestError, match="is not of the form"):
        store.import_dataset(made(1, symbol))
    with pytest.raises(BacktestError, match="the store has no"):
        store.load(symbol, "1m")
    assert not (tmp_path / "data").exists()


async def test_market_serves_imports_at_once_and_its_own_bars_go_before_them(tmp_path):
    store = DataStore(tmp_path)
    async with recorder(tmp_path / "market") as one:
        one.publish(*ticks(400))
        one.bars.close_all()
        await one.recorder.checkpoint()
        mine = await one.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 100)
        assert mine
        start = mine[0].start_ns
        at_ns = np.array([start - 60 * 10**9, start], dtype=np.int64)
        bars = Bars(SYMBOL, "1m", at_ns, *np.ones((7, 2)))
        assert store.import_dataset(bars) == Imported(1, 1)
        listed = await one.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 100)
        assert [bar.start_ns for bar in listed] == [start - 60 * 10**9, *(bar.start_ns for bar in mine)]
        assert listed[1:] == mine
        assert [bar.start_ns for bar in await one.history.bars_before(SYMBOL, Interval.MINUTE, None, 100)] == [
            bar.start_ns for bar in listed
        ]
        assert np.array_equal(store.load(SYMBOL, "1m").time_ns, [bar.start_ns for bar in listed])


async def test_market_knows_a_symbol_that_was_only_imported_and_pages_through_its_ticks(tmp_path):
    recorded = if_ticks()
    first = first_rows(recorded, 900)
    async with recorder(tmp_path / "market") as one:
        assert not await one.history.knows(SYMBOL)
        DataStore(tmp_path).import_dataset(first)
        assert await one.history.knows(SYMBOL)
        listed = await one.all_ticks(page=70)
    assert [tick.time_ns for tick in listed] == first.time_ns.tolist()
    assert [tick.bid_prices[0] for tick in listed] == first.columns["bid_price_1"].tolist()
    assert {tick.trading_day for tick in listed} == {20210104}


async def test_imports_while_market_records_and_compacts_lose_nothing(tmp_path):
    store = DataStore(tmp_path)
    start = at("2026-11-20 09:30:00")
    imports = [
        Bars(SYMBOL, "1m", np.array([start - (number + 1) * 60 * 10**9]), *np.full((7, 1), float(number + 1)))
        for number in range(30)
    ]
    failed = []

    def bring():
        try:
            for bars in imports:
                store.import_dataset(bars)
        except Exception as error:
            failed.append(error)

    async with recorder(tmp_path / "market", compact_files=2) as one:
        thread = threading.Thread(target=bring)
        thread.start()
        for begin in range(0, 3000, 100):
            one.publish(*ticks(100, begin + 1))
            one.bars.on_watermark("", start + begin * 500_000_000)
            await one.recorder.checkpoint()
            await one.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 100)
        await asyncio.to_thread(thread.join)
        listed = await one.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 100)
    assert not failed
    starts = [bar.start_ns for bar in listed]
    assert starts[:30] == [start - minute * 60 * 10**9 for minute in range(30, 0, -1)]
    assert len(starts) > 50
    assert starts == store.load(SYMBOL, "1m").time_ns.tolist()[: len(starts)]
