"""Follows trading: accounts, positions and orders of everybody, from a snapshot on, resumed where it broke."""

import asyncio
import logging
from contextlib import aclosing
from decimal import Decimal
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from redfire.common.v1 import common_pb2
from redfire.trading.v1 import order_service_pb2, trading_pb2
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.clock import Clock
from services.kernel.decimals import from_text
from services.kernel.errors import RedFireError
from services.risk.domain.book import ZERO, AccountBook, Position
from services.risk.domain.day_counts import DayCounts
from services.risk.domain.order import WorkingOrder, number, repeat_key
from services.risk.domain.portfolio import AccountNews, Portfolio

log = logging.getLogger(__name__)
PAUSE_S = 0.2
# A resumed stream that is silent for so long is given up for a snapshot, which always ends with news.
RESUME_S = 1.0
# How long it may take to hear again what was missed.
MISSED_S = 30.0

OPEN = frozenset(
    {
        common_pb2.ORDER_STATUS_PENDING_NEW,
        common_pb2.ORDER_STATUS_NEW,
        common_pb2.ORDER_STATUS_PARTIALLY_FILLED,
        common_pb2.ORDER_STATUS_PENDING_CANCEL,
        common_pb2.ORDER_STATUS_PENDING_REPLACE,
        common_pb2.ORDER_STATUS_UNKNOWN,
    }
)
OPENING = frozenset({common_pb2.POSITION_EFFECT_UNSPECIFIED, common_pb2.POSITION_EFFECT_OPEN})
STOPS = frozenset({common_pb2.ORDER_TYPE_STOP, common_pb2.ORDER_TYPE_STOP_LIMIT, common_pb2.ORDER_TYPE_TRAILING_STOP})
IMMEDIATE = frozenset({common_pb2.TIME_IN_FORCE_IOC, common_pb2.TIME_IN_FORCE_FOK})
CHANGING = frozenset({common_pb2.ORDER_STATUS_PENDING_CANCEL, common_pb2.ORDER_STATUS_PENDING_REPLACE})
# Another cancel would not help these.
CANCELLING = frozenset({common_pb2.ORDER_STATUS_PENDING_CANCEL, common_pb2.ORDER_STATUS_UNKNOWN})


