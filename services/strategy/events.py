"""Who follows a strategy's events: bounded queues, one per open stream."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from redfire.reasons import Reason

from services.strategy.strategy import LogLine, Strategy

_WAITING = 1000


@dataclass(frozen=True, slots=True)
class StrategyEvent:
    """News of a strategy: the strategy as it is now, a line of its log, or the reason why the stream ends.

    All three empty: nothing happened for a while.
    """

    sequence: int
    strategy: Strategy | None = None
    line: LogLine | None = None
    end: str = ""


class Follower:
    """One open stream."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[StrategyEvent] = asyncio.Queue(_WAITING)
        self._slow = False

    def offer(self, event: StrategyEvent) -> None:
        """Add an event; a follower that does not keep up loses its stream, not single events."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._slow = True

    async def events(self, heartbeat_s: float, sequence: int) -> AsyncGenerator[StrategyEvent, None]:
        """What comes, with a heartbeat whenever it is silent for so long; an end ends it."""
        while True:
            try:
                async with asyncio.timeout(heartbeat_s):
                    event = await self._queue.get()
            except TimeoutError:
                yield StrategyEvent(sequence)
                continue
            sequence = event.sequence
            yield event
            if event.end:
                return
            if self._slow and self._queue.empty():
                yield StrategyEvent(sequence, end=Reason.SLOW_CONSUMER.value)
                return


class StrategyEvents:
    """All followers, by strategy."""

    def __init__(self) -> None:
        self._followers: dict[str, set[Follower]] = defaultdict(set)
        # Microseconds as a start: sequences grow across restarts, and no table is needed for them.
        self._sequence = time.time_ns() // 1000
        self._draining = False

    @property
    def sequence(self) -> int:
        """Of the last event."""
        return self._sequence

    @contextmanager
    def follow(self, strategy_id: str) -> Iterator[Follower]:
        """Follow a strategy while the block runs."""
        follower = Follower()
        if self._draining:
            follower.offer(StrategyEvent(self._sequence, end=Reason.SHUTTING_DOWN.value))
        self._followers[strategy_id].add(follower)
        try:
            yield follower
        finally:
            self._followers[strategy_id].discard(follower)
            if not self._followers[strategy_id]:
                del self._followers[strategy_id]

    def publish(self, strategy_id: str, *, strategy: Strategy | None = None, line: LogLine | None = None) -> None:
        """Tell the followers of a strategy."""
        self._sequence += 1
        for follower in self._followers.get(strategy_id, ()):
            follower.offer(StrategyEvent(self._sequence, strategy, line))

    def end(self, strategy_id: str, reason: str) -> None:
        """End the streams of a strategy."""
        for follower in self._followers.get(strategy_id, ()):
            follower.offer(StrategyEvent(self._sequence, end=reason))

    async def drain(self) -> None:
        """The process stops: end all streams."""
        self._draining = True
        for strategy_id in list(self._followers):
            self.end(strategy_id, Reason.SHUTTING_DOWN.value)
