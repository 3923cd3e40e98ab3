"""Any other vnpy gateway as the engine's service sees it: an order is written down first, and never sent twice."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from vnpy.trader.constant import Status
from vnpy.trader.object import OrderData, SubscribeRequest, TradeData

from services.engine.models import GatewayOrderRow, GatewayTradeRow
from services.engine.repository import EngineRepository, row_number
from services.engine.updates import (
    OrderRequest,
    OrderUpdate,
    PositionSide,
    PositionUpdate,
    TradeUpdate,
    Update,
    VenueState,
)
from services.engine.vnpy.gateway_thread import Call, GatewayThread, NotMade, Urgency
from services.engine.vnpy.mapping import (
    Unreadable,
    account_from_vnpy,
    cancel_to_vnpy,
    order_from_vnpy,
    order_side,
    position_from_vnpy,
    readable,
    request_to_vnpy,
    split_symbol,
)
from services.engine.vnpy.placement import NotSent, Unsupported, placeable
from services.engine.vnpy.venue_orders import SendState, VenueOrder, VenueOrders
from services.engine.vnpy.venue_reports import VenueReports, expired, trade_of_row
from services.kernel.clock import Clock
from services.kernel.data.database import Database
from services.kernel.errors import DeadlineExceeded, NotFound
from services.kernel.tasks import Tasks
from services.quant.calendar import Calendar

log = logging.getLogger(__name__)

TRADES_PAGE = 2_000
# A gateway reports an order while it takes it: so long the report of an unknown order waits for the answer.
_ANSWER_S = 2.0
_LOGIN_S = 60.0
_FLUSH_S = 2.0
# Reports of a day's last moments come within this time after its end.
_LATE_NS = 60_000_000_000


class VnpyVenue:
    """Orders at one gateway. vnpy's gateways keep no id of RedFire: the owner of an order is in the database.

    Calls of the gateway are made on a thread of its own. `send` waits so long as `timeout_s`; what was begun by then
    and has not answered may be at the venue, and is matched by content when the gateway has sent all of its orders.
    """

    def __init__(
        self,
        main_engine: Any,
        gateway_name: str,
        database: Database,
        clock: Clock,
        calendar: Calendar,
        new_number: Callable[[], int],
        timeout_s: float,
        limit_only: Collection[str],
        publish: Callable[[Update], None],
        report_error: Callable[[str], None],
        last_log: Callable[[], Awaitable[str]],
    ) -> None:
        self._main = main_engine
        self._name = gateway_name
        self._clock = clock
        self._calendar = calendar
        self._timeout_s = timeout_s
        self._limit_only = limit_only
        self._last_log = last_log
        self._repositories = database.repositories(EngineRepository)
        self._orders = VenueOrders(gateway_name, database)
        self.reports = VenueReports(
            gateway_name, self._orders, database, clock, calendar, new_number, publish, report_error, self._identify
        )
        self._thread = GatewayThread(gateway_name)
        self._tasks = Tasks()
        self._sending: dict[str, asyncio.Task[str]] = {}
        self._calls: dict[str, Call] = {}
        self._waited_for: Call | None = None
        self._settled = asyncio.Event()
        self._cut_time: datetime | None = None
        self._seen_ns = 0

    def restore(self, orders: Iterable[GatewayOrderRow], trades: Iterable[GatewayTradeRow], seen_ns: int) -> None:
        """Go on where a run before this one stopped; `seen_ns` is when the gateway was last known to be connected."""
        self._orders.restore(orders)
        self.reports.restore(trades)
        self._seen_ns = seen_ns
        self._end_orders()

    @property
    def is_settled(self) -> bool:
        """True when the gateway is connected and has sent all that it had to send after that."""
        return self._settled.is_set()

    @property
    def seen_ns(self) -> int:
        """The time (ns) at which the gateway was last known to be connected, and to have sent all."""
        return self._clock.now_ns() if self._settled.is_set() else self._seen_ns

    def settle(self) -> None:
        """The gateway has sent all its orders and trades: match those that were being sent when something broke."""
        external = []
        for data in self._all_orders():
            try:
                update = order_from_vnpy(data, "", self._clock.now())
            except Unreadable:
                continue
            if self._orders.owner(update.venue_order_id, update.symbol, update.side) is None:
                external.append(update)
        for order, update in self._orders.match(external, self._calls):
            log.warning("order %s is %s at gateway %s", order.order_id, update.venue_order_id, self._name)
            self._orders.named(order, update.venue_order_id)
            update.order_id = order.order_id
            self.reports.claim(order, update)
        self._settled.set()

    def cut(self) -> None:
        """The gateway is not connected any more."""
        self._seen_ns = self.seen_ns
        if self._settled.is_set():
            self._cut_time = self._clock.now()
        self._settled.clear()
        # A position that is closed meanwhile is never reported again.
        held = self._main.get_engine("oms").positions
        for position in [one for one in list(held.values()) if one.gateway_name == self._name]:
            held.pop(position.vt_positionid, None)

    def renew(self) -> None:
        """The gateway was closed; the next connect makes another, with a thread of its own."""
        self.cut()
        self._thread.renew()

    async def stop(self) -> None:
        """End what runs; what a gateway was given goes its way."""
        await self._tasks.stop(1.0)

    def subscribe(self, symbol: str) -> None:
        """Ask for ticks."""
        code, exchange = split_symbol(symbol)
        request = SubscribeRequest(symbol=code, exchange=exchange)
        self._thread.call(Urgency.OTHER, partial(self._main.subscribe, request, self._name))

    def _end_orders(self) -> None:
        """End the orders of days that were seen to their end: vnpy has DAY, IOC and FOK only, and CTP's
        exchanges end these without a report. What was not seen to its end stays uncertain."""
        self._seen_ns = self.seen_ns
        for order in self._orders.open():
            ends_ns = self._calendar.day_end_ns(order.symbol, order.trading_day)
            if order.state is SendState.SENT and ends_ns + _LATE_NS <= self._seen_ns:
                self.reports.end(order, expired(order, self._clock.now()))

    def begin_day(self, day: int) -> None:
        """Another trading day: vnpy's OMS forgets the orders of the days before, which it would keep as open."""
        self._end_orders()
        for data in self._all_orders():
            order = self._owner(data)
            try:
                of_day = self.reports.moment(data)[1] if order is None else order.trading_day
            except Unreadable:
                of_day = 0
            if of_day < day:
                oms = self._main.get_engine("oms")
                oms.orders.pop(data.vt_orderid, None)
                oms.active_orders.pop(data.vt_orderid, None)
        self.reports.forget(self._calendar.previous_trading_day("SHFE", day))

    async def sent_before(self, order_id: str) -> str:
        """The venue's id of an order that was sent before."""
        order = await self._orders.find(order_id)
        return "" if order is None else self._outcome(order)

    def is_sending(self, order_id: str) -> bool:
        """Return whether the gateway has not answered a send of the order yet, or is about to be asked."""
        return order_id in self._sending

    async def send(self, request: OrderRequest) -> str:
        """The venue's id of the order. Raises DeadlineExceeded when the outcome is not known."""
        order_id = request.order_id
        task = self._sending.get(order_id)
        if task is None:
            task = self._tasks.spawn(f"engine.send.{order_id}", self._send(request), awaited=True)
            self._sending[order_id] = task
            task.add_done_callback(lambda _: self._sending.pop(order_id, None))
        await asyncio.wait([task], timeout=self._timeout_s)
        call = self._calls.get(order_id)
        if not task.done() and not (call is not None and self._thread.withdraw(call)):
            # From now on what the venue shows may be it: a gateway that hangs may never answer.
            self._calls.pop(order_id, None)
            raise DeadlineExceeded(f"gateway {self._name} has not answered; whether it has the order is not known")
        return await asyncio.shield(task)

    async def cancel(self, order_id: str, venue_order_id: str, symbol: str) -> None:
        """Ask for a cancel."""
        order = await self._orders.find(order_id)
        if order is not None:
            venue_order_id, symbol = self._outcome(order, cancel=True), order.symbol
        data = self._main.get_order(f"{self._name}.{venue_order_id}")
        if not venue_order_id or (data is None and not symbol):
            raise NotFound("order", order_id)
        request = cancel_to_vnpy(venue_order_id, symbol or data.vt_symbol)
        call = self._thread.call(Urgency.CANCEL, partial(self._main.cancel_order, request, self._name))
        await asyncio.wait([call.future], timeout=self._timeout_s)
        if not call.future.done() or call.future.exception() is not None:
            raise DeadlineExceeded(f"gateway {self._name} has not taken the cancel")

    async def amend(self, order_id: str, venue_order_id: str, quantity: Decimal | None, price: Decimal | None) -> None:
        """vnpy's gateways cannot change an order in place."""
        raise Unsupported(f"{self._name} cannot change an order in place: cancel it and send another")

    async def state(self, order_ids: list[str], trades_cursor: str = "") -> VenueState:
        """State of the gateway: what it has sent, and what the database has of it."""
        complete = self.is_settled and await self.reports.flushed(_FLUSH_S) and self.is_settled
        now = self._clock.now()
        day = self._calendar.chinese_trading_day(self._clock.now_ns())
        orders: dict[str, OrderUpdate] = {}
        for data in self._all_orders(active=True):
            # Before the gateway has sent all, an order that seems to be external may turn out to be RedFire's.
            if not self._is_unconfirmed(data) and (complete or self._owner(data) is not None):
                self._add(orders, data, self._owner(data))
        uncertain = []
        asked = await self._orders.find_all(order_ids)
        for order_id in order_ids:
            order = asked.get(order_id)
            if order is None or order.state is SendState.REFUSED:
                continue
            data = self._main.get_order(f"{self._name}.{order.venue_order_id}") if order.venue_order_id else None
            if data is not None and data.vt_symbol == order.symbol and not self._is_unconfirmed(data):
                self._add(orders, data, order)
            elif order.state is SendState.SENT and not order.status.is_open:
                orders[order.venue_order_id] = order.explained(order.update(), self._calendar)
            else:
                uncertain.append(order_id)
        trades, cursor, more = await self._trades(order_ids, trades_cursor, day)
        positions = [p for p in self._main.get_all_positions() if p.gateway_name == self._name]
        accounts = [a for a in self._main.get_all_accounts() if a.gateway_name == self._name]
        return VenueState(
            orders=list(orders.values()),
            trades=trades,
            positions=[self._position(data) for data in positions],
            trading_day=day,
            complete=complete,
            trades_cursor=cursor,
            more_trades=more,
            uncertain_order_ids=uncertain,
            accounts=self._readable(partial(account_from_vnpy, now=now), accounts),
        )

    async def _trades(self, order_ids: list[str], cursor: str, day: int) -> tuple[list[TradeUpdate], str, bool]:
        after = row_number(cursor)
        async with self._repositories.read() as repository:
            rows = await repository.list_gateway_trades(self._name, day, after, TRADES_PAGE + 1)
            more = len(rows) > TRADES_PAGE
            rows = rows[:TRADES_PAGE]
            by_number = {row.number: row for row in [*rows, *await repository.list_gateway_trades_of(order_ids)]}
        trades = [trade_of_row(row) for _, row in sorted(by_number.items()) if row.gateway_name == self._name]
        return trades, str(rows[-1].number) if rows else cursor, more

    async def _send(self, request: OrderRequest) -> str:
        known = await self.sent_before(request.order_id)
        if known:
            return known
        request = placeable(request, self._name, self._main.get_tick(request.symbol), self._limit_only)
        day = self._calendar.trading_day(request.symbol, self._clock.now_ns())
        order = VenueOrder.of_request(request, day, self._clock.now())
        await self._orders.begin(order)
        call: Call | None = None
        try:
            call = self._calls[order.order_id] = self._thread.call(Urgency.ORDER, partial(self._call, order, request))
            venue_order_id = str(await call.future)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if call is not None and not isinstance(error, NotMade):
                raise DeadlineExceeded(
                    f"gateway {self._name} failed while it took the order: {type(error).__name__}: {error}"
                ) from error
            await self._refused(order)
            raise NotSent(f"gateway {self._name} is too slow; the order was not sent") from error
        finally:
            self._calls.pop(order.order_id, None)
        if not venue_order_id:
            await self._refused(order)
            raise NotSent(f"gateway {self._name} did not take the order; its last log line: {await self._last_log()}")
        if self._orders.is_external(venue_order_id):
            # The gateway's reports of it before the answer were taken for an external order's.
            data = self._main.get_order(f"{self._name}.{venue_order_id}")
            last_update = None if data is None else order_from_vnpy(data, order.order_id, self._clock.now())
            self.reports.claim(order, last_update)
        await self._orders.save(order)
        return venue_order_id

    def _call(self, order: VenueOrder, request: OrderRequest) -> str:
        """Call the gateway, on its thread."""
        vt_orderid: str = self._main.send_order(request_to_vnpy(request), self._name)
        venue_order_id = readable(vt_orderid.partition(".")[2])
        if venue_order_id:
            self._orders.named(order, venue_order_id)
        return venue_order_id

    async def _refused(self, order: VenueOrder) -> None:
        order.state = SendState.REFUSED
        await self._orders.save(order)

    def _outcome(self, order: VenueOrder, *, cancel: bool = False) -> str:
        if order.state is SendState.REFUSED:
            raise NotFound("order", order.order_id) if cancel else NotSent
        if not order.venue_order_id:
            raise DeadlineExceeded(f"whether gateway {self._name} has the order is not known")
        return order.venue_order_id

    async def _identify(self, data: OrderData | TradeData) -> None:
        """Wait while the unknown id of an order may turn out to be one of RedFire's."""
        if self._orders.has_lost and not self._settled.is_set():
            try:
                async with asyncio.timeout(_LOGIN_S):
                    await self._settled.wait()
            except TimeoutError:
                log.warning("gateway %s reports %s before it is ready", self._name, readable(data.orderid))
        running = next((call for call in self._calls.values() if call.begun), None)
        if running is not None and running is not self._waited_for:
            self._waited_for = running
            await asyncio.wait([running.future], timeout=_ANSWER_S)
        asks = self._orders.has_lost and self._settled.is_set() and isinstance(data, OrderData)
        if asks and self._orders.may_be_lost(order_from_vnpy(data, "", self._clock.now())):
            self.settle()

    def _all_orders(self, *, active: bool = False) -> list[Any]:
        orders = self._main.get_all_active_orders() if active else self._main.get_all_orders()
        return [order for order in orders if order.gateway_name == self._name]

    def _is_unconfirmed(self, data: Any) -> bool:
        """True when an order was sent before the connection was lost, and the venue has not reported it, also since:
        what vnpy makes of an order by itself has no time yet."""
        if data.status is not Status.SUBMITTING or data.datetime is not None or self._cut_time is None:
            return False
        order = self._owner(data)
        return order is not None and order.create_time <= self._cut_time

    def _owner(self, data: Any) -> VenueOrder | None:
        return self._orders.owner(readable(str(data.orderid)), data.vt_symbol, order_side(data.direction))

    def _add(self, orders: dict[str, OrderUpdate], data: Any, order: VenueOrder | None) -> None:
        try:
            update = order_from_vnpy(data, "" if order is None else order.order_id, self._clock.now())
        except Unreadable:
            return
        update = update if order is None else order.explained(order.latest(update), self._calendar)
        orders[update.venue_order_id] = update

    def _position(self, data: Any) -> PositionUpdate:
        """A position; one that is unreadable has no number: what is left out would be taken for flat."""
        try:
            return position_from_vnpy(data)
        except Unreadable:
            nothing = Decimal("NaN")
            return PositionUpdate(self._name, readable(data.vt_symbol), PositionSide.LONG, nothing, nothing)

    @staticmethod
    def _readable(convert: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        converted = []
        for item in items:
            try:
                converted.append(convert(item))
            except Unreadable:
                log.warning("gateway %s: %s is unreadable", item.gateway_name, type(item).__name__)
        return converted
