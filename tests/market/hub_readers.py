"""Readers of a hub's streams, for tests."""

import asyncio
from contextlib import suppress

from redfire.market.v1 import market_pb2 as pb

from services.market.control_messages import TickControlMessages
from services.market.ticks.frames import split
from services.market.ticks.hub import Hub
from services.market.ticks.subscriber import ConflatedSubscriber, LosslessSubscriber, Subscriber
from tests.market.ticks import SYMBOL, batch

OTHER = "rb2105.SHFE"


class Reader:
    """Reads a subscriber's stream into lists, when started."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self.messages: list[pb.StreamTicksResponse] = []
        self._stream = subscriber.messages()
        self._task: asyncio.Task[None] | None = None
        self.ended = False

    async def next(self) -> pb.StreamTicksResponse:
        message = pb.StreamTicksResponse.FromString(await asyncio.wait_for(anext(self._stream), 5))
        self.messages.append(message)
        return message

    def start(self) -> "Reader":
        self._task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        async for data in self._stream:
            self.messages.append(pb.StreamTicksResponse.FromString(data))
        self.ended = True

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._stream.aclose()

    def ticks(self, symbol: str = SYMBOL) -> list[int]:
        return [t.sequence for message in self.messages for t in message.ticks if t.symbol == symbol]

    def events(self) -> list[str]:
        return [kind for message in self.messages if (kind := message.WhichOneof("event"))]


def publish(hub: Hub[pb.Tick], *ticks: pb.Tick) -> None:
    hub.publish(split(batch(*ticks)), ticks)


def lossless(hub: Hub[pb.Tick], *symbols: str, limit: int = 100, heartbeat_s: float = 10.0, **resume: int) -> Reader:
    names = frozenset(symbols or (SYMBOL,))
    subscriber = LosslessSubscriber(
        f"s{hub.stream_count}", "alice", names, TickControlMessages(), heartbeat_s, limit, hub.on_capacity
    )
    hub.add(subscriber, {SYMBOL: resume["after"]} if "after" in resume else {})
    return Reader(subscriber)


def conflated(hub: Hub[pb.Tick], *symbols: str, min_interval_s: float = 0.0) -> Reader:
    names = frozenset(symbols or (SYMBOL,))
    subscriber = ConflatedSubscriber(
        f"c{hub.stream_count}", "alice", names, TickControlMessages(), 10.0, min_interval_s
    )
    hub.add(subscriber, {})
    return Reader(subscriber)
