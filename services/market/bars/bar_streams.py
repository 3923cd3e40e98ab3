"""Streams of closed bars: each bar is encoded once, if it has subscribers."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from services.kernel.errors import RedFireError
from services.market.ticks.chunk import Chunk
from services.market.ticks.subscriber import FEED_ENDED, LosslessSubscriber
from services.quant.bars import Interval


class Bar(Protocol):
    """The fields of a bar that streams are chosen by."""

    @property
    def symbol(self) -> str:
        """The instrument."""

    @property
    def interval(self) -> int:
        """Its length, a number of Interval."""


B = TypeVar("B", bound=Bar)


class BarStreams(Generic[B]):
    """The subscribers of each symbol and interval.

    While the bars' source is away (`close`) no stream opens, so that none misses bars in silence.
    """

    def __init__(self, encode: Callable[[B], bytes], is_live: Callable[[frozenset[str]], bool]) -> None:
        """`is_live` tells whether some of these symbols go on when a replay has ended."""
        self._encode = encode
        self._is_live = is_live
        self._subscribers: dict[tuple[str, int], list[LosslessSubscriber]] = {}
        self._open: dict[LosslessSubscriber, None] = {}
        self._feed_ended = False
        self._closed: Callable[[], RedFireError] | None = None

    def publish(self, bar: B) -> None:
        """Send a closed bar to its subscribers."""
        subscribers = self._subscribers.get((bar.symbol, bar.interval))
        if subscribers:
            chunk = Chunk(self._encode(bar), 1)
            for subscriber in subscribers:
                subscriber.offer(chunk)

    def require_source(self) -> None:
        """Raise what `close` was given, while the source of bars is away."""
        if self._closed is not None:
            raise self._closed()

    def add(self, subscriber: LosslessSubscriber, interval: Interval) -> None:
        """Open a stream. Raises what `close` was given, while the source of bars is away."""
        self.require_source()
        self._open[subscriber] = None
        for symbol in subscriber.symbols:
            self._subscribers.setdefault((symbol, interval), []).append(subscriber)
        self._end_at_feeds_end(subscriber)

    def remove(self, subscriber: LosslessSubscriber, interval: Interval) -> None:
        """Forget a stream whose reader left."""
        if subscriber not in self._open:
            return
        del self._open[subscriber]
        for symbol in subscriber.symbols:
            subscribers = self._subscribers[symbol, interval]
            subscribers.remove(subscriber)
            if not subscribers:
                del self._subscribers[symbol, interval]

    def set_feed_ended(self, ended: bool) -> None:
        """A replay came to its end, and streams without live symbols with it; or a feed begins."""
        self._feed_ended = ended
        for subscriber in self._open:
            self._end_at_feeds_end(subscriber)

    def close(self, error: Callable[[], RedFireError]) -> None:
        """The source of bars is away: end all streams with the error's reason once they delivered all they have."""
        self._closed = error
        reason = error().reason.value
        for subscriber in self._open:
            subscriber.end(reason)

    def reopen(self) -> None:
        """The source of bars is there."""
        self._closed = None

    def _end_at_feeds_end(self, subscriber: LosslessSubscriber) -> None:
        if self._feed_ended and not self._is_live(subscriber.symbols):
            subscriber.end(FEED_ENDED)
