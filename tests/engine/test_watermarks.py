"""Heartbeats between the ticks, and the watermarks that they carry."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from redfire.engine.v1 import engine_pb2 as pb

from services.engine.convert import heartbeat_message
from services.engine.feeds.watermark import ReplayWatermark
from services.engine.streams.heartbeats import Heartbeats
from services.engine.vnpy.exchange_clocks import ExchangeClocks
from services.kernel.clock import Clock, ManualClock
from tests.engine.ctp_fields import RB
from tests.engine.recordings import row, write
from tests.engine.running import engine_at, reading, running_engine
from tests.engine.tick_readers import ticks_stream
from tests.simulated_time import SimulatedClock, in_simulated_time
from tests.waiting import until

SECOND = 10**9
MINUTE = 60 * SECOND
LATENESS = 2 * SECOND


def keeps_its_word(read, gateway="SIM") -> int:
    """No tick is earlier than the watermark before it, which never falls; the last watermark."""
    watermark = 0
    for item in read.items:
        if hasattr(item, "time_ns"):
            assert item.gateway != gateway or item.time_ns >= watermark
        elif gateway in getattr(item, "watermarks_ns", ()):
            assert item.watermarks_ns[gateway] >= watermark
            watermark = item.watermarks_ns[gateway]
    return watermark


async def test_a_simulated_markets_watermark_follows_the_clock(tmp_path):
    async with (
        running_engine(tmp_path, follow=False, heartbeat_s=0.02, sim_ticks_per_second=200) as harness,
        reading(harness) as read,
    ):
        await until(lambda: len(read.heartbeats) > 20 and len(read.ticks) > 300, 30)
        now_ns = Clock().now_ns()
        assert now_ns - MINUTE < keeps_its_word(read) < now_ns
        assert all(set(heartbeat.watermarks_ns) == {"SIM"} for heartbeat in read.heartbeats)


async def test_a_replays_watermark_is_its_rows_time_at_full_speed_and_passes_each_minute_before_its_ticks(tmp_path):
    # Two symbols whose clocks differ by 1.5 s: of the second a row always comes after a later one of the first.
    rows = [text for i in range(1200) for text in (row(i / 2 + 1.5), row(i / 2, symbol="IF2102"))]
    feed = f"replay:{write(tmp_path / 't.csv', rows)}@max"
    async with running_engine(tmp_path / "data", follow=False, feed=feed) as harness:
        async with reading(harness, records=True) as read:
            await until(lambda: read.feed_ended, 20)
        last_ns = max(tick.time_ns for tick in read.ticks)
        assert keeps_its_word(read) <= last_ns - LATENESS
        passed, seen_ns = 0, 0
        for item in read.items:
            if hasattr(item, "watermarks_ns"):
                passed = max(passed, item.watermarks_ns.get("SIM", 0))
            elif hasattr(item, "time_ns"):
                seen_ns = max(seen_ns, item.time_ns)
                assert passed // MINUTE == (seen_ns - LATENESS) // MINUTE
        assert len(read.heartbeats) >= 10
        async with reading(harness, epoch=read.started.epoch, position=1000) as again:
            await until(lambda: again.feed_ended, 20)
        minutes = {heartbeat.watermarks_ns["SIM"] for heartbeat in read.heartbeats[6:]}
        assert minutes <= {heartbeat.watermarks_ns["SIM"] for heartbeat in again.heartbeats}


async def test_nothing_is_said_of_a_recording_while_its_rows_go_back(tmp_path):
    rows = [*(row(i / 2) for i in range(600)), *(row(i / 2, symbol="IF2102") for i in range(590))]
    feed = f"replay:{write(tmp_path / 't.csv', rows)}@2000"
    async with running_engine(tmp_path / "data", follow=False, feed=feed, heartbeat_s=0.01) as harness:
        async with reading(harness, records=True) as read:
            await until(lambda: read.feed_ended, 20)
        second = False
        for item in read.items:
            second = second or getattr(item, "symbol", "") == "IF2102.CFFEX"
            if second and hasattr(item, "watermarks_ns"):
                assert not item.watermarks_ns


async def test_a_real_gateways_watermark_is_the_clocks_while_it_is_connected(front, tmp_path):
    async with engine_at(front, tmp_path, follow=False, heartbeat_s=0.02) as harness:
        async with reading(harness) as read:
            await until(lambda: read.heartbeats)
            assert "CTP" not in read.heartbeats[-1].watermarks_ns  # it has sent no tick
            await harness.engine.Subscribe(pb.SubscribeRequest(symbols=[RB.vt_symbol]))

            def watermark_ns():
                front.quote("rb2701", 3000.0, 3001.0)
                return read.heartbeats[-1].watermarks_ns.get("CTP")

            watermark = await until(watermark_ns)
            assert Clock().now_ns() - MINUTE < watermark < Clock().now_ns() - LATENESS
            front.disconnect()
            await until(lambda: "CTP" not in read.heartbeats[-1].watermarks_ns)
            assert "SIM" in read.heartbeats[-1].watermarks_ns
        keeps_its_word(read, "CTP")


def test_a_gateways_clock_is_the_least_late_of_its_ticks():
    clock = ManualClock(datetime(2026, 11, 23, 2, 0, tzinfo=UTC))
    clocks = ExchangeClocks(clock, LATENESS)

    def observe(delay_s, moment=None):
        time = datetime.fromtimestamp(clock.now_ns() / SECOND - delay_s, UTC)
        clocks.observe(SimpleNamespace(gateway_name="CTP", datetime=moment or time))

    assert clocks.watermark_ns("CTP") is None
    observe(3600)  # a snapshot of the morning
    assert clocks.watermark_ns("CTP") == clock.now_ns() - 3600 * SECOND - LATENESS
    observe(7200)
    assert clocks.watermark_ns("CTP") == clock.now_ns() - 3600 * SECOND - LATENESS
    observe(1)
    assert clocks.watermark_ns("CTP") == clock.now_ns() - SECOND - LATENESS
    observe(-86_400)  # DCE's night has the next day's date
    assert clocks.watermark_ns("CTP") == clock.now_ns() - LATENESS
    observe(0, "no time")
    assert clocks.watermark_ns("OTHER") is None


@given(st.lists(st.integers(-3 * MINUTE, 3 * MINUTE), max_size=100))
def test_a_recordings_watermark_never_falls_and_only_rows_that_are_too_late_are_before_it(steps):
    watermark = ReplayWatermark(LATENESS)
    time_ns, latest_ns, passed_ns = 100 * MINUTE, 0, 0
    assert watermark.value_ns is None
    for step in steps:
        time_ns += step
        latest_ns = max(latest_ns, time_ns)
        assert watermark.add(time_ns) == ((latest_ns - LATENESS) // MINUTE > passed_ns // MINUTE)
        passed_ns = max(passed_ns, latest_ns - LATENESS)
        assert watermark.value_ns == (None if time_ns < passed_ns else passed_ns)


@in_simulated_time
async def test_no_heartbeat_comes_while_the_way_of_the_ticks_hangs():
    clock, stream = SimulatedClock(asyncio.get_running_loop()), ticks_stream()
    on_their_way, sent = [], []
    marks = {"SIM": 0, "CTP": 5}

    def encode(time, watermarks):
        sent.append(dict(watermarks))
        return heartbeat_message(time, watermarks)

    heartbeats = Heartbeats(stream, clock, encode, marks.copy, on_their_way.append, 1.0)
    running = asyncio.create_task(heartbeats.run())
    await asyncio.sleep(30.5)
    assert len(on_their_way) == 1 and not sent
    marks["SIM"] = 1
    on_their_way.pop()()
    await asyncio.sleep(1)
    del marks["CTP"]  # disconnected
    on_their_way.pop()()
    assert sent == [{"SIM": 0, "CTP": 5}, {"SIM": 1}]
    await asyncio.sleep(1)
    heartbeats.publish({"SIM": 50})
    on_their_way.pop()()  # it set out before
    assert sent[2:] == [{"SIM": 50}, {"SIM": 50}]
    running.cancel()
