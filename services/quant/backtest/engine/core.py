"""The engine of a backtest that a CtaTemplate strategy calls, and the matching of its orders row by row.

It does what vnpy_ctastrategy's BacktestingEngine does, in its order. Compiled with core.pxd where there is a compiler
(see compile.py); this file alone does the same. vnpy's objects are made only when they are read: a cancelled stop
order whose strategy has no on_stop_order was never an object. Ticket and the substitutes of CtaTemplate's methods are
in this file, long as it is, because they are as fast as C only in the module of the compiled Core: an import of their
own would give them the pure one.
"""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from vnpy.trader.constant import Direction, Interval, Offset, OrderType, Status
from vnpy.trader.object import OrderData, TradeData
from vnpy.trader.utility import extract_vt_symbol, round_to
from vnpy_ctastrategy.base import INTERVAL_DELTA_MAP, STOPORDER_PREFIX, EngineType, StopOrder, StopOrderStatus

GATEWAY = "BACKTESTING"
_LIMIT_ID = f"{GATEWAY}."
_STOP = f"{STOPORDER_PREFIX}."
_BEGINNING = dt.datetime(1970, 1, 1)  # as vnpy has it in the logs before the first row
_LONG = Direction.LONG
_SHORT = Direction.SHORT
_OPEN = Offset.OPEN
_CLOSE = Offset.CLOSE
_LIMIT = OrderType.LIMIT
_SUBMITTING = Status.SUBMITTING
_NOTTRADED = Status.NOTTRADED
_PARTTRADED = Status.PARTTRADED
_ALLTRADED = Status.ALLTRADED
_CANCELLED = Status.CANCELLED
_REJECTED = Status.REJECTED
_STOP_CANCELLED = StopOrderStatus.CANCELLED
_STOP_TRIGGERED = StopOrderStatus.TRIGGERED
# Below this many steps a double's error is far smaller than the margin around one half.
_MOST_STEPS = 1e9
_MARGIN = 1e-5
_EXACT = 2.0**53
# Adding it leaves no room for a fraction: the sum is rounded to a whole number.
_TO_WHOLE = 1.5 * 2.0**52


class Ticket:
    """An order of the strategy that rests: a limit order, or a stop order (`is_stop`).

    Made by `Core.ticket`. `sent` is the row at which it was sent, `order` vnpy's object once it has been read.
    """

    __slots__ = (
        "direction", "is_long", "is_short", "is_stop", "number", "offset", "order", "price", "sent", "submitting",
        "traded", "volume", "vt_orderid",
    )  # fmt: skip

    number: int
    vt_orderid: str
    direction: Any
    is_long: bool
    is_short: bool
    is_stop: bool
    submitting: bool
    offset: Any
    price: float
    volume: Any
    sent: Any
    traded: Any
    order: Any


