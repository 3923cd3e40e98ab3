"""Closed bars for other replicas: each has a bounded buffer, and one that is too slow is ended, never thinned out."""

from collections.abc import AsyncGenerator, Iterable, Iterator

from redfire.market.v1 import replica_service_pb2 as pb
from redfire.reasons import Reason

from services.kernel.errors import ResourceExhausted
from services.kernel.streams import Subscriber, Subscribers
from services.market.convert import bar_to_pb
from services.quant.bars import Bar

BUFFER_BARS = 65_536
MESSAGE_BARS = 200
"""Bars that are encoded between two turns of the loop."""


class TooSlow(ResourceExhausted):
    """The replica is too slow for the bars."""

    reason = Reason.SLOW_CONSUMER


class BarFeed:
    """Fans closed bars out. A truth value in a buffer is the feed's state: it has ended, or goes on."""

    def __init__(self) -> None:
        self._readers: Subscribers[str, Bar | bool] = Subscribers(lambda: Subscriber(BUFFER_BARS, discards=True))
        self._ended = False

    def publish(self, bar: Bar) -> None:
        """Send a closed bar."""
        self._readers.publish("", (bar,))

    def set_ended(self, ended: bool) -> None:
        """Say that a replay came to its end behind the bars so far, or that a feed begins."""
        if ended != self._ended:
            self._ended = ended
            self._readers.publish("", (ended,))

    async def drain(self) -> None:
        """End all streams."""
        await self._readers.drain()

    async def watch(self, heartbeat_s: float) -> AsyncGenerator[pb.WatchBarsResponse, None]:
        """Yield the feed's state, then all bars from now on. Raises: TooSlow."""
        with self._readers.follow("") as reader:
            yield _state(self._ended)
            while not reader.has_ended:
                items = await reader.take(heartbeat_s)
                if not items and not reader.end_reason:
                    yield pb.WatchBarsResponse(heartbeat={})
                for message in _messages(items):
                    yield message
            if reader.end_reason == Reason.SLOW_CONSUMER:
                raise TooSlow


def _messages(items: Iterable[Bar | bool]) -> Iterator[pb.WatchBarsResponse]:
    message = pb.WatchBarsResponse()
    for item in items:
        if not isinstance(item, bool):
            message.bars.append(bar_to_pb(item))
            if len(message.bars) < MESSAGE_BARS:
                continue
        else:
            message.feed_state.ended = item  # behind the bars of its message
        yield message
        message = pb.WatchBarsResponse()
    if message.bars:
        yield message


def _state(ended: bool) -> pb.WatchBarsResponse:
    return pb.WatchBarsResponse(feed_state={"ended": ended})
