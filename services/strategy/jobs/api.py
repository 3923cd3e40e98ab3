"""Backtests and optimisations over gRPC: convert, call, convert."""

from collections.abc import AsyncIterator

from google.api.httpbody_pb2 import HttpBody
from redfire.strategy.v1 import backtest_service_pb2 as pb
from redfire.strategy.v1 import backtest_service_pb2_grpc as rpc

from services.kernel.clock import Clock
from services.kernel.paging import Page
from services.kernel.rpc.call import Call
from services.strategy.jobs import convert
from services.strategy.jobs.execution.folder import DAYS, POINTS, TRADES
from services.strategy.jobs.job import Kind
from services.strategy.jobs.repository import cursor_types
from services.strategy.jobs.service import JobService
from services.strategy.starter import Starter

_BACKTEST = Kind.BACKTEST
_OPTIMIZATION = Kind.OPTIMIZATION
_HTML = "text/html; charset=utf-8"


class BacktestApi(rpc.BacktestServiceServicer):
    """RPCs of owners."""

    def __init__(self, jobs: JobService, clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock

    async def CreateBacktest(self, request: pb.CreateBacktestRequest, call: Call) -> pb.CreateBacktestResponse:
        """A new backtest."""
        job = await self._jobs.create_job(
            call.user_id,
            _BACKTEST,
            convert.request_from_pb(request),
            display_name=request.display_name,
            request_id=request.request_id,
            starter=Starter.of(call.identity),
        )
        return pb.CreateBacktestResponse(backtest=convert.backtest_to_pb(job))

    async def GetBacktest(self, request: pb.GetBacktestRequest, call: Call) -> pb.GetBacktestResponse:
        """A backtest."""
        job = await self._jobs.get_job(call.user_id, _BACKTEST, request.backtest_id)
        return pb.GetBacktestResponse(backtest=convert.backtest_to_pb(job))

    async def ListBacktests(self, request: pb.ListBacktestsRequest, call: Call) -> pb.ListBacktestsResponse:
        """The caller's backtests."""
        order = convert.order_from_pb(request.order)
        page = await self._jobs.list_jobs(
            call.user_id,
            _BACKTEST,
            Page.of(request, call.user_id, cursor_types(order)),
            status=convert.status_from_pb(request.status),
            class_name=request.class_name,
            symbol=request.symbol,
            order=order,
        )
        return pb.ListBacktestsResponse(
            backtests=[convert.backtest_to_pb(job, with_logs=False) for job in page.items],
            next_page_token=page.next_page_token,
        )

    async def DeleteBacktest(self, request: pb.DeleteBacktestRequest, call: Call) -> pb.DeleteBacktestResponse:
        """The end of a backtest and of its results."""
        await self._jobs.delete_job(call.user_id, _BACKTEST, request.backtest_id)
        return pb.DeleteBacktestResponse()

    async def CancelBacktest(self, request: pb.CancelBacktestRequest, call: Call) -> pb.CancelBacktestResponse:
        """Its end before its time."""
        job = await self._jobs.cancel_job(call.user_id, _BACKTEST, request.backtest_id)
        return pb.CancelBacktestResponse(backtest=convert.backtest_to_pb(job))

    async def WatchBacktest(
        self, request: pb.WatchBacktestRequest, call: Call
    ) -> AsyncIterator[pb.WatchBacktestResponse]:
        """Its progress, until it ends."""
        heartbeat_s = convert.heartbeat_s(request)
        watched = self._jobs.watch_job(call.user_id, _BACKTEST, request.backtest_id, heartbeat_s)
        to_pb = convert.JobMessages(pb.WatchBacktestResponse, "backtest", convert.backtest_to_pb, self._clock)
        try:
            async for update in watched:
                yield to_pb(update)
        finally:
            await watched.aclose()

    async def ListBacktestTrades(
        self, request: pb.ListBacktestTradesRequest, call: Call
    ) -> pb.ListBacktestTradesResponse:
        """Its trades."""
        page = Page.of(request, call.user_id, (int,))
        rows = await self._jobs.list_job_rows(call.user_id, _BACKTEST, request.backtest_id, TRADES, page)
        return pb.ListBacktestTradesResponse(
            trades=[convert.trade_to_pb(row) for _, row in rows.items], next_page_token=rows.next_page_token
        )

    async def ListBacktestDays(self, request: pb.ListBacktestDaysRequest, call: Call) -> pb.ListBacktestDaysResponse:
        """Its days."""
        page = Page.of(request, call.user_id, (int,))
        rows = await self._jobs.list_job_rows(call.user_id, _BACKTEST, request.backtest_id, DAYS, page)
        return pb.ListBacktestDaysResponse(
            days=[convert.day_to_pb(row) for _, row in rows.items], next_page_token=rows.next_page_token
        )

    async def GetBacktestReport(self, request: pb.GetBacktestReportRequest, call: Call) -> pb.GetBacktestReportResponse:
        """Its report."""
        page = await self._jobs.get_job_report(call.user_id, _BACKTEST, request.backtest_id, request.lang or "en")
        return pb.GetBacktestReportResponse(report=HttpBody(content_type=_HTML, data=page))

    async def CreateOptimization(
        self, request: pb.CreateOptimizationRequest, call: Call
    ) -> pb.CreateOptimizationResponse:
        """A new optimisation."""
        job = await self._jobs.create_job(
            call.user_id,
            _OPTIMIZATION,
            convert.request_from_pb(request, convert.search_from_pb(request)),
            display_name=request.display_name,
            request_id=request.request_id,
            starter=Starter.of(call.identity),
        )
        return pb.CreateOptimizationResponse(optimization=convert.optimization_to_pb(job))

    async def GetOptimization(self, request: pb.GetOptimizationRequest, call: Call) -> pb.GetOptimizationResponse:
        """An optimisation."""
        job = await self._jobs.get_job(call.user_id, _OPTIMIZATION, request.optimization_id)
        return pb.GetOptimizationResponse(optimization=convert.optimization_to_pb(job))

    async def ListOptimizations(self, request: pb.ListOptimizationsRequest, call: Call) -> pb.ListOptimizationsResponse:
        """The caller's optimisations."""
        page = await self._jobs.list_jobs(
            call.user_id,
            _OPTIMIZATION,
            Page.of(request, call.user_id),
            status=convert.status_from_pb(request.status),
            class_name=request.class_name,
            symbol=request.symbol,
        )
        return pb.ListOptimizationsResponse(
            optimizations=[convert.optimization_to_pb(job) for job in page.items],
            next_page_token=page.next_page_token,
        )

    async def DeleteOptimization(
        self, request: pb.DeleteOptimizationRequest, call: Call
    ) -> pb.DeleteOptimizationResponse:
        """The end of an optimisation and of its results."""
        await self._jobs.delete_job(call.user_id, _OPTIMIZATION, request.optimization_id)
        return pb.DeleteOptimizationResponse()

    async def CancelOptimization(
        self, request: pb.CancelOptimizationRequest, call: Call
    ) -> pb.CancelOptimizationResponse:
        """Its end before its time."""
        job = await self._jobs.cancel_job(call.user_id, _OPTIMIZATION, request.optimization_id)
        return pb.CancelOptimizationResponse(optimization=convert.optimization_to_pb(job))

    async def WatchOptimization(
        self, request: pb.WatchOptimizationRequest, call: Call
    ) -> AsyncIterator[pb.WatchOptimizationResponse]:
        """Its progress, until it ends."""
        heartbeat_s = convert.heartbeat_s(request)
        watched = self._jobs.watch_job(call.user_id, _OPTIMIZATION, request.optimization_id, heartbeat_s)
        to_pb = convert.JobMessages(
            pb.WatchOptimizationResponse, "optimization", convert.optimization_to_pb, self._clock
        )
        try:
            async for update in watched:
                yield to_pb(update)
        finally:
            await watched.aclose()

    async def ListOptimizationPoints(
        self, request: pb.ListOptimizationPointsRequest, call: Call
    ) -> pb.ListOptimizationPointsResponse:
        """Its points."""
        page = Page.of(request, call.user_id, (int,))
        rows = await self._jobs.list_job_rows(call.user_id, _OPTIMIZATION, request.optimization_id, POINTS, page)
        return pb.ListOptimizationPointsResponse(
            points=[convert.point_to_pb(row) for _, row in rows.items], next_page_token=rows.next_page_token
        )

    async def GetOptimizationReport(
        self, request: pb.GetOptimizationReportRequest, call: Call
    ) -> pb.GetOptimizationReportResponse:
        """Its report."""
        page = await self._jobs.get_job_report(
            call.user_id, _OPTIMIZATION, request.optimization_id, request.lang or "en"
        )
        return pb.GetOptimizationReportResponse(report=HttpBody(content_type=_HTML, data=page))
