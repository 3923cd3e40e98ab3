"""A position: what is held of one instrument on one side, in contracts of today and of before."""

from dataclasses import dataclass
from decimal import Decimal

from redfire.enums import PositionEffect, PositionSide

from services.trading.domain import money
from services.trading.domain.money import ZERO
from services.trading.domain.trading_day import TradingDays


@dataclass(slots=True)
class Position:
    """A side of an instrument in an account. Its margin is at opening prices, as its cost is.

    Contracts of `trading_day` are kept apart from older ones. What is today's follows from the day that the symbol is
    in now (`days`); the change of a position begins with `roll`, so that what is written belongs to one day.
    """

    user_id: str
    account_id: str
    symbol: str
    side: PositionSide
    gateway: str
    # Units of the account's currency per point of price and contract.
    contract_size: Decimal
    margin_rate: Decimal
    day_quantity: Decimal = ZERO  # opened on trading_day
    older_quantity: Decimal = ZERO
    cost: Decimal = ZERO  # sum of price × quantity × contract_size of what is held
    margin: Decimal = ZERO
    realized_pnl: Decimal = ZERO  # of all its life, also before it was flat
    trading_day: int = 0
    days: TradingDays | None = None
    # Held by open closing orders.
    frozen_day: Decimal = ZERO
    frozen_older: Decimal = ZERO
    # In memory only: what the gateway of a LIVE account holds more, since it was seen twice.
    venue_difference: Decimal = ZERO

    @property
    def key(self) -> tuple[str, PositionSide]:
        """Its place in the account."""
        return self.symbol, self.side

    @property
    def is_current(self) -> bool:
        """Return whether `trading_day` is today."""
        return self.days is None or self.days.of(self.gateway, self.symbol) == self.trading_day

    @property
    def quantity(self) -> Decimal:
        """All that is held."""
        return self.day_quantity + self.older_quantity

    @property
    def today_quantity(self) -> Decimal:
        """The quantity opened on the present trading day."""
        return self.day_quantity if self.day_quantity and self.is_current else ZERO

    @property
    def yesterday_quantity(self) -> Decimal:
        """The quantity opened before."""
        return self.quantity - self.today_quantity

    @property
    def frozen_quantity(self) -> Decimal:
        """Held by open closing orders."""
        return self.frozen_day + self.frozen_older

    @property
    def frozen_today(self) -> Decimal:
        """Held by open closing orders, of today's."""
        return self.frozen_day if self.frozen_day and self.is_current else ZERO

    @property
    def frozen_yesterday(self) -> Decimal:
        """Held by open closing orders, of what was opened before."""
        return self.frozen_quantity - self.frozen_today

    @property
    def average_price(self) -> Decimal:
        """The average price it was opened at, or settled at last; 0 without any."""
        quantity = self.quantity
        return money.quotient(self.cost, money.product(quantity, self.contract_size)) if quantity else ZERO

    def unrealized_pnl(self, last_price: Decimal | None) -> Decimal:
        """Return the profit of closing all at `last_price`, before commission; 0 without a price."""
        quantity = self.quantity
        if last_price is None or not quantity:
            return ZERO
        value = money.amount(money.product(last_price, quantity, self.contract_size))
        return value - self.cost if self.side is PositionSide.LONG else self.cost - value

    def hold_for(self, effect: PositionEffect, quantity: Decimal, today_first: bool) -> tuple[Decimal, Decimal] | None:
        """Return what a closing order of `quantity` would hold of (today's, yesterday's); None when it is too much."""
        today = self.today_quantity - self.frozen_today
        yesterday = self.yesterday_quantity - self.frozen_yesterday
        if effect is PositionEffect.CLOSE_TODAY:
            return (quantity, ZERO) if today >= quantity else None
        if effect is PositionEffect.CLOSE_YESTERDAY:
            return (ZERO, quantity) if yesterday >= quantity else None
        if today + yesterday < quantity:
            return None
        return split(quantity, today, yesterday, today_first)

    def hold_one_part(self, quantity: Decimal, today_first: bool) -> tuple[Decimal, Decimal] | None:
        """Return such holds of contracts of one kind alone; None when there is not enough of either."""
        effects = (PositionEffect.CLOSE_TODAY, PositionEffect.CLOSE_YESTERDAY)
        for effect in effects if today_first else effects[::-1]:
            if (hold := self.hold_for(effect, quantity, today_first)) is not None:
                return hold
        return None

    def held(self, effect: PositionEffect) -> Decimal:
        """Return the number of contracts that an order with this effect closes, held by other orders or not."""
        if effect is PositionEffect.CLOSE_TODAY:
            return self.today_quantity
        return self.yesterday_quantity if effect is PositionEffect.CLOSE_YESTERDAY else self.quantity

    def closable(self, effect: PositionEffect) -> Decimal:
        """The most that a closing order may close now."""
        today = self.today_quantity - self.frozen_today
        yesterday = self.yesterday_quantity - self.frozen_yesterday
        if effect is PositionEffect.CLOSE_TODAY:
            return today
        return yesterday if effect is PositionEffect.CLOSE_YESTERDAY else today + yesterday

    def open(self, price: Decimal, quantity: Decimal, of_today: bool) -> None:
        """Add contracts."""
        self.cost += money.amount(money.product(price, quantity, self.contract_size))
        if of_today:
            self.day_quantity += quantity
        else:
            self.older_quantity += quantity
        self._margin()

    def close(self, price: Decimal, today: Decimal, yesterday: Decimal) -> Decimal:
        """Remove contracts and return the profit, before commission."""
        quantity = today + yesterday
        cost = money.share(self.cost, quantity, self.quantity)
        value = money.amount(money.product(price, quantity, self.contract_size))
        self.cost -= cost
        self.day_quantity -= today
        self.older_quantity -= yesterday
        realized = value - cost if self.side is PositionSide.LONG else cost - value
        self.realized_pnl += realized
        self._margin()
        return realized

    def reverse_opening(self, price: Decimal, today: Decimal, older: Decimal) -> Decimal:
        """Undo the opening of contracts at a price; what is left of cost when nothing else is left is realised."""
        self.cost -= money.amount(money.product(price, today + older, self.contract_size))
        self.day_quantity -= today
        self.older_quantity -= older
        realized = ZERO
        if not self.quantity:
            realized = -self.cost if self.side is PositionSide.LONG else self.cost
            self.cost = ZERO
            self.realized_pnl += realized
        self._margin()
        return realized

    def correct_closed(self, price: Decimal, corrected: Decimal, quantity: Decimal) -> Decimal:
        """Return what contracts that are closed realise more, since they were opened at another price."""
        paid_less = money.amount(money.product(price - corrected, quantity, self.contract_size))
        realized = paid_less if self.side is PositionSide.LONG else -paid_less
        self.realized_pnl += realized
        return realized

    def reverse_closing(self, cost: Decimal, today: Decimal, older: Decimal) -> None:
        """Undo the closing of contracts that had cost so much."""
        self.cost += cost
        self.day_quantity += today
        self.older_quantity += older
        self._margin()

    def freeze(self, today: Decimal, yesterday: Decimal) -> None:
        """Hold contracts for a closing order; release them when negative. The position is rolled."""
        self.frozen_day += today
        self.frozen_older += yesterday

    def roll(self, trading_day: int) -> bool:
        """Come into a trading day: what was opened on another one is yesterday's; False when it is in it."""
        if trading_day == self.trading_day:
            return False
        self.older_quantity += self.day_quantity
        self.frozen_older += self.frozen_day
        self.day_quantity = self.frozen_day = ZERO
        self.trading_day = trading_day
        return True

    def settle(self, price: Decimal) -> Decimal:
        """Mark to a settlement price, which is its cost from now on; what that brought."""
        value = money.amount(money.product(price, self.quantity, self.contract_size))
        realized = value - self.cost if self.side is PositionSide.LONG else self.cost - value
        self.cost = value
        self.realized_pnl += realized
        self._margin()
        return realized

    @property
    def required_margin(self) -> Decimal:
        """The margin that its cost asks for."""
        return money.amount(abs(money.product(self.cost, self.margin_rate)))

    def _margin(self) -> None:
        self.margin = self.required_margin


def split(quantity: Decimal, today: Decimal, yesterday: Decimal, today_first: bool) -> tuple[Decimal, Decimal]:
    """`quantity` as (of today's, of yesterday's), at most what there is of each, the first choice first."""
    if today_first:
        of_today = min(quantity, max(today, ZERO))
        return of_today, min(quantity - of_today, max(yesterday, ZERO))
    of_yesterday = min(quantity, max(yesterday, ZERO))
    return min(quantity - of_yesterday, max(today, ZERO)), of_yesterday
