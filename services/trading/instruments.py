"""The instruments that orders are checked and money is computed with, kept from MarketService."""

from dataclasses import dataclass
from decimal import Decimal

from services.trading import money
from services.trading.money import ZERO


@dataclass(frozen=True, slots=True)
class Instrument:
    """What trading needs to know of an instrument."""

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

    @property
    def closes_today_first(self) -> bool:
        """Whether CLOSE takes today's contracts first (vnpy's OffsetConverter: SHFE and INE), else the oldest."""
        return self.exchange in ("SHFE", "INE")
