"""Reports of a vnpy gateway on orders and trades: stored first, then published, in order and each trade once."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from redfire.reasons import Reason
from vnpy.trader.object import OrderData, TradeData

from services.engine.metrics import unreadable
from services.engine.models import GatewayTradeRow
from services.engine.updates import OrderStatus, OrderUpdate, PositionEffect, Side, TradeUpdate, Update
from services.engine.vnpy.mapping import exchange_time, order_from_vnpy, order_side, readable, trade_from_vnpy
from services.engine.vnpy.venue_orders import VenueOrder, VenueOrders
from services.kernel.clock import Clock
from services.kernel.data.database import Database
from services.kernel.data.writes import Write
from services.kernel.errors import CommitUnknown, Unavailable
from services.quant.calendar import Calendar

log = logging.getLogger(__name__)

_BATCH = 256
_RETRY_S = 0.2


@dataclass(slots=True)
class _Claim:
    """An order that turned out to be RedFire's."""

    order: VenueOrder
    last_update: OrderUpdate | None


@dataclass(slots=True)
class _Ended:
    """An order that ended without a report of its gateway."""

    order: VenueOrder
    update: OrderUpdate


class VenueReports:
    """One gateway's reports on their way to the event stream. `report_error` gets the unreadable ones;
    `identified` is awaited before an order or trade with an unknown id is taken for an external one."""

    def __init__(
        self,
        gateway_name: str,
        orders: VenueOrders,
        database: Database,
        clock: Clock,
        calendar: Calendar,
        new_number: Callable[[], int],
        publish: Callable[[Update], None],
        report_error: Callable[[str], None],
        identified: Callable[[OrderData | TradeData], Awaitable[None]],
    ) -> None:
        self._name = gateway_name
        self._orders = orders
        self._clock = clock
        self._calendar = calendar
        self._new_number = new_number
        self._publish = publish
        self._report_error = report_error
        self._identified = identified
        self._writer = database.writer()
        self._upsert = database.upsert(GatewayTradeRow, ["gateway_name", "venue_trade_id"])
        self._waiting: deque[OrderData | TradeData | _Claim | _Ended] = deque()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._trades: dict[str, TradeUpdate] = {}
        self._unreadable: set[str] = set()

    def restore(self, rows: Iterable[GatewayTradeRow]) -> None:
        """Trades of the last days, which the venue may send again."""
        for row in rows:
            if row.gateway_name == self._name:
                self._trades[row.venue_trade_id] = trade_of_row(row)

    def handle(self, data: OrderData | TradeData) -> None:
        """Queue a report of the gateway."""
        self._put(data)

    def claim(self, order: VenueOrder, last_update: OrderUpdate | None) -> None:
        """Publish an order that turned out to be RedFire's again, with its fills, as RedFire's."""
        self._put(_Claim(order, last_update))

    def end(self, order: VenueOrder, update: OrderUpdate) -> None:
        """An order ended without a report of its gateway."""
        self._put(_Ended(order, update))

    async def flushed(self, timeout_s: float) -> bool:
        """Wait until all that was taken is written and published; False when that takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def forget(self, trading_day: int) -> None:
        """Trades before a day are not sent again by any venue."""
        self._trades = {key: kept for key, kept in self._trades.items() if kept.trading_day >= trading_day}

    async def run(self) -> None:
        """Write and publish what comes until cancelled."""
        while True:
            await self._work.wait()
            batch = [self._waiting[place] for place in range(min(len(self._waiting), _BATCH))]
            writes: list[Write] = []
            updates: list[Update] = []
            for item in batch:
                try:
                    await self._apply(item, writes, updates)
                except Exception as error:
                    self._refuse(item, error)
            await self._write(writes)
            for update in updates:
                self._publish(update)
            for _ in batch:
                self._waiting.popleft()
            if not self._waiting:
                self._work.clear()
                self._idle.set()

    def _put(self, item: OrderData | TradeData | _Claim | _Ended) -> None:
        self._waiting.append(item)
        self._idle.clear()
        self._work.set()

    async def _apply(
        self, item: OrderData | TradeData | _Claim | _Ended, writes: list[Write], updates: list[Update]
    ) -> None:
        if isinstance(item, OrderData):
            await self._order(item, writes, updates)
        elif isinstance(item, TradeData):
            await self._trade(item, writes, updates)
        elif isinstance(item, _Claim):
            for trade in list(self._trades.values()):
                if not trade.order_id and _is_of(item.order, trade):
                    self._book(replace(trade, order_id=item.order.order_id), writes, updates)
            if item.last_update is not None:
                update = self._with_fills(item.order, item.last_update)
                self._progress(item.order, update, writes)
                updates.append(update)
        else:
            self._progress(item.order, item.update, writes)
            updates.append(item.update)

    async def _order(self, data: OrderData, writes: list[Write], updates: list[Update]) -> None:
        order = await self._owner(data)
        update = order_from_vnpy(data, "" if order is None else order.order_id, self._clock.now())
        if order is not None:
            latest = order.latest(update)
            if latest.status is not update.status:
                return  # published before
            latest = order.explained(latest, self._calendar)
            self._progress(order, latest, writes)
            update = latest
        updates.append(update)

    async def _trade(self, data: TradeData, writes: list[Write], updates: list[Update]) -> None:
        time, day = self.moment(data)
        order = await self._owner(data)
        trade = trade_from_vnpy(data, "" if order is None else order.order_id, time, day)
        known = self._trades.get(trade.venue_trade_id)
        if known is None:
            self._book(trade, writes, updates)
        elif trade.order_id and not known.order_id:
            self._book(replace(known, order_id=trade.order_id), writes, updates)

    def moment(self, data: TradeData | OrderData) -> tuple[datetime, int]:
        """The time of a report, and its trading day."""
        time = exchange_time(data.datetime, self._clock.now())
        return time, self._calendar.trading_day(data.vt_symbol, int(time.timestamp() * 1e9))

    async def _owner(self, data: OrderData | TradeData) -> VenueOrder | None:
        key = (readable(data.orderid), data.vt_symbol, order_side(data.direction))
        order = self._orders.owner(*key)
        if order is None:
            await self._identified(data)
            order = await self._orders.find_owner(*key)
        return order

    def _book(self, trade: TradeUpdate, writes: list[Write], updates: list[Update]) -> None:
        """One that turned out to be RedFire's is numbered anew: a reader of what came after it must get it."""
        self._trades[trade.venue_trade_id] = trade
        writes.append((self._upsert, row_of_trade(self._new_number(), trade)))
        updates.append(trade)

    def _progress(self, order: VenueOrder, update: OrderUpdate, writes: list[Write]) -> None:
        if order.status.is_open or update.cumulative_quantity > order.cumulative_quantity:
            order.status = update.status
            order.cumulative_quantity = max(order.cumulative_quantity, update.cumulative_quantity)
            order.update_time = self._clock.now()
            writes.append(self._orders.write(order))

    def _with_fills(self, order: VenueOrder, last_update: OrderUpdate) -> OrderUpdate:
        """The last update of an order, with no less than its fills."""
        trades = [trade for trade in self._trades.values() if _is_of(order, trade)]
        filled = sum((trade.quantity for trade in trades), Decimal(0))
        if filled <= last_update.cumulative_quantity:
            return last_update
        status = OrderStatus.FILLED if filled >= last_update.quantity else OrderStatus.PARTIALLY_FILLED
        return replace(
            last_update, cumulative_quantity=filled, status=status if last_update.status.is_open else last_update.status
        )

    def _refuse(self, item: Any, error: Exception) -> None:
        kind = type(item).__name__
        unreadable.labels(self._name, kind).inc()
        name = readable(str(getattr(item, "tradeid", "") or getattr(item, "orderid", "")))
        log.error("gateway %s: %s %s is unreadable: %s", self._name, kind, name, error, exc_info=error)
        if name not in self._unreadable:  # a venue that sends it again after each login is not queried each time
            self._unreadable.add(name)
            self._report_error(f"{kind} {name} is unreadable: {error}")

    async def _write(self, writes: list[Write]) -> None:
        """A database that fails is asked again: nothing is published that is not written."""
        while writes:
            try:
                await self._writer.submit(writes)
                return
            except (CommitUnknown, Unavailable):
                log.exception("gateway %s: reports cannot be written; it is tried again", self._name)
                await asyncio.sleep(_RETRY_S)
            except Exception:
                if len(writes) == 1:
                    log.exception("gateway %s: a row is refused, an internal error; it is left out", self._name)
                    return
                for write in writes:
                    await self._write([write])
                return


