"""Control messages: the encoded messages about a stream itself, for tick streams and bar streams."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp
from redfire.market.v1 import market_pb2 as pb


class ControlMessages(Protocol):
    """Messages that every stream has, as bytes of its response message."""

    def heartbeat(self) -> bytes:
        """Heartbeat for a stream on which nothing was sent for a while."""

    def end(self, reason: str, resume_after: Mapping[str, int]) -> bytes:
        """The stream ends, and what to resume after, per symbol."""


def _now() -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC))
    return stamp


class TickControlMessages:
    """Control messages of tick streams."""

    def started(self, stream_id: str) -> bytes:
        """A stream begins."""
        return pb.StreamTicksResponse(started={"stream_id": stream_id}).SerializeToString()

    def heartbeat(self) -> bytes:
        """Heartbeat for a stream on which nothing was sent for a while."""
        return pb.StreamTicksResponse(heartbeat={"time": _now()}).SerializeToString()

    def gap(self, symbol: str, first: int, last: int) -> bytes:
        """Ticks `first` to `last` of `symbol` are lost for good."""
        gap = pb.StreamTicksResponse.Gap(symbol=symbol, first_sequence=first, last_sequence=last)
        return pb.StreamTicksResponse(gap=gap).SerializeToString()

    def end(self, reason: str, resume_after: Mapping[str, int]) -> bytes:
        """The stream ends, and what to resume after, per symbol."""
        end = pb.StreamTicksResponse.End(reason=reason, resume_after_sequence=resume_after)
        return pb.StreamTicksResponse(end=end).SerializeToString()


class BarControlMessages:
    """Control messages of bar streams."""

    def heartbeat(self) -> bytes:
        """Heartbeat for a stream on which nothing was sent for a while."""
        return pb.StreamBarsResponse(heartbeat={"time": _now()}).SerializeToString()

    def end(self, reason: str, resume_after: Mapping[str, int]) -> bytes:
        """The stream ends; bars are read again from history, so there is nothing to resume after."""
        return pb.StreamBarsResponse(end={"reason": reason}).SerializeToString()
