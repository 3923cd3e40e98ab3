"""The feed from the engine, over loopback gRPC: resumed where it stopped, lost and found again, hung, begun anew."""

import grpc
from redfire.market.v1 import market_pb2 as pb

from tests.market.fake_engine import FakeEngine
from tests.market.running_market import OTHER, Market, read_ticks, running
from tests.market.ticks import SYMBOL, tick
from tests.waiting import until


class Stream:
    """A stream of ticks, read on demand; heartbeats are skipped."""

    def __init__(self, market: Market, *symbols: str, epoch: str = "", **request: object) -> None:
        fields = pb.StreamTicksRequest(symbols=symbols or [SYMBOL], epoch=epoch, **request)  # type: ignore[arg-type]
        self._call = market.stub.StreamTicks(fields, timeout=30)

    async def next(self) -> pb.StreamTicksResponse:
        while True:
            message = await self._call.read()
            assert message is not grpc.aio.EOF
            if message.WhichOneof("event") != "heartbeat":
                return message

    async def kinds(self, count: int) -> list[str | int]:
        """Of so many of the next messages the kinds of control messages, and the ticks' sequences."""
        kinds: list[str | int] = []
        while len(kinds) < count:
            message = await self.next()
            kinds += [one.sequence for one in message.ticks]
            if kind := message.WhichOneof("event"):
                kinds.append(kind)
        return kinds


async def _away(market: Market) -> None:
    """Break the engine's stream."""
    market.engine.send_message(None)
    await until(lambda: not market.engine.queues)


async def _back(market: Market) -> None:
    await until(lambda: market.engine.queues and market.engine.subscribed)


async def test_upstream_goes_on_behind_the_last_tick_that_it_has() -> None:
    async with running() as market:
        await market.send(tick(1), tick(2), tick(1, OTHER))
        stream = Stream(market, SYMBOL)
        assert await stream.kinds(2) == ["started", 2]
        await _away(market)
        market.engine.send(tick(3))
        await _back(market)
        assert sorted(await stream.kinds(3), key=str) == [3, "feed_state", "feed_state"]
        request = market.engine.requests[-1]
        assert (request.epoch, request.position, request.records) == ("e1", 3, True)


async def test_what_was_lost_while_upstream_was_away_is_told_at_once() -> None:
    async with running() as market:
        await market.send(tick(1), tick(2))
        stream, never = Stream(market), Stream(market, OTHER)
        assert await stream.kinds(2) == ["started", 2] and await never.kinds(1) == ["started"]
        await _away(market)
        market.engine.lose(tick(3), tick(4), tick(1, OTHER))
        for one, lost in ((stream, (SYMBOL, 3, 4)), (never, (OTHER, 1, 1))):
            messages = [await one.next() for _ in range(3)]
            assert [message.feed_state.connected for message in messages if message.HasField("feed_state")] == [
                False,
                True,
            ]
            (gap,) = [message.gap for message in messages if message.HasField("gap")]
            assert (gap.symbol, gap.first_sequence, gap.last_sequence) == lost
        await _back(market)
        market.engine.send(tick(5))
        assert await stream.kinds(1) == [5]


async def test_another_run_of_the_engine_is_a_new_epoch_and_no_gap() -> None:
    async with running() as market:
        await market.send(tick(1), tick(2))
        stream = Stream(market)
        assert (await stream.next()).started.epoch == "e1"
        assert await stream.kinds(1) == [2]
        market.engine.restart("e2", 1000)
        market.engine.send(tick(1000))
        kinds = await stream.kinds(4)
        assert [kind for kind in kinds if kind != "feed_state"] == ["new_epoch", 1000]
        old = Stream(market, epoch="e1", resume_after_sequence={SYMBOL: 1})
        assert await old.kinds(3) == ["started", "new_epoch", 1000]
        same = Stream(market, epoch="e2", resume_after_sequence={SYMBOL: 0})
        assert await same.kinds(2) == ["started", 1000]


async def test_an_engine_that_hangs_on_a_live_connection_is_left_and_told() -> None:
    async with running(upstream_silence_s=2.0) as market:
        engine = market.engine
        await market.send(tick(1))
        stream = Stream(market)
        assert await stream.kinds(2) == ["started", 1]
        asked = len(engine.requests)
        engine.hangs = True
        assert not (await stream.next()).feed_state.connected
        await until(lambda: len(engine.requests) > asked)
        fresh = Stream(market)
        assert await fresh.kinds(2) == ["started", "feed_state"]
        engine.hangs = False
        assert (await stream.next()).feed_state.connected
        engine.send(tick(2))
        assert await stream.kinds(1) == [2]


async def test_heartbeats_of_a_quiet_engine_keep_its_stream() -> None:
    async with running(upstream_silence_s=2.0) as market:
        beats = market.engine.taken
        await until(lambda: market.engine.taken >= beats + 3)
        assert len(market.engine.requests) == 1


async def test_ticks_that_a_sink_cannot_take_end_nobodys_upstream() -> None:
    async with running() as market:
        call = market.stub.StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL, OTHER]))
        assert (await call.read()).started.stream_id
        for n, day in ((1, 20261332), (2, 20261333)):
            market.engine.send(tick(n, OTHER, trading_day=day), tick(n))
        assert sorted(await read_ticks(call, 4)) == [1, 1, 2, 2]
        assert len(market.engine.requests) == 1


async def test_a_stream_that_opens_after_a_replay_has_its_last_tick_and_its_end() -> None:
    engine = FakeEngine(paced=True)
    async with running(engine) as market:
        await market.send(tick(1), tick(2))
        engine.end_feed()
        stream = Stream(market)
        assert (await stream.next()).started.epoch == "e1"
        messages = [await stream.next()]
        while not messages[-1].HasField("end"):
            messages.append(await stream.next())
        assert [one.sequence for message in messages for one in message.ticks] == [2]
        end = messages[-1].end
        assert (end.reason, end.epoch, dict(end.resume_after_sequence)) == ("FEED_ENDED", "e1", {SYMBOL: 2})
        beyond = Stream(market, epoch="e1", resume_after_sequence={SYMBOL: 9})
        assert await beyond.kinds(4) == ["started", "new_epoch", 2, "end"]
