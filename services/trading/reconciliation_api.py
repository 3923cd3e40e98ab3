"""Reconciliation over gRPC, for administrators: convert, call the service, convert."""

from decimal import Decimal

from redfire.enums import OrderStatus, PositionSide
from redfire.trading.v1 import reconciliation_service_pb2 as pb
from redfire.trading.v1 import reconciliation_service_pb2_grpc as rpc

from services.kernel.decimals import plain, to_text
from services.kernel.paging import Page
from services.kernel.rpc.call import Call
from services.trading.convert import order_to_pb, time_to_pb
from services.trading.domain.external_order import ExternalOrder, ExternalTrade
from services.trading.domain.report import TradeKind
from services.trading.external_repository import ExternalFilter
from services.trading.reconciliation_service import ReconciliationService
from services.trading.venue.position_adjustments import PositionDifference


class ReconciliationApi(rpc.ReconciliationServiceServicer):
    """ReconciliationService."""

    def __init__(self, service: ReconciliationService) -> None:
        self._service = service

    async def ListExternalOrders(
        self, request: pb.ListExternalOrdersRequest, call: Call
    ) -> pb.ListExternalOrdersResponse:
        """External orders, newest first."""
        external_filter = ExternalFilter(
            request.gateway, request.symbol, open_only=request.open_only, include_adopted=request.include_adopted
        )
        result = await self._service.list_external_orders(external_filter, Page.of(request, cursor=(int, str)))
        orders = [external_order_to_pb(order) for order in result.items]
        return pb.ListExternalOrdersResponse(external_orders=orders, next_page_token=result.next_page_token)

    async def ListExternalTrades(
        self, request: pb.ListExternalTradesRequest, call: Call
    ) -> pb.ListExternalTradesResponse:
        """External trades, newest first."""
        external_filter = ExternalFilter(
            request.gateway, request.symbol, request.external_order_id, include_adopted=request.include_adopted
        )
        result = await self._service.list_external_trades(external_filter, Page.of(request, cursor=(int, str)))
        trades = [external_trade_to_pb(trade) for trade in result.items]
        return pb.ListExternalTradesResponse(external_trades=trades, next_page_token=result.next_page_token)

    async def ListPositionDifferences(
        self, request: pb.ListPositionDifferencesRequest, call: Call
    ) -> pb.ListPositionDifferencesResponse:
        """Differences, by gateway, symbol and side."""
        page = Page.of(request, cursor=(str, str, str))
        result = self._service.list_position_differences(request.gateway, page)
        differences = [difference_to_pb(difference) for difference in result.items]
        return pb.ListPositionDifferencesResponse(
            position_differences=differences, next_page_token=result.next_page_token
        )

    async def ListUncertainOrders(
        self, request: pb.ListUncertainOrdersRequest, call: Call
    ) -> pb.ListUncertainOrdersResponse:
        """Uncertain orders, oldest first."""
        result = self._service.list_uncertain_orders(request.gateway, Page.of(request))
        orders = [order_to_pb(order) for order in result.items]
        return pb.ListUncertainOrdersResponse(orders=orders, next_page_token=result.next_page_token)

    async def AdoptExternalOrder(
        self, request: pb.AdoptExternalOrderRequest, call: Call
    ) -> pb.AdoptExternalOrderResponse:
        """Adopt an external order for an account."""
        external, order = await self._service.adopt_external_order(
            request.external_order_id, request.account_id, request.order_id
        )
        return pb.AdoptExternalOrderResponse(external_order=external_order_to_pb(external), order=order_to_pb(order))

    async def CancelExternalOrder(
        self, request: pb.CancelExternalOrderRequest, call: Call
    ) -> pb.CancelExternalOrderResponse:
        """Ask the venue to cancel an external order."""
        external = await self._service.cancel_external_order(request.external_order_id)
        return pb.CancelExternalOrderResponse(external_order=external_order_to_pb(external))

    async def ClosePositionDifference(
        self, request: pb.ClosePositionDifferenceRequest, call: Call
    ) -> pb.ClosePositionDifferenceResponse:
        """Book a difference to an account."""
        difference = (request.gateway, request.symbol, PositionSide(request.side))
        order = await self._service.close_position_difference(
            request.client_order_id, difference, request.account_id, Decimal(request.price), Decimal(request.quantity)
        )
        return pb.ClosePositionDifferenceResponse(order=order_to_pb(order))

    async def ResolveUncertainOrder(
        self, request: pb.ResolveUncertainOrderRequest, call: Call
    ) -> pb.ResolveUncertainOrderResponse:
        """Resolve the outcome of an order."""
        order = await self._service.resolve_uncertain_order(
            request.order_id, OrderStatus(request.status), request.reason
        )
        return pb.ResolveUncertainOrderResponse(order=order_to_pb(order))

    async def Reconcile(self, request: pb.ReconcileRequest, call: Call) -> pb.ReconcileResponse:
        """Ask all gateways what they have."""
        return pb.ReconcileResponse(unanswered_gateways=await self._service.reconcile())


def external_order_to_pb(order: ExternalOrder) -> pb.ExternalOrder:
    """An external order."""
    return pb.ExternalOrder(
        external_order_id=order.external_order_id,
        gateway=order.gateway,
        venue_order_id=order.venue_order_id,
        symbol=order.symbol,
        side=int(order.side or 0),  # type: ignore[arg-type]
        position_effect=int(order.position_effect),  # type: ignore[arg-type]
        type=int(order.type),  # type: ignore[arg-type]
        quantity=plain(order.quantity),
        price=to_text(order.price),
        cumulative_quantity=plain(order.cumulative_quantity),
        status=int(order.status),  # type: ignore[arg-type]
        create_time=time_to_pb(order.create_time_ns),
        update_time=time_to_pb(order.update_time_ns),
        account_id=order.account_id,
        order_id=order.order_id,
    )


def external_trade_to_pb(trade: ExternalTrade) -> pb.ExternalTrade:
    """An external trade."""
    return pb.ExternalTrade(
        external_trade_id=trade.external_trade_id,
        external_order_id=trade.external_order_id,
        gateway=trade.gateway,
        venue_trade_id=trade.venue_trade_id,
        symbol=trade.symbol,
        side=int(trade.side or 0),  # type: ignore[arg-type]
        position_effect=int(trade.position_effect),  # type: ignore[arg-type]
        price=plain(trade.price),
        quantity=plain(trade.quantity),
        time=time_to_pb(trade.time_ns),
        trading_day=trade.trading_day,
        amends=trade.kind is not TradeKind.NEW,
    )


def difference_to_pb(difference: PositionDifference) -> pb.PositionDifference:
    """A difference."""
    return pb.PositionDifference(
        gateway=difference.gateway,
        symbol=difference.symbol,
        side=int(difference.side),  # type: ignore[arg-type]
        venue_quantity=plain(difference.venue_quantity),
        book_quantity=plain(difference.book_quantity),
        quantity=plain(difference.quantity),
        since_time=time_to_pb(difference.since_ns),
    )
