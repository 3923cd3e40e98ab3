"""The simulated exchange: takes orders, checks them, matches them against its market, and stores the outcome."""

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from redfire.reasons import Reason

from services.engine.feeds.quote import Quote
from services.engine.feeds.sim_hours import SimHours
from services.engine.settings import EngineSettings
from services.engine.sim.listing import Listing, Refused, check_price, check_quantity, lots, match_order, would_take
from services.engine.sim.order import SimOrder
from services.engine.sim.positions import SimPositions
from services.engine.sim.store import SimStore
from services.engine.updates import (
    OrderRequest,
    OrderStatus,
    OrderType,
    TimeInForce,
    TradeUpdate,
    TradingDayUpdate,
)
from services.kernel.clock import Clock
from services.quant.calendar import Calendar, SessionState
from services.quant.catalogue import Catalogue
from services.quant.matching import Book, Fill, Lifetime

log = logging.getLogger(__name__)

TRADING_DAY_KEY = "trading_day"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A market that is younger than this is the present one, not a recording.
_PRESENT = timedelta(minutes=1)
_ELSEWHERE = "the symbol is traded, and priced, at another gateway"
_LIFETIMES = {TimeInForce.IOC: Lifetime.IOC, TimeInForce.FOK: Lifetime.FOK}


class SimExchange:
    """The venue behind the gateway SIM. It lives on the event loop; its matching is `matching.Book`, one per symbol.

    Orders and trades become durable through the store before they are published. A DAY order ends with the trading
    day, a GTD order at its time. Finished orders leave the memory; the database has them.

    With `hours` orders outside of sessions are refused, an auction takes limit orders, which wait for the first quote
    (the random market has no auction of its own), and DAY orders end when the last session does.
    """

    def __init__(
        self,
        gateway_name: str,
        catalogue: Catalogue,
        store: SimStore,
        clock: Clock,
        settings: Callable[[], EngineSettings],
        hours: SimHours | None = None,
        serves: Callable[[str], bool] = lambda symbol: True,
    ) -> None:
        """`serves(symbol)`: whether the symbol is traded here, and at no other gateway."""
        self._name = gateway_name
        self._hours = hours
        self._catalogue = catalogue
        self._store = store
        self._clock = clock
        self._settings = settings
        self._serves = serves
        self._ids = itertools.count(1)
        self._chance = random.Random(1)  # noqa: S311 - refusals at random, not a secret # nosec B311
        self._listings: dict[str, Listing] = {}
        self._orders: dict[int, SimOrder] = {}
        self._timed: dict[int, datetime] = {}
        self.positions = SimPositions(gateway_name)
        self.trading_day = Calendar.load().chinese_trading_day(clock.now_ns())
        self._open = False

    def restore(self, orders: Iterable[SimOrder], trading_day: int, first_id: int) -> None:
        """Go on where a run before this one stopped; the trading day is 0 for the first run, `first_id` the next id."""
        self._ids = itertools.count(first_id)
        self._chance.seed(first_id)
        self.trading_day = trading_day or self.trading_day
        # Now, not when it changes: the next run must see that its day is another one.
        self._store.put_state(TRADING_DAY_KEY, self.trading_day)
        for order in orders:
            self._orders[order.venue_order_id] = order
            self._time(order)
            if not self._serves(order.request.symbol):
                self._end(order, OrderStatus.CANCELED, Reason.SYMBOL_AT_OTHER_GATEWAY, _ELSEWHERE)
                continue
            if order.status is OrderStatus.PENDING_NEW:
                self._arrive_later(order)
                continue
            listing = self._listing(order.request.symbol)
            if listing is None:
                self._end(order, OrderStatus.CANCELED, Reason.UNKNOWN_SYMBOL, "the instrument is no longer listed")
                continue
            listing.book.rest(match_order(listing, order))

    def __len__(self) -> int:
        """Number of open orders."""
        return len(self._orders)

    def find(self, venue_order_id: int) -> SimOrder | None:
        """An open order."""
        return self._orders.get(venue_order_id)

    def new_id(self) -> int:
        """An id for an order, a trade or a place in the queue; none is given twice, in this run or another."""
        return next(self._ids)

    def send(self, request: OrderRequest, venue_order_id: int) -> None:
        """A new order under an id from `new_id`. Its updates come from the store, refusals, too."""
        if self._hours is not None:
            self.expire()
        now = self._clock.now()
        order = SimOrder(
            venue_order_id, request, request.quantity, request.price, self.trading_day, venue_order_id, now, now
        )
        self._orders[venue_order_id] = order
        if self._settings().sim_latency_ms:
            self._store.order(order, order.update())
            self._arrive_later(order)
        else:
            self._arrive(order)

    def cancel(self, venue_order_id: int) -> bool:
        """Cancel an order; False when it is not open."""
        order = self._orders.get(venue_order_id)
        if order is None:
            return False
        self._end(order, OrderStatus.CANCELED)
        return True

    def withdraw(self, symbol: str) -> None:
        """A real gateway serves a symbol from now on: its orders here end."""
        for order in [order for order in self._orders.values() if order.request.symbol == symbol]:
            self._end(order, OrderStatus.CANCELED, Reason.SYMBOL_AT_OTHER_GATEWAY, _ELSEWHERE)

    def amend(self, venue_order_id: int, quantity: Decimal | None, price: Decimal | None) -> bool:
        """Change an open order in place; False when it is not open.

        A smaller quantity keeps the order's place in the queue; another price or a larger quantity puts it to the end
        and may fill it. A refusal is an update with `amend_rejected`; the order is as it was.
        """
        order = self._orders.get(venue_order_id)
        if order is None:
            return False
        order.update_time = self._clock.now()
        new_quantity = order.quantity if quantity is None else quantity
        new_price = order.price if price is None else price
        try:
            listing = self._check_amendment(order, new_quantity, new_price)
        except Refused as refusal:
            rejected = order.update(amend_rejected=True, reason=refusal.reason, message=refusal.message)
            self._store.order(order, rejected)
            return True
        keeps_place = new_price == order.price and new_quantity <= order.quantity
        order.quantity, order.price = new_quantity, new_price
        self._store.order(order, order.update())
        resting = listing.book.get(venue_order_id)
        if resting is None:
            return True  # it has not reached the book yet
        if keeps_place:
            resting.lots = lots(listing, order.left)
            return True
        listing.book.remove(venue_order_id)
        order.priority = self.new_id()
        self._match(listing, order, Lifetime.RESTS)
        return True

    def quote(self, quote: Quote) -> None:
        """The market moved: what crosses is filled."""
        listing = self._listing(quote.symbol)
        if listing is None:
            return
        # A replay may begin in the past; after that days only go forward, though symbols may be late with theirs.
        if quote.trading_day > self.trading_day or (not self._open and quote.trading_day != self.trading_day):
            self._roll(quote.trading_day)
        self._open = True
        if self._timed:
            self.expire()
        listing.quote = quote
        listing.limit_up, listing.limit_down = quote.limit_up, quote.limit_down
        listing.shown = False
        if not len(listing.book):
            return
        for fill in listing.book.quote(*listing.take_levels()):
            self._fill(listing, self._orders[fill.order_id], fill)

    def expire(self) -> None:
        """End the orders whose time has come; with hours the trading day begins by the clock, not by a quote."""
        if self._hours is not None and (day := self._hours.trading_day()) > self.trading_day:
            self._roll(day)
        now = self._clock.now()
        for venue_order_id in [i for i, at in self._timed.items() if at <= now]:
            order = self._orders.get(venue_order_id)
            if order is None:
                self._timed.pop(venue_order_id, None)
            else:
                by_time = order.request.expire_time is not None and order.request.expire_time <= now
                why = "its expire_time has come" if by_time else "the trading day is over"
                self._end(order, OrderStatus.EXPIRED, Reason.ORDER_EXPIRED, why)

    def _time(self, order: SimOrder) -> None:
        """Note when an order is to end by the clock."""
        request, lifetime = order.request, order.request.time_in_force
        ends = []
        if lifetime is TimeInForce.GTD and request.expire_time is not None:
            ends.append(request.expire_time)
        if self._hours is not None:
            if lifetime not in (TimeInForce.GTC, TimeInForce.GTD):
                ends.append(self._hours.day_end(request.symbol, order.trading_day))
            elif (last := self._hours.last_end(request.symbol)) is not None:
                ends.append(last)
        if ends:
            self._timed[order.venue_order_id] = min(ends)

    def _roll(self, trading_day: int) -> None:
        log.info("SIM: trading day %d", trading_day)
        self.trading_day = trading_day
        self._store.put_state(TRADING_DAY_KEY, trading_day)
        for order in list(self._orders.values()):
            if order.request.time_in_force not in (TimeInForce.GTC, TimeInForce.GTD):
                self._end(order, OrderStatus.EXPIRED, Reason.ORDER_EXPIRED, "the trading day is over")
        for position in self.positions.roll():
            self._store.position(position)
        self._store.publish(TradingDayUpdate(self._name, trading_day))

    def _arrive_later(self, order: SimOrder) -> None:
        delay_s = self._settings().sim_latency_ms / 1000
        asyncio.get_running_loop().call_later(delay_s, self._arrive, order)

    def _arrive(self, order: SimOrder) -> None:
        """The order reaches the book, unless it was canceled on its way."""
        if order.venue_order_id not in self._orders:
            return
        order.update_time = self._clock.now()
        try:
            listing = self._check(order)
        except Refused as refusal:
            self._end(order, OrderStatus.REJECTED, refusal.reason, refusal.message)
            return
        order.status = OrderStatus.NEW
        self._store.order(order, order.update())
        self._time(order)
        self._match(listing, order, _LIFETIMES.get(order.request.time_in_force, Lifetime.RESTS))

    def _match(self, listing: Listing, order: SimOrder, lifetime: Lifetime) -> None:
        if self._hours is not None and self._hours.state(order.request.symbol) is SessionState.AUCTION:
            listing.book.rest(match_order(listing, order))
            return
        if order.request.post_only and would_take(listing, order):
            self._end(order, OrderStatus.CANCELED, Reason.POST_ONLY_WOULD_TRADE, "it would have traded at once")
            return
        for fill in listing.show().submit(match_order(listing, order), lifetime):
            self._fill(listing, order, fill)
        if order.status.is_open and lifetime is not Lifetime.RESTS:
            why = (
                "not all of it could be filled at once" if lifetime is Lifetime.FOK else "nothing more to fill at once"
            )
            self._end(order, OrderStatus.CANCELED, Reason.NO_LIQUIDITY, why)

    def _fill(self, listing: Listing, order: SimOrder, fill: Fill) -> None:
        instrument, request = listing.instrument, order.request
        quantity = fill.lots * instrument.quantity_step
        trade_id = self.new_id()
        trade = TradeUpdate(
            gateway_name=self._name,
            order_id=request.order_id,
            venue_order_id=str(order.venue_order_id),
            venue_trade_id=str(trade_id),
            symbol=request.symbol,
            side=request.side,
            position_effect=request.position_effect,
            price=fill.price * instrument.price_tick,
            quantity=quantity,
            time=self._venue_time(listing),
            trading_day=self.trading_day,
        )
        order.cumulative_quantity += quantity
        order.update_time = self._clock.now()
        self._store.trade(trade_id, order.venue_order_id, trade)
        if order.left > 0:
            order.status = OrderStatus.PARTIALLY_FILLED
            self._store.order(order, order.update())
        else:
            self._end(order, OrderStatus.FILLED)
        self._store.position(self.positions.apply(trade))

    def _venue_time(self, listing: Listing) -> datetime:
        """The time at the exchange: in a replay the recorded one."""
        now = self._clock.now()
        if listing.quote is None:
            return now
        quoted = _EPOCH + timedelta(microseconds=listing.quote.time_ns // 1000)
        return now if abs(now - quoted) < _PRESENT else quoted

    def _end(self, order: SimOrder, status: OrderStatus, reason: Reason | None = None, message: str = "") -> None:
        """Remove an ended order from the book and from memory."""
        order.update_time = self._clock.now()
        order.end(status, reason, message)
        del self._orders[order.venue_order_id]
        self._timed.pop(order.venue_order_id, None)
        listing = self._listings.get(order.request.symbol)
        if listing is not None:
            listing.book.remove(order.venue_order_id)
        self._store.order(order, order.update())

    def _listing(self, symbol: str) -> Listing | None:
        listing = self._listings.get(symbol)
        if listing is None:
            instrument = self._catalogue.find(symbol)
            if instrument is None:
                return None
            tick, lot = float(instrument.price_tick), float(instrument.quantity_step)
            listing = self._listings[symbol] = Listing(instrument, tick, lot, Book())
        return listing

    def _check(self, order: SimOrder) -> Listing:
        """Raises: Refused for what the exchange's rules forbid."""
        request = order.request
        listing = self._listing(request.symbol)
        if listing is None:
            raise Refused(Reason.UNKNOWN_SYMBOL, f"{request.symbol} is not listed")
        self._check_hours(request)
        if not self._serves(request.symbol):
            raise Refused(Reason.SYMBOL_AT_OTHER_GATEWAY, _ELSEWHERE)
        ratio = self._settings().sim_reject_ratio
        if ratio and self._chance.random() < ratio:
            raise Refused(Reason.GATEWAY_REJECTED, "refused at random, as sim_reject_ratio asks for")
        check_quantity(listing.instrument, order.quantity)
        if request.type is OrderType.LIMIT:
            check_price(listing, order.price)
        elif listing.quote is None:
            raise Refused(Reason.NO_LIQUIDITY, f"{request.symbol} has no market yet")
        if request.post_only and (request.type is not OrderType.LIMIT or request.time_in_force in _LIFETIMES):
            raise Refused(Reason.INVALID_FIELD, "only a limit order that may rest can be post-only")
        if request.time_in_force is TimeInForce.GTD:
            if request.expire_time is None:
                raise Refused(Reason.INVALID_FIELD, "a GTD order needs its expire_time")
            if request.expire_time <= self._clock.now():
                raise Refused(Reason.ORDER_EXPIRED, "its expire_time has passed")
        return listing

    def _check_hours(self, request: OrderRequest) -> None:
        if self._hours is None:
            return
        last_end = self._hours.last_end(request.symbol)
        if last_end is not None and last_end <= self._clock.now():
            raise Refused(Reason.CONTRACT_EXPIRED, f"{request.symbol}: the contract's last trading day has passed")
        state = self._hours.state(request.symbol)
        if not state.takes_orders:
            raise Refused(Reason.MARKET_CLOSED, f"{request.symbol} is not in a session: the market is {state.value}")
        at_once = request.type is not OrderType.LIMIT or request.time_in_force in _LIFETIMES
        if state is SessionState.AUCTION and at_once:
            raise Refused(Reason.MARKET_CLOSED, f"{request.symbol} is in an auction, which takes limit orders only")

    def _check_amendment(self, order: SimOrder, quantity: Decimal, price: Decimal | None) -> Listing:
        listing = self._listing(order.request.symbol)
        if listing is None:
            raise Refused(Reason.UNKNOWN_SYMBOL, f"{order.request.symbol} is not listed")
        self._check_hours(order.request)
        check_quantity(listing.instrument, quantity)
        if quantity <= order.cumulative_quantity:
            raise Refused(Reason.GATEWAY_REJECTED, f"{order.cumulative_quantity} is filled already")
        if order.request.type is OrderType.LIMIT:
            check_price(listing, price)
            if order.request.post_only and price != order.price and would_take(listing, order, price):
                raise Refused(Reason.POST_ONLY_WOULD_TRADE, "it would trade at once")
        elif price is not None:
            raise Refused(Reason.UNSUPPORTED, "a market order has no price")
        return listing
