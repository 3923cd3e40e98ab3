"""The account of a backtest with fill "sim": margin, funds, positions of today and before, fees, by trading's rules."""

from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache

from services.quant.backtest.job import BacktestJob
from services.quant.catalogue import Catalogue
from services.quant.sdk.vnpy_names import OFFSETS

_ZERO, _ONE = Decimal(0), Decimal(1)
_SCALE = Decimal("0.00000001")
_BUFFER = Decimal("0.02")
"""The part above the last price at which a market order's money is reserved: trading's default."""
_TODAY_FIRST = ("SHFE", "INE")
OPEN, CLOSE, CLOSE_TODAY, CLOSE_YESTERDAY = OFFSETS.values()


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of an instrument: the catalogue's rules with the job's contract size. Of a symbol that it does not know
    all is the job's: its commission rate for all trades, its price tick, no margin, no price limits."""

    contract_size: Decimal
    price_tick: Decimal
    quantity_step: Decimal = Decimal(1)
    min_quantity: Decimal = Decimal(1)
    margin_rate: Decimal = _ZERO
    commission_rate: Decimal = _ZERO
    commission_fixed: Decimal = _ZERO
    close_today_rate: Decimal = _ZERO
    close_today_fixed: Decimal = _ZERO
    price_limit_ratio: Decimal = _ZERO
    today_first: bool = False

    @classmethod
    def of(cls, job: BacktestJob) -> "Terms":
        """The terms of a job's symbol."""
        size = Decimal(str(job.size))
        instrument = _catalogue().find(job.symbol)
        if instrument is None:
            rate = Decimal(str(job.rate))
            tick = Decimal(str(job.pricetick))
            return cls(size, tick, commission_rate=rate, close_today_rate=rate)
        return cls(
            contract_size=size,
            price_tick=instrument.price_tick,
            quantity_step=instrument.quantity_step,
            min_quantity=instrument.min_quantity,
            margin_rate=instrument.margin_rate,
            commission_rate=instrument.commission_rate,
            commission_fixed=instrument.commission_fixed,
            close_today_rate=instrument.close_today_commission_rate,
            close_today_fixed=instrument.close_today_commission_fixed,
            price_limit_ratio=instrument.price_limit_ratio,
            today_first=instrument.exchange in _TODAY_FIRST,
        )

    def commission(self, price: Decimal, quantity: Decimal, closed_today: Decimal = _ZERO) -> Decimal:
        """Commission of a trade of which `closed_today` closes what was opened on the same trading day."""
        unit = abs(price * self.contract_size)
        usual = quantity - closed_today
        paid = usual * (unit * self.commission_rate + self.commission_fixed)
        return (paid + closed_today * (unit * self.close_today_rate + self.close_today_fixed)).quantize(_SCALE)

    def closes_today_first(self, price: Decimal) -> bool:
        """True if a CLOSE takes today's contracts first: at SHFE and INE, where it costs no more (close_first auto)."""
        return self.today_first and self.commission(price, _ONE, _ONE) <= self.commission(price, _ONE)

    def margin(self, price: Decimal, quantity: Decimal) -> Decimal:
        """Margin of so many contracts at this price."""
        return abs(price * quantity * self.contract_size * self.margin_rate).quantize(_SCALE)


@cache
def _catalogue() -> Catalogue:
    """The instruments that come with RedFire."""
    return Catalogue.load()


@dataclass(slots=True)
class Held:
    """The part of the account that an order reserves while it is open. `effect` is OPEN, CLOSE …; `price` the value of
    a unit, `left` the quantity that may still trade."""

    buy: bool
    effect: str
    left: Decimal
    price: Decimal
    money: Decimal = _ZERO
    today: Decimal = _ZERO
    yesterday: Decimal = _ZERO


@dataclass(slots=True)
class _Position:
    today: Decimal = _ZERO
    yesterday: Decimal = _ZERO
    frozen_today: Decimal = _ZERO
    frozen_yesterday: Decimal = _ZERO
    cost: Decimal = _ZERO

    @property
    def quantity(self) -> Decimal:
        return self.today + self.yesterday


