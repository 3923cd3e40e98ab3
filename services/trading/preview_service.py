"""Previews: the answer that CreateOrder would give, and the order's cost; nothing is changed."""

from dataclasses import dataclass, replace
from decimal import Decimal

from redfire.enums import OrderGroupKind, PositionEffect

from services.kernel.clock import Clock
from services.kernel.errors import RedFireError
from services.kernel.identifiers import new_id
from services.trading.account_opening import Accounts
from services.trading.domain import money
from services.trading.domain.account import Account
from services.trading.domain.group_checks import SelfTrade, of_order, require_shape
from services.trading.domain.instrument import Instrument, UnknownSymbol
from services.trading.domain.lease import Lease
from services.trading.domain.money import ZERO
from services.trading.domain.order import NewOrder
from services.trading.domain.pre_trade_checks import NothingToReduce, PreTradeChecks, expiry_violation
from services.trading.domain.quote import Quote
from services.trading.emulation.leases import Leases
from services.trading.peers.instruments import Instruments
from services.trading.peers.quotes import Quotes
from services.trading.peers.risk_client import RiskClient


@dataclass(frozen=True, slots=True)
class OrderPreview:
    """Outcome that an order would have. `reference_price` is None where there is no price to compute with."""

    violations: list[RedFireError]
    margin: Decimal
    commission: Decimal
    max_quantity: Decimal
    reference_price: Decimal | None
    # The lease that is armed on the account's working orders.
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class OrderGroupPreview:
    """Outcome that a group would have. `violations` are those of its orders together, `orders` have their own."""

    violations: list[RedFireError]
    orders: list[OrderPreview]
    # Of the available funds, for all its opening orders, and of the position, once for all its closing ones.
    reserved_funds: Decimal
    closing_quantity: Decimal
    max_quantity: Decimal
    lease: Lease | None = None

    @property
    def would_accept(self) -> bool:
        """Return whether there is no reason against it."""
        return not self.violations and not any(order.violations for order in self.orders)


class PreviewService:
    """Previews orders without accepting them."""

    def __init__(
        self,
        accounts: Accounts,
        instruments: Instruments,
        quotes: Quotes,
        pre_trade_checks: PreTradeChecks,
        risk: RiskClient,
        leases: Leases,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._leases = leases
        self._accounts = accounts
        self._instruments = instruments
        self._quotes = quotes
        self._pre_trade_checks = pre_trade_checks
        self._risk = risk

    async def preview_order(self, user_id: str, new: NewOrder) -> OrderPreview:
        """All reasons against an order, its margin and commission, and the most that would be accepted."""
        account = await self._accounts.resolve(user_id, new.account_id)
        try:
            instrument = await self._instruments.require(new.symbol)
        except UnknownSymbol as unknown:
            return OrderPreview([unknown], ZERO, ZERO, ZERO, None, self._leases.find(account.account_id))
        quote = await self._quotes.fetch(new.symbol, account.gateway)
        reducing: list[RedFireError] = []
        try:
            new = self._pre_trade_checks.reduced(account, new)
        except NothingToReduce as nothing:
            reducing.append(nothing)
        preview, _ = await self._preview(account, instrument, quote, new)
        return replace(preview, violations=preview.violations + reducing) if reducing else preview

    async def preview_order_group(
        self, user_id: str, account_id: str, kind: OrderGroupKind, orders: list[NewOrder]
    ) -> OrderGroupPreview:
        """All reasons against a group and each of its orders, and what it would reserve.

        Raises Invalid for orders that are no group of this kind.
        """
        require_shape(kind, orders)
        account = await self._accounts.resolve(user_id, account_id)
        lease = self._leases.find(account.account_id)
        try:
            instrument = await self._instruments.require(orders[0].symbol)
        except UnknownSymbol as unknown:
            none = OrderPreview([unknown], ZERO, ZERO, ZERO, None, lease)
            return OrderGroupPreview([], [none] * len(orders), ZERO, ZERO, ZERO, lease)
        quote = await self._quotes.fetch(orders[0].symbol, account.gateway)
        # Those that need something at once: the exits of a bracket close what is not there yet.
        first, members = orders[0], orders[:1] if kind is OrderGroupKind.BRACKET else orders
        quantity = first.quantity
        violations: list[RedFireError] = []
        try:
            orders = self._pre_trade_checks.reduced_group(account, orders)
        except NothingToReduce as nothing:
            violations.append(nothing)
        previewed = [await self._preview(account, instrument, quote, new, holds=False) for new in orders]
        bounds = [limit for _, limit in previewed if limit is not None]
        reserved = closing = ZERO
        if first.position_effect is PositionEffect.OPEN:
            prices = [preview.reference_price for preview, _ in previewed[: len(members)]]
            priced = [price for price in prices if price is not None]
            terms = self._pre_trade_checks.terms(account, instrument)
            reserved = money.total(terms.funds(price, quantity) for price in priced)
            bounds.append(self._pre_trade_checks.affordable(account, instrument, priced, quantity) if priced else ZERO)
            try:
                self._pre_trade_checks.require_funds(account, [(instrument, price, quantity) for price in priced])
            except RedFireError as refusal:
                violations.append(refusal)
        else:
            closing = orders[0].quantity if not violations else ZERO
            bounds.append(self._pre_trade_checks.closable(account, first))
            for index, order in enumerate(orders):
                for violation in self._pre_trade_checks.holding_violations(account, instrument, order, ZERO):
                    if violation.reason not in {known.reason for known in violations}:
                        violations.append(of_order(violation, index))
        most = min(bounds)
        previews = [replace(preview, max_quantity=most) for preview, _ in previewed]
        return OrderGroupPreview(violations, previews, reserved, closing, most, lease)

    async def _preview(
        self, account: Account, instrument: Instrument, quote: Quote | None, new: NewOrder, holds: bool = True
    ) -> tuple[OrderPreview, Decimal | None]:
        """An order's preview, and the most that risk would let through (None: no limit).

        Without `holds` it is one of a group: what there is to close or to open with is the group's affair.
        """
        lease = self._leases.find(account.account_id)
        price = self._pre_trade_checks.reserve_price(new, quote)
        violations = self._pre_trade_checks.violations(account, instrument, quote, new, price, holds)
        if expired := expiry_violation(new, self._clock.now_ns()):
            violations.append(expired)
        if price is None:
            return OrderPreview(violations, ZERO, ZERO, ZERO, None, lease), ZERO
        answer = await self._risk.check(
            account.user_id, account.account_id, new_id(), new, price, instrument, account.gateway, dry_run=True
        )
        violations += answer.refusals
        if answer.cancel_first and not holds:
            violations.append(SelfTrade())
        most = self._pre_trade_checks.max_quantity(account, instrument, new, price)
        if answer.max_quantity is not None:
            most = min(most, answer.max_quantity)
        terms = self._pre_trade_checks.terms(account, instrument)
        opening = new.position_effect is PositionEffect.OPEN
        margin = terms.margin(price, new.quantity) if opening else ZERO
        preview = OrderPreview(violations, margin, terms.commission(price, new.quantity), most, price, lease)
        return preview, answer.max_quantity
