"""Fill "sim": orders meet the SIM gateway's own matching (services.quant.matching) and trading's checks.

On ticks the rules are SIM's. Live and backtest make the same trades (side, offset, price, quantity, tick's time) when
live each order reaches SIM, and each fill the strategy, before the next tick of the symbol does:
- An order meets the quote of the tick that the strategy saw when it sent it, after what it sent or cancelled before:
  it takes level after level at the levels' prices, what is left rests, and fills at its own price when later ticks
  cross it. All orders together take at most what a tick shows. A cancel comes too late for what a tick has filled.
- The strategy sees a tick before it gets what the tick has filled: ticks travel faster than fills, which are durable
  first. Then it gets its fills, before the next tick; orders that it sends on them meet the same tick. What a tick has
  filled is booked before the orders are checked that it prompted: what it opened they may close.
- Refused are orders off the catalogue's price tick or quantity step, outside limit_up and limit_down, at the market
  before the first tick, that open for more than margin and fee allow, or close more than is held. They come back
  REJECTED. Open orders end with the trading day. Fees are the catalogue's, today's contracts cost their own rate.
- A CtaTemplate's stops become limit orders 2 % through the market on the tick whose last price reaches them, as the
  live runner has them; a BaseStrategy's become market orders, as trading has them (checked then, not when sent).
Not modelled: risk's limits (1000 contracts an order, a collar of 10 %, orders a second), sim_latency_ms and
sim_reject_ratio, and other users' orders at SIM (all share what a tick shows). A feed replayed faster than orders
travel is another market: there orders are late, and trades differ from these. And live an order sent on a tick may be
faster than the report of what that tick filled: then a close of just that is refused.

On bars it is an approximation, for there is no book: orders sent on a bar meet the next bar's open, where a tenth of
its volume is offered and bid for; resting orders are then filled at their own price when the bar trades THROUGH it by
a price tick, from what is left of that tenth; a cancel is in time for the next bar. A stop is triggered by high or low
and meets the worse of its price and the open. Price limits are the catalogue's ratio around the last close of the
trading day before, unless the day's prices are beyond. `slippage` of the job is charged on bars; on ticks none, since
fills are at the book's prices.
"""

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from services.quant.backtest.data.zone_offsets import utc_us
from services.quant.backtest.execution.costs import FixedSlippage
from services.quant.backtest.execution.fill_model import AT_MARKET, Models, is_native
from services.quant.backtest.execution.sim_account import OPEN, Held, SimAccount, Terms
from services.quant.backtest.job import TICK, BacktestJob
from services.quant.calendar import Calendar
from services.quant.matching import Book, Fill, Level, Lifetime, MatchOrder
from services.quant.sdk.rounding import to_step

BAR_SHARE = 0.1
"""The part of a bar's volume that all orders together may take on each side."""
_THROUGH = 0.02
_REASONS = 1000
_LOGGED = 100


def models(job: BacktestJob) -> Models:
    """The models of a job with fill "sim"."""
    terms = Terms.of(job)
    fee = SimFee()
    return Models(fee, FixedSlippage(0.0 if job.interval == TICK else job.slippage), SimFill(job, terms, fee))


@dataclass(slots=True)
class SimFee:
    """The commissions that the account paid, by the trade's number: what a trade closes of today decides on its fee."""

    paid: list[float] = field(default_factory=list)

    def commission(self, price: float, volume: float, turnover: float, offset: str, number: int) -> float:
        """Commission of the trade with this number, from 1."""
        return self.paid[number - 1]


@dataclass(slots=True)
class _Order:
    ticket: Any
    match: MatchOrder
    held: Held


