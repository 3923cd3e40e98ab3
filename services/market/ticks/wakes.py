"""Wakes of lossless streams' writers: an idle one's at once, so that no tick waits for a timer.

One whose write is in flight is not woken: it looks by itself when that is done, and takes all that came meanwhile. So
batches grow by themselves as the loop, the connection or the reader becomes slower.
"""

import asyncio
from collections.abc import Iterable

from services.market.ticks.routes import Group
from services.market.ticks.subscriber import LosslessSubscriber

WAKES = 16
"""Writers woken in one turn of the loop, about 1 ms of writes: other work comes between two turns."""


class Wakes:
    """Wakes the writers of many streams, some in each turn of the loop."""

    def __init__(self) -> None:
        self._due: dict[LosslessSubscriber, None] = {}

    def wake(self, groups: Iterable[Group]) -> None:
        """Wake the idle writers of these groups."""
        due = self._due
        has_turn = bool(due)
        left = 0 if has_turn else WAKES
        for group in groups:
            for subscriber in group.subscribers:
                if not subscriber.idle:
                    continue
                if left > 0:
                    subscriber.wake()
                    left -= 1
                else:
                    due[subscriber] = None
        if due and not has_turn:
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        due = self._due
        for subscriber in [one for one, _ in zip(due, range(WAKES), strict=False)]:
            del due[subscriber]
            subscriber.wake()
        if due:
            asyncio.get_running_loop().call_soon(self._turn)
