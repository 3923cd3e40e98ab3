"""The recorder's write-ahead log, from which a replica that starts fills its rings as the recorder itself does."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from redfire.market.v1 import replica_service_pb2 as pb

from services.kernel.errors import RedFireError
from services.kernel.rpc.silence import until_silent
from services.market.convert import parse_batch
from services.market.recording.epoch import Started
from services.market.ticks.hub import Hub
from services.market.ticks.position import Position
from services.quant.ticks.variant import variant

_log = logging.getLogger(__name__)


class RemoteLog:
    """Reads the log into a hub, before anybody subscribes."""

    def __init__(
        self,
        recorder: str,
        read: Callable[[pb.ReadLogRequest], AsyncIterator[Any]],
        hub: Hub,
        max_bytes: int,
        silence_s: Callable[[], float],
    ) -> None:
        """`recorder` is its name, `read` the ReadLog of its stub."""
        self._recorder = recorder
        self._read = read
        self._hub = hub
        self._max_bytes = max_bytes
        self._silence_s = silence_s
        self._scan = variant().scanner().scan
        self._started = Started()
        self._position = 0

    async def restore(self) -> None:
        """Load what the recorder keeps, as far as it comes: the feed goes on behind it. Without it, nothing is."""
        request = pb.ReadLogRequest(max_bytes=self._max_bytes)
        ticks = 0
        try:
            async with aclosing(until_silent(self._read(request), self._silence_s())) as parts:
                async for part in parts:
                    ticks += sum(map(self._apply, part.records))
        except RedFireError as error:
            _log.info("the log of replica %s is unavailable: %s", self._recorder, error.message)
        if self._started.epoch:
            self._hub.restore_epoch(Position(self._started.epoch, self._position), self._started.first_sequence)
            _log.info("%d ticks that replica %s keeps were loaded", ticks, self._recorder)

    def _apply(self, record: pb.ReadLogResponse.Record) -> int:
        """Apply a record; return the number of its ticks."""
        batch = self._scan(record.message)
        self._position = record.position
        if batch.control:
            message = parse_batch(batch.control)
            if message.HasField("started"):
                started = self._started = message.started
                self._hub.restore_epoch(Position(started.epoch, started.position), started.first_sequence)
            elif message.HasField("heartbeat"):
                self._hub.restore_time(message.heartbeat.watermarks_ns)
        elif len(batch):
            self._hub.restore(batch)
        return len(batch)
