"""The recorder's write-ahead log, from which a replica that starts fills its rings as the recorder itself does.

It is asked for, so that all that it has by now is in it; without its answer the folder has what is on disk.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from itertools import islice
from pathlib import Path

from redfire.market.v1 import replica_service_pb2 as pb

from services.kernel.errors import RedFireError
from services.kernel.rpc.silence import until_silent
from services.market.convert import parse_batch
from services.market.recording.epoch import Started
from services.market.recording.tick_store import read_logs
from services.market.recording.tick_wal import Record
from services.market.replicas.directory import Recorder
from services.market.ticks.hub import Hub
from services.market.ticks.position import Position
from services.quant.ticks.variant import variant

_log = logging.getLogger(__name__)
PART_RECORDS = 256
"""Records that are read from disk at once."""


class RemoteLog:
    """Reads the log into a hub, before anybody subscribes."""

    def __init__(
        self,
        recorder: Recorder,
        folder: Path,
        hub: Hub,
        max_bytes: int,
        silence_s: Callable[[], float],
    ) -> None:
        """`folder` is that of history."""
        self._recorder = recorder
        self._folder = folder
        self._hub = hub
        self._max_bytes = max_bytes
        self._silence_s = silence_s
        self._scan = variant().scanner().scan
        self._started = Started()
        self._position = 0

    async def restore(self) -> None:
        """Load what the recorder keeps, as far as it comes: the feed goes on behind it."""
        request = pb.ReadLogRequest(max_bytes=self._max_bytes)
        ticks = 0
        try:
            answer = self._recorder.stub().ReadLog(request)
            async with aclosing(until_silent(answer, self._silence_s())) as parts:
                async for part in parts:
                    ticks += sum(map(self._apply, part.records))
        except RedFireError as error:
            _log.info("the log is read from disk: replica %s does not send it: %s", self._recorder.name, error.message)
            if not self._started.epoch:
                ticks = await self._read_from_disk()
        if self._started.epoch:
            self._hub.restore_epoch(Position(self._started.epoch, self._position), self._started.first_sequence)
            _log.info("%d ticks of the log were loaded", ticks)

    async def _read_from_disk(self) -> int:
        """Load what is on disk; the number of ticks."""
        ticks = 0
        try:
            records = read_logs(self._folder, self._max_bytes)
            while part := await asyncio.to_thread(lambda: list(islice(records, PART_RECORDS))):
                ticks += sum(map(self._apply, part))
        except OSError as error:
            _log.warning("the log cannot be read: %s", error)
        return ticks

    def _apply(self, record: pb.ReadLogResponse.Record | Record) -> int:
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
