"""Events of strategies for their open streams."""

import time
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from services.kernel.streams import End, Subscriber, Subscribers
from services.strategy.strategy import LogLine, Strategy

_WAITING = 1000


@dataclass(frozen=True, slots=True)
class StrategyEvent:
    """A change of a strategy: the strategy as it is now, a line of its log, or the reason why the stream ends.

    All three empty: nothing happened for a while.
    """

    sequence: int
    strategy: Strategy | None = None
    line: LogLine | None = None
    end: str = ""


class StrategyEvents:
    """Subscribers of strategies' events, by strategy."""

    def __init__(self) -> None:
        self._subscribers: Subscribers[str, StrategyEvent] = Subscribers(lambda: Subscriber(_WAITING))
        # Microseconds as a start: sequences grow across restarts, and no table is needed for them.
        self._sequence = time.time_ns() // 1000

    @property
    def sequence(self) -> int:
        """Sequence of the last event."""
        return self._sequence

    def follow(self, strategy_id: str) -> AbstractContextManager[Subscriber[StrategyEvent]]:
        """Follow a strategy while the block runs."""
        return self._subscribers.follow(strategy_id)

    async def events(
        self, subscriber: Subscriber[StrategyEvent], heartbeat_s: float, sequence: int
    ) -> AsyncGenerator[StrategyEvent, None]:
        """Events as they come, with a heartbeat whenever it is silent for so long; an end ends it."""
        async for item in subscriber.items(heartbeat_s):
            if isinstance(item, StrategyEvent):
                sequence = item.sequence
                yield item
            else:
                yield StrategyEvent(sequence, end=item.reason if isinstance(item, End) else "")

    def publish(self, strategy_id: str, *, strategy: Strategy | None = None, line: LogLine | None = None) -> None:
        """Send to the subscribers of a strategy."""
        self._sequence += 1
        self._subscribers.publish(strategy_id, [StrategyEvent(self._sequence, strategy, line)])

    def end(self, strategy_id: str, reason: str) -> None:
        """End the streams of a strategy."""
        self._subscribers.end(strategy_id, reason)

    async def drain(self) -> None:
        """End all streams: the process stops."""
        await self._subscribers.drain()