class Core:
    """The engine of one strategy for one run. `is_bars`: rows are BarData, else TickData.

    `source` answers load_bar and load_tick: `history(vt_symbol, days, interval)` → list of rows.
    `fill` is None for vnpy's matching, else a model of models.py: its `cross(core, row)` is called for each row.
    """

    def __init__(
        self,
        vt_symbol: str,
        is_bars: bool,
        start: dt.datetime,
        end: dt.datetime,
        rate: float,
        slippage: float,
        size: float,
        pricetick: float,
        capital: float,
        source: Any,
        fill: Any = None,
    ) -> None:
        self.engine_type = EngineType.BACKTESTING
        self.gateway_name = GATEWAY
        self.vt_symbol = vt_symbol
        self.symbol, self.exchange = extract_vt_symbol(vt_symbol)
        self.is_bars = is_bars
        self.start = start
        self.end = end
        self.rate = rate
        self.slippage = slippage
        self.size = size
        self.pricetick = pricetick
        self.capital = capital
        self.source = source
        self.fill_model = fill
        self.strategy: Any = None
        self.row: Any = None
        self.logs: list[str] = []
        self.fills: list[tuple[Any, int, Any, Any, float, Any]] = []
        """(row's time, order number, direction, offset, price, volume) of the trades not yet taken by `take_fills`."""
        self.trade_count = 0
        self.limit_count = 0
        self.stop_count = 0
        self.sent_count = 0
        self.limits: dict[str, Ticket] = {}
        self.stops: dict[str, Ticket] = {}
        self.notify_orders = True
        self.notify_stops = True
        self.notify_trades = True
        self.plain_orders = False
        step = Decimal(str(pricetick))
        numerator, denominator = step.as_integer_ratio()
        self._numerator = float(numerator)
        self._denominator = float(denominator)
        # Only where both are exact is one division of doubles the same as Decimal's way.
        self._quick_rounding = numerator < _EXACT and denominator < _EXACT
        # Then a price in steps is exact, and so is the half between two of them.
        self._exact_steps = numerator == 1 and denominator in (1, 2, 4, 8)

    # The interface of strategies.

    def send_order(
        self,
        strategy: Any,
        direction: Any,
        offset: Any,
        price: Any,
        volume: Any,
        stop: Any,
        lock: Any,
        net: Any,
    ) -> list[str]:
        """Keep a limit or stop order; returns its id in a list."""
        rounded = self.round_price(price)
        self.sent_count += 1
        if stop:
            self.stop_count += 1
            number = self.stop_count
            vt_orderid = _STOP + str(number)
            ticket = self.ticket(number, vt_orderid, True, direction, offset, rounded, volume)
            self.stops[vt_orderid] = ticket
        else:
            self.limit_count += 1
            number = self.limit_count
            vt_orderid = _LIMIT_ID + str(number)
            ticket = self.ticket(number, vt_orderid, False, direction, offset, rounded, volume)
            self.limits[vt_orderid] = ticket
        if self.fill_model is not None:
            self.fill_model.accept(self, ticket)
        return [vt_orderid]

    def cancel_order(self, strategy: Any, vt_orderid: str) -> None:
        """Cancel an order of either kind; one that does not rest any more is left alone."""
        ticket = self.limits.get(vt_orderid)
        if ticket is not None:
            if self.fill_model is not None:
                self.fill_model.cancel(self, ticket)
            else:
                self.withdraw(ticket)
            return
        ticket = self.stops.pop(vt_orderid, None)
        if ticket is not None:
            self._cancelled(ticket)

    def cancel_all(self, strategy: Any) -> None:
        """Cancel all orders, limit orders first."""
        if self.limits:
            if self.fill_model is not None:
                for ticket in list(self.limits.values()):
                    self.fill_model.cancel(self, ticket)
            else:
                self._cancel_each(self.limits)
        if self.stops:
            self._cancel_each(self.stops)

    def write_log(self, msg: Any, strategy: Any = None) -> None:
        """Keep a line with the time of the row."""
        self.logs.append(f"{self.datetime}\t{msg}")

    def send_email(self, msg: Any, strategy: Any = None) -> None:
        """Do nothing: it is a backtest."""

    def sync_strategy_data(self, strategy: Any) -> None:
        """Do nothing: it is a backtest."""

    def put_strategy_event(self, strategy: Any) -> None:
        """Do nothing: a backtest has no display."""

    def get_engine_type(self) -> Any:
        """EngineType.BACKTESTING."""
        return self.engine_type

    def get_pricetick(self, strategy: Any) -> float:
        """The job's price tick."""
        return self.pricetick

    def get_size(self, strategy: Any) -> float:
        """The job's contract size."""
        return self.size

    def load_bar(
        self, vt_symbol: str, days: int, interval: Interval, callback: Callable[[Any], None], use_database: bool
    ) -> list[Any]:
        """Bars of the `days` before the start."""
        last = self.start - INTERVAL_DELTA_MAP[interval]
        bars: list[Any] = self.source.history(vt_symbol, interval, self.start - dt.timedelta(days=days), last)
        return bars

    def load_tick(self, vt_symbol: str, days: int, callback: Callable[[Any], None]) -> list[Any]:
        """Ticks of the `days` before the start."""
        last = self.start - dt.timedelta(seconds=1)
        ticks: list[Any] = self.source.history(vt_symbol, Interval.TICK, self.start - dt.timedelta(days=days), last)
        return ticks

    def output(self, msg: Any) -> None:
        """Do nothing: vnpy prints it."""

    @property
    def datetime(self) -> dt.datetime:
        """The time of the row."""
        return _BEGINNING if self.row is None else self.row.datetime

    @property
    def bar(self) -> Any:
        """The current bar."""
        return self.row

    @property
    def tick(self) -> Any:
        """The current tick."""
        return self.row

    @property
    def active_limit_orders(self) -> dict[str, Any]:
        """vnpy's objects of the limit orders that rest, by id."""
        return {ticket.vt_orderid: self.order_of(ticket) for ticket in list(self.limits.values())}

    @property
    def active_stop_orders(self) -> dict[str, Any]:
        """vnpy's objects of the stop orders that rest, by id."""
        return {ticket.vt_orderid: self.order_of(ticket) for ticket in list(self.stops.values())}

    # Rows.

    def replay(self, rows: list[Any], on_row: Any) -> None:
        """Rows in order: resting orders first, then `on_row` (None: the strategy does nothing with rows)."""
        model = self.fill_model
        if model is not None:
            for row in rows:
                self.row = row
                model.cross(self, row)
                if on_row is not None:
                    on_row(row)
                model.settle(self)
            return
        limits = self.limits
        stops = self.stops
        if on_row is None:
            if not limits and not stops:
                if rows:
                    self.row = rows[-1]
                return
            on_row = _nothing
        for row in rows:
            self.row = row
            if limits:
                self.cross_limits(row)
            if stops:
                self.cross_stops(row)
            on_row(row)

    def take_fills(self) -> list[tuple[Any, int, Any, Any, float, Any]]:
        """The trades since the last call."""
        fills = self.fills
        self.fills = []
        return fills

    # Matching, vnpy's: orders cancelled by a callback in the middle of a row's matching are still matched with it.

    def cross_limits(self, row: Any) -> None:
        """Fill the limit orders that the row reaches."""
        if self.is_bars:
            long_cross = row.low_price
            short_cross = row.high_price
            long_best = short_best = row.open_price
        else:
            long_cross = long_best = row.ask_price_1
            short_cross = short_best = row.bid_price_1
        for ticket in list(self.limits.values()):
            if ticket.submitting:
                ticket.submitting = False
                if self.notify_orders:
                    self.notify(ticket, _NOTTRADED)
            price = ticket.price
            if ticket.is_long:
                if not (price >= long_cross and long_cross > 0):
                    continue
                if long_best < price:
                    price = long_best
                change = ticket.volume
            elif ticket.is_short:
                if not (price <= short_cross and short_cross > 0):
                    continue
                if short_best > price:
                    price = short_best
                change = -ticket.volume
            else:
                continue
            ticket.traded = ticket.volume
            if self.notify_orders:
                self.notify(ticket, _ALLTRADED)
            self.limits.pop(ticket.vt_orderid, None)
            self.trade_count += 1
            strategy = self.strategy
            strategy.pos += change
            number = self.trade_count
            if self.notify_trades:
                strategy.on_trade(self._trade(ticket, ticket.number, number, price, ticket.volume))
            # After on_trade, as vnpy: a trade whose on_trade fails is not counted.
            self.fills.append((row.datetime, ticket.number, ticket.direction, ticket.offset, price, ticket.volume))

    def cross_stops(self, row: Any) -> None:
        """Fill the stop orders that the row triggers."""
        if self.is_bars:
            long_cross = row.high_price
            short_cross = row.low_price
            best = row.open_price
        else:
            long_cross = short_cross = best = row.last_price
        for ticket in list(self.stops.values()):
            price = ticket.price
            if ticket.is_long:
                if not price <= long_cross:
                    continue
                if best > price:
                    price = best
                change = ticket.volume
            elif ticket.is_short:
                if not price >= short_cross:
                    continue
                if best < price:
                    price = best
                change = -ticket.volume
            else:
                continue
            self.limit_count += 1
            self.trade_count += 1
            number = self.limit_count
            trade_number = self.trade_count
            self.fills.append((row.datetime, number, ticket.direction, ticket.offset, price, ticket.volume))
            self.stops.pop(ticket.vt_orderid, None)
            strategy = self.strategy
            if self.notify_stops:
                stop_order = self.order_of(ticket)
                stop_order.vt_orderids.append(f"{GATEWAY}.{number}")
                stop_order.status = _STOP_TRIGGERED
                strategy.on_stop_order(stop_order)
            if self.notify_orders:
                strategy.on_order(self._filled_order(ticket, number))
            strategy.pos += change
            if self.notify_trades:
                strategy.on_trade(self._trade(ticket, number, trade_number, price, ticket.volume))

    # The interface of fill models.

    def execute(self, ticket: Ticket, price: float, volume: Any) -> None:
        """Fill a resting limit order, or a part of it."""
        ticket.traded += volume
        ticket.submitting = False
        done = ticket.traded >= ticket.volume
        if self.notify_orders:
            self.notify(ticket, _ALLTRADED if done else _PARTTRADED)
        if done:
            self.limits.pop(ticket.vt_orderid, None)
        self.trade_count += 1
        number = self.trade_count
        self.strategy.pos += volume if ticket.is_long else -volume
        self.fills.append((self.datetime, ticket.number, ticket.direction, ticket.offset, price, volume))
        if self.notify_trades:
            self.strategy.on_trade(self._trade(ticket, ticket.number, number, price, volume))

    def trigger(self, ticket: Ticket, price: float) -> Ticket:
        """Turn a resting stop order into a limit order at `price`, which the model has not yet been asked to accept."""
        self.stops.pop(ticket.vt_orderid, None)
        self.limit_count += 1
        number = self.limit_count
        vt_orderid = f"{GATEWAY}.{number}"
        limit = self.ticket(number, vt_orderid, False, ticket.direction, ticket.offset, price, ticket.volume)
        self.limits[vt_orderid] = limit
        if self.notify_stops:
            stop_order = self.order_of(ticket)
            stop_order.vt_orderids.append(vt_orderid)
            stop_order.status = _STOP_TRIGGERED
            self.strategy.on_stop_order(stop_order)
        return limit

    def acknowledge(self, ticket: Ticket) -> None:
        """The order rests at the exchange: NOTTRADED, one callback."""
        if ticket.submitting:
            ticket.submitting = False
            if self.notify_orders:
                self.notify(ticket, _NOTTRADED)

    def withdraw(self, ticket: Ticket) -> None:
        """A limit order is cancelled: it rests no more."""
        self.limits.pop(ticket.vt_orderid, None)
        self._cancelled(ticket)

    def reject(self, ticket: Ticket) -> None:
        """The exchange refuses the order."""
        self.limits.pop(ticket.vt_orderid, None)
        ticket.submitting = False
        if self.notify_orders:
            self.notify(ticket, _REJECTED)

    def notify(self, ticket: Ticket, status: Any) -> None:
        """on_order with the new status."""
        order = self.order_of(ticket)
        order.traded = ticket.traded
        order.status = status
        self.strategy.on_order(order)

    def order_of(self, ticket: Ticket) -> Any:
        """vnpy's object of an order: OrderData or StopOrder, the same one each time."""
        if ticket.order is None:
            sent = _BEGINNING if ticket.sent is None else ticket.sent.datetime
            if ticket.is_stop:
                ticket.order = StopOrder(
                    vt_symbol=self.vt_symbol,
                    direction=ticket.direction,
                    offset=ticket.offset,
                    price=ticket.price,
                    volume=ticket.volume,
                    stop_orderid=ticket.vt_orderid,
                    strategy_name=self.strategy.strategy_name,
                    datetime=sent,
                )
            else:
                order = self._order(ticket, ticket.number)
                order.datetime = sent
                order.status = _SUBMITTING if ticket.submitting else _NOTTRADED
                ticket.order = order
        return ticket.order

    # Conversions and callbacks.

    def round_price(self, price: Any) -> float:
        """vnpy's round_to(price, pricetick), to the last bit, without its Decimals where that is certain."""
        if self._quick_rounding and (type(price) is float or isinstance(price, float)):
            value = float(price)
            steps = value * self._denominator / self._numerator
            if -_MOST_STEPS < steps < _MOST_STEPS:
                whole = steps + _TO_WHOLE - _TO_WHOLE
                if self._exact_steps or abs(abs(steps - whole) - 0.5) > _MARGIN:
                    exact = whole * self._numerator
                    if -_EXACT < exact < _EXACT:
                        return exact / self._denominator + 0.0
        return float(round_to(price, self.pricetick))

    def ticket(
        self, number: int, vt_orderid: str, is_stop: bool, direction: Any, offset: Any, price: float, volume: Any
    ) -> Ticket:
        """An order that is sent at the current row. (Without an __init__: compiled, this is a few stores.)"""
        created = Ticket.__new__(Ticket)
        created.number = number
        created.vt_orderid = vt_orderid
        created.is_stop = is_stop
        created.direction = direction
        created.is_long = direction is _LONG
        created.is_short = direction is _SHORT
        created.submitting = True
        created.offset = offset
        created.price = price
        created.volume = volume
        created.sent = self.row
        created.traded = 0
        created.order = None
        return created

    def _cancel_each(self, tickets: dict[str, Ticket]) -> None:
        notified = self.notify_stops if tickets is self.stops else self.notify_orders
        if not notified:
            # No callback is due; vnpy's objects that a strategy holds are brought up to date.
            for ticket in tickets.values():
                if ticket.order is not None:
                    ticket.order.status = _STOP_CANCELLED if ticket.is_stop else _CANCELLED
            tickets.clear()
            return
        for vt_orderid in list(tickets):
            ticket_or_none = tickets.pop(vt_orderid, None)
            if ticket_or_none is not None:
                self._cancelled(ticket_or_none)

    def _cancelled(self, ticket: Ticket) -> None:
        ticket.submitting = False
        if ticket.is_stop:
            if self.notify_stops or ticket.order is not None:
                stop_order = self.order_of(ticket)
                stop_order.status = _STOP_CANCELLED
                if self.notify_stops:
                    self.strategy.on_stop_order(stop_order)
        elif self.notify_orders:
            self.notify(ticket, _CANCELLED)
        elif ticket.order is not None:
            ticket.order.status = _CANCELLED

    def _filled_order(self, ticket: Ticket, number: int) -> Any:
        order = self._order(ticket, number)
        order.traded = ticket.volume
        order.status = _ALLTRADED
        order.datetime = self.row.datetime
        return order

    def _order(self, ticket: Ticket, number: int) -> Any:
        # Set in the order of the dataclass, without its __init__, whose formatting costs more than all the rest.
        order = OrderData.__new__(OrderData)
        order.gateway_name = GATEWAY
        order.symbol = self.symbol
        order.exchange = self.exchange
        order.orderid = str(number)
        order.type = _LIMIT
        order.direction = ticket.direction
        order.offset = ticket.offset
        order.price = ticket.price
        order.volume = ticket.volume
        order.traded = 0
        order.status = _SUBMITTING
        order.datetime = None
        order.reference = ""
        order.vt_symbol = self.vt_symbol
        order.vt_orderid = f"{GATEWAY}.{number}"
        return order

    def _trade(self, ticket: Ticket, order_number: int, number: int, price: float, volume: Any) -> Any:
        trade = TradeData.__new__(TradeData)
        trade.gateway_name = GATEWAY
        trade.symbol = self.symbol
        trade.exchange = self.exchange
        trade.orderid = str(order_number)
        trade.tradeid = str(number)
        trade.direction = ticket.direction
        trade.offset = ticket.offset
        trade.price = price
        trade.volume = volume
        trade.datetime = self.row.datetime
        trade.vt_symbol = self.vt_symbol
        trade.vt_orderid = f"{GATEWAY}.{order_number}"
        trade.vt_tradeid = f"{GATEWAY}.{number}"
        return trade


