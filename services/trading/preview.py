"""Previews: what CreateOrder would say, and what the order would cost; nothing is changed."""

from dataclasses import dataclass
from decimal import Decimal

from services.kernel.errors import RedFireError
from services.kernel.identifiers import new_id
from services.trading.acceptance import Acceptance
from services.trading.account_opening import Accounts
from services.trading.instruments import Instruments, UnknownSymbol
from services.trading.money import ZERO
from services.trading.orders import NewOrder, PositionEffect
from services.trading.quotes import Quotes
from services.trading.risk_gate import RiskGate


@dataclass(frozen=True, slots=True)
class OrderPreview:
    """What would become of an order. `reference_price` is None where there is no price to compute with."""

    violations: list[RedFireError]
    margin: Decimal
    commission: Decimal
    max_quantity: Decimal
    reference_price: Decimal | None


class Previews:
    """Looks at orders without accepting them."""

    def __init__(
        self, accounts: Accounts, instruments: Instruments, quotes: Quotes, acceptance: Acceptance, risk: RiskGate
    ) -> None:
        self._accounts = accounts
        self._instruments = instruments
        self._quotes = quotes
        self._acceptance = acceptance
        self._risk = risk

    async def preview_order(self, user_id: str, new: NewOrder) -> OrderPreview:
        """All reasons against an order, its margin and commission, and the most that would be accepted."""
        account = await self._accounts.resolve(user_id, new.account_id)
        try:
            instrument = await self._instruments.require(new.symbol)
        except UnknownSymbol as unknown:
            return OrderPreview([unknown], ZERO, ZERO, ZERO, None)
        quote = await self._quotes.fetch(new.symbol)
        price = self._acceptance.reserve_price(new, quote)
        violations = self._acceptance.violations(account, instrument, quote, new, price)
        if price is None:
            return OrderPreview(violations, ZERO, ZERO, ZERO, None)
        answer = await self._risk.check(user_id, account.account_id, new_id(), new, price, instrument, dry_run=True)
        most = self._acceptance.max_quantity(account, instrument, new, price)
        if answer.max_quantity is not None:
            most = min(most, answer.max_quantity)
        opening = new.position_effect is PositionEffect.OPEN
        return OrderPreview(
            violations + answer.refusals,
            instrument.margin(price, new.quantity) if opening else ZERO,
            instrument.commission(price, new.quantity),
            most,
            price,
        )
