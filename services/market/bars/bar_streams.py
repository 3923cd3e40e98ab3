"""Streams of closed bars: each bar is encoded once, if it has subscribers."""

from collections.abc import Callable

from services.market.ticks.chunk import Chunk
from services.market.ticks.subscriber import LosslessSubscriber
from services.quant.bars import Bar, Interval


class BarStreams:
    """The subscribers of each symbol and interval."""

    def __init__(self, encode: Callable[[Bar], bytes]) -> None:
        self._encode = encode
        self._subscribers: dict[tuple[str, Interval], list[LosslessSubscriber]] = {}

    def publish(self, bar: Bar) -> None:
        """Send a closed bar to its subscribers."""
        subscribers = self._subscribers.get((bar.symbol, bar.interval))
        if subscribers:
            chunk = Chunk(self._encode(bar), 1)
            for subscriber in subscribers:
                subscriber.offer(chunk)

    def add(self, subscriber: LosslessSubscriber, interval: Interval) -> None:
        """Open a stream."""
        for symbol in subscriber.symbols:
            self._subscribers.setdefault((symbol, interval), []).append(subscriber)

    def remove(self, subscriber: LosslessSubscriber, interval: Interval) -> None:
        """Forget a stream whose reader left."""
        for symbol in subscriber.symbols:
            subscribers = self._subscribers[symbol, interval]
            subscribers.remove(subscriber)
            if not subscribers:
                del self._subscribers[symbol, interval]
