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
from services.kernel.rpc.channels import in_lists
from services.kernel.rpc.silence import until_silent
from services.risk.convert import OPENING_EFFECTS, STOP_TYPES
from services.risk.domain.account_exposure import ZERO, AccountExposure, Position
from services.risk.domain.day_counts import DayCounts
from services.risk.domain.order import WorkingOrder, number, repeat_key
from services.risk.domain.portfolio import AccountUpdate, Portfolio
from services.risk.domain.shard_counts import ShardCounts

log = logging.getLogger(__name__)
PAUSE_S = 0.2
# A resumed stream that is silent for so long is given up for a snapshot, which always ends with a message.
RESUME_S = 1.0
# How long a replay of missed updates may take.
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
IMMEDIATE = frozenset({common_pb2.TIME_IN_FORCE_IOC, common_pb2.TIME_IN_FORCE_FOK})
CHANGING = frozenset({common_pb2.ORDER_STATUS_PENDING_CANCEL, common_pb2.ORDER_STATUS_PENDING_REPLACE})
# Another cancel would not help these.
CANCELLING = frozenset({common_pb2.ORDER_STATUS_PENDING_CANCEL, common_pb2.ORDER_STATUS_UNKNOWN})


class TradingFeed:
    """Fills the portfolio's accounts for as long as it runs, and knows whether they can be relied on."""

    def __init__(
        self,
        trading: OrderServiceStub,
        portfolio: Portfolio,
        counts: ShardCounts,
        sizes_known: asyncio.Event,
        clock: Clock,
    ) -> None:
        self._trading = trading
        self._portfolio = portfolio
        self._counts = counts
        self._sizes_known = sizes_known
        self._clock = clock
        self._sequence: int | None = None
        # While a snapshot is read: its orders are not counted as new ones.
        self._in_snapshot = True
        # Orders of a snapshot that are younger than all that is counted.
        self._uncounted: list[tuple[str, trading_pb2.Order]] = []
        self._connected = False
        self._lost_at = 0.0
        self.complete = False

    def reliable(self, stale_after_s: float) -> bool:
        """Return true when the accounts are complete, and not cut off from trading for longer than that."""
        if not self.complete:
            return False
        return self._connected or self._clock.monotonic() - self._lost_at <= stale_after_s

    async def known(self, user_id: str) -> bool:
        """Wait a moment until what trading knows of a user is known; false when it is not."""
        return True

    async def run(self) -> None:
        """Follow until cancelled, whatever breaks."""
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
        async with aclosing(until_silent(in_lists(self._trading.WatchTrading)(request))) as stream:
            await self._read(stream)

    async def _read(self, stream: Any) -> None:
        """Apply what the stream brings until it ends."""
        if self._sequence is not None:
            try:
                async with asyncio.timeout(RESUME_S):
                    first = await anext(stream)
            except (TimeoutError, StopAsyncIteration):
                self._sequence = None
                return
            for message in first:
                self._apply(message)
        async for messages in stream:
            for message in messages:
                if message.update.HasField("snapshot_complete"):
                    await self._count_missed(message.update.sequence)
                if not self._apply(message):
                    return

    async def _count_missed(self, through: int) -> None:
        """Count the updates that were missed: a snapshot shows only their outcome."""
        counts = self._counts.all
        if counts.sequence is None or counts.sequence > through:
            counts.sequence = 0  # the first time, or trading has another database than before
        if counts.sequence == through:
            return
        request = order_service_pb2.WatchTradingRequest(resume_after_sequence=counts.sequence)
        await self._count(self._trading.WatchTrading(request), counts, through)

    async def _count(self, missed: Any, counts: DayCounts, through: int) -> None:
        """Count what a stream of missed updates brings up to a sequence."""
        assert counts.sequence is not None
        begun = set[str]()
        async with asyncio.timeout(MISSED_S), aclosing(missed):
            async for message in missed:
                update = message.update
                kind = update.WhichOneof("event")
                if kind == "gap":
                    self._count_from_snapshot(counts)
                    break
                if kind == "order" and counts.sequence < update.sequence <= through:
                    order = update.order
                    # The first update of an order shows it as it was made: later ones have another time.
                    new = order.create_time == order.update_time and order.order_id not in begun
                    begun.add(order.order_id)
                    counts.count(message.user_id, order, _ns(order.update_time), new=new)
                    counts.sequence = update.sequence
                if update.sequence >= through:
                    break
        counts.sequence = through

    def _count_from_snapshot(self, counts: DayCounts) -> None:
        """Trading does not keep so much any more: at least the open orders are counted."""
        log.warning("some orders and cancels are not counted for the limits of a day: trading keeps them no more")
        for user_id, order in self._uncounted:
            if self._counts.of_user(user_id) is counts:
                counts.count(user_id, order, _ns(order.create_time), new=True)

    def _begin_snapshot(self) -> None:
        self._sequence = None
        self._in_snapshot = True
        self._uncounted.clear()
        self._portfolio.begin_snapshot()

    def _apply(self, message: order_service_pb2.WatchTradingResponse) -> bool:
        """Apply one message; False when it is the stream's last."""
        update = message.update
        kind = update.WhichOneof("event")
        if self.complete and self._sequence is not None:
            self._connected = True
        if kind == "gap":
            self._begin_snapshot()
        elif kind == "snapshot_complete":
            self._portfolio.complete_snapshot()
            self._uncounted.clear()
            self._sequence, self.complete, self._connected = update.sequence, True, True
            self._in_snapshot = False
        else:
            self._apply_item(message.user_id, update, kind)
        if self._sequence is not None and update.sequence > self._sequence:
            self._sequence = self._counts.all.sequence = update.sequence
        return kind != "end"

    def _apply_item(self, user_id: str, update: order_service_pb2.StreamOrdersResponse, kind: str | None) -> None:
        """Apply what a message says of an account."""
        if kind == "order":
            self._apply_order(user_id, update.order)
        elif kind == "position":
            self._apply_position(user_id, update.position)
        elif kind == "account":
            self._apply_account(user_id, update.account)
        elif kind == "trade":
            account = self._portfolio.account_for_update(update.trade.account_id, user_id)
            self._portfolio.changed(account, _ns(update.trade.time))

    def _apply_order(self, user_id: str, order: trading_pb2.Order) -> None:
        account = self._portfolio.account_for_update(order.account_id, user_id)
        order_id, status, update_ns = order.order_id, order.status, _ns(order.update_time)
        finished = status not in OPEN
        new = not finished and order_id not in account.orders
        counts = self._counts.of_user(user_id)
        if not self._in_snapshot:
            counts.counted_ns = update_ns
            if new or status in CHANGING or counts.canceling or counts.replacing:
                counts.count(user_id, order, update_ns, new=new)
        elif new and _ns(order.create_time) > counts.counted_ns:
            self._uncounted.append((user_id, order))
        if finished:
            account.finish_order(order_id)
        else:
            account.apply_order(self._working(account, order, new))
        # Nothing that the day's result is reckoned from: positions and money come as updates of their own.
        account.update_time_ns = max(account.update_time_ns, update_ns)

    def _working(self, account: AccountExposure, order: trading_pb2.Order, new: bool) -> WorkingOrder:
        prices, symbol, status = self._portfolio.prices, order.symbol, order.status
        prices.use(symbol)
        price, leaves = number(order.price) if order.price else None, number(order.leaves_quantity)
        value_price = price if price is not None else self._value_price(account, order)
        working = WorkingOrder(
            order_id=order.order_id,
            symbol=symbol,
            buys=order.side == common_pb2.SIDE_BUY,
            opens=order.position_effect in OPENING_EFFECTS and not order.reduce_only,
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
        if waits or (order.type in STOP_TYPES and not order.triggered):
            working.held = True
        if account.resting_orders is not None:
            working.immediate = order.time_in_force in IMMEDIATE
        if account.watched and new and account.limits.duplicate_window:
            self._remember(account, order, price)
        return working

    def _value_price(self, account: AccountExposure, order: trading_pb2.Order) -> Decimal:
        price = from_text(order.stop_price) or self._portfolio.prices.last(account.market, order.symbol)
        if price is None:
            before = account.reservations.get(order.order_id) or account.orders.get(order.order_id)
            return before.value_price if before else ZERO
        return price

    def _remember(self, account: AccountExposure, order: trading_pb2.Order, price: Decimal | None) -> None:
        """Put an order into the duplicate window that was accepted before a restart."""
        window_s = float(account.limits.duplicate_window or 0)
        age_s = (self._clock.now_ns() - _ns(order.create_time)) / 1e9
        if age_s < window_s:
            buys = order.side == common_pb2.SIDE_BUY
            key = repeat_key(
                order.symbol, buys, order.position_effect, order.type, number(order.quantity), price,
                number(order.stop_price),
            )  # fmt: skip
            account.behaviour.remember(key, order.order_id, self._clock.monotonic() - max(age_s, 0.0), window_s)

    def _apply_position(self, user_id: str, position: trading_pb2.Position) -> None:
        account = self._portfolio.account_for_update(position.account_id, user_id)
        self._portfolio.prices.use(position.symbol)
        line = Position(
            quantity=Decimal(position.quantity or 0),
            average_price=Decimal(position.average_price or 0),
            unrealized_pnl=Decimal(position.unrealized_pnl or 0),
            last_price=from_text(position.last_price),
        )
        account.apply_position(position.symbol, position.side == common_pb2.POSITION_SIDE_LONG, line)
        self._portfolio.changed(account, 0)

    def _apply_account(self, user_id: str, account: trading_pb2.Account) -> None:
        account_update = AccountUpdate(
            account_id=account.account_id,
            user_id=user_id,
            realized_pnl=Decimal(account.realized_pnl or 0),
            commission=Decimal(account.commission or 0),
            create_time_ns=_ns(account.create_time),
            gateway=account.gateway,
        )
        self._portfolio.apply_account(account_update)
        self._portfolio.changed(self._portfolio.account_for_update(account.account_id, user_id), 0)


def _ns(time: Timestamp) -> int:
    """Timestamp.ToNanoseconds without its checks, which an order would pass three times."""
    return time.seconds * 1_000_000_000 + time.nanos
