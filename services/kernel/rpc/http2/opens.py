"""Calls that wait until they are opened, some in each turn of the loop: after a restart thousands come at once."""

import asyncio
from collections import deque
from typing import Any, Protocol

from services.kernel.rpc.http2.stream import Stream

OPENS, WAITING = 16, 64
"""Calls opened in a turn; and those that may wait before their connections are read no more."""


class Caller(Protocol):
    """A connection."""

    transport: Any

    def open(self, stream: Stream) -> None:
        """Open a call."""


class Opens:
    """The calls of all connections, in their order."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Caller, Stream]] = deque()
        self._held: dict[Caller, None] = {}

    def add(self, caller: Caller, stream: Stream) -> None:
        """Open a call in its turn."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)
        self._waiting.append((caller, stream))
        if len(self._waiting) >= WAITING and caller not in self._held:
            self._held[caller] = None
            caller.transport.pause_reading()

    def _turn(self) -> None:
        waiting = self._waiting
        for _ in range(min(len(waiting), OPENS)):
            caller, stream = waiting.popleft()
            caller.open(stream)
        if waiting:
            asyncio.get_running_loop().call_soon(self._turn)
        if len(waiting) <= WAITING // 2:
            held, self._held = self._held, {}
            for caller in held:
                if not caller.transport.is_closing():
                    caller.transport.resume_reading()
