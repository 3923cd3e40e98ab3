"""A position: what is held of one instrument on one side, in contracts of today and of before."""

from dataclasses import dataclass
from decimal import Decimal

from services.trading import money
from services.trading.money import ZERO
from services.trading.orders import PositionEffect, PositionSide


@dataclass(slots=True)
class Position:
    """A side of an instrument in an account. Its margin is at opening prices, as its cost is."""

    user_id: str
    account_id: str
    symbol: str
    side: PositionSide
    gateway: str
    contract_size: Decimal
    margin_rate: Decimal
    today_quantity: Decimal = ZERO
    yesterday_quantity: Decimal = ZERO
    cost: Decimal = ZERO  # sum of price × quantity × contract_size of what is held
    margin: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    # Held by open closing orders.
    frozen_today: Decimal = ZERO
    frozen_yesterday: Decimal = ZERO

    @property
    def key(self) -> tuple[str, PositionSide]:
        """Its place in the account."""
        return self.symbol, self.side

    @property
    def quantity(self) -> Decimal:
        """All that is held."""
        return self.today_quantity + self.yesterday_quantity

    @property
    def frozen_quantity(self) -> Decimal:
        """Held by open closing orders."""
        return self.frozen_today + self.frozen_yesterday

    @property
    def average_price(self) -> Decimal:
        """What it was opened at; 0 without any."""
        quantity = self.quantity
        return money.quotient(self.cost, money.product(quantity, self.contract_size)) if quantity else ZERO

    def unrealized_pnl(self, last_price: Decimal | None) -> Decimal:
        """What closing all at `last_price` would bring, before commission; 0 without a price."""
        quantity = self.quantity
        if last_price is None or not quantity:
            return ZERO
        value = money.amount(money.product(last_price, quantity, self.contract_size))
        return value - self.cost if self.side is PositionSide.LONG else self.cost - value

    def hold_for(self, effect: PositionEffect, quantity: Decimal, today_first: bool) -> tuple[Decimal, Decimal] | None:
        """What a closing order of `quantity` would hold of (today's, yesterday's); None when there is not enough."""
        today = self.today_quantity - self.frozen_today
        yesterday = self.yesterday_quantity - self.frozen_yesterday
        if effect is PositionEffect.CLOSE_TODAY:
            return (quantity, ZERO) if today >= quantity else None
        if effect is PositionEffect.CLOSE_YESTERDAY:
            return (ZERO, quantity) if yesterday >= quantity else None
        if today + yesterday < quantity:
            return None
        return split(quantity, today, yesterday, today_first)

    def held(self, effect: PositionEffect) -> Decimal:
        """What there is of the contracts that an order with this effect closes, whoever holds them."""
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
            self.today_quantity += quantity
        else:
            self.yesterday_quantity += quantity
        self._margin()

    def close(self, price: Decimal, today: Decimal, yesterday: Decimal) -> Decimal:
        """Take contracts away and return what that brought, before commission."""
        quantity = today + yesterday
        cost = money.share(self.cost, quantity, self.quantity)
        value = money.amount(money.product(price, quantity, self.contract_size))
        self.cost -= cost
        self.today_quantity -= today
        self.yesterday_quantity -= yesterday
        realized = value - cost if self.side is PositionSide.LONG else cost - value
        self.realized_pnl += realized
        self._margin()
        return realized

    def begin_day(self) -> bool:
        """Make today's contracts yesterday's; False when there were none."""
        if not self.today_quantity:
            return False
        self.yesterday_quantity += self.today_quantity
        self.frozen_yesterday += self.frozen_today
        self.today_quantity = self.frozen_today = ZERO
        return True

    def _margin(self) -> None:
        self.margin = money.amount(abs(money.product(self.cost, self.margin_rate)))


def split(quantity: Decimal, today: Decimal, yesterday: Decimal, today_first: bool) -> tuple[Decimal, Decimal]:
    """`quantity` as (of today's, of yesterday's), at most what there is of each, the first choice first."""
    if today_first:
        of_today = min(quantity, max(today, ZERO))
        return of_today, min(quantity - of_today, max(yesterday, ZERO))
    of_yesterday = min(quantity, max(yesterday, ZERO))
    return min(quantity - of_yesterday, max(today, ZERO)), of_yesterday
