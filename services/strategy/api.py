"""Strategies and their workers over gRPC: convert, call, convert."""

from collections.abc import AsyncIterator, Callable

from redfire.strategy.v1 import strategy_pb2 as pb
from redfire.strategy.v1 import strategy_pb2_grpc as rpc
from redfire.strategy.v1 import worker_pb2, worker_pb2_grpc

from services.kernel.clock import Clock
from services.kernel.errors import Denied
from services.kernel.identity.service_keys import WORKER_TOKEN_LIFE_S
from services.kernel.paging import Page
from services.kernel.rpc.call import Call
from services.strategy import convert, worker_convert
from services.strategy.active_strategies import ActiveStrategies
from services.strategy.catalogue import Catalogue
from services.strategy.service import StrategyService
from services.strategy.starter import Starter
from services.strategy.workers.assignments import Assignments
from services.strategy.workers.supervisor import Supervisor

_HEARTBEAT_S = 10.0
RENEW_WORKER_S = WORKER_TOKEN_LIFE_S / 3


class StrategyApi(rpc.StrategyServiceServicer):
    """RPCs of owners."""

    def __init__(self, strategies: StrategyService, clock: Clock) -> None:
        self._strategies = strategies
        self._clock = clock

    async def ListStrategyClasses(
        self, request: pb.ListStrategyClassesRequest, call: Call
    ) -> pb.ListStrategyClassesResponse:
        """The classes that can be run."""
        page = await self._strategies.list_strategy_classes(Page.of(request))
        return pb.ListStrategyClassesResponse(
            classes=[convert.class_to_pb(item) for item in page.items], next_page_token=page.next_page_token
        )

    async def CreateStrategy(self, request: pb.CreateStrategyRequest, call: Call) -> pb.CreateStrategyResponse:
        """A new strategy."""
        strategy = await self._strategies.create_strategy(
            call.user_id,
            display_name=request.display_name,
            class_name=request.class_name,
            symbol=request.symbol,
            account_id=request.account_id,
            parameters=convert.values_from_pb(request.parameters),
            request_id=request.request_id,
            variables=convert.variables_from_pb(request.variables),
        )
        return pb.CreateStrategyResponse(strategy=convert.strategy_to_pb(strategy))

    async def GetStrategy(self, request: pb.GetStrategyRequest, call: Call) -> pb.GetStrategyResponse:
        """A strategy."""
        strategy = await self._strategies.get_strategy(call.user_id, request.strategy_id)
        return pb.GetStrategyResponse(strategy=convert.strategy_to_pb(strategy))

    async def ListStrategies(self, request: pb.ListStrategiesRequest, call: Call) -> pb.ListStrategiesResponse:
        """The caller's strategies."""
        page = await self._strategies.list_strategies(
            call.user_id,
            Page.of(request, owner=call.user_id),
            status=convert.status_from_pb(request.status),
            class_name=request.class_name,
        )
        return pb.ListStrategiesResponse(
            strategies=[convert.strategy_to_pb(item) for item in page.items], next_page_token=page.next_page_token
        )

    async def UpdateStrategy(self, request: pb.UpdateStrategyRequest, call: Call) -> pb.UpdateStrategyResponse:
        """Other parameters."""
        strategy = await self._strategies.update_strategy(
            call.user_id,
            request.strategy_id,
            display_name=request.display_name,
            parameters=convert.values_from_pb(request.parameters),
        )
        return pb.UpdateStrategyResponse(strategy=convert.strategy_to_pb(strategy))

    async def DeleteStrategy(self, request: pb.DeleteStrategyRequest, call: Call) -> pb.DeleteStrategyResponse:
        """The end of a strategy."""
        await self._strategies.delete_strategy(call.user_id, request.strategy_id)
        return pb.DeleteStrategyResponse()

    async def StartStrategy(self, request: pb.StartStrategyRequest, call: Call) -> pb.StartStrategyResponse:
        """Have it run."""
        strategy = await self._strategies.start_strategy(call.user_id, request.strategy_id, Starter.of(call.identity))
        return pb.StartStrategyResponse(strategy=convert.strategy_to_pb(strategy))

    async def StopStrategy(self, request: pb.StopStrategyRequest, call: Call) -> pb.StopStrategyResponse:
        """Have it stop."""
        strategy = await self._strategies.stop_strategy(call.user_id, request.strategy_id)
        return pb.StopStrategyResponse(strategy=convert.strategy_to_pb(strategy))

    async def GetPerformance(self, request: pb.GetPerformanceRequest, call: Call) -> pb.GetPerformanceResponse:
        """Its performance."""
        performance = await self._strategies.get_performance(call.user_id, request.strategy_id)
        return pb.GetPerformanceResponse(performance=convert.performance_to_pb(performance))

    async def ListStrategyLogs(self, request: pb.ListStrategyLogsRequest, call: Call) -> pb.ListStrategyLogsResponse:
        """Lines of its log."""
        page = await self._strategies.list_strategy_logs(
            call.user_id, request.strategy_id, Page.of(request, call.user_id, (int,)), request.level
        )
        return pb.ListStrategyLogsResponse(
            logs=[convert.log_to_pb(line) for line in page.items], next_page_token=page.next_page_token
        )

    async def StreamStrategyEvents(
        self, request: pb.StreamStrategyEventsRequest, call: Call
    ) -> AsyncIterator[pb.StreamStrategyEventsResponse]:
        """Its changes and log lines."""
        heartbeat_s = request.heartbeat_interval.ToNanoseconds() / 1e9 or _HEARTBEAT_S
        events = self._strategies.stream_strategy_events(call.user_id, request.strategy_id, heartbeat_s)
        try:
            async for event in events:
                yield convert.event_to_pb(event, self._clock.now())
        finally:
            await events.aclose()


