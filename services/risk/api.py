"""Risk over gRPC: convert, call the service, convert."""

from collections.abc import AsyncIterator
from typing import cast

from redfire.common.v1 import common_pb2
from redfire.risk.v1 import risk_pb2 as pb
from redfire.risk.v1 import risk_pb2_grpc as rpc

from services.kernel.clock import Clock
from services.kernel.paging import Page
from services.kernel.rpc.call import Call
from services.kernel.streams import End
from services.risk import convert
from services.risk.domain.risk_event import RiskEvent
from services.risk.domain.trading_state import TradingState
from services.risk.service import RiskService


class RiskApi(rpc.RiskServiceServicer):
    """RiskService of the contract."""

    def __init__(self, risk: RiskService, clock: Clock) -> None:
        self._risk = risk
        self._clock = clock

    async def CheckOrder(self, request: pb.CheckOrderRequest, call: Call) -> pb.CheckOrderResponse:
        """Says whether an order may be accepted."""
        return convert.to_check(await self._risk.check(convert.to_candidate(request)))

    async def CheckCancel(self, request: pb.CheckCancelRequest, call: Call) -> pb.CheckCancelResponse:
        """Says whether a user may cancel an order."""
        found = self._risk.check_cancel(request.account_id, request.symbol, request.order_id)
        return pb.CheckCancelResponse(violations=[convert.to_violation(violation) for violation in found])

    async def ReleaseOrders(self, request: pb.ReleaseOrdersRequest, call: Call) -> pb.ReleaseOrdersResponse:
        """Takes back what was counted of orders that were refused after all."""
        self._risk.release_orders(request.account_id, request.order_ids)
        return pb.ReleaseOrdersResponse()

    async def GetLimits(self, request: pb.GetLimitsRequest, call: Call) -> pb.GetLimitsResponse:
        """The limits of an account."""
        account_id, limits = await self._risk.get_limits(call.identity, request.account_id)
        return pb.GetLimitsResponse(limits=convert.to_limits(limits), account_id=account_id)

    async def UpdateLimits(self, request: pb.UpdateLimitsRequest, call: Call) -> pb.UpdateLimitsResponse:
        """Changes limits."""
        wanted = convert.from_limits(request.limits)
        account_id, limits = await self._risk.update_limits(call.identity, request.account_id, wanted)
        return pb.UpdateLimitsResponse(limits=convert.to_limits(limits), account_id=account_id)

    async def GetExposure(self, request: pb.GetExposureRequest, call: Call) -> pb.GetExposureResponse:
        """What an account has at stake."""
        exposure = await self._risk.get_exposure(call.identity, request.account_id)
        return pb.GetExposureResponse(exposure=convert.to_exposure(exposure))

    async def GetTradingState(self, request: pb.GetTradingStateRequest, call: Call) -> pb.GetTradingStateResponse:
        """What orders are let through."""
        view = await self._risk.get_trading_state(call.identity, request.account_id)
        return pb.GetTradingStateResponse(
            state=to_state(view.state),
            reason=view.reason,
            global_state=to_state(view.global_state),
            account_state=to_state(view.account_state),
            account_id=view.account_id,
        )

    async def SetTradingState(self, request: pb.SetTradingStateRequest, call: Call) -> pb.SetTradingStateResponse:
        """Sets what orders are let through."""
        account_id, state = await self._risk.set_trading_state(
            call.identity, request.account_id, TradingState(request.state), request.reason
        )
        return pb.SetTradingStateResponse(state=to_state(state), account_id=account_id)

    async def ListRiskEvents(self, request: pb.ListRiskEventsRequest, call: Call) -> pb.ListRiskEventsResponse:
        """Lists risk events, newest first."""
        start = convert.from_timestamp(request.start_time) if request.HasField("start_time") else None
        end = convert.from_timestamp(request.end_time) if request.HasField("end_time") else None
        page = Page.of(request, owner=call.user_id)
        found = await self._risk.list_events(call.identity, request.account_id, start, end, page)
        events = [convert.to_event(event) for event in found.items]
        return pb.ListRiskEventsResponse(events=events, next_page_token=found.next_page_token)

    async def StreamRiskEvents(
        self, request: pb.StreamRiskEventsRequest, call: Call
    ) -> AsyncIterator[pb.StreamRiskEventsResponse]:
        """Risk events as they happen."""
        silent_s = request.heartbeat_interval.ToNanoseconds() / 1e9 or None
        async for item in self._risk.stream_events(call.identity, request.account_id, silent_s):
            if isinstance(item, RiskEvent):
                yield pb.StreamRiskEventsResponse(event=convert.to_event(item))
            elif isinstance(item, End):
                yield pb.StreamRiskEventsResponse(end=item.reason)
            else:
                yield pb.StreamRiskEventsResponse(heartbeat=convert.to_timestamp(self._clock.now()))


def to_state(state: TradingState) -> common_pb2.TradingState:
    """The contract's number of a state, which is the same."""
    return cast(common_pb2.TradingState, int(state))
