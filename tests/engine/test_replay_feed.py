import asyncio
import gzip
import logging

import pytest

from services.engine.feeds.feed import ReplayFeedSpec, ReplayStart
from services.engine.feeds.replay import MALFORMED, OTHER_GATEWAY, OUT_OF_ORDER, ReplayFeed
from services.kernel.clock import Clock
from services.quant.catalogue import Catalogue
from tests.engine.recordings import HEADER, row, write
from tests.recorded_days import IF, recorded_days
from tests.simulated_time import SimulatedClock, in_simulated_time


async def no_wait() -> None:
    """Return at once: there is always capacity."""


class Taken(list):
    """Quotes that were delivered; those of `foreign` symbols are not SIM's."""

    def __init__(self, *foreign):
        super().__init__()
        self.foreign = foreign

    def take(self, quote):
        if quote.symbol in self.foreign:
            return False
        self.append(quote)
        return True


def replay(file, speed=None, *, start=ReplayStart.RECORDER, report=None, clock=None, recorder=no_wait, lateness_ns=0):
    spec = ReplayFeedSpec(file, speed, start)
    return ReplayFeed(spec, Catalogue.load(), clock or Clock(), recorder, lateness_ns, report)


async def replayed(file, *, speed=None, report=None, clock=None, foreign=()):
    feed = replay(file, speed, report=report, clock=clock)
    quotes = Taken(*foreign)
    await feed.run(quotes.take, no_wait)
    return quotes, feed.report


async def test_rows_become_quotes_in_order(tmp_path):
    quotes, report = await replayed(write(tmp_path / "t.csv", [row(0), row(0.5, 5000.2), row(1, 5000.4)], gzipped=True))
    assert [q.last_price for q in quotes] == [5000.0, 5000.2, 5000.4]
    assert quotes[0].symbol == "IF2101.CFFEX"
    assert quotes[0].time_ns == 1609723800 * 10**9  # 09:30 in Shanghai is 01:30 UTC
    assert quotes[1].time_ns - quotes[0].time_ns == 500_000_000
    assert quotes[0].bids == [(4999.8, 5.0)] and quotes[0].asks == [(5000.2, 5.0)]
    assert (quotes[0].limit_up, quotes[0].limit_down, quotes[0].trading_day) == (5500, 4500, 20210104)
    assert (report.rows, report.delivered, report.counts) == (3, 3, {})


async def test_bad_rows_are_counted_and_reported_by_line(tmp_path):
    rows = [
        row(0),
        "garbage",
        row(1).replace("5000.0", "abc", 1),
        row(2).replace("2021-01-04", "2021-13-45"),
        row(1.5),  # good: nothing later was delivered
        row(0.5),
        row(3).replace("IF2101", "QQ2101"),
        row(3).replace("5000.0", "nan", 1),
        row(3).replace("5000.0", "-1", 1),
        row(3) + ",extra",
        row(4),
    ]
    report_file = tmp_path / "problems.txt"
    quotes, report = await replayed(write(tmp_path / "t.csv", rows), report=report_file)
    assert len(quotes) == 3
    assert (report.rows, report.delivered) == (11, 3)
    assert report.counts == {MALFORMED: 7, OUT_OF_ORDER: 1}
    assert [line for line, _ in report.problems] == [3, 4, 5, 7, 8, 9, 10, 11]
    assert report_file.read_text().count("\n") == 8 and "line 7: out of order" in report_file.read_text()


