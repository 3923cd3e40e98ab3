"""Restart: what the log has is applied once more, in the order in which the stream said it."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redfire.engine.v1 import engine_pb2

from services.market.convert import parse_batch
from services.market.recording.epoch import Epoch, Started
from services.market.recording.tick_wal import Record
from services.quant.bars import BarBuilder
from services.quant.ticks.tick_batch import TickBatch
from services.quant.ticks.variant import variant


@dataclass(frozen=True, slots=True)
class Restored:
    """Takers of what an earlier run received, in order."""

    begin_epoch: Callable[[Started], None]
    """The ticks that follow are of this epoch."""
    take: Callable[[TickBatch], None]
    """Ticks that streams may resume from."""
    pass_time: Callable[[Mapping[str, int]], None]
    """The exchanges' time between them, by gateway."""


class Replay:
    """Applies records: those that are archived to streams' ticks only, the others to everything."""

    def __init__(
        self,
        restored: Restored,
        bars: BarBuilder,
        record: Callable[[TickBatch, Epoch], None],
        state: Mapping[str, Any],
    ) -> None:
        self._restored = restored
        self._bars = bars
        self._record = record
        self._state = state
        self._scan = variant().scanner().scan
        self.epoch = Epoch(**state.get("epoch", {}))

    def apply_archived(self, records: Sequence[Record]) -> None:
        """Apply records from before the checkpoint."""
        for record in records:
            batch = self._scan(record.message)
            if batch.control:
                message = parse_batch(batch.control)
                if message.HasField("started"):
                    self._restored.begin_epoch(message.started)
                elif message.HasField("heartbeat"):
                    self._restored.pass_time(message.heartbeat.watermarks_ns)
            elif len(batch):
                self._restored.take(batch)

    def apply_state(self) -> TickBatch:
        """Apply the checkpoint's open bars and last ticks, and return these."""
        watermarks_ns = self._state.get("watermarks_ns", {})
        self._bars.load(self._state.get("bars", {}), self.epoch.name, watermarks_ns)
        frames = [base64.b64decode(text) for text in self._state.get("last_frames", {}).values()]
        batch = self._scan(b"".join(frames))
        if self.epoch.name:
            self._restored.begin_epoch(self.epoch.started())
        self._restored.take(batch)
        self._restored.pass_time(watermarks_ns)
        return batch

    def apply(self, records: Sequence[Record], number: int) -> None:
        """Apply records from after the checkpoint, which are all of the log's file of this number."""
        marks = self._state.get("marks", {}) if number == self._state.get("log") else {}
        for index, record in enumerate(records):
            batch = self._scan(record.message)
            if len(batch):
                self._apply_ticks(batch, record.position, {symbol for symbol, mark in marks.items() if index < mark})
            if batch.control:
                self._apply_control(parse_batch(batch.control))

    def _apply_control(self, message: engine_pb2.StreamTicksResponse) -> None:
        if message.HasField("started"):
            self._apply_started(message.started)
        elif message.HasField("heartbeat"):
            self._bars.on_watermarks(message.heartbeat.watermarks_ns)
            self._restored.pass_time(message.heartbeat.watermarks_ns)
        elif message.HasField("feed_ended"):
            self._bars.close_all(message.feed_ended.gateway_name)

    def _apply_started(self, started: Started) -> None:
        if self.epoch.goes_on(started):
            self.epoch.position = started.position
        else:
            self.epoch = self.epoch.next(started)
            self._bars.begin_epoch(started.epoch)
        self._bars.lose(started.sequences)
        self._restored.begin_epoch(self.epoch.started())

    def _apply_ticks(self, batch: TickBatch, position: int, dumped: set[str]) -> None:
        """`dumped`: the symbols whose bars, as loaded, have these ticks already."""
        self._bars.on_batch(batch, dumped)
        self.epoch.position = position
        self._record(batch, self.epoch)
        self._restored.take(batch)
