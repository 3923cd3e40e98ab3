"""The streams that a running strategy lives on: ticks of its symbol, orders and trades of its account.

Both go on by themselves after anything that ends them, from where they were; what was missed is fetched or logged.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Container
from contextlib import aclosing
from typing import Any

from redfire.market.v1 import market_pb2
from redfire.trading.v1 import account_service_pb2, order_service_pb2, trading_pb2

from services.kernel.errors import Denied, Invalid, NotFound, RedFireError, Unauthenticated
from services.strategy.runner.connections import Access, Connections, answer, messages

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_TIMEOUT_S = 10.0
# Two heartbeats missed: the connection is dead, whatever TCP believes.
_HEARTBEAT_S = 5
_SILENCE_S = 12.0
Log = Callable[[str, str], None]


class TickFeed:
    """One symbol's ticks, lossless: each once, in order; what could not be kept is logged as a gap."""

    def __init__(self, connections: Connections, access: Access, symbol: str, log: Log) -> None:
        self._connections = connections
        self._access = access
        self._symbol = symbol
        self._log = log
        self._last = 0

    async def ticks(self) -> AsyncIterator[market_pb2.Tick]:
        """The ticks, until cancelled. Raises NotFound, Invalid or Denied: those would not change by trying again."""
        pause_s = _FIRST_PAUSE_S
        while True:
            request = market_pb2.StreamTicksRequest(symbols=[self._symbol], mode=market_pb2.DELIVERY_MODE_LOSSLESS)
            request.heartbeat_interval.seconds = _HEARTBEAT_S
            if self._last:
                request.resume_after_sequence[self._symbol] = self._last
            try:
                stream = self._connections.market.StreamTicks(request, metadata=self._access.metadata)
                async with aclosing(_until_silent(stream)) as updates:
                    async for message in updates:
                        pause_s = _FIRST_PAUSE_S
                        for tick in message.ticks:
                            if tick.sequence > self._last or not tick.sequence:
                                self._last = max(tick.sequence, self._last)
                                yield tick
                        kind = message.WhichOneof("event")
                        if kind == "gap":
                            lost = message.gap.last_sequence - message.gap.first_sequence + 1
                            self._log("WARNING", f"{lost} ticks of {self._symbol} were missed")
                        elif kind == "end":
                            break
                await asyncio.sleep(_FIRST_PAUSE_S)
            except (NotFound, Invalid, Denied):
                raise
            except RedFireError as error:
                pause_s = await _pause(error, pause_s, self._access)
            except TimeoutError:
                self._log("WARNING", "the tick stream was silent; it is opened again")


class OrderFeed:
    """The account's orders and trades that are the strategy's, and a way to catch up after a gap."""

    def __init__(self, connections: Connections, access: Access, strategy_id: str, account_id: str, log: Log) -> None:
        self._connections = connections
        self._access = access
        self._strategy_id = strategy_id
        self._account_id = account_id
        self._log = log
        self._sequence: int | None = None

    async def follow(
        self,
        on_order: Callable[[trading_pb2.Order], Awaitable[None]],
        on_trade: Callable[[trading_pb2.Trade], Awaitable[None]],
        on_snapshot: Callable[[], Awaitable[None]],
    ) -> None:
        """Hand over what comes, until cancelled. `on_snapshot`: open orders were handed over, but orders that finished
        and fills that came while the stream was down were not."""
        pause_s = _FIRST_PAUSE_S
        while True:
            request = order_service_pb2.StreamOrdersRequest(account_id=self._account_id)
            request.heartbeat_interval.seconds = _HEARTBEAT_S
            if self._sequence is not None:
                request.resume_after_sequence = self._sequence
            try:
                stream = self._connections.orders.StreamOrders(request, metadata=self._access.metadata)
                async with aclosing(_until_silent(stream)) as updates:
                    async for message in updates:
                        pause_s = _FIRST_PAUSE_S
                        kind = message.WhichOneof("event")
                        if kind == "order" and message.order.strategy_id == self._strategy_id:
                            await on_order(message.order)
                        elif kind == "trade" and message.trade.strategy_id == self._strategy_id:
                            await on_trade(message.trade)
                        elif kind == "snapshot_complete":
                            await on_snapshot()
                        elif kind == "end":
                            break
                        if message.sequence:
                            self._sequence = message.sequence
                await asyncio.sleep(_FIRST_PAUSE_S)
            except (NotFound, Invalid, Denied):
                raise
            except RedFireError as error:
                pause_s = await _pause(error, pause_s, self._access)
            except TimeoutError:
                self._log("WARNING", "the order stream was silent; it is opened again")

    async def trades(self, seen: Container[str]) -> list[trading_pb2.Trade]:
        """The strategy's trades that are not in `seen`, oldest first."""
        request = account_service_pb2.ListTradesRequest(
            account_id=self._account_id, strategy_id=self._strategy_id, page_size=1000
        )
        trades: list[trading_pb2.Trade] = []
        while True:
            page = await self.ask(self._connections.accounts.ListTrades, request)
            fresh = [trade for trade in page.trades if trade.trade_id not in seen]
            trades.extend(fresh)
            # Newest first: a page with a known one ends what is new.
            if not page.next_page_token or len(fresh) < len(page.trades):
                return trades[::-1]
            request.page_token = page.next_page_token

    async def order(self, order_id: str) -> trading_pb2.Order:
        """One order."""
        request = order_service_pb2.GetOrderRequest(order_id=order_id)
        return (await self.ask(self._connections.orders.GetOrder, request)).order

    async def ask(self, rpc: Any, request: Any) -> Any:
        """A call that is tried until it is answered; raises what trying again would not change."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await answer(rpc(request, timeout=_TIMEOUT_S, metadata=self._access.metadata))
            except (NotFound, Invalid, Denied):
                raise
            except RedFireError as error:
                pause_s = await _pause(error, pause_s, self._access)


async def _until_silent(stream: Any) -> AsyncGenerator[Any, None]:
    """The stream's messages; TimeoutError when not even a heartbeat comes."""
    async with aclosing(messages(stream)) as iterator:
        while True:
            try:
                async with asyncio.timeout(_SILENCE_S):
                    message = await anext(iterator)
            except StopAsyncIteration:
                return
            yield message


async def _pause(error: RedFireError, pause_s: float, access: Access) -> float:
    """Wait before the next try, longer each time; a new token ends the wait for one."""
    if isinstance(error, Unauthenticated):
        await access.wait_for_renewal(pause_s)
    else:
        await asyncio.sleep(pause_s)
    return min(pause_s * 2, _LONGEST_PAUSE_S)
