"""The event stream: updates of gateways, numbered, with a history to resume from."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from redfire.reasons import Reason

from services.engine.updates import Update
from services.kernel.errors import ResourceExhausted
from services.kernel.tasks import wait_for_event


class TooSlow(ResourceExhausted):
    """The reader is further behind than the history reaches; reconcile with QueryState."""

    reason = Reason.SLOW_CONSUMER


@dataclass(frozen=True, slots=True)
class Started:
    """The stream begins after `sequence`; `resumed` when nothing is missed."""

    epoch: str
    resumed: bool
    sequence: int
    heartbeat_s: float = field(default=0.0, compare=False)
    """The silence after which a heartbeat is sent."""


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class Numbered:
    """An update with its number, or a heartbeat (update None) with the last number."""

    sequence: int
    update: Update | None


class EventStream:
    """Updates in order. All readers read from the one history, so that memory is bounded however many they are."""

    def __init__(self, epoch: str, history: int, heartbeat_s: float) -> None:
        self.epoch = epoch
        self.sequence = 0
        self._history: deque[Update] = deque(maxlen=history)
        self._heartbeat_s = heartbeat_s
        self._wakes: set[asyncio.Event] = set()
        self._closed = False

    def publish(self, update: Update) -> None:
        """The next event."""
        self.publish_all((update,))

    def publish_all(self, updates: Sequence[Update]) -> None:
        """The next events."""
        self.sequence += len(updates)
        self._history.extend(updates)
        for wake in self._wakes:
            wake.set()

    def close(self) -> None:
        """End all streams when they have what was published."""
        self._closed = True
        for wake in self._wakes:
            wake.set()

    async def read(self, resume_after: int, epoch: str) -> AsyncGenerator[Started | list[Numbered], None]:
        """Events after `resume_after` of this epoch when the history reaches back so far, else from now on, in lists.

        Raises: TooSlow.
        """
        resumed = epoch == self.epoch and self._oldest() <= resume_after + 1 and resume_after <= self.sequence
        last = resume_after if resumed else self.sequence
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            yield Started(self.epoch, resumed, last, self._heartbeat_s)
            while True:
                if last < self.sequence:
                    events = self._after(last)
                    yield events
                    last = events[-1].sequence
                    continue
                if self._closed:
                    return
                wake.clear()
                if not await wait_for_event(wake, self._heartbeat_s):
                    yield [Numbered(last, None)]
        finally:
            self._wakes.discard(wake)

    def _oldest(self) -> int:
        return self.sequence - len(self._history) + 1

    def _after(self, last: int) -> list[Numbered]:
        oldest = self._oldest()
        if last + 1 < oldest:
            raise TooSlow
        first = last + 1 - oldest
        upto = min(len(self._history), first + 256)
        return [Numbered(oldest + place, self._history[place]) for place in range(first, upto)]
