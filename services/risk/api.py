"""Risk over gRPC: convert, call the service, convert."""

from collections.abc import AsyncIterator

from redfire.enums import TradingState
from redfire.risk.v1 import risk_pb2 as pb
from redfire.risk.v1 import risk_pb2_grpc as rpc

from services.kernel.clock import Clock
from services.kernel.paging import Page
from services.kernel.rpc.call import Call
from services.kernel.streams import End
from services.risk import convert
from services.risk.domain.risk_event import RiskEvent
from services.risk.service import RiskService
from services.risk.setting_service import SettingService


class RiskApi(rpc.RiskServiceServicer):
    """RiskService of the contract."""

    def __init__(self, risk: RiskService, settings: SettingService, clock: Clock) -> None:
        self._risk = risk
        self._settings = settings
        self._clock = clock

    async def CheckOrder(self, request: pb.CheckOrderRequest, call: Call) -> pb.CheckOrderResponse:
        """Checks whether an order may be accepted."""
        return convert.verdict_to_pb(await self._risk.check_order(convert.candidate_from_pb(request)))

    async def CheckCancel(self, request: pb.CheckCancelRequest, call: Call) -> pb.CheckCancelResponse:
        """Checks whether a user may cancel an order."""
        violations = self._risk.check_cancel(request.account_id, request.symbol, request.order_id)
        return pb.CheckCancelResponse(violations=[convert.violation_to_pb(violation) for violation in violations])

    async def ReleaseOrders(self, request: pb.ReleaseOrdersRequest, call: Call) -> pb.ReleaseOrdersResponse:
        """Releases the reservations of orders that were refused after all."""
        self._risk.release_orders(request.account_id, request.order_ids)
        return pb.ReleaseOrdersResponse()

    async def GetLimits(self, request: pb.GetLimitsRequest, call: Call) -> pb.GetLimitsResponse:
        """The limits of an account or a user."""
        key, limits = await self._settings.get_limits(call.identity, request.account_id, request.user_id)
        return pb.GetLimitsResponse(limits=convert.limits_to_pb(limits), **convert.subject_to_fields(key))

    async def UpdateLimits(self, request: pb.UpdateLimitsRequest, call: Call) -> pb.UpdateLimitsResponse:
        """Changes limits."""
        changes = convert.limits_from_pb(request.limits)
        key, limits = await self._settings.update_limits(call.identity, request.account_id, changes, request.user_id)
        return pb.UpdateLimitsResponse(limits=convert.limits_to_pb(limits), **convert.subject_to_fields(key))

    async def GetExposure(self, request: pb.GetExposureRequest, call: Call) -> pb.GetExposureResponse:
        """The exposure of an account."""
        exposure = await self._risk.get_exposure(call.identity, request.account_id)
        return pb.GetExposureResponse(exposure=convert.exposure_to_pb(exposure))

    async def GetTradingState(self, request: pb.GetTradingStateRequest, call: Call) -> pb.GetTradingStateResponse:
        """The trading state in force."""
        view = await self._settings.get_trading_state(call.identity, request.account_id, request.user_id)
        return pb.GetTradingStateResponse(
            state=convert.state_to_pb(view.state),
            reason=view.reason,
            global_state=convert.state_to_pb(view.global_state),
            account_state=convert.state_to_pb(view.account_state),
            **convert.subject_to_fields(view.subject),
        )

    async def SetTradingState(self, request: pb.SetTradingStateRequest, call: Call) -> pb.SetTradingStateResponse:
        """Sets the trading state."""
        view = await self._settings.set_trading_state(
            call.identity, request.account_id, TradingState(request.state), request.reason, request.user_id
        )
        return pb.SetTradingStateResponse(
            state=convert.state_to_pb(view.state), **convert.subject_to_fields(view.subject)
        )

    async def ListRiskEvents(self, request: pb.ListRiskEventsRequest, call: Call) -> pb.ListRiskEventsResponse:
        """Lists risk events, newest first."""
        start = convert.timestamp_from_pb(request.start_time) if request.HasField("start_time") else None
        end = convert.timestamp_from_pb(request.end_time) if request.HasField("end_time") else None
        page = Page.of(request, owner=call.user_id)
        page_result = await self._risk.list_risk_events(call.identity, request.account_id, start, end, page)
        events = [convert.event_to_pb(event) for event in page_result.items]
        return pb.ListRiskEventsResponse(events=events, next_page_token=page_result.next_page_token)

    async def StreamRiskEvents(
        self, request: pb.StreamRiskEventsRequest, call: Call
    ) -> AsyncIterator[pb.StreamRiskEventsResponse]:
        """Risk events as they happen."""
        silent_s = request.heartbeat_interval.ToNanoseconds() / 1e9 or None
        async for item in self._risk.stream_risk_events(call.identity, request.account_id, silent_s):
            if isinstance(item, RiskEvent):
                yield pb.StreamRiskEventsResponse(event=convert.event_to_pb(item))
            elif isinstance(item, End):
                yield pb.StreamRiskEventsResponse(end=item.reason)
            else:
                yield pb.StreamRiskEventsResponse(heartbeat=convert.timestamp_to_pb(self._clock.now()))
