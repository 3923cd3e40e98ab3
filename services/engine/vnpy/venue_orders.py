"""Owners of a vnpy gateway's orders: stored before they are sent, looked up by either id, matched by content."""

import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from redfire.reasons import Reason

from services.engine.models import GatewayOrderRow
from services.engine.repository import EngineRepository
from services.engine.updates import (
    OrderRequest,
    OrderStatus,
    OrderType,
    OrderUpdate,
    PositionEffect,
    Side,
    TimeInForce,
)
from services.kernel.data.database import Database
from services.kernel.data.writes import Write
from services.quant.calendar import Calendar, SessionState

log = logging.getLogger(__name__)

# Finished orders beyond these are looked up in the database.
FINISHED_KEPT = 50_000
EXTERNAL_IDS_KEPT = 10_000
# The venue's time of an order is in whole seconds, by its own clock; no order waits for its gateway longer than this.
_EARLIEST, _LATEST = timedelta(seconds=-5), timedelta(minutes=2)
_NO_DIFFERENCE = {PositionEffect.CLOSE_YESTERDAY: PositionEffect.CLOSE}


_STAGES = {OrderStatus.PENDING_NEW: 0, OrderStatus.NEW: 1, OrderStatus.PARTIALLY_FILLED: 2}
_OVER = 3


class SendState(StrEnum):
    """The progress of sending an order."""

    SENDING = "SENDING"  # it may be at the venue
    SENT = "SENT"
    REFUSED = "REFUSED"  # it never was


@dataclass(slots=True, eq=False)
class VenueOrder:
    """An order of RedFire at a gateway, as in its row."""

    order_id: str
    gateway_name: str
    venue_order_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    position_effect: PositionEffect
    quantity: Decimal
    price: Decimal | None
    state: SendState
    status: OrderStatus
    cumulative_quantity: Decimal
    trading_day: int
    create_time: datetime
    update_time: datetime

    @classmethod
    def of_request(cls, request: OrderRequest, trading_day: int, now: datetime) -> "VenueOrder":
        """An order that is about to be sent."""
        return cls(
            request.order_id, request.gateway_name, "", request.symbol, request.side, request.type,
            request.time_in_force, request.position_effect, request.quantity, request.price, SendState.SENDING,
            OrderStatus.PENDING_NEW, Decimal(0), trading_day, now, now,
        )  # fmt: skip

    @classmethod
    def of_row(cls, row: GatewayOrderRow) -> "VenueOrder":
        """The order of a row."""
        state = row.state or {"": SendState.SENDING, "refused": SendState.REFUSED}.get(
            row.venue_order_id, SendState.SENT
        )
        return cls(
            row.order_id, row.gateway_name, row.venue_order_id, row.symbol, Side(row.side or Side.BUY),
            OrderType(row.type), TimeInForce(row.time_in_force), PositionEffect(row.position_effect), row.quantity,
            row.price, SendState(state), OrderStatus(row.status), row.cumulative_quantity, row.trading_day,
            row.create_time, row.update_time or row.create_time,
        )  # fmt: skip

    @property
    def is_open(self) -> bool:
        """True while more may follow."""
        return self.state is SendState.SENDING or (self.state is SendState.SENT and self.status.is_open)

    def row(self) -> dict[str, Any]:
        """The order as a row."""
        return {
            "order_id": self.order_id,
            "gateway_name": self.gateway_name,
            "venue_order_id": self.venue_order_id,
            "symbol": self.symbol,
            "side": self.side.value,
            "type": self.type.value,
            "time_in_force": self.time_in_force.value,
            "position_effect": self.position_effect.value,
            "quantity": self.quantity,
            "price": self.price,
            "state": self.state.value,
            "status": self.status.value,
            "cumulative_quantity": self.cumulative_quantity,
            "is_open": self.is_open,
            "trading_day": self.trading_day,
            "create_time": self.create_time,
            "update_time": self.update_time,
        }

    def update(self) -> OrderUpdate:
        """The venue's last report of it."""
        return OrderUpdate(
            self.gateway_name, self.order_id, self.venue_order_id, self.symbol, self.side, self.position_effect,
            self.quantity, self.price, self.cumulative_quantity, self.status, self.update_time, type=self.type,
        )  # fmt: skip

    def latest(self, update: OrderUpdate) -> OrderUpdate:
        """The order's state by an update. One that goes back has nothing new: a venue sends all of the day again
        after each login, and vnpy reports that an order was sent after the venue's own report."""
        lower = update.cumulative_quantity < self.cumulative_quantity
        if _STAGES.get(update.status, _OVER) < _STAGES.get(self.status, _OVER) or (lower and update.status.is_open):
            return self.update()
        return replace(update, cumulative_quantity=self.cumulative_quantity) if lower else update

    def explained(self, update: OrderUpdate, calendar: Calendar) -> OrderUpdate:
        """An update with the reason of an end, which vnpy does not have: exchanges cancel what comes while they are
        closed, and what a market order, IOC or FOK does not find at once."""
        if update.status not in (OrderStatus.CANCELED, OrderStatus.REJECTED):
            return update
        state = calendar.status(self.symbol, int(self.create_time.timestamp() * 1e9)).state
        was_open = state is SessionState.OPEN or (state.takes_orders and self.type is OrderType.LIMIT)
        at_once = self.type is OrderType.MARKET or self.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
        if not was_open and not update.cumulative_quantity:
            return replace(update, reason=Reason.MARKET_CLOSED)
        if at_once and update.status is OrderStatus.CANCELED:
            return replace(update, reason=Reason.NO_LIQUIDITY)
        return update

    def matches(self, update: OrderUpdate) -> bool:
        """Return true when the venue's order may be this one: equal in content, and entered when it was sent."""
        return (
            update.symbol == self.symbol
            and update.side is self.side
            and update.type is self.type
            and _effect(update.position_effect) is _effect(self.position_effect)
            and update.quantity == self.quantity
            and update.price == (None if self.type is OrderType.MARKET else self.price)
            and _EARLIEST <= update.time - self.create_time <= _LATEST
        )


