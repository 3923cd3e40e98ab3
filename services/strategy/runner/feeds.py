"""The streams that a running strategy lives on: ticks of its symbol, orders and trades of its account.

Both go on by themselves after anything that ends them, from where they were; what was missed is fetched or logged.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from redfire.market.v1 import market_pb2
from redfire.reasons import Reason
from redfire.trading.v1 import account_service_pb2, order_service_pb2, trading_pb2

from services.kernel.errors import Denied, Invalid, NotFound, RedFireError, Unauthenticated
from services.kernel.rpc.client import answer, messages
from services.kernel.rpc.silence import HEARTBEAT_S, StreamSilent, until_silent
from services.quant.sdk.events import Tick
from services.quant.ticks.variant import variant
from services.strategy.runner.connections import Access, Connections

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
# A new feed is picked up so soon after one that ended.
_FEED_ENDED_PAUSE_S = 3.0
_TIMEOUT_S = 10.0
Log = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Watermarks of an epoch, nanoseconds of exchange time by gateway, or between ticks that are resumed by symbol: no
    tick behind is of an earlier time, but late ones."""

    epoch: str
    watermarks_ns: Mapping[str, int]
    symbol_watermarks_ns: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TicksLost:
    """The symbol's ticks of an epoch up to this sequence never come."""

    epoch: str
    sequence: int


@dataclass(frozen=True, slots=True)
class FeedEnded:
    """A replay has ended: nothing more comes of its epoch."""


FeedEvent = TimePassed | TicksLost | FeedEnded


