"""Any other vnpy gateway as the engine's service sees it: an order is written down first, and never sent twice."""

import asyncio
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from redfire.reasons import Reason

from services.engine.models import GatewayOrderRow
from services.engine.repository import EngineRepository
from services.engine.updates import OrderRequest, VenueState
from services.engine.vnpy_words import (
    cancel_request,
    order_update,
    position_update,
    split_symbol,
    to_vnpy,
    trade_update,
    vnpy_type,
)
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.errors import DeadlineExceeded, FailedPrecondition, NotFound
from services.quant.calendar import Calendar

_REFUSED = "refused"
_REMEMBERED = 50_000


class Unsupported(FailedPrecondition):
    """The gateway cannot do this."""

    reason = Reason.UNSUPPORTED


class RefusedByGateway(FailedPrecondition):
    """The gateway did not take the order."""

    reason = Reason.GATEWAY_REJECTED


class VnpyVenue:
    """Orders at one gateway. Which order is whose is remembered in the database: gateways do not keep our reference."""

    def __init__(
        self,
        main_engine: Any,
        gateway_name: str,
        database: Database,
        clock: Clock,
        is_connected: Callable[[], bool],
    ) -> None:
        self._main = main_engine
        self._name = gateway_name
        self._clock = clock
        self._calendar = Calendar.load()
        self._repositories = database.repositories(EngineRepository)
        self._writer = database.writer()
        self._upsert = database.upsert(GatewayOrderRow, ["order_id"])
        self._order_ids: dict[str, str] = {}
        self._venue_ids: dict[str, str] = {}
        self._sending: dict[str, asyncio.Lock] = {}
        self._is_connected = is_connected

    def restore(self, rows: Iterable[GatewayOrderRow]) -> None:
        """Go on where a run before this one stopped."""
        for row in rows:
            if row.gateway_name == self._name and row.venue_order_id not in ("", _REFUSED):
                self._remember(row.order_id, row.venue_order_id)

    def order_id_of(self, venue_order_id: str) -> str:
        """RedFire's id of an order, empty when it is not ours."""
        return self._order_ids.get(venue_order_id, "")

    async def send(self, request: OrderRequest) -> str:
        """The venue's id of the order. Raises DeadlineExceeded when an earlier attempt's outcome is not known."""
        lock = self._sending.setdefault(request.order_id, asyncio.Lock())
        try:
            async with lock:
                return await self._send(request)
        finally:
            if not lock.locked():
                self._sending.pop(request.order_id, None)

    async def cancel(self, order_id: str, venue_order_id: str, symbol: str) -> None:
        """Ask for a cancel."""
        venue_order_id = venue_order_id or self._venue_ids.get(order_id, "")
        order = self._main.get_order(f"{self._name}.{venue_order_id}")
        if not venue_order_id or (order is None and not symbol):
            raise NotFound("order", order_id)
        self._main.cancel_order(cancel_request(venue_order_id, symbol or order.vt_symbol), self._name)

    async def amend(self, order_id: str, venue_order_id: str, quantity: Decimal | None, price: Decimal | None) -> None:
        """vnpy's gateways cannot change an order in place."""
        raise Unsupported(f"{self._name} cannot change an order in place: cancel it and send another")

    async def state(self, order_ids: list[str]) -> VenueState:
        """What vnpy's OMS has of this gateway."""
        now = self._clock.now()
        day = self._calendar.chinese_trading_day(self._clock.now_ns())
        asked = {self._venue_ids[order_id] for order_id in order_ids if order_id in self._venue_ids}
        orders = [o for o in self._main.get_all_active_orders() if o.gateway_name == self._name]
        seen = {order.orderid for order in orders}
        for venue_order_id in asked - seen:
            order = self._main.get_order(f"{self._name}.{venue_order_id}")
            if order is not None:
                orders.append(order)
        wanted = {order.orderid for order in orders} | asked
        trades = [t for t in self._main.get_all_trades() if t.gateway_name == self._name and t.orderid in wanted]
        positions = [p for p in self._main.get_all_positions() if p.gateway_name == self._name]
        return VenueState(
            orders=[order_update(order, self.order_id_of(order.orderid), now) for order in orders],
            trades=[trade_update(trade, self.order_id_of(trade.orderid), now, day) for trade in trades],
            positions=[position_update(position) for position in positions],
            trading_day=day,
            complete=self._is_connected(),
        )

    async def _send(self, request: OrderRequest) -> str:
        known = self._venue_ids.get(request.order_id) or await self._sent_before(request.order_id)
        if known:
            return known
        if vnpy_type(request) is None:
            raise Unsupported(f"{self._name} knows no {request.type} order with time in force {request.time_in_force}")
        try:
            split_symbol(request.symbol)
        except ValueError:
            raise Unsupported(f"{request.symbol}: vnpy does not know its exchange") from None
        await self._write(request, "")
        vt_orderid: str = self._main.send_order(to_vnpy(request), self._name)
        venue_order_id = vt_orderid.partition(".")[2]
        if venue_order_id:
            self._remember(request.order_id, venue_order_id)
        await self._write(request, venue_order_id or _REFUSED)
        if not venue_order_id:
            raise RefusedByGateway
        return venue_order_id

    async def _sent_before(self, order_id: str) -> str:
        async with self._repositories.read() as repository:
            row = await repository.find_gateway_order(order_id)
        if row is None:
            return ""
        if row.venue_order_id == _REFUSED:
            raise RefusedByGateway
        if not row.venue_order_id:
            raise DeadlineExceeded("the engine stopped while it sent this order; whether it was sent is not known")
        return row.venue_order_id

    async def _write(self, request: OrderRequest, venue_order_id: str) -> None:
        row = {
            "order_id": request.order_id,
            "gateway_name": self._name,
            "venue_order_id": venue_order_id,
            "symbol": request.symbol,
            "create_time": self._clock.now(),
        }
        await self._writer.submit([(self._upsert, row)])

    def _remember(self, order_id: str, venue_order_id: str) -> None:
        self._order_ids[venue_order_id] = order_id
        self._venue_ids[order_id] = venue_order_id
        if len(self._venue_ids) > _REMEMBERED:
            oldest = next(iter(self._venue_ids))
            self._order_ids.pop(self._venue_ids.pop(oldest), None)
