"""Readers of a hub's streams, for tests."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from redfire.market.v1 import market_pb2 as pb

from services.kernel.rpc.source import messages_of
from services.market.control_messages import TickControlMessages
from services.market.ticks.conflated import ConflatedSubscriber
from services.market.ticks.hub import Hub
from services.market.ticks.position import Position
from services.market.ticks.subscriber import LosslessSubscriber, Subscriber
from services.market.ticks.tick_ring import FRAME_OVERHEAD
from services.quant.ticks.variant import variant
from tests.market.ticks import SYMBOL, batch, tick

OTHER = "rb2105.SHFE"
SCANNER = variant().scanner()


class Reader:
    """Reads a subscriber's stream into lists, when started."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self.messages: list[pb.StreamTicksResponse] = []
        self._stream = messages_of(subscriber)
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

    def kinds(self) -> list[str | int]:
        """Messages in order: of a tick its sequence, of a control message its kind."""
        kinds: list[str | int] = []
        for message in self.messages:
            kinds += [one.sequence for one in message.ticks]
            if kind := message.WhichOneof("event"):
                kinds.append(kind)
        return kinds

    def gaps(self) -> list[tuple[str, int, int]]:
        """Of each gap the symbol, the first and the last one that is lost."""
        gaps = [message.gap for message in self.messages if message.HasField("gap")]
        return [(gap.symbol, gap.first_sequence, gap.last_sequence) for gap in gaps]


def publish(hub: Hub, *ticks: pb.Tick) -> None:
    hub.publish(SCANNER.scan(batch(*ticks)))


def cold_hub(frames: int = 64) -> Hub:
    """A hub that knows no epoch. Its rings keep so many of the frames that `tick(1)` has, in all."""
    return Hub(TickControlMessages(), frames * (len(batch(tick(1))) + FRAME_OVERHEAD))


def new_hub(frames: int = 64, epoch: str = "e1", first_sequence: int = 1) -> Hub:
    """A hub that follows an epoch from its beginning."""
    hub = cold_hub(frames)
    hub.begin_feed(Position(epoch), first_sequence=first_sequence)
    return hub


def restored(position: Position, first_sequence: int, *ticks: pb.Tick, frames: int = 64) -> Hub:
    """A hub with the ticks of an earlier run."""
    hub = cold_hub(frames)
    hub.restore_epoch(position, first_sequence)
    hub.restore(SCANNER.scan(batch(*ticks)))
    return hub


def last_tick(hub: Hub, symbol: str = SYMBOL) -> pb.Tick | None:
    frame = hub.find_frame(symbol)
    return pb.StreamTicksResponse.FromString(frame).ticks[0] if frame else None


def lossless(
    hub: Hub,
    *symbols: str,
    limit: int = 100,
    heartbeat_s: float = 10.0,
    epoch: str = "",
    resume: Mapping[str, int] | None = None,
    **after: int,
) -> Reader:
    """A reader of SYMBOL or other symbols, that resumes `after=` a sequence of SYMBOL or those of `resume`."""
    names = frozenset(symbols or (SYMBOL,))
    subscriber = LosslessSubscriber(
        f"s{hub.stream_count}", "alice", names, TickControlMessages(), heartbeat_s, limit, hub.on_capacity
    )
    hub.add(subscriber, resume or ({SYMBOL: after["after"]} if after else {}), epoch)
    return Reader(subscriber)


def conflated(
    hub: Hub,
    *symbols: str,
    min_interval_s: float = 0.0,
    epoch: str = "",
    resume: Mapping[str, int] | None = None,
) -> Reader:
    names = frozenset(symbols or (SYMBOL,))
    subscriber = ConflatedSubscriber(
        f"c{hub.stream_count}", "alice", names, TickControlMessages(), 10.0, min_interval_s
    )
    hub.add(subscriber, resume or {}, epoch)
    return Reader(subscriber)
