"""An instrument, as far as orders are checked and money is computed with it."""

from dataclasses import dataclass, field
from decimal import Decimal

from redfire.reasons import Reason

from services.kernel.errors import NotFound
from services.trading.domain import money
from services.trading.domain.money import ZERO

MOST_FUNDS = 1000


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument, as far as trading needs it."""

    symbol: str
    exchange: str
    gateway: str
    currency: str
    contract_size: Decimal
    price_tick: Decimal
    min_quantity: Decimal
    quantity_step: Decimal
    margin_rate: Decimal
    commission_rate: Decimal
    commission_fixed: Decimal
    close_today_commission_rate: Decimal
    close_today_commission_fixed: Decimal
    # The last trading day, YYYYMMDD; 0 when it has none, or none is published.
    expire_date: int = 0
    # An order's funds are asked for three times on its way.
    _funds: dict[tuple[Decimal, Decimal], Decimal] = field(default_factory=dict, init=False, compare=False, repr=False)

    def notional(self, price: Decimal, quantity: Decimal) -> Decimal:
        """price × quantity × contract_size, exact."""
        return money.product(price, quantity, self.contract_size)

    def margin(self, price: Decimal, quantity: Decimal) -> Decimal:
        """The margin of so many contracts at this price. Prices below zero need as much as those above."""
        return money.amount(abs(money.product(self.notional(price, quantity), self.margin_rate)))

    def commission(self, price: Decimal, quantity: Decimal, closed_today: Decimal = ZERO) -> Decimal:
        """The commission of a trade of which `closed_today` closes what was opened this trading day."""
        usual = quantity - closed_today
        parts = [
            money.product(abs(self.notional(price, usual)), self.commission_rate),
            money.product(usual, self.commission_fixed),
        ]
        if closed_today:
            parts.append(money.product(abs(self.notional(price, closed_today)), self.close_today_commission_rate))
            parts.append(money.product(closed_today, self.close_today_commission_fixed))
        return money.amount(money.total(parts))

    def funds(self, price: Decimal, quantity: Decimal) -> Decimal:
        """Return what an opening order of so many contracts holds: margin and commission."""
        funds = self._funds.get((price, quantity))
        if funds is None:
            if len(self._funds) >= MOST_FUNDS:
                self._funds.clear()
            funds = self._funds[price, quantity] = self.margin(price, quantity) + self.commission(price, quantity)
        return funds

    @property
    def splits_close(self) -> bool:
        """Return whether the exchange takes today's and yesterday's contracts by orders of their own: SHFE and INE."""
        return self.exchange in ("SHFE", "INE")


class UnknownSymbol(NotFound):
    """Refusal of a symbol that no instrument has."""

    reason = Reason.UNKNOWN_SYMBOL