def _is_of(order: VenueOrder, trade: TradeUpdate) -> bool:
    key = trade.venue_order_id, trade.symbol, trade.side
    return key == (order.venue_order_id, order.symbol, order.side)


def row_of_trade(number: int, trade: TradeUpdate) -> dict[str, Any]:
    """The fill as a row."""
    return {
        "number": number,
        "gateway_name": trade.gateway_name,
        "venue_trade_id": trade.venue_trade_id,
        "venue_order_id": trade.venue_order_id,
        "order_id": trade.order_id,
        "symbol": trade.symbol,
        "side": trade.side.value,
        "position_effect": trade.position_effect.value,
        "price": trade.price,
        "quantity": trade.quantity,
        "time": trade.time,
        "trading_day": trade.trading_day,
    }


def trade_of_row(row: GatewayTradeRow) -> TradeUpdate:
    """The fill of a row."""
    return TradeUpdate(
        row.gateway_name, row.order_id, row.venue_order_id, row.venue_trade_id, row.symbol, Side(row.side),
        PositionEffect(row.position_effect), row.price, row.quantity, row.time, row.trading_day,
    )  # fmt: skip


def expired(order: VenueOrder, now: datetime) -> OrderUpdate:
    """The end of an order that its venue ends with the trading day, without a report."""
    return replace(
        order.update(), status=OrderStatus.EXPIRED, time=now, reason=Reason.ORDER_EXPIRED,
        message="the trading day is over",
    )  # fmt: skip
