"""Bars and ticks of the past, page by page from market, for strategies that begin."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import grpc
from redfire.market.v1 import market_pb2

from services.kernel.backoff import Backoff
from services.kernel.clock import Clock
from services.kernel.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from services.kernel.rpc.status import from_rpc_error
from services.quant.sdk.events import Bar, Interval, Tick
from services.strategy.runner.connections import Access, Connections
from services.strategy.runner.convert import bar_from_pb, interval_to_pb, tick_from_pb, time_to_pb

_PAGE = 1000
_TIMEOUT_S = 4.0
_ALIVE_S = 0.25
_TRIED_S = 60.0
"""A page is asked for again for so long: market's replicas may be restarted one after the other."""
# Twenty days of one-minute bars round the clock are 28,800; ticks are many more and fill memory.
_MOST = 200_000


class History:
    """One symbol's history. It blocks its thread: strategies call it where they may wait."""

    def __init__(
        self, connections: Connections, access: Access, symbol: str, clock: Clock, alive: Callable[[], None]
    ) -> None:
        """`alive` is called while it blocks, so that nobody takes the worker for a dead one."""
        self._alive = alive
        self._connections = connections
        self._access = access
        self._symbol = symbol
        self._clock = clock

    def bars(self, days: float, interval: Interval) -> list[Bar]:
        """Closed bars of the last days, oldest first."""
        request = market_pb2.ListBarsRequest(symbol=self._symbol, interval=interval_to_pb(interval))
        rpc = self._connections.blocking_market().ListBars
        return [bar_from_pb(pb) for pb in self._pages(rpc, request, days, lambda page: page.bars)]

    def ticks(self, days: float) -> list[Tick]:
        """Ticks of the last days, oldest first."""
        request = market_pb2.ListTicksRequest(symbol=self._symbol)
        rpc = self._connections.blocking_market().ListTicks
        return [tick_from_pb(pb) for pb in self._pages(rpc, request, days, lambda page: page.ticks)]

    def _pages(self, rpc: Any, request: Any, days: float, items: Callable[[Any], Any]) -> list[Any]:
        end: datetime = self._clock.now()
        request.start_time.CopyFrom(time_to_pb(end - timedelta(days=days)))
        request.end_time.CopyFrom(time_to_pb(end))
        request.page_size = _PAGE
        rows: list[Any] = []
        while True:
            page = self._page(rpc, request)
            rows.extend(items(page))
            if not page.next_page_token or len(rows) >= _MOST:
                return rows
            request.page_token = page.next_page_token

    def _page(self, rpc: Any, request: Any) -> Any:
        """One page. Raises what trying again does not change, and what it did not change for long."""
        end, backoff = self._clock.monotonic() + _TRIED_S, Backoff(0.1, 1.0)
        while True:
            try:
                return self._answer(rpc.future(request, timeout=_TIMEOUT_S, metadata=self._access.metadata))
            except grpc.RpcError as failure:
                error = from_rpc_error(failure)
            if not isinstance(error, Unavailable | DeadlineExceeded | ResourceExhausted):
                raise error
            if self._clock.monotonic() > end:
                raise error
            time.sleep(backoff.pause_s())

    def _answer(self, call: Any) -> Any:
        while True:
            self._alive()
            with suppress(grpc.FutureTimeoutError):
                return call.result(_ALIVE_S)