class VenueOrders:
    """RedFire's orders at one gateway. Open ones are always in memory; finished ones also in the database alone."""

    def __init__(self, gateway_name: str, database: Database) -> None:
        self._name = gateway_name
        self._repositories = database.repositories(EngineRepository)
        self._writer = database.writer()
        self._upsert = database.upsert(GatewayOrderRow, ["order_id"])
        self._orders: dict[str, VenueOrder] = {}
        self._by_venue_id: dict[str, VenueOrder] = {}
        self._unnamed: dict[str, VenueOrder] = {}
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._external_ids: OrderedDict[str, None] = OrderedDict()

    def restore(self, rows: Iterable[GatewayOrderRow]) -> None:
        """Go on where a run before this one stopped."""
        for row in rows:
            if row.gateway_name == self._name and row.side:
                self._remember(VenueOrder.of_row(row))

    def open(self) -> list[VenueOrder]:
        """Orders to which more may happen."""
        return [order for order in self._orders.values() if order.is_open]

    async def begin(self, order: VenueOrder) -> None:
        """Store that an order is about to be sent; it may be at the venue from now on."""
        self._orders[order.order_id] = self._unnamed[order.order_id] = order
        try:
            await self._writer.submit([self.write(order)])
        except BaseException:
            del self._orders[order.order_id], self._unnamed[order.order_id]
            raise

    def named(self, order: VenueOrder, venue_order_id: str) -> None:
        """The gateway has the order. Called on the gateway's thread: its reports of the order come right after."""
        order.venue_order_id = venue_order_id
        order.state = SendState.SENT
        self._by_venue_id[venue_order_id] = order

    async def save(self, order: VenueOrder) -> None:
        """Store an order's progress."""
        await self._writer.submit([self.write(order)])

    def write(self, order: VenueOrder) -> Write:
        """The order's row, to be written; a finished order may leave the memory after that."""
        if order.state is not SendState.SENDING:
            self._unnamed.pop(order.order_id, None)
        if not order.is_open:
            self._finished[order.order_id] = None
            while len(self._finished) > FINISHED_KEPT:
                old = self._orders.pop(self._finished.popitem(last=False)[0], None)
                if old is not None and self._by_venue_id.get(old.venue_order_id) is old:
                    del self._by_venue_id[old.venue_order_id]
        return self._upsert, order.row()

    async def find(self, order_id: str) -> VenueOrder | None:
        """An order by our id."""
        order = self._orders.get(order_id)
        if order is None:
            async with self._repositories.read() as repository:
                row = await repository.find_gateway_order(order_id)
            # It may have begun meanwhile.
            order = self._orders.get(order_id) or (VenueOrder.of_row(row) if row is not None else None)
        return order

    async def find_all(self, order_ids: Iterable[str]) -> dict[str, VenueOrder]:
        """Orders that were sent here, by our id; those that are not in memory are read together."""
        ids = list(order_ids)
        rows: Sequence[GatewayOrderRow] = ()
        if missing := [order_id for order_id in ids if order_id not in self._orders]:
            async with self._repositories.read() as repository:
                rows = await repository.list_gateway_orders_of(missing)
        stored = {row.order_id: VenueOrder.of_row(row) for row in rows}
        # They may have begun meanwhile.
        return stored | {order_id: self._orders[order_id] for order_id in ids if order_id in self._orders}

    def owner(self, venue_order_id: str, symbol: str, side: Side) -> VenueOrder | None:
        """An order in memory by the venue's id. Ids come again another day: the content must agree."""
        order = self._by_venue_id.get(venue_order_id)
        return order if order is not None and order.symbol == symbol and order.side is side else None

    async def find_owner(self, venue_order_id: str, symbol: str, side: Side) -> VenueOrder | None:
        """An order by the venue's id, also one that left the memory."""
        order = self.owner(venue_order_id, symbol, side)
        if order is not None or venue_order_id in self._external_ids:
            return order
        async with self._repositories.read() as repository:
            row = await repository.find_gateway_order_of(self._name, venue_order_id)
        if row is not None and row.symbol == symbol and row.side in (side.value, ""):
            row.side = side.value
            return self.owner(venue_order_id, symbol, side) or self._remember(VenueOrder.of_row(row))
        self._external_ids[venue_order_id] = None
        if len(self._external_ids) > EXTERNAL_IDS_KEPT:
            self._external_ids.popitem(last=False)
        return self.owner(venue_order_id, symbol, side)

    def is_external(self, venue_order_id: str) -> bool:
        """Return true when an id was identified lately as an external order's."""
        return venue_order_id in self._external_ids

    def match(self, external: Iterable[OrderUpdate], in_flight: Iterable[str]) -> list[tuple[VenueOrder, OrderUpdate]]:
        """Orders that may be at the venue, with the one order there that each must be.

        Only where there is exactly one candidate on either side: a wrong match would book another's fills.
        """
        flying = set(in_flight)
        unnamed = [order for order in self._unnamed.values() if not order.venue_order_id]
        shown = list(external)
        matched = []
        for order in unnamed:
            candidates = [update for update in shown if order.matches(update)]
            # One that is being sent at this moment is a rival, and is named by its gateway's answer.
            sole = len(candidates) == 1 and sum(other.matches(candidates[0]) for other in unnamed) == 1
            if sole and order.order_id not in flying:
                matched.append((order, candidates[0]))
        return matched

    def may_be_lost(self, update: OrderUpdate) -> bool:
        """Return true when an order that the venue shows may be one that was perhaps sent."""
        return any(order.matches(update) for order in self._unnamed.values())

    @property
    def has_lost(self) -> bool:
        """True while there are orders that were perhaps sent."""
        return bool(self._unnamed)

    def _remember(self, order: VenueOrder) -> VenueOrder:
        self._orders[order.order_id] = order
        if order.state is SendState.SENDING:
            self._unnamed[order.order_id] = order
        if order.venue_order_id:
            self._by_venue_id[order.venue_order_id] = order
        if not order.is_open:
            self._finished[order.order_id] = None
        return order


def _effect(effect: PositionEffect) -> PositionEffect:
    """CTP's exchanges take a CLOSE as one of yesterday's, and some report it so."""
    return _NO_DIFFERENCE.get(effect, effect)