def _nothing(row: Any) -> None:
    """A row that the strategy does nothing with."""


# CtaTemplate's own methods, in its place while a run lasts (see substitution.py): the same, without detours where the
# strategy's engine is a Core. Those of a live strategy go to its engine as before.


def buy(self: Any, price: Any, volume: Any, stop: Any = False, lock: Any = False, net: Any = False) -> Any:
    """CtaTemplate.buy."""
    return _sent(self, _LONG, _OPEN, price, volume, stop, lock, net)


def sell(self: Any, price: Any, volume: Any, stop: Any = False, lock: Any = False, net: Any = False) -> Any:
    """CtaTemplate.sell."""
    return _sent(self, _SHORT, _CLOSE, price, volume, stop, lock, net)


def short(self: Any, price: Any, volume: Any, stop: Any = False, lock: Any = False, net: Any = False) -> Any:
    """CtaTemplate.short."""
    return _sent(self, _SHORT, _OPEN, price, volume, stop, lock, net)


def cover(self: Any, price: Any, volume: Any, stop: Any = False, lock: Any = False, net: Any = False) -> Any:
    """CtaTemplate.cover."""
    return _sent(self, _LONG, _CLOSE, price, volume, stop, lock, net)


def cancel_all(self: Any) -> None:
    """CtaTemplate.cancel_all."""
    if self.trading:
        engine = self.cta_engine
        if type(engine) is Core:
            core = engine
            if core.limits or core.stops:
                core.cancel_all(self)
        else:
            engine.cancel_all(self)


def put_event(self: Any) -> None:
    """CtaTemplate.put_event."""
    if self.inited:
        engine = self.cta_engine
        if type(engine) is not Core:
            engine.put_strategy_event(self)


def _sent(self: Any, direction: Any, offset: Any, price: Any, volume: Any, stop: Any, lock: Any, net: Any) -> Any:
    engine = self.cta_engine
    if type(engine) is Core:
        core = engine
        if core.plain_orders and core.strategy is self:
            return core.send_order(self, direction, offset, price, volume, stop, lock, net) if self.trading else []
    return self.send_order(direction, offset, price, volume, stop, lock, net)


TEMPLATE = {
    "buy": buy, "sell": sell, "short": short, "cover": cover, "cancel_all": cancel_all, "put_event": put_event,
}  # fmt: skip
