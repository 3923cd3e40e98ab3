"""Turns in which connections are read: one of all in each turn of the loop."""

import asyncio
from collections import deque
from collections.abc import Callable


class Reads:
    """The connections that wait to be read on, in the order of their last read.

    However many connections a proxy spreads its clients' calls over, the loop's other work waits for one read.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def wait(self, read_on: Callable[[], None]) -> None:
        """Have `read_on` called in its turn."""
        self._waiting.append(read_on)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        read_on = self._waiting.popleft()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)
        read_on()
