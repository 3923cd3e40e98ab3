"""A strategy's ticks: resumed by epoch and sequence, with what is lost in its log, and no storm of streams."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redfire.market.v1 import market_pb2 as pb

from services.kernel.errors import NotFound, Unavailable
from services.quant.sdk.events import Tick
from services.strategy.runner import feeds
from services.strategy.runner.connections import Access
from services.strategy.runner.feeds import FeedEnded, FeedEvent, TickFeed, TicksLost, TimePassed
from tests.simulated_time import in_simulated_time

SYMBOL = "IF2101.CFFEX"
HANG = object()
Response = pb.StreamTicksResponse


def started(epoch: str) -> Response:
    return Response(started=Response.Started(stream_id="s", epoch=epoch))


def ticks(*sequences: int) -> Response:
    return Response(ticks=[pb.Tick(symbol=SYMBOL, sequence=sequence) for sequence in sequences])


def new_epoch(epoch: str) -> Response:
    return Response(new_epoch=Response.NewEpoch(epoch=epoch))


def gap(first: int, last: int) -> Response:
    return Response(gap=Response.Gap(symbol=SYMBOL, first_sequence=first, last_sequence=last))


def end(reason: str, epoch: str, last: int) -> Response:
    return Response(end=Response.End(reason=reason, epoch=epoch, resume_after_sequence={SYMBOL: last}))


def heartbeat(**watermarks_ns: int) -> Response:
    return Response(heartbeat=Response.Heartbeat(watermarks_ns=watermarks_ns))


def state(connected: bool, *stale: str) -> Response:
    return Response(feed_state=Response.FeedState(connected=connected, stale_symbols=stale))


class Stream:
    """A server stream that sends what its script has, and hangs or fails where it says so."""

    def __init__(self, script: list[Any]) -> None:
        self._script = script
        self.cancelled = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[bytes]:
        for item in self._script:
            if item is HANG:
                await asyncio.Event().wait()
            elif isinstance(item, float):
                await asyncio.sleep(item)
            elif isinstance(item, Exception):
                raise item
            else:
                yield item.SerializeToString()

    def cancel(self) -> None:
        self.cancelled = True


class ScriptedMarket:
    """Streams of ticks by scripts, one after another; the last script is played again and again."""

    def __init__(self, *scripts: list[Any]) -> None:
        self.scripts = list(scripts)
        self.requests: list[pb.StreamTicksRequest] = []
        self.streams: list[Stream] = []
        self.times: list[float] = []

    def stream_ticks(self, request: pb.StreamTicksRequest, metadata: Any) -> Stream:
        self.requests.append(request)
        self.times.append(asyncio.get_running_loop().time())
        self.streams.append(Stream(self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]))
        return self.streams[-1]

    @property
    def resumes(self) -> list[tuple[str, dict[str, int]]]:
        return [(request.epoch, dict(request.resume_after_sequence)) for request in self.requests]


class Follower:
    """A strategy's feed of a scripted market: what it got, and what it logged."""

    def __init__(self, market: ScriptedMarket) -> None:
        self.market = market
        self.received: list[int] = []
        self.events: list[tuple[int, FeedEvent]] = []
        """Events between the ticks, each with the sequence before it."""
        self.log: list[str] = []
        connections: Any = type("Connections", (), {"stream_ticks": market.stream_ticks})()
        self._feed = TickFeed(
            connections, Access("token"), SYMBOL, lambda level, text: self.log.append(text), watermarks=True
        )

    async def follow(self, seconds: float) -> "Follower":
        """Follow for so long in simulated time."""

        async def read() -> None:
            async for one in self._feed.updates():
                if isinstance(one, Tick):
                    self.received.append(one.sequence)
                else:
                    self.events.append((self.received[-1] if self.received else 0, one))

        task = asyncio.ensure_future(read())
        await asyncio.wait([task], timeout=seconds)
        task.cancel()
        await asyncio.wait([task])
        return self


async def followed(seconds: float, *scripts: list[Any]) -> Follower:
    return await Follower(ScriptedMarket(*scripts)).follow(seconds)


@in_simulated_time
async def test_a_broken_stream_resumes_by_epoch_and_sequence() -> None:
    got = await followed(
        3, [started("a"), ticks(7, 8), Unavailable("cut")], [started("a"), ticks(8, 9), Unavailable("cut")], [HANG]
    )
    assert got.market.resumes == [("", {}), ("a", {SYMBOL: 8}), ("a", {SYMBOL: 9})]
    assert got.received == [7, 8, 9]
    assert got.log == []


@in_simulated_time
async def test_a_symbol_of_which_nothing_came_yet_is_resumed_too() -> None:
    beat = Response(heartbeat=Response.Heartbeat())
    got = await followed(3, [started("a"), beat, end("SHUTTING_DOWN", "a", 0)], [started("a"), ticks(1), HANG])
    assert got.market.resumes == [("", {}), ("a", {SYMBOL: 0})]
    assert got.received == [1]


@pytest.mark.parametrize(
    "second",
    [
        [started("b"), new_epoch("b"), ticks(1, 2), HANG],
        [started(""), new_epoch("b"), ticks(1, 2), HANG],
        [started("b"), ticks(1, 2), HANG],
    ],
)
@in_simulated_time
async def test_another_epoch_is_logged_once_and_numbers_nothing(second: list[Any]) -> None:
    got = await followed(3, [started("a"), ticks(3_071_899), Unavailable("cut")], second)
    assert got.received == [3_071_899, 1, 2]
    assert got.log == ["the feed began anew; what was between is not known"]


