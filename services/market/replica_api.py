"""ReplicaService, by which replicas of market ask each other: convert, call, convert."""

from collections.abc import AsyncGenerator
from typing import Protocol

from redfire.market.v1 import replica_service_pb2 as pb
from redfire.market.v1 import replica_service_pb2_grpc as rpc

from services.kernel.errors import Denied
from services.kernel.rpc.call import Call
from services.market.convert import interval_from_pb, seconds_from_pb
from services.market.recording.unarchived import TickPosition
from services.market.service import MarketService
from services.quant.bars import Interval

MARKET = "market"
HEARTBEAT_S = 1.0


class Recorded(Protocol):
    """The recorder, as other replicas read it."""

    def watch_bars(self, heartbeat_s: float) -> AsyncGenerator[pb.WatchBarsResponse, None]:
        """Yield all bars that close from now on."""

    def read_log(self, max_bytes: int) -> AsyncGenerator[pb.ReadLogResponse, None]:
        """Yield the write-ahead log."""

    async def read_ticks(
        self, symbol: str, start_ns: int, end_ns: int, after: TickPosition | None, limit: int
    ) -> pb.ReadUnarchivedTicksResponse:
        """The runs of ticks that are not archived."""

    async def read_bars(
        self, symbol: str, interval: Interval, start_ns: int, end_ns: int
    ) -> pb.ReadUnarchivedBarsResponse:
        """The bars that are not archived."""


class ReplicaApi(rpc.ReplicaServiceServicer):
    """redfire.market.v1.ReplicaService, for market alone."""

    def __init__(self, recorded: Recorded, market: MarketService) -> None:  # type: ignore[type-arg]
        self._recorded = recorded
        self._market = market

    def WatchBars(self, request: pb.WatchBarsRequest, call: Call) -> AsyncGenerator[pb.WatchBarsResponse, None]:
        """All bars as they close."""
        _require_replica(call)
        return self._recorded.watch_bars(seconds_from_pb(request, "heartbeat_interval") or HEARTBEAT_S)

    def ReadLog(self, request: pb.ReadLogRequest, call: Call) -> AsyncGenerator[pb.ReadLogResponse, None]:
        """The write-ahead log."""
        _require_replica(call)
        return self._recorded.read_log(request.max_bytes)

    async def ReadUnarchivedTicks(
        self, request: pb.ReadUnarchivedTicksRequest, call: Call
    ) -> pb.ReadUnarchivedTicksResponse:
        """Ticks that are not archived."""
        _require_replica(call)
        place = request.after
        after = TickPosition(place.trading_day, place.time_ns, place.sequence) if request.HasField("after") else None
        return await self._recorded.read_ticks(request.symbol, request.start_ns, request.end_ns, after, request.limit)

    async def ReadUnarchivedBars(
        self, request: pb.ReadUnarchivedBarsRequest, call: Call
    ) -> pb.ReadUnarchivedBarsResponse:
        """Bars that are not archived."""
        _require_replica(call)
        interval = interval_from_pb(request.interval)
        return await self._recorded.read_bars(request.symbol, interval, request.start_ns, request.end_ns)

    async def UpdateStream(self, request: pb.UpdateStreamRequest, call: Call) -> pb.UpdateStreamResponse:
        """Other symbols for a stream of this replica."""
        _require_replica(call)
        update = request.update
        symbols = await self._market.update_own_stream(
            request.owner, update.stream_id, update.add_symbols, update.remove_symbols, starts_feed=request.starts_feed
        )
        return pb.UpdateStreamResponse(symbols=symbols)


def _require_replica(call: Call) -> None:
    """Market alone is believed whose stream it is. Raises: Denied."""
    if call.identity.service != MARKET:
        raise Denied(f"{call.identity.service} is no replica of market", caller=call.identity.service)
