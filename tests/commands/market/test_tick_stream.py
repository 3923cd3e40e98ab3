"""The resuming stream against a market that breaks it anywhere: ticks and gaps together are what there was."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.market.v1 import market_pb2 as pb

from services.commands.market.tick_stream import TickStream
from services.kernel.errors import RedFireError, Unauthenticated
from services.kernel.rpc.status import code_of, grpc_code
from tests.simulated_time import in_simulated_time

SYMBOLS = ("a.SHFE", "b.SHFE", "c.SHFE")
Position = tuple[str, str, int]


class Broken(grpc.aio.AioRpcError):
    def __init__(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        super().__init__(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="connection lost")


class Market:
    """A market by the contract: an epoch's ticks in order, the oldest of which it forgets, and streams that break.

    Each stream goes through some of the ticks and breaks in one of several ways; a market that sends ticks again, or
    leaves some out without a word, is worse than the contract allows.
    """

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self.published: list[Position] = []
        self.epoch = "e0"
        self.last = dict.fromkeys(SYMBOLS, 0)
        self.kept_from = 0
        self.streams = 0
        self.snapshots: set[Position] = set()

    def StreamTicks(self, request: pb.StreamTicksRequest, metadata: Any) -> "Call":
        return Call(self._messages(request))

    def publish(self) -> list[Position]:
        new = []
        for symbol in self._draw(st.lists(st.sampled_from(SYMBOLS), max_size=6)):
            self.last[symbol] += 1
            new.append((self.epoch, symbol, self.last[symbol]))
        self.published += new
        return new

    async def _messages(self, request: pb.StreamTicksRequest) -> AsyncIterator[pb.StreamTicksResponse]:
        self.streams += 1
        if request.epoch and self._draw(st.booleans()):
            if self._draw(st.integers(0, 4)) == 0:
                self.epoch, self.last = f"e{self.streams}", dict.fromkeys(SYMBOLS, 0)
                self.kept_from = len(self.published)
            self.publish()
            self.kept_from = self._draw(st.integers(self.kept_from, len(self.published)))
        yield pb.StreamTicksResponse(started={"stream_id": "s", "epoch": self.epoch})
        if request.epoch not in ("", self.epoch):
            yield pb.StreamTicksResponse(new_epoch={"epoch": self.epoch})
        for message in self._caught_up(request):
            yield message
        for _ in range(self._draw(st.integers(0, 4))):
            for position in self.publish():
                yield ticks(position)
        if self.streams > 5:
            yield pb.StreamTicksResponse(end={"reason": "FEED_ENDED", "epoch": self.epoch})
            return
        match self._draw(st.sampled_from(["error", "end", "closed", "silent"])):
            case "error":
                raise Broken
            case "end":
                yield pb.StreamTicksResponse(end={"reason": "SLOW_CONSUMER", "epoch": self.epoch})
            case "silent":
                await asyncio.sleep(3600)

    def _caught_up(self, request: pb.StreamTicksRequest) -> list[pb.StreamTicksResponse]:
        """Messages that a resumed stream missed, or each symbol's last tick."""
        messages = []
        if request.epoch != self.epoch:
            for symbol in (one for one in SYMBOLS if self.last[one]):
                self.snapshots.add((self.epoch, symbol, self.last[symbol]))
                messages.append(ticks((self.epoch, symbol, self.last[symbol])))
            return messages
        kept = [one for one in self.published[self.kept_from :] if one[0] == self.epoch]
        for symbol, after in request.resume_after_sequence.items():
            of_symbol = [one for one in kept if one[1] == symbol and one[2] > after]
            first = of_symbol[0][2] if of_symbol else self.last[symbol] + 1
            if first > after + 1 and self._draw(st.booleans() if of_symbol else st.just(True)):
                gap = {"symbol": symbol, "first_sequence": after + 1, "last_sequence": first - 1}
                messages.append(pb.StreamTicksResponse(gap=gap))
            again = self._draw(st.booleans())
            known = [(self.epoch, symbol, after)] if again and after else []
            messages += [ticks(*known, *of_symbol)] if known or of_symbol else []
        return messages


class Call:
    """A call as grpc.aio's."""

    def __init__(self, messages: AsyncIterator[pb.StreamTicksResponse]) -> None:
        self._messages = messages

    def __aiter__(self) -> AsyncIterator[pb.StreamTicksResponse]:
        return self._messages

    def cancel(self) -> None:
        pass


class Client:
    metadata = ()

    def __init__(self, market: Any) -> None:
        self.market = market

    async def find_again(self) -> None:
        pass

    async def renew(self, refusal: Unauthenticated) -> None:
        raise AssertionError


def ticks(*positions: Position) -> pb.StreamTicksResponse:
    return pb.StreamTicksResponse(ticks=[pb.Tick(symbol=symbol, sequence=number) for _, symbol, number in positions])


@settings(deadline=None)
@given(st.data())
@in_simulated_time
async def test_ticks_and_gaps_together_are_what_was_published_each_once_and_in_order(data):
    market = Market(data.draw)
    stream = TickStream(Client(market), SYMBOLS)
    got: list[Position] = []
    lost: list[Position] = []
    async with aclosing(stream.messages()) as messages:
        async for message in messages:
            got += [(stream.epoch, one.symbol, one.sequence) for one in message.ticks]
            if message.WhichOneof("event") == "gap":
                gap = message.gap
                lost += [(stream.epoch, gap.symbol, n) for n in range(gap.first_sequence, gap.last_sequence + 1)]
    assert len(set(got + lost)) == len(got) + len(lost)
    assert stream.missed == len(lost)
    for epoch in {one[0] for one in market.published}:
        for symbol in SYMBOLS:
            there = [one for one in market.published if one[:2] == (epoch, symbol)]
            mine = [one for one in got if one[:2] == (epoch, symbol)]
            assert mine == sorted(mine)
            # From the first one on that it got, by a snapshot or as it came, to the last that was known.
            both = sorted(one for one in got + lost if one[:2] == (epoch, symbol))
            if both:
                assert both == there[there.index(both[0]) :][: len(both)]
            if epoch == market.epoch:
                assert not there or both[-1] == there[-1]


@pytest.mark.parametrize("after_ticks", [False, True])
@in_simulated_time
async def test_what_refuses_the_first_stream_is_raised_and_what_breaks_a_later_one_is_tried_again(after_ticks):
    class Refusing:
        calls = 0

        def StreamTicks(self, request: pb.StreamTicksRequest, metadata: Any) -> Call:
            self.calls += 1
            return Call(self._messages())

        async def _messages(self) -> AsyncIterator[pb.StreamTicksResponse]:
            if after_ticks and self.calls == 1:
                yield pb.StreamTicksResponse(started={"stream_id": "s", "epoch": "e"})
                yield ticks(("e", SYMBOLS[0], 1))
            if self.calls == 20:
                yield pb.StreamTicksResponse(end={"reason": "FEED_ENDED"})
                return
            raise Broken

    market = Refusing()
    stream = TickStream(Client(market), SYMBOLS)

    async def read() -> int:
        async with aclosing(stream.messages()) as messages:
            return sum([len(message.ticks) async for message in messages])

    if not after_ticks:
        with pytest.raises(RedFireError) as raised:
            await read()
        assert grpc_code(code_of(raised.value)) is grpc.StatusCode.UNAVAILABLE
    else:
        assert await read() == 1
        assert market.calls == 20
