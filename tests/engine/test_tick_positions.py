"""Readers of the engine's ticks: every one knows where it is, goes on there, and hears all of a replay."""

import asyncio
import logging

import grpc
import pytest
from redfire.engine.v1 import engine_pb2 as pb
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub

from tests.engine.ctp_fields import RB
from tests.engine.recordings import row, write
from tests.engine.running import SYMBOL, complete, engine_at, reading, running_engine
from tests.waiting import until, until_still

RECORDED = "IF2101.CFFEX"


@pytest.mark.parametrize("tail", ["@max", "@1000000", "@20", "@max?start=now"])
async def test_a_replay_is_heard_from_its_first_row_by_a_recorder_that_comes_late(tmp_path, caplog, tail):
    caplog.set_level(logging.INFO)
    file = write(tmp_path / "t.csv", [row(i / 2, 5000 + i) for i in range(22)])
    async with running_engine(tmp_path / "data", follow=False, feed=f"replay:{file}{tail}") as harness:
        gateway = await until(lambda: harness.gateway())
        assert gateway.recorded and gateway.status == pb.GATEWAY_STATUS_CONNECTED
        async with reading(harness, records=True) as read:
            await until(lambda: read.feed_ended, 20)
            assert [tick.last_price for tick in read.ticks] == [5000 + i for i in range(22)]
            assert (read.started.position, dict(read.started.sequences)) == (0, {})
            assert read.ticks[0].sequence == read.started.first_sequence
            assert read.feed_ended.position == 22
    assert "t.csv: 22 rows, 22 delivered, 0 left out" in caplog.text
    assert ("begins when a market" in caplog.text) == ("now" not in tail)


async def test_a_replay_on_demand_waits_for_a_subscription_and_for_its_recorder(tmp_path):
    file = write(tmp_path / "t.csv", [row(i / 2, 5000 + i) for i in range(22)])
    feed = f"replay:{file}@max?start=subscribe"
    async with running_engine(tmp_path / "data", follow=False, feed=feed) as harness, reading(harness) as looker:
        await harness.engine.Subscribe(pb.SubscribeRequest(symbols=[RECORDED]))
        await until(lambda: looker.heartbeats)  # a round of the engine
        assert not looker.ticks
        async with reading(harness, records=True) as recorder:
            await until(lambda: recorder.feed_ended and looker.feed_ended)
            assert len(recorder.ticks) == len(looker.ticks) == 22


async def test_a_reader_goes_on_exactly_where_it_was_and_another_epochs_from_the_oldest_tick(tmp_path):
    async with running_engine(tmp_path, follow=False, sim_ticks_per_second=100) as harness:
        async with reading(harness) as first:
            await until(lambda: len(first.ticks) > 200, 20)
        epoch = first.started.epoch
        assert epoch and first.started.position == 0
        async with reading(harness, epoch=epoch, position=first.position) as second:
            await until(lambda: len(second.ticks) > 200, 20)
        assert second.started.position == first.position and not second.started.sequences
        last = {}
        for tick in [*first.ticks, *second.ticks]:
            assert tick.sequence == last.get(tick.symbol, first.started.first_sequence - 1) + 1
            last[tick.symbol] = tick.sequence
        async with reading(harness, epoch="another", position=150) as other:
            await until(lambda: len(other.ticks) > 200, 20)
        assert (other.started.epoch, other.started.position) == (epoch, 0)
        assert other.ticks[:200] == first.ticks[:200]


@pytest.mark.slow
async def test_a_reader_that_was_away_for_too_long_hears_which_ticks_it_lost(tmp_path):
    # Eight symbols of 2,000 ticks a second: 16 MB last for three seconds.
    async with running_engine(tmp_path, follow=False, sim_ticks_per_second=2000, tick_ring_mb=16) as harness:
        async with reading(harness, records=True) as first:
            await until(lambda: len(first.ticks) > 1000)
        assert first.started.position == 0
        known = {tick.symbol: tick.sequence for tick in first.ticks}

        async def is_gone() -> bool:
            async with reading(harness, epoch=first.started.epoch, position=first.position) as again:
                return again.started.position > first.position

        await until(is_gone, 120, 0.5)
        async with reading(harness, epoch=first.started.epoch, position=first.position) as second:
            await until(lambda: len(second.ticks) > 1000, 20)
        started = second.started
        lost = {symbol: last - known[symbol] for symbol, last in started.sequences.items()}
        assert sum(lost.values()) == started.position - first.position and min(lost.values()) > 0
        last = dict(started.sequences)
        for tick in second.ticks:
            assert tick.sequence == last[tick.symbol] + 1
            last[tick.symbol] = tick.sequence


