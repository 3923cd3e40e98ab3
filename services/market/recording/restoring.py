"""Restart: what the log has is applied once more, in the order in which the stream said it."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redfire.market.v1 import market_pb2 as pb

from services.market.convert import parse_batch, parse_ticks
from services.market.recording.epoch import Epoch, Started
from services.market.recording.tick_wal import Record
from services.market.ticks.frames import split
from services.quant.bars import BarBuilder

Ticks = Sequence[pb.Tick]


@dataclass(frozen=True, slots=True)
class Restored:
    """Takers of what an earlier run received, in order."""

    begin_epoch: Callable[[Started], None]
    """The ticks that follow are of this epoch."""
    take: Callable[[Sequence[bytes], Ticks], None]
    """Ticks that streams may resume from."""


class Replay:
    """Applies records: those that are archived to streams' ticks only, the others to everything."""

    def __init__(
        self,
        restored: Restored,
        bars: BarBuilder,
        record: Callable[[Sequence[bytes], Ticks, Epoch], None],
        state: Mapping[str, Any],
    ) -> None:
        self._restored = restored
        self._bars = bars
        self._record = record
        self._state = state
        self.epoch = Epoch(**state.get("epoch", {}))

    def apply_archived(self, records: Sequence[Record]) -> None:
        """Apply records from before the checkpoint."""
        for record in records:
            message = parse_batch(record.message)
            if message.HasField("started"):
                self._restored.begin_epoch(message.started)
            elif message.ticks:
                self._restored.take(split(record.message), message.ticks)

    def apply_state(self) -> Ticks:
        """Apply the checkpoint's open bars and last ticks, and return these."""
        self._bars.load(self._state.get("bars", {}))
        self._bars.begin_epoch(self.epoch.name)
        frames = [base64.b64decode(text) for text in self._state.get("last_frames", {}).values()]
        ticks = parse_ticks(b"".join(frames))
        if self.epoch.name:
            self._restored.begin_epoch(self.epoch.started())
        self._restored.take(frames, ticks)
        return ticks

    def apply(self, records: Sequence[Record], number: int) -> None:
        """Apply records from after the checkpoint, which are all of the log's file of this number."""
        marks = self._state.get("marks", {}) if number == self._state.get("log") else {}
        for index, record in enumerate(records):
            message = parse_batch(record.message)
            if message.ticks:
                self._apply_ticks(record, message.ticks, {symbol for symbol, mark in marks.items() if index < mark})
            elif message.HasField("started"):
                self._apply_started(message.started)
            elif message.HasField("heartbeat"):
                self._bars.on_watermarks(message.heartbeat.watermarks_ns)
            elif message.HasField("feed_ended"):
                self._bars.close_all()

    def _apply_started(self, started: Started) -> None:
        if self.epoch.goes_on(started):
            self.epoch.position = started.position
        else:
            self.epoch = self.epoch.next(started)
            self._bars.begin_epoch(started.epoch)
        self._restored.begin_epoch(self.epoch.started())

    def _apply_ticks(self, record: Record, ticks: Ticks, dumped: set[str]) -> None:
        """`dumped`: the symbols whose bars, as loaded, have these ticks already."""
        frames = split(record.message)
        self._bars.on_ticks([tick for tick in ticks if tick.symbol not in dumped] if dumped else ticks)
        self.epoch.position = record.position
        self._record(frames, ticks, self.epoch)
        self._restored.take(frames, ticks)