class TradingFeed:
    """Fills the portfolio's books for as long as it runs, and knows whether they can be relied on."""

    def __init__(
        self,
        trading: OrderServiceStub,
        portfolio: Portfolio,
        counts: DayCounts,
        sizes_known: asyncio.Event,
        clock: Clock,
    ) -> None:
        self._trading = trading
        self._portfolio = portfolio
        self._counts = counts
        self._sizes_known = sizes_known
        self._clock = clock
        self._sequence: int | None = None
        # Orders of a snapshot that are younger than all that is counted.
        self._unheard: list[tuple[str, trading_pb2.Order]] = []
        self._connected = False
        self._lost_at = 0.0
        self.complete = False

    def reliable(self, stale_after_s: float) -> bool:
        """Whether the books are complete, and not cut off from trading for longer than that."""
        if not self.complete:
            return False
        return self._connected or self._clock.monotonic() - self._lost_at <= stale_after_s

    async def run(self) -> None:
        """Follow, whatever breaks."""
        await self._sizes_known.wait()
        while True:
            try:
                await self._follow()
            except (RedFireError, TimeoutError) as error:
                log.debug("trading is unavailable: %s", error)
            finally:
                if self._connected:
                    self._connected, self._lost_at = False, self._clock.monotonic()
            await asyncio.sleep(PAUSE_S)

    async def _follow(self) -> None:
        request = order_service_pb2.WatchTradingRequest()
        if self._sequence is not None:
            request.resume_after_sequence = self._sequence
        else:
            self._begin_snapshot()
        stream = aiter(self._trading.WatchTrading(request))
        if self._sequence is not None:
            try:
                async with asyncio.timeout(RESUME_S):
                    self._apply(await anext(stream))
            except (TimeoutError, StopAsyncIteration):
                self._sequence = None
                return
        async for message in stream:
            if message.update.WhichOneof("event") == "snapshot_complete":
                await self._count_missed(message.update.sequence)
            if not self._apply(message):
                return

    async def _count_missed(self, through: int) -> None:
        """Count what happened while nobody listened: a snapshot shows only what came of it."""
        counts = self._counts
        if counts.sequence is None or counts.sequence > through:
            counts.sequence = 0  # the first time, or trading has another database than before
        if counts.sequence == through:
            return
        request = order_service_pb2.WatchTradingRequest(resume_after_sequence=counts.sequence)
        missed: Any = self._trading.WatchTrading(request)
        begun = set[str]()
        async with asyncio.timeout(MISSED_S), aclosing(missed):
            async for message in missed:
                news = message.update
                kind = news.WhichOneof("event")
                if kind == "gap":
                    self._count_from_snapshot()
                    break
                if kind == "order" and counts.sequence < news.sequence <= through:
                    order = news.order
                    # An order is told of for the first time as it was made: later it has another time.
                    new = order.create_time == order.update_time and order.order_id not in begun
                    begun.add(order.order_id)
                    counts.count(message.user_id, order, _ns(order.update_time), new=new)
                    counts.sequence = news.sequence
                if news.sequence >= through:
                    break
        counts.sequence = through

    def _count_from_snapshot(self) -> None:
        """Trading does not keep so much any more: at least the open orders are counted."""
        log.warning("some orders and cancels are not counted for the limits of a day: trading keeps them no more")
        for user_id, order in self._unheard:
            self._counts.count(user_id, order, _ns(order.create_time), new=True)

    def _begin_snapshot(self) -> None:
        self._sequence = None
        self._unheard.clear()
        self._portfolio.begin_snapshot()

    def _apply(self, message: order_service_pb2.WatchTradingResponse) -> bool:
        """Take one message; False when it is the stream's last."""
        news = message.update
        kind = news.WhichOneof("event")
        if self.complete and self._sequence is not None:
            self._connected = True
        if kind == "gap":
            self._begin_snapshot()
        elif kind == "snapshot_complete":
            self._portfolio.complete_snapshot()
            self._unheard.clear()
            self._sequence, self.complete, self._connected = news.sequence, True, True
        elif kind == "order":
            self._apply_order(message.user_id, news.order)
        elif kind == "position":
            self._apply_position(message.user_id, news.position)
        elif kind == "account":
            self._apply_account(message.user_id, news.account)
        elif kind == "trade":
            book = self._portfolio.book_for_news(news.trade.account_id, message.user_id)
            self._portfolio.changed(book, _ns(news.trade.time))
        if self._sequence is not None and news.sequence > self._sequence:
            self._sequence = self._counts.sequence = news.sequence
        return kind != "end"

    def _apply_order(self, user_id: str, order: trading_pb2.Order) -> None:
        book = self._portfolio.book_for_news(order.account_id, user_id)
        order_id, status, update_ns = order.order_id, order.status, _ns(order.update_time)
        finished = status not in OPEN
        new = not finished and order_id not in book.orders
        if self._sequence is not None:
            counts = self._counts
            counts.counted_ns = update_ns
            if new or status in CHANGING or counts.canceling or counts.replacing:
                counts.count(user_id, order, update_ns, new=new)
        elif new and _ns(order.create_time) > self._counts.counted_ns:
            self._unheard.append((user_id, order))
        if finished:
            book.finish_order(order_id)
        else:
            book.apply_order(self._working(book, order, new))
        self._portfolio.changed(book, update_ns)

    def _working(self, book: AccountBook, order: trading_pb2.Order, new: bool) -> WorkingOrder:
        prices, symbol, status = self._portfolio.prices, order.symbol, order.status
        prices.use(symbol)
        price, leaves = number(order.price) if order.price else None, number(order.leaves_quantity)
        value_price = price if price is not None else self._value_price(book, order)
        working = WorkingOrder(
            order_id=order.order_id,
            symbol=symbol,
            buys=order.side == common_pb2.SIDE_BUY,
            opens=order.position_effect in OPENING and not order.reduce_only,
            quantity=number(order.quantity),
            leaves=leaves,
            price=price,
            value_price=value_price,
            notional=abs(value_price) * leaves * prices.sizes.get(symbol, ZERO),
            cancelling=status in CANCELLING,
        )
        if status in CHANGING:
            working.changing = True
        # A stop that waits for its trigger, or the exit of a group that waits for its entry: it is not at the venue.
        waits = status == common_pb2.ORDER_STATUS_PENDING_NEW and order.order_group_id and not working.opens
        if waits or (order.type in STOPS and not order.triggered):
            working.held = True
        if book.resting_orders is not None:
            working.immediate = order.time_in_force in IMMEDIATE
        if book.watched and new and book.limits.duplicate_window:
            self._remember(book, order, price)
        return working

    def _value_price(self, book: AccountBook, order: trading_pb2.Order) -> Decimal:
        price = from_text(order.stop_price) or self._portfolio.prices.last(book.market, order.symbol)
        if price is None:
            before = book.reservations.get(order.order_id) or book.orders.get(order.order_id)
            return before.value_price if before else ZERO
        return price

    def _remember(self, book: AccountBook, order: trading_pb2.Order, price: Decimal | None) -> None:
        """Take an order into the duplicate window that was accepted before a restart."""
        window_s = float(book.limits.duplicate_window or 0)
        age_s = (self._clock.now_ns() - _ns(order.create_time)) / 1e9
        if age_s < window_s:
            buys = order.side == common_pb2.SIDE_BUY
            key = repeat_key(
                order.symbol, buys, order.position_effect, order.type, number(order.quantity), price,
                number(order.stop_price),
            )  # fmt: skip
            book.behaviour.remember(key, order.order_id, self._clock.monotonic() - max(age_s, 0.0), window_s)

    def _apply_position(self, user_id: str, position: trading_pb2.Position) -> None:
        book = self._portfolio.book_for_news(position.account_id, user_id)
        self._portfolio.prices.use(position.symbol)
        line = Position(
            quantity=Decimal(position.quantity or 0),
            average_price=Decimal(position.average_price or 0),
            unrealized_pnl=Decimal(position.unrealized_pnl or 0),
            last_price=from_text(position.last_price),
        )
        book.apply_position(position.symbol, position.side == common_pb2.POSITION_SIDE_LONG, line)
        self._portfolio.changed(book, 0)

    def _apply_account(self, user_id: str, account: trading_pb2.Account) -> None:
        news = AccountNews(
            account_id=account.account_id,
            user_id=user_id,
            realized_pnl=Decimal(account.realized_pnl or 0),
            commission=Decimal(account.commission or 0),
            create_time_ns=_ns(account.create_time),
            gateway=account.gateway,
        )
        self._portfolio.apply_account(news)
        self._portfolio.changed(self._portfolio.book_for_news(account.account_id, user_id), 0)


def _ns(time: Timestamp) -> int:
    """Timestamp.ToNanoseconds without its checks, which an order would pass three times."""
    return time.seconds * 1_000_000_000 + time.nanos