@in_simulated_time
async def test_an_epoch_that_begins_within_a_stream_is_the_one_resumed() -> None:
    first = [started("a"), ticks(5), new_epoch("b"), ticks(1), Unavailable("cut")]
    got = await followed(3, first, [HANG])
    assert got.market.resumes[1] == ("b", {SYMBOL: 1})
    assert got.received == [5, 1]
    assert len(got.log) == 1


@in_simulated_time
async def test_a_market_that_learns_the_same_epoch_late_loses_nothing() -> None:
    first = [started("a"), ticks(5), Unavailable("cut")]
    got = await followed(3, first, [started(""), new_epoch("a"), ticks(6), HANG])
    assert got.received == [5, 6]
    assert got.log == []


@in_simulated_time
async def test_the_first_epoch_of_a_strategy_is_no_new_one() -> None:
    got = await followed(3, [started(""), new_epoch("a"), ticks(5), HANG])
    assert got.received == [5]
    assert got.log == []


@in_simulated_time
async def test_a_gap_is_logged_with_its_symbol_and_numbers_once() -> None:
    got = await followed(3, [started("a"), ticks(5), gap(6, 35), Unavailable("cut")], [started("a"), ticks(36), HANG])
    assert got.market.resumes[1] == ("a", {SYMBOL: 35})
    assert got.log == [f"30 ticks of {SYMBOL} are lost: 6 to 35"]


@in_simulated_time
async def test_a_replay_that_ended_is_logged_once_and_asked_for_rarely_until_another_feed_begins() -> None:
    over = [started("a"), end("FEED_ENDED", "a", 2)]
    market = ScriptedMarket([started("a"), ticks(1, 2), end("FEED_ENDED", "a", 2)], over)
    got = await Follower(market).follow(60)
    assert len(market.requests) <= 1 + 60 / feeds._FEED_ENDED_PAUSE_S
    assert got.log == ["the replay has ended; ticks go on when another feed begins"]
    market.scripts = [[started("b"), new_epoch("b"), ticks(1), HANG]]
    await got.follow(feeds._FEED_ENDED_PAUSE_S + 1)
    assert got.received == [1, 2, 1]


@in_simulated_time
async def test_a_draining_market_is_asked_less_and_less_often() -> None:
    got = await followed(60, [started("a"), end("SHUTTING_DOWN", "a", 0)])
    assert len(got.market.requests) < 25


@in_simulated_time
async def test_a_slow_strategy_resumes_at_once() -> None:
    got = await followed(1, [started("a"), ticks(1, 2), end("SLOW_CONSUMER", "a", 2)], [started("a"), ticks(3), HANG])
    assert got.received == [1, 2, 3]


@in_simulated_time
async def test_a_symbol_that_a_restarted_market_does_not_list_yet_is_waited_for() -> None:
    unlisted = [NotFound("instrument", SYMBOL)]
    got = await followed(
        30, [started("a"), ticks(1), end("SHUTTING_DOWN", "a", 1)], unlisted, unlisted, [started("a"), ticks(2), HANG]
    )
    assert got.received == [1, 2]
    assert [text for text in got.log if "does not list" in text] == [
        f"market does not list {SYMBOL}; its ticks go on when it does"
    ]


@in_simulated_time
async def test_a_symbol_that_the_first_replica_does_not_list_yet_is_waited_for() -> None:
    got = await followed(5, [NotFound("instrument", SYMBOL)], [started("a"), ticks(1), HANG])
    assert got.received == [1]
    assert got.log == [f"market does not list {SYMBOL}; its ticks go on when it does"]


@in_simulated_time
async def test_a_market_that_hangs_is_left_and_asked_again() -> None:
    got = await followed(14, [started("a"), ticks(1), HANG], [started("a"), ticks(2), HANG])
    assert got.received == [1, 2]
    assert got.market.streams[0].cancelled
    assert [text for text in got.log if "silent" in text]


@in_simulated_time
async def test_a_feed_that_is_lost_and_a_symbol_that_is_silent_are_logged_once_each_way() -> None:
    states = [state(False), state(False), state(True), state(True, SYMBOL), state(True, SYMBOL, "x.y"), state(True)]
    got = await followed(3, [started("a"), *states, HANG])
    assert got.log == [
        "market data are lost: market hears nothing from the feed",
        "market data are back",
        f"{SYMBOL} is silent for longer than is usual in its session",
        f"{SYMBOL} ticks again",
    ]


@in_simulated_time
async def test_what_bars_need_to_know_comes_between_the_ticks_in_its_epoch() -> None:
    got = await followed(
        1,
        [
            started("e1"),
            ticks(1, 2),
            heartbeat(),
            heartbeat(SIM=5, CTP=7),
            ticks(3),
            gap(4, 6),
            ticks(7),
            new_epoch("e2"),
            heartbeat(SIM=9),
            ticks(1),
            end("FEED_ENDED", "e2", 1),
        ],
        [started("e2"), end("FEED_ENDED", "e2", 1)],
    )
    assert got.received == [1, 2, 3, 7, 1]
    assert got.events == [
        (2, TimePassed("e1", {"SIM": 5, "CTP": 7})),
        (3, TicksLost("e1", 6)),
        (7, TimePassed("e2", {"SIM": 9})),
        (1, FeedEnded()),
    ]
    assert all(request.watermarks for request in got.market.requests)
