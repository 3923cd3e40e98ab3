"""Market data over gRPC: convert, call the service, convert."""

from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1 import market_pb2_grpc as rpc

from services.kernel.paging import Page
from services.kernel.rpc.call import Call
from services.kernel.rpc.source import SourceStream
from services.market.convert import bar_to_pb, interval_from_pb, range_from_pb, seconds_from_pb, series_to_pb
from services.market.recording.unarchived import TickPosition
from services.market.service import MarketService, Owner


class MarketApi(rpc.MarketServiceServicer):
    """redfire.market.v1.MarketService."""

    def __init__(self, market: MarketService[pb.Tick]) -> None:
        self._market = market

    async def ListInstruments(self, request: pb.ListInstrumentsRequest, call: Call) -> pb.ListInstrumentsResponse:
        """Instruments by symbol."""
        page = Page.of(request)
        after = str(page.after[0]) if page.after else ""
        rows = self._market.list_instruments(after, page.size + 1, request.exchange, request.product, request.query)
        cut = page.slice(rows, lambda instrument: [instrument.symbol])
        return pb.ListInstrumentsResponse(instruments=cut.items, next_page_token=cut.next_page_token)

    async def GetInstrument(self, request: pb.GetInstrumentRequest, call: Call) -> pb.GetInstrumentResponse:
        """An instrument."""
        return pb.GetInstrumentResponse(instrument=await self._market.get_instrument(request.symbol))

    async def GetTick(self, request: pb.GetTickRequest, call: Call) -> pb.GetTickResponse:
        """The last tick."""
        return pb.GetTickResponse(tick=await self._market.get_tick(request.symbol))

    def StreamTicks(self, request: pb.StreamTicksRequest, call: Call) -> SourceStream:
        """Ticks as they come, encoded already."""
        return SourceStream(
            self._market.open_ticks(
                _owner(call),
                request.symbols,
                conflated=request.mode == pb.DELIVERY_MODE_CONFLATED,
                min_interval_s=seconds_from_pb(request, "min_interval") or 0.0,
                heartbeat_s=seconds_from_pb(request, "heartbeat_interval"),
                resume_after=request.resume_after_sequence,
                epoch=request.epoch,
                watermarks=request.watermarks,
                starts_feed=_starts_feed(call),
            )
        )

    async def UpdateSubscription(
        self, request: pb.UpdateSubscriptionRequest, call: Call
    ) -> pb.UpdateSubscriptionResponse:
        """Other symbols for a running stream."""
        symbols = await self._market.update_subscription(
            _owner(call).name,
            request.stream_id,
            request.add_symbols,
            request.remove_symbols,
            starts_feed=_starts_feed(call),
        )
        return pb.UpdateSubscriptionResponse(symbols=symbols)

    async def ListTicks(self, request: pb.ListTicksRequest, call: Call) -> pb.ListTicksResponse:
        """Recorded ticks."""
        page = Page.of(request, cursor=(int, int, int))
        after = TickPosition(*page.after) if page.after else None
        rows = await self._market.list_ticks(request.symbol, *range_from_pb(request), after, page.size + 1)
        cut = page.slice(rows, lambda row: list(row.position))
        return pb.ListTicksResponse(ticks=[row.tick for row in cut.items], next_page_token=cut.next_page_token)

    async def ListBars(self, request: pb.ListBarsRequest, call: Call) -> pb.ListBarsResponse:
        """Closed bars."""
        page, interval = Page.of(request, cursor=(int, int)), interval_from_pb(request.interval)
        after = (page.after[0], page.after[1]) if page.after else None
        rows = await self._market.list_bars(request.symbol, interval, *range_from_pb(request), after, page.size + 1)
        cut = page.slice(rows, lambda bar: [bar.trading_day, bar.start_ns])
        return pb.ListBarsResponse(bars=map(bar_to_pb, cut.items), next_page_token=cut.next_page_token)

    def StreamBars(self, request: pb.StreamBarsRequest, call: Call) -> SourceStream:
        """Bars as they close, encoded already."""
        interval, heartbeat_s = interval_from_pb(request.interval), seconds_from_pb(request, "heartbeat_interval")
        return SourceStream(
            self._market.open_bars(_owner(call), request.symbols, interval, heartbeat_s, starts_feed=_starts_feed(call))
        )

    async def ComputeIndicators(self, request: pb.ComputeIndicatorsRequest, call: Call) -> pb.ComputeIndicatorsResponse:
        """Indicators over closed bars."""
        series = await self._market.compute_indicators(
            request.symbol, interval_from_pb(request.interval), request.names, *range_from_pb(request)
        )
        return pb.ComputeIndicatorsResponse(series=series_to_pb(series))


def _owner(call: Call) -> Owner:
    """The owner of the caller's streams: a user, a service, or a service that acts for a user, as strategies do."""
    identity = call.identity
    if identity.service:
        return Owner(f"service:{identity.service}")
    return Owner(f"{identity.actor}:{identity.user_id}") if identity.actor else Owner(identity.user_id, identity.role)


def _starts_feed(call: Call) -> bool:
    """A waiting replay is for users: trading and risk look at prices from the start on, and would begin it."""
    return bool(call.identity.user_id)
