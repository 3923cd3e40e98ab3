"""Control messages: the encoded messages about a stream itself, for tick streams and bar streams."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp
from redfire.market.v1 import market_pb2 as pb


class ControlMessages(Protocol):
    """Messages that every stream has, as bytes of its response message."""

    def heartbeat(self) -> bytes:
        """Heartbeat for a stream on which nothing was sent for a while."""

    def end(self, reason: str, resume_after: Mapping[str, int], epoch: str) -> bytes:
        """The stream ends, and what to resume after: per symbol a sequence of this epoch."""


def _now() -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC))
    return stamp


class TickControlMessages:
    """Control messages of tick streams."""

    def started(self, stream_id: str, epoch: str) -> bytes:
        """A stream begins, in this epoch."""
        return pb.StreamTicksResponse(started={"stream_id": stream_id, "epoch": epoch}).SerializeToString()

    def new_epoch(self, epoch: str) -> bytes:
        """Sequences from here on are of this epoch."""
        return pb.StreamTicksResponse(new_epoch={"epoch": epoch}).SerializeToString()

    def feed_state(self, connected: bool, stale_symbols: Sequence[str]) -> bytes:
        """The feed is connected or not, and these symbols, sorted, are silent for too long."""
        state = pb.StreamTicksResponse.FeedState(connected=connected, stale_symbols=stale_symbols, time=_now())
        return pb.StreamTicksResponse(feed_state=state).SerializeToString()

    def heartbeat(self) -> bytes:
        """Heartbeat for a stream on which nothing was sent for a while."""
        return pb.StreamTicksResponse(heartbeat={"time": _now()}).SerializeToString()

    def watermarks(self, watermarks_ns: Mapping[str, int]) -> bytes:
        """Heartbeat with the exchanges' time by gateway."""
        beat = pb.StreamTicksResponse.Heartbeat(time=_now(), watermarks_ns=watermarks_ns)
        return pb.StreamTicksResponse(heartbeat=beat).SerializeToString()

    def symbol_watermark(self, symbol: str, watermark_ns: int) -> bytes:
        """Heartbeat with the exchange's time between a symbol's ticks that are resumed."""
        beat = pb.StreamTicksResponse.Heartbeat(time=_now(), symbol_watermarks_ns={symbol: watermark_ns})
        return pb.StreamTicksResponse(heartbeat=beat).SerializeToString()

    def gap(self, symbol: str, first: int, last: int) -> bytes:
        """Ticks `first` to `last` of `symbol` are lost for good."""
        gap = pb.StreamTicksResponse.Gap(symbol=symbol, first_sequence=first, last_sequence=last)
        return pb.StreamTicksResponse(gap=gap).SerializeToString()

    def end(self, reason: str, resume_after: Mapping[str, int], epoch: str) -> bytes:
        """The stream ends, and what to resume after: per symbol a sequence of this epoch."""
        end = pb.StreamTicksResponse.End(reason=reason, resume_after_sequence=resume_after, epoch=epoch)
        return pb.StreamTicksResponse(end=end).SerializeToString()


class BarControlMessages:
    """Control messages of bar streams."""

    def heartbeat(self) -> bytes:
        """Heartbeat for a stream on which nothing was sent for a while."""
        return pb.StreamBarsResponse(heartbeat={"time": _now()}).SerializeToString()

    def end(self, reason: str, resume_after: Mapping[str, int], epoch: str) -> bytes:
        """The stream ends; bars are read again from history, so there is nothing to resume after."""
        return pb.StreamBarsResponse(end={"reason": reason}).SerializeToString()