class TickFeed:
    """One symbol's ticks, lossless: each once, in order; what could not be kept is logged.

    The position is (epoch, sequence): a stream that breaks is resumed behind it, also where no tick came yet.
    Of another epoch nothing can be resumed.
    """

    def __init__(
        self, connections: Connections, access: Access, symbol: str, log: Log, *, watermarks: bool = False
    ) -> None:
        """`watermarks`: with the exchanges' time between the ticks."""
        self._connections = connections
        self._access = access
        self._symbol = symbol
        self._log = log
        self._watermarks = watermarks
        self._scan = variant().scanner().scan
        self._epoch = ""
        self._last = 0  # sequence of the last tick in the epoch
        self._joined = False  # the stream has begun in this epoch: whatever comes behind `_last` is missing, or to come
        self._any_tick = False
        self._feed_ended = False
        self._disconnected = False
        self._stale = False
        self._unlisted = False

    async def updates(self) -> AsyncIterator[Tick | FeedEvent]:
        """The ticks and what is between them, until cancelled.

        Raises Invalid or Denied: those would not change by trying again. A symbol that is not listed is waited for:
        market had it when the strategy began, and a replica that has just started may not have it yet.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            request = self._request()
            end_reason = ""
            try:
                stream = self._connections.stream_ticks(request, metadata=self._access.metadata)
                async with aclosing(until_silent(messages(stream))) as updates:
                    async for data in updates:
                        batch = self._scan(data)
                        for tick in batch.ticks(Tick, self._epoch):
                            if tick.sequence > self._last or not tick.sequence:
                                self._last = max(tick.sequence, self._last)
                                self._any_tick, self._feed_ended = True, False
                                pause_s = _FIRST_PAUSE_S
                                yield tick
                        message = market_pb2.StreamTicksResponse.FromString(batch.control)
                        if (kind := message.WhichOneof("event")) == "end":
                            self._enter(message.end.epoch)
                            end_reason = message.end.reason
                            break
                        if kind is not None:
                            event = self._apply_control(kind, message, request.epoch)
                            if event is not None:
                                yield event
                        self._joined = self._joined or kind != "started"
                        if kind == "heartbeat":
                            pause_s = _FIRST_PAUSE_S
                if end_reason == Reason.FEED_ENDED.value:
                    if self._note_feed_ended():
                        yield FeedEnded()
                    pause_s = _FEED_ENDED_PAUSE_S
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            except (Invalid, Denied):
                raise
            except NotFound as error:
                self._note_unlisted()
                pause_s = await _pause(error, pause_s, self._access)
            except StreamSilent:
                self._log("WARNING", "the tick stream was silent; it is opened again")
            except RedFireError as error:
                pause_s = await _pause(error, pause_s, self._access)

    def _request(self) -> market_pb2.StreamTicksRequest:
        request = market_pb2.StreamTicksRequest(
            symbols=[self._symbol], mode=market_pb2.DELIVERY_MODE_LOSSLESS, watermarks=self._watermarks
        )
        request.heartbeat_interval.seconds = HEARTBEAT_S
        if self._joined:
            # 0 where none came yet: all of the epoch are missing, which a stream without it would not say.
            if self._epoch or self._last:
                request.resume_after_sequence[self._symbol] = self._last
            request.epoch = self._epoch
        return request

    def _enter(self, epoch: str, *, anew: bool = False) -> None:
        """The stream is in this epoch from here on; `anew`: what was received is not of it, whatever we took it for."""
        if not epoch:
            return
        if anew or (self._epoch and epoch != self._epoch):
            if self._any_tick:
                self._log("WARNING", "the feed began anew; what was between is not known")
            self._last, self._feed_ended = 0, False
        self._epoch = epoch

    def _apply_control(self, kind: str, message: market_pb2.StreamTicksResponse, asked: str) -> FeedEvent | None:
        if kind == "started":
            self._unlisted = False
            self._enter(message.started.epoch)
        elif kind == "new_epoch":
            # After a market that knew no epoch yet this may name the one that was asked for: nothing is lost then.
            epoch = message.new_epoch.epoch
            self._enter(epoch, anew=epoch != self._epoch or not asked)
        elif kind == "gap":
            gap = message.gap
            count = gap.last_sequence - gap.first_sequence + 1
            text = f"{count} ticks of {gap.symbol} are lost: {gap.first_sequence} to {gap.last_sequence}"
            self._log("WARNING", text)
            if gap.symbol == self._symbol:
                self._last = max(self._last, gap.last_sequence)
                return TicksLost(self._epoch, self._last)
        elif kind == "feed_state":
            self._note_state(message.feed_state)
        elif kind == "heartbeat":
            beat = message.heartbeat
            if beat.watermarks_ns or beat.symbol_watermarks_ns:
                return TimePassed(self._epoch, dict(beat.watermarks_ns), dict(beat.symbol_watermarks_ns))
        return None

    def _note_state(self, state: market_pb2.StreamTicksResponse.FeedState) -> None:
        if state.connected == self._disconnected:
            self._disconnected = not state.connected
            if self._disconnected:
                self._log("WARNING", "market data are lost: market hears nothing from the feed")
            else:
                self._log("INFO", "market data are back")
        stale = self._symbol in state.stale_symbols
        if stale != self._stale:
            self._stale = stale
            if stale:
                self._log("WARNING", f"{self._symbol} is silent for longer than is usual in its session")
            else:
                self._log("INFO", f"{self._symbol} ticks again")

    def _note_unlisted(self) -> None:
        """A gateway's contracts are listed once it has logged in, and at each replica once that has heard of them."""
        if not self._unlisted:
            self._unlisted = True
            self._log("WARNING", f"market does not list {self._symbol}; its ticks go on when it does")

    def _note_feed_ended(self) -> bool:
        """Note the end of the replay; False when it was noted before."""
        if self._feed_ended:
            return False
        self._feed_ended = True
        self._log("INFO", "the replay has ended; ticks go on when another feed begins")
        return True


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
            request.heartbeat_interval.seconds = HEARTBEAT_S
            if self._sequence is not None:
                request.resume_after_sequence = self._sequence
            try:
                stream = self._connections.orders.StreamOrders(request, metadata=self._access.metadata)
                async with aclosing(until_silent(messages(stream))) as updates:
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
            except StreamSilent:
                self._log("WARNING", "the order stream was silent; it is opened again")
            except RedFireError as error:
                pause_s = await _pause(error, pause_s, self._access)

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


async def _pause(error: RedFireError, pause_s: float, access: Access) -> float:
    """Wait before the next try, longer each time; a new token ends the wait for one."""
    if isinstance(error, Unauthenticated):
        await access.wait_for_renewal(pause_s)
    else:
        await asyncio.sleep(pause_s)
    return min(pause_s * 2, _LONGEST_PAUSE_S)
