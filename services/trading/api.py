"""Orders over gRPC: convert, call the service, convert."""

import asyncio
from collections.abc import AsyncIterator

from redfire.common.v1.error_reason_pb2 import ErrorReason
from redfire.enums import OrderGroupKind
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1 import order_service_pb2_grpc as rpc

from services.kernel.decimals import from_text
from services.kernel.errors import Denied, Invalid
from services.kernel.paging import Page
from services.kernel.rpc import silence
from services.kernel.rpc.call import Call
from services.trading import convert
from services.trading.emulation.leases import Leases
from services.trading.group_service import GroupService
from services.trading.list_convert import ORDERS, order_to_part
from services.trading.preview_service import PreviewService
from services.trading.replace_service import ReplaceRequest, ReplaceService
from services.trading.service import OrderService
from services.trading.state.shard_watch import ShardWatch
from services.trading.state.streams import Streams, UpdateKind
from services.trading.strategy_orders import StrategyOrders, in_own_name

HEARTBEAT_S = 10.0
CANCELS = "trading:delete"
# Orders converted at once: others are served between the parts.
CONVERTED_PART = 200


class OrderApi(rpc.OrderServiceServicer):
    """OrderService."""

    def __init__(
        self,
        orders: OrderService,
        groups: GroupService,
        replaces: ReplaceService,
        previews: PreviewService,
        streams: Streams,
        leases: Leases,
        shard_watch: ShardWatch,
        strategy_orders: StrategyOrders,
    ) -> None:
        self._strategy_orders = strategy_orders
        self._shard_watch = shard_watch
        self._leases = leases
        self._groups = groups
        self._orders = orders
        self._replaces = replaces
        self._previews = previews
        self._streams = streams

    async def CreateOrder(self, request: pb.CreateOrderRequest, call: Call) -> pb.CreateOrderResponse:
        """Accept an order."""
        user_id, new = call.user_id, in_own_name(call.identity, convert.new_order_from_pb(request))
        order = await self._orders.create_order(user_id, new, call.traceparent)
        return pb.CreateOrderResponse(order=convert.order_to_pb(order))

    async def PreviewOrder(self, request: pb.PreviewOrderRequest, call: Call) -> pb.PreviewOrderResponse:
        """Return the outcome that an order would have."""
        user_id, new = call.user_id, in_own_name(call.identity, convert.new_order_from_pb(request))
        preview = await self._previews.preview_order(user_id, new)
        return convert.preview_to_pb(preview)

    async def GetOrder(self, request: pb.GetOrderRequest, call: Call) -> pb.GetOrderResponse:
        """An order."""
        await self._strategy_orders.require_visible(call.identity, request.order_id)
        order = await self._orders.get_order(call.user_id, request.order_id)
        return pb.GetOrderResponse(order=convert.order_to_pb(order))

    async def LookupOrder(self, request: pb.LookupOrderRequest, call: Call) -> pb.LookupOrderResponse:
        """An order by the client's id."""
        order = await self._orders.lookup_order(call.user_id, request.account_id, request.client_order_id)
        return pb.LookupOrderResponse(order=convert.order_to_pb(order))

    async def ListOrders(self, request: pb.ListOrdersRequest, call: Call) -> bytes:
        """Orders, newest first."""
        page = Page.of(request, call.user_id, (int, str))
        result = await self._orders.list_orders(call.user_id, convert.filter_from_pb(request), page)
        return ORDERS.response([order_to_part(text) for text in result.items], result.next_page_token)

    async def ReplaceOrder(self, request: pb.ReplaceOrderRequest, call: Call) -> pb.ReplaceOrderResponse:
        """Give an order other values."""
        values = ReplaceRequest(from_text(request.quantity), from_text(request.price), from_text(request.stop_price))
        await self._strategy_orders.require_own(call.identity, request.order_id)
        order = await self._replaces.replace_order(call.user_id, request.order_id, values)
        return pb.ReplaceOrderResponse(order=convert.order_to_pb(order))

    async def CancelOrder(self, request: pb.CancelOrderRequest, call: Call) -> pb.CancelOrderResponse:
        """Ask for a cancel."""
        await self._strategy_orders.require_own(call.identity, request.order_id)
        order = await self._orders.cancel_order(call.user_id, request.order_id)
        return pb.CancelOrderResponse(order=convert.order_to_pb(order))

    async def CancelAllOrders(self, request: pb.CancelAllOrdersRequest, call: Call) -> pb.CancelAllOrdersResponse:
        """Ask for all to be canceled."""
        orders = await self._orders.cancel_all_orders(call.user_id, request.account_id, request.symbol)
        response = pb.CancelAllOrdersResponse()
        for start in range(0, len(orders), CONVERTED_PART):
            response.orders.extend(convert.order_to_pb(order) for order in orders[start : start + CONVERTED_PART])
            await asyncio.sleep(0)
        return response

    async def CreateOrderGroup(self, request: pb.CreateOrderGroupRequest, call: Call) -> pb.CreateOrderGroupResponse:
        """Accept orders that depend on each other, all or none."""
        group = await self._groups.create_order_group(
            call.user_id,
            request.account_id,
            request.client_order_group_id,
            OrderGroupKind(request.kind),
            [in_own_name(call.identity, order) for order in convert.group_orders_from_pb(request)],
            call.traceparent,
        )
        return pb.CreateOrderGroupResponse(order_group=convert.order_group_to_pb(group))

    async def PreviewOrderGroup(self, request: pb.PreviewOrderGroupRequest, call: Call) -> pb.PreviewOrderGroupResponse:
        """Return the outcome that a group would have."""
        orders = [in_own_name(call.identity, order) for order in convert.group_orders_from_pb(request)]
        kind = OrderGroupKind(request.kind)
        preview = await self._previews.preview_order_group(call.user_id, request.account_id, kind, orders)
        return convert.group_preview_to_pb(preview)

    async def GetOrderGroup(self, request: pb.GetOrderGroupRequest, call: Call) -> pb.GetOrderGroupResponse:
        """A group with its orders."""
        group = await self._groups.get_order_group(call.user_id, request.order_group_id)
        return pb.GetOrderGroupResponse(order_group=convert.order_group_to_pb(group))

    async def CancelOrderGroup(self, request: pb.CancelOrderGroupRequest, call: Call) -> pb.CancelOrderGroupResponse:
        """Ask for the open orders of a group to be canceled."""
        group = await self._groups.cancel_order_group(call.user_id, request.order_group_id)
        return pb.CancelOrderGroupResponse(order_group=convert.order_group_to_pb(group))

    async def StreamOrders(self, request: pb.StreamOrdersRequest, call: Call) -> AsyncIterator[list[bytes]]:
        """Updates of the caller's accounts; with cancel_on_disconnect the stream holds a lease on their orders."""
        resume = request.resume_after_sequence if request.HasField("resume_after_sequence") else None
        heartbeat_s = request.heartbeat_interval.ToTimedelta().total_seconds() or HEARTBEAT_S
        await self._orders.require_account(call.user_id, request.account_id)
        following = self._streams.follow(call.user_id, request.account_id, resume, heartbeat_s)
        if not request.HasField("cancel_on_disconnect"):
            if request.cancel_protective_stops:
                raise Invalid(
                    "cancel_protective_stops: only with cancel_on_disconnect", field="cancel_protective_stops"
                )
            async for updates in following:
                yield [convert.update_to_pb(one) for one in updates]
            return
        if not call.identity.has(CANCELS):
            raise Denied(f"cancel_on_disconnect: the permission {CANCELS} is needed", permission=CANCELS)
        duration_s = request.cancel_on_disconnect.ToTimedelta().total_seconds()
        terms = (call.user_id, request.account_id, duration_s, request.cancel_protective_stops)
        async with self._leases.held(*terms) as leases:
            sequence_sent = False
            async for updates in following:
                yield [convert.update_to_pb(one) for one in updates]
                # Once the beginning is through: a sequence that is sent before could be resumed from.
                if not sequence_sent and updates[-1].kind in (UpdateKind.SNAPSHOT_COMPLETE, UpdateKind.HEARTBEAT):
                    sequence_sent = True
                    yield [convert.lease_to_pb(lease, updates[-1].sequence) for lease in leases]

    async def WatchTrading(self, request: pb.WatchTradingRequest, call: Call) -> AsyncIterator[list[bytes]]:
        """Updates of all accounts."""
        resume = request.resume_after_sequence if request.HasField("resume_after_sequence") else None
        async for updates in self._streams.follow("", "", resume, silence.HEARTBEAT_S):
            yield [convert.user_update_to_pb(one) for one in updates]

    async def WatchShards(self, request: pb.WatchShardsRequest, call: Call) -> AsyncIterator[list[bytes]]:
        """Users of the shards that are served here, and each change."""
        if request.missed_after:
            async for update in self._shard_watch.missed(request.missed_after):
                yield [convert.shard_update_to_pb(update)]
            return
        async for updates in self._shard_watch.follow(silence.HEARTBEAT_S):
            yield [convert.shard_update_to_pb(one) for one in updates]

    async def CancelAccountOrders(
        self, request: pb.CancelAccountOrdersRequest, call: Call
    ) -> pb.CancelAccountOrdersResponse:
        """Ask for all orders of an account, or of all accounts, to be canceled."""
        reason = ErrorReason.Name(request.reason) if request.reason else ""
        count = await self._orders.cancel_account_orders(
            request.user_id, request.account_id, request.opening_only, reason
        )
        return pb.CancelAccountOrdersResponse(count=count)