class WorkerApi(worker_pb2_grpc.WorkerServiceServicer):
    """RPCs of workers."""

    def __init__(
        self,
        assignments: Assignments,
        active: ActiveStrategies,
        catalogue: Catalogue,
        supervisor: Supervisor,
        clock: Clock,
        worker_token: Callable[[str], str],
    ) -> None:
        self._worker_token = worker_token
        self._assignments = assignments
        self._active = active
        self._catalogue = catalogue
        self._supervisor = supervisor
        self._clock = clock

    async def WatchAssignments(
        self, request: worker_pb2.WatchAssignmentsRequest, call: Call
    ) -> AsyncIterator[worker_pb2.WatchAssignmentsResponse]:
        """Assignments of a worker."""
        _require_own(call, request.worker_id)
        assigned = self._assignments.watch_assignments(request.worker_id)
        try:
            renew_at = self._clock.monotonic() + RENEW_WORKER_S
            async for assignment in assigned:
                yield convert.assignment_to_pb(assignment, self._clock.now())
                if self._clock.monotonic() > renew_at:  # heartbeats come all the time
                    renew_at = self._clock.monotonic() + RENEW_WORKER_S
                    yield worker_pb2.WatchAssignmentsResponse(worker_token=self._worker_token(request.worker_id))
        finally:
            await assigned.aclose()

    async def ReportStrategies(
        self, request: worker_pb2.ReportStrategiesRequest, call: Call
    ) -> worker_pb2.ReportStrategiesResponse:
        """Reports on assigned strategies."""
        _require_own(call, request.worker_id)
        now = self._clock.now()
        await self._active.report_strategies(
            request.worker_id, [worker_convert.report_from_pb(report, now) for report in request.reports]
        )
        return worker_pb2.ReportStrategiesResponse()

    async def ReportClasses(
        self, request: worker_pb2.ReportClassesRequest, call: Call
    ) -> worker_pb2.ReportClassesResponse:
        """The classes that there are."""
        _require_own(call, request.worker_id)
        if not self._supervisor.is_scan(request.worker_id):
            raise Denied("this worker was not asked for classes")
        await self._catalogue.report_classes(worker_convert.classes_from_pb(request))
        return worker_pb2.ReportClassesResponse()


def _require_own(call: Call, worker_id: str) -> None:
    """A worker's token is good for that worker alone."""
    if call.identity.service != f"worker:{worker_id}":
        raise Denied("only a worker may call this, and for itself")
