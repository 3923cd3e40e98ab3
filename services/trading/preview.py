"""Previews: what CreateOrder would say, and what the order would cost; nothing is changed."""

from dataclasses import dataclass
from decimal import Decimal

from services.kernel.clock import Clock
from services.kernel.errors import RedFireError
from services.kernel.identifiers import new_id
from services.trading.acceptance import Acceptance, NothingToReduce, expiry_violation
from services.trading.account_opening import Accounts
from services.trading.instruments import Instruments, UnknownSymbol
from services.trading.lease import Lease
from services.trading.leases import Leases
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
    # The lease that is armed on the account's working orders.
    lease: Lease | None = None


class Previews:
    """Looks at orders without accepting them."""

    def __init__(
        self,
        accounts: Accounts,
        instruments: Instruments,
        quotes: Quotes,
        acceptance: Acceptance,
        risk: RiskGate,
        leases: Leases,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._leases = leases
        self._accounts = accounts
        self._instruments = instruments
        self._quotes = quotes
        self._acceptance = acceptance
        self._risk = risk

    async def preview_order(self, user_id: str, new: NewOrder) -> OrderPreview:
        """All reasons against an order, its margin and commission, and the most that would be accepted."""
        account = await self._accounts.resolve(user_id, new.account_id)
        lease = self._leases.find(account.account_id)
        try:
            instrument = await self._instruments.require(new.symbol)
        except UnknownSymbol as unknown:
            return OrderPreview([unknown], ZERO, ZERO, ZERO, None, lease)
        quote = await self._quotes.fetch(new.symbol, account.gateway)
        price = self._acceptance.reserve_price(new, quote)
        reducing: list[RedFireError] = []
        try:
            new = self._acceptance.reduced(account, new)
        except NothingToReduce as nothing:
            reducing.append(nothing)
        violations = self._acceptance.violations(account, instrument, quote, new, price) + reducing
        if expired := expiry_violation(new, self._clock.now_ns()):
            violations.append(expired)
        if price is None:
            return OrderPreview(violations, ZERO, ZERO, ZERO, None, lease)
        answer = await self._risk.check(
            user_id, account.account_id, new_id(), new, price, instrument, account.gateway, dry_run=True
        )
        most = self._acceptance.max_quantity(account, instrument, new, price)
        if answer.max_quantity is not None:
            most = min(most, answer.max_quantity)
        terms = self._acceptance.terms(account, instrument)
        opening = new.position_effect is PositionEffect.OPEN
        return OrderPreview(
            violations + answer.refusals,
            terms.margin(price, new.quantity) if opening else ZERO,
            terms.commission(price, new.quantity),
            most,
            price,
            lease,
        )