async def test_rows_that_another_gateway_trades_are_counted_as_left_out(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    rows = [row(0), row(0, symbol="IF2102"), "garbage", row(1), row(1, symbol="IF2102")]
    quotes, report = await replayed(write(tmp_path / "t.csv", rows), foreign=("IF2102.CFFEX",))
    assert [quote.symbol for quote in quotes] == ["IF2101.CFFEX"] * 2
    assert (report.rows, report.delivered, report.counts) == (5, 2, {OTHER_GATEWAY: 2, MALFORMED: 1})
    assert "t.csv: 5 rows, 2 delivered, 3 left out (1 malformed, 2 of another gateway's symbols)" in caplog.text


async def test_it_begins_when_a_reader_records_it_unless_it_is_to_begin_now(tmp_path):
    file = write(tmp_path / "t.csv", [row(i / 2) for i in range(22)])
    listens = asyncio.Event()
    for start, waits in ((ReplayStart.RECORDER, True), (ReplayStart.NOW, False)):
        feed, quotes = replay(file, start=start, recorder=listens.wait), Taken()
        assert feed.needs_recorder == waits
        running = asyncio.create_task(feed.run(quotes.take, no_wait))
        for _ in range(5):
            await asyncio.sleep(0)
        assert bool(quotes) is not waits
        listens.set()
        await asyncio.wait_for(running, 5)
        assert len(quotes) == 22
        listens.clear()


async def test_a_file_that_breaks_off_ends_with_what_there_is(tmp_path):
    file = tmp_path / "t.csv.gz"
    whole = gzip.compress("\n".join([HEADER, *(row(i / 2) for i in range(5000))]).encode())
    file.write_bytes(whole[: len(whole) // 2])
    quotes, report = await replayed(file)
    assert 0 < len(quotes) < 5000
    assert report.counts[MALFORMED] == 1


async def test_the_largest_double_is_no_price(tmp_path):
    header = HEADER
    quotes, report = await replayed(
        write(tmp_path / "t.csv", [row(0).replace("4999.8", "1.7976931348623157e+308")], header=header)
    )
    assert quotes[0].bids == [] and not report.counts


@in_simulated_time
async def test_gaps_are_divided_by_the_speed_and_long_ones_shortened(tmp_path):
    file = write(tmp_path / "t.csv", [row(0), row(10), row(5400), row(5410)])
    clock = SimulatedClock(asyncio.get_running_loop())
    quotes, _ = await replayed(file, speed=400, clock=clock)
    assert len(quotes) == 4
    assert clock.monotonic() == pytest.approx((10 + 60 + 10) / 400)


async def test_it_waits_for_the_first_subscription_of_one_of_its_symbols(tmp_path):
    file = write(tmp_path / "t.csv", [row(0), row(1, symbol="IF2102")])
    feed = replay(file, start=ReplayStart.SUBSCRIBE)
    quotes = Taken()
    running = asyncio.create_task(feed.run(quotes.take, no_wait))
    feed.subscribe("rb2701.SHFE")
    await asyncio.sleep(0)
    assert not quotes
    feed.subscribe("IF2102.CFFEX")
    await asyncio.wait_for(running, 5)
    assert [q.symbol for q in quotes] == ["IF2101.CFFEX", "IF2102.CFFEX"]


async def test_a_paced_feed_stops_while_there_is_no_room(tmp_path):
    file = write(tmp_path / "t.csv", [row(i / 2) for i in range(1000)])
    feed = replay(file)
    quotes = Taken()
    capacity = asyncio.Event()

    async def wait_for_capacity() -> None:
        await capacity.wait()

    running = asyncio.create_task(feed.run(quotes.take, wait_for_capacity))
    for _ in range(20):
        await asyncio.sleep(0)
    held = len(quotes)
    assert 0 < held < 1000
    capacity.set()
    await asyncio.wait_for(running, 5)
    assert len(quotes) == 1000


@pytest.mark.slow
async def test_three_real_days_come_complete():
    quotes, report = await replayed(recorded_days(IF))
    assert (report.rows, report.delivered) == (84_347, 84_347)
    by_day = {}
    for quote in quotes:
        by_day.setdefault(quote.trading_day, []).append(quote)
    assert sorted(by_day) == [20210104, 20210105, 20210106]
    assert by_day[20210106][-1].volume == 94_934
    assert by_day[20210106][-1].high_price == 5443.4
