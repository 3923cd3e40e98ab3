"""Acknowledgements: the positions up to which this replica has taken the feed, and has room for more of it.

The stream itself is always read on, so that ticks of real gateways come while a reader of a replay is full: the engine
keeps a paced replay within some thousand ticks of what was acknowledged.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from redfire.engine.v1 import engine_pb2

from services.kernel.errors import NotFound, RedFireError
from services.market.ticks.hub import Hub

_log = logging.getLogger(__name__)
STEP = 512
"""Ticks that are not worth an acknowledgement yet: a part of those that the engine goes ahead."""
_RETRY_S = 0.2


class Acknowledgements:
    """Acknowledges positions of the present stream of a replay, once nobody who must have them is full."""

    def __init__(self, engine: Any, hub: Hub, wait_for_capacity: Callable[[], Awaitable[None]]) -> None:
        """`wait_for_capacity` returns when all who read the feed have room for more of it."""
        self._engine = engine
        self._hub = hub
        self._wait_for_capacity = wait_for_capacity
        self._reader_id = ""
        self._acknowledged = 0
        self._due = asyncio.Event()

    def begin(self, started: engine_pb2.StreamTicksResponse.Started) -> None:
        """A stream begins, behind this position."""
        # Every replay waits for its readers, also one that goes by a clock.
        self._reader_id = "" if started.realtime else started.reader_id
        self._acknowledged = started.position

    @property
    def paces(self) -> bool:
        """True if the stream's engine waits for acknowledgements."""
        return bool(self._reader_id)

    def end(self) -> None:
        """The stream has ended."""
        self._reader_id = ""

    def reach(self, position: int) -> None:
        """The ticks up to this position were published."""
        if self._reader_id and position - self._acknowledged >= STEP:
            self._due.set()

    async def run(self) -> None:
        """Acknowledge what was reached, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self._wait_for_capacity()
            reader_id, position = self._reader_id, self._hub.position.number
            if not reader_id:
                continue
            request = engine_pb2.AcknowledgeTicksRequest(reader_id=reader_id, position=position)
            try:
                await self._engine.AcknowledgeTicks(request)
            except NotFound:
                continue  # the stream ended meanwhile
            except RedFireError as error:
                _log.info("the engine takes no acknowledgement of ticks: %s", error.message)
                await asyncio.sleep(_RETRY_S)
                self._due.set()
            else:
                if reader_id == self._reader_id:
                    self._acknowledged = max(self._acknowledged, position)