class SimFill:
    """The exchange of one run, and the account that trades there."""

    def __init__(self, job: BacktestJob, terms: Terms, fee: SimFee) -> None:
        self.reasons: dict[str, str] = {}
        """The reasons of refused orders, by vt_orderid; the first ones."""
        self.refused = 0
        self.account = SimAccount(terms, Decimal(str(job.capital)))
        self._terms = terms
        self._fee = fee
        self._ticks = job.interval == TICK
        self._tick = float(terms.price_tick)
        self._lot = float(terms.quantity_step)
        self._book = Book()
        self._orders: dict[int, _Order] = {}
        self._numbers: dict[str, int] = {}
        self._count = 0
        # What the strategy asked for and the exchange has not seen yet: (ticket, whether it is a cancel).
        self._asked: deque[tuple[Any, bool]] = deque()
        self._fills: list[Fill] = []
        self._row: Any = None
        self._is_shown = False
        self._last = 0.0
        self._up = self._down = 0.0
        self._days = Calendar.load().days_of(job.symbol)
        self._day = 0

    # What the core asks.

    def accept(self, core: Any, ticket: Any) -> None:
        """An order is on its way. Stops wait in the core."""
        if not ticket.is_stop:
            self._asked.append((ticket, False))

    def cancel(self, core: Any, ticket: Any) -> None:
        """A cancel is on its way, behind the orders sent before it."""
        self._asked.append((ticket, True))

    def cross(self, core: Any, row: Any) -> None:
        """The market moves."""
        day = self._days.of(utc_us(row.datetime) * 1000)
        if day != self._day:
            self._begin_day(core, day)
        if self._ticks:
            self._tick_row(core, row)
        else:
            self._bar_row(core, row)

    def settle(self, core: Any) -> None:
        """Process what was sent on this row: on ticks orders and cancels, on bars cancels only."""
        if self._ticks:
            fills, self._fills = self._fills, []
            for fill in fills:
                self._execute(core, fill)
            self._arrive_all(core)
            if core.stops and is_native(core.strategy):
                self._trigger(core)
                self._arrive_all(core)
        elif self._asked:
            asked, self._asked = self._asked, deque()
            gone = {ticket.vt_orderid for ticket, is_cancel in asked if is_cancel}
            for ticket, is_cancel in asked:
                if is_cancel:
                    self._withdraw(core, ticket)
                elif ticket.vt_orderid not in gone:
                    self._asked.append((ticket, False))

    # Ticks.

    def _tick_row(self, core: Any, row: Any) -> None:
        if self._asked:  # sent before the first tick
            self._arrive_all(core)
        self._row, self._is_shown = row, False
        self._last = row.last_price
        self._up, self._down = row.limit_up, row.limit_down
        if len(self._book):
            self._fills = self._show()
        if core.stops:
            self._trigger(core)

    def _show(self) -> list[Fill]:
        """Put the tick's levels into the book, unless they are there."""
        if self._is_shown or self._row is None:
            return []
        self._is_shown = True
        bids, asks = self._levels("bid"), self._levels("ask")
        bids.sort(key=lambda level: -level.price)
        asks.sort(key=lambda level: level.price)
        return self._book.quote(bids, asks)

    def _levels(self, side: str) -> list[Level]:
        row, levels = self._row, []
        for place in (1, 2, 3, 4, 5):
            price, shown = getattr(row, f"{side}_price_{place}"), getattr(row, f"{side}_volume_{place}")
            if price and shown:
                levels.append(Level(round(price / self._tick), int(shown / self._lot + 1e-9)))
        return levels

    # Bars.

    def _bar_row(self, core: Any, row: Any) -> None:
        if self._up and (row.high_price > self._up or row.low_price < self._down):
            self._up = self._down = 0.0  # another contract has taken over: its limits are not known
        lots = int(row.volume * BAR_SHARE / self._lot + 1e-9)
        at = round(row.open_price / self._tick)
        self._last = row.open_price
        bid_level, ask_level = Level(at, lots), Level(at, lots)
        for fill in self._book.quote([bid_level], [ask_level]):
            self._execute(core, fill)
        self._arrive_all(core)
        for ticket in list(core.stops.values()):
            reached = row.high_price >= ticket.price if ticket.is_long else row.low_price <= ticket.price
            if reached and ticket.vt_orderid in core.stops:
                worse = max if ticket.is_long else min
                price = worse(ticket.price, row.open_price)
                level = ask_level if ticket.is_long else bid_level
                level.price = round(price / self._tick)
                self._last = price
                self._trigger_one(core, ticket, price, price)
                self._arrive_all(core)
        # Market orders without enough liquidity wait for the next open: they take no bar's extreme.
        waiting = [order.match for order in self._orders.values() if order.match.price is None]
        for match in waiting:
            self._book.remove(match.id)
        bid_level.price, ask_level.price = round(row.high_price / self._tick) - 1, round(row.low_price / self._tick) + 1
        for fill in self._book.quote([bid_level], [ask_level]):
            self._execute(core, fill)
        for match in waiting:
            self._book.rest(match)
        self._last = row.close_price

    # Stops.

    def _trigger(self, core: Any) -> None:
        if not core.strategy.trading:
            return
        last = self._last
        for ticket in list(core.stops.values()):
            reached = last >= ticket.price if ticket.is_long else last <= ticket.price
            if reached and ticket.vt_orderid in core.stops:
                row = self._row
                quoted = row.ask_price_1 if ticket.is_long else row.bid_price_1 or last
                self._trigger_one(core, ticket, last, quoted)

    def _trigger_one(self, core: Any, ticket: Any, last: float, quoted: float) -> None:
        if is_native(core.strategy):
            price = AT_MARKET if ticket.is_long else -AT_MARKET
        elif ticket.is_long:
            price = max(last, quoted) * (1 + _THROUGH)
            price = min(price, self._up or price)
        else:
            price = min(last, quoted) * (1 - _THROUGH)
            price = max(price, self._down or price)
        if abs(price) < AT_MARKET:
            price = float(to_step(price, self._tick))
        self._asked.append((core.trigger(ticket, price), False))

    # Orders.

    def _arrive_all(self, core: Any) -> None:
        while self._asked:
            ticket, is_cancel = self._asked.popleft()
            if is_cancel:
                self._withdraw(core, ticket)
            elif ticket.vt_orderid in core.limits:
                self._arrive(core, ticket)

    def _arrive(self, core: Any, ticket: Any) -> None:
        limit = None if abs(ticket.price) >= AT_MARKET else Decimal(str(ticket.price))
        last = Decimal(str(self._last)) if self._last else None
        held = Held(ticket.is_long, _effect(ticket.offset), Decimal(str(ticket.volume)), Decimal(0))
        if reason := self._refusal(ticket, held, limit, last):
            self._refuse(core, ticket, reason)
            return
        self.account.accept(held)
        self._show()
        self._count += 1
        terms = self._terms
        price = None if limit is None else int(limit / terms.price_tick)
        lots = int(held.left / terms.quantity_step)
        order = _Order(ticket, MatchOrder(self._count, ticket.is_long, price, lots, self._count), held)
        self._orders[self._count] = order
        self._numbers[ticket.vt_orderid] = self._count
        core.acknowledge(ticket)
        for fill in self._book.submit(order.match, Lifetime.RESTS):
            self._execute(core, fill)

    def _refusal(self, ticket: Any, held: Held, limit: Decimal | None, last: Decimal | None) -> str:
        terms, account = self._terms, self.account
        if not (ticket.is_long or ticket.is_short):
            return "INVALID_FIELD the direction is neither long nor short"
        if held.left < terms.min_quantity or held.left % terms.quantity_step:
            return f"QUANTITY_OFF_STEP {held.left:f}: at least {terms.min_quantity}, in steps of {terms.quantity_step}"
        if limit is not None:
            if limit % terms.price_tick:
                return f"PRICE_OFF_TICK {limit:f}: it must be a multiple of {terms.price_tick}"
            ticks, up, down = float(limit / terms.price_tick), self._up, self._down
            if (up and ticks > up / self._tick + 1e-6) or (down and ticks < down / self._tick - 1e-6):
                return f"PRICE_OUTSIDE_LIMITS {limit:f}: the day's limits are {down} and {up}"
        up_limit = Decimal(str(self._up)) if self._up else None
        value = account.reserve_price(held.buy, limit, last, up_limit)
        if value is None:
            return "NO_LIQUIDITY there is no price yet"
        held.price = value
        return account.refusal(held, last)

    def _refuse(self, core: Any, ticket: Any, reason: str) -> None:
        self.refused += 1
        if len(self.reasons) < _REASONS:
            self.reasons[ticket.vt_orderid] = reason
        if self.refused <= _LOGGED:
            core.write_log(f"order refused: {reason}")
        core.reject(ticket)

    def _execute(self, core: Any, fill: Fill) -> None:
        order = self._orders[fill.order_id]
        price = fill.price * self._terms.price_tick
        quantity = fill.lots * self._terms.quantity_step
        self._fee.paid.append(float(self.account.trade(order.held, price, quantity)))
        if not order.held.left:
            self._forget(order)
        core.execute(order.ticket, float(price), float(quantity))

    def _withdraw(self, core: Any, ticket: Any) -> None:
        number = self._numbers.get(ticket.vt_orderid)
        if number is not None:
            order = self._orders[number]
            self._book.remove(number)
            self._forget(order)
        if ticket.vt_orderid in core.limits:
            core.withdraw(ticket)

    def _forget(self, order: _Order) -> None:
        self.account.release(order.held)
        del self._orders[order.match.id]
        del self._numbers[order.ticket.vt_orderid]

    def _begin_day(self, core: Any, day: int) -> None:
        first, self._day = not self._day, day
        if not self._ticks and self._last and self._terms.price_limit_ratio:
            last, ratio = self._last, float(self._terms.price_limit_ratio)
            self._up = int(last * (1 + ratio) / self._tick + 1e-9) * self._tick
            self._down = -int(-last * (1 - ratio) / self._tick - 1e-9) * self._tick
        if first:
            return
        for order in list(self._orders.values()):
            self._withdraw(core, order.ticket)
        if is_native(core.strategy):
            for vt_orderid in list(core.stops):
                core.cancel_order(core.strategy, vt_orderid)
        self.account.begin_day()


def _effect(offset: Any) -> str:
    return OPEN if offset.name == "NONE" else str(offset.name)