async def test_another_run_of_the_engine_is_another_epoch_with_higher_sequences(tmp_path):
    async with running_engine(tmp_path, sim_ticks_per_second=100) as harness:
        await until(lambda: len(harness.ticks) > 100, 20)
        started = harness.control_messages[0].started
        highest = max(tick.sequence for tick in harness.ticks)
    async with (
        running_engine(tmp_path, follow=False, sim_ticks_per_second=100) as harness,
        reading(harness, epoch=started.epoch, position=50) as read,
    ):
        assert read.started.epoch != started.epoch and read.started.position == 0
        assert read.started.first_sequence > highest


@pytest.mark.slow
async def test_a_reader_that_holds_a_replay_back_holds_no_live_gateways_ticks(front, tmp_path):
    rows = 40_000
    file = write(tmp_path / "t.csv", [row(i / 4, 5000 + i % 50) for i in range(rows)])
    async with engine_at(front, tmp_path / "data", follow=False, feed=f"replay:{file}@max?start=subscribe") as harness:
        # A connection of its own, whose window does not grow with what others read: it would take the whole replay.
        narrow = grpc.aio.insecure_channel(harness.platform.host.address, options=[("grpc.http2.bdp_probe", 0)])
        metadata = harness.platform.service_metadata("/redfire.engine.v1.EngineService/StreamTicks")
        slow = EngineServiceStub(narrow).StreamTicks(pb.StreamTicksRequest(records=True), metadata=metadata)
        started = (await slow.read()).started
        async with reading(harness) as quick:
            await harness.engine.Subscribe(pb.SubscribeRequest(symbols=[RECORDED, RB.vt_symbol]))
            await until(lambda: quick.ticks, 60)
            held = await until_still(lambda: len(quick.ticks), 120)
            assert held < rows  # the slow reader takes nothing

            def live():
                front.quote("rb2701", 9998.0, 9999.0)
                return [tick for tick in quick.ticks if tick.gateway == "CTP"]

            await until(live, 60)
            read = [*(await slow.read()).ticks]
            while len(read) < rows:
                read += (await slow.read()).ticks
            await until(lambda: quick.feed_ended and len(quick.ticks) >= len(read), 60)
            assert quick.ticks[: len(read)] == read and quick.started.position == started.position
            assert sum(tick.gateway == "SIM" for tick in quick.ticks) == rows
        slow.cancel()
        await narrow.close()


async def test_ticks_that_nobody_asks_for_any_more_are_dropped_and_come_again_when_asked_for(front, tmp_path):
    async with engine_at(front, tmp_path, sim_ticks_per_second=100) as harness:
        engine, symbols = harness.engine, [RB.vt_symbol]

        def quoted(price):
            front.quote("rb2701", price, price + 1)
            return [tick for tick in harness.ticks if tick.bid_prices[:1] == [price]]

        for subscriber in ("a", "b"):
            await engine.Subscribe(pb.SubscribeRequest(symbols=symbols, subscriber=subscriber))
        await until(lambda: quoted(3000.0))
        answer = await engine.Unsubscribe(pb.UnsubscribeRequest(symbols=[*symbols, SYMBOL], subscriber="a"))
        assert list(answer.subscribed_symbols) == symbols
        await until(lambda: quoted(3001.0))
        assert not (await engine.Unsubscribe(pb.UnsubscribeRequest(symbols=symbols, subscriber="b"))).subscribed_symbols
        seen = len(harness.ticks)
        await until(lambda: quoted(3002.0) or len(harness.ticks) > seen + 100)
        assert not {tick.symbol for tick in harness.ticks[seen + 50 :]} & {*symbols, SYMBOL}
        await engine.Subscribe(pb.SubscribeRequest(symbols=[*symbols, SYMBOL], subscriber="c"))
        await until(lambda: quoted(3003.0))
        await until(lambda: any(tick.symbol == SYMBOL for tick in harness.ticks[seen + 50 :]))
        last = {}
        for tick in harness.ticks:
            assert tick.sequence == last.get(tick.symbol, tick.sequence - 1) + 1
            last[tick.symbol] = tick.sequence
        assert await complete(harness)


async def test_readers_that_leave_hold_up_nobody(tmp_path):
    async with running_engine(tmp_path, follow=False, sim_ticks_per_second=100) as harness:
        readers = [asyncio.create_task(harness.follow_ticks()) for _ in range(3)]
        await until(lambda: len(harness.control_messages) >= 3 and harness.ticks)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        async with reading(harness) as read:
            await until(lambda: len(read.ticks) > 100, 20)