@dataclass(slots=True)
class SimAccount:
    """Money and positions on both sides of one instrument."""

    terms: Terms
    balance: Decimal
    frozen: Decimal = _ZERO
    long: _Position = field(default_factory=_Position)
    short: _Position = field(default_factory=_Position)

    def available(self, last: Decimal | None) -> Decimal:
        """Money for new orders: losses count at once, profits only when they are realised."""
        margin = self._margin(self.long) + self._margin(self.short)
        unrealized = _ZERO
        if last is not None:
            unit = last * self.terms.contract_size
            unrealized = unit * self.long.quantity - self.long.cost + self.short.cost - unit * self.short.quantity
        return self.balance + min(unrealized, _ZERO) - margin - self.frozen

    def reserve_price(
        self, buy: bool, limit: Decimal | None, last: Decimal | None, up: Decimal | None
    ) -> Decimal | None:
        """The price at which a unit of an order is valued; None without a market. `limit` None: at the market."""
        if limit is not None:
            return limit if buy or last is None else max(limit, last)
        if last is None:
            return None
        price = (last + abs(last) * _BUFFER).quantize(_SCALE)
        return price if up is None else min(price, max(up, last))

    def refusal(self, order: Held, last: Decimal | None) -> str:
        """The reason to reject it: not enough to close, or not enough money to open. Empty: there is none."""
        if order.effect == OPEN:
            needed, available = self._funds(order), self.available(last)
            if needed > available:
                return f"INSUFFICIENT_FUNDS {needed:.2f} needed, {available:.2f} available"
            return ""
        position = self._closed_by(order)
        today, yesterday = position.today - position.frozen_today, position.yesterday - position.frozen_yesterday
        closable = {CLOSE_TODAY: today, CLOSE_YESTERDAY: yesterday}.get(order.effect, today + yesterday)
        if order.left > closable:
            return f"INSUFFICIENT_POSITION {order.left:f} to close, {closable:f} held"
        return ""

    def accept(self, order: Held) -> None:
        """Hold what it needs, which was checked."""
        if order.effect == OPEN:
            order.money = self._funds(order)
            self.frozen += order.money
            return
        position = self._closed_by(order)
        today, yesterday = position.today - position.frozen_today, position.yesterday - position.frozen_yesterday
        if order.effect == CLOSE_TODAY:
            order.today = order.left
        elif order.effect == CLOSE_YESTERDAY:
            order.yesterday = order.left
        else:
            order.today, order.yesterday = self._split(order, order.left, today, yesterday)
        position.frozen_today += order.today
        position.frozen_yesterday += order.yesterday

    def release(self, order: Held) -> None:
        """Release all that the order holds."""
        self.frozen -= order.money
        position = self._closed_by(order)
        position.frozen_today -= order.today
        position.frozen_yesterday -= order.yesterday
        order.money = order.today = order.yesterday = _ZERO

    def trade(self, order: Held, price: Decimal, quantity: Decimal) -> Decimal:
        """Book a fill of an order; its commission."""
        order.left -= quantity
        value = (price * quantity * self.terms.contract_size).quantize(_SCALE)
        if order.effect == OPEN:
            position = self.long if order.buy else self.short
            position.today += quantity
            position.cost += value
            self.frozen -= order.money
            order.money = self._funds(order) if order.left else _ZERO
            self.frozen += order.money
            commission = self.terms.commission(price, quantity)
        else:
            position = self._closed_by(order)
            today, yesterday = self._taken(order, quantity)
            order.today -= today
            order.yesterday -= yesterday
            position.frozen_today -= today
            position.frozen_yesterday -= yesterday
            cost = position.cost if quantity == position.quantity else (position.cost * quantity / position.quantity)
            cost = cost.quantize(_SCALE)
            position.cost -= cost
            position.today -= today
            position.yesterday -= yesterday
            self.balance += cost - value if order.buy else value - cost
            commission = self.terms.commission(price, quantity, today)
        self.balance -= commission
        return commission

    def begin_day(self) -> None:
        """Today's contracts are yesterday's; no order is open then but those that rest across days."""
        for position in (self.long, self.short):
            position.yesterday += position.today
            position.frozen_yesterday += position.frozen_today
            position.today = position.frozen_today = _ZERO

    def _margin(self, position: _Position) -> Decimal:
        return abs(position.cost * self.terms.margin_rate)

    def _funds(self, order: Held) -> Decimal:
        return self.terms.margin(order.price, order.left) + self.terms.commission(order.price, order.left)

    def _closed_by(self, order: Held) -> _Position:
        return self.short if order.buy else self.long

    def _taken(self, order: Held, quantity: Decimal) -> tuple[Decimal, Decimal]:
        if order.effect == CLOSE_TODAY:
            return quantity, _ZERO
        if order.effect == CLOSE_YESTERDAY:
            return _ZERO, quantity
        return self._split(order, quantity, order.today, order.yesterday)

    def _split(self, order: Held, quantity: Decimal, today: Decimal, yesterday: Decimal) -> tuple[Decimal, Decimal]:
        """(of today's, of yesterday's), as trading closes them."""
        if self.terms.closes_today_first(order.price):
            of_today = min(quantity, today)
            return of_today, quantity - of_today
        of_yesterday = min(quantity, yesterday)
        return quantity - of_yesterday, of_yesterday
