"""The rules that an order must meet before it is one, and what it would hold."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal

from redfire.enums import OrderType, PositionEffect, PositionSide, Side
from redfire.reasons import Reason

from services.kernel.decimals import plain, to_text
from services.kernel.errors import FailedPrecondition, Invalid, RedFireError
from services.kernel.runtime.live_settings import LiveSettings
from services.trading.domain import money
from services.trading.domain.account import Account
from services.trading.domain.account_rules import CurrencyMismatch, account_violations
from services.trading.domain.cache import TradingCache
from services.trading.domain.instrument import Instrument
from services.trading.domain.leg import split_violation
from services.trading.domain.money import ZERO
from services.trading.domain.order import LIMIT_TYPES, STOP_TYPES, NewOrder, Order
from services.trading.domain.position import Position
from services.trading.domain.quote import PRICELESS, Quote, QuoteRules
from services.trading.settings import TradingSettings

# Compared as a decimal: with a float it would take ten times as long.
_PRICELESS = Decimal(PRICELESS)


class QuantityOffStep(Invalid):
    """The quantity is not a multiple of the instrument's step, or below its least."""

    reason = Reason.QUANTITY_OFF_STEP


class PriceOffTick(Invalid):
    """The price is not a multiple of the instrument's tick."""

    reason = Reason.PRICE_OFF_TICK


class PriceOutsideLimits(FailedPrecondition):
    """The price is beyond the day's limits."""

    reason = Reason.PRICE_OUTSIDE_LIMITS


class GatewayDisconnected(FailedPrecondition):
    """The gateway is not connected."""

    reason = Reason.GATEWAY_DISCONNECTED


class InsufficientPosition(FailedPrecondition):
    """Refusal of a close of more than the position."""

    reason = Reason.INSUFFICIENT_POSITION


class InsufficientFunds(FailedPrecondition):
    """The available funds do not suffice."""

    reason = Reason.INSUFFICIENT_FUNDS


class NoLiquidity(FailedPrecondition):
    """Refusal of an order that no price values yet."""

    reason = Reason.NO_LIQUIDITY


class SymbolAtOtherGateway(FailedPrecondition):
    """The instrument is traded, and priced, at another gateway than the account's."""

    reason = Reason.SYMBOL_AT_OTHER_GATEWAY


class StalePrice(FailedPrecondition):
    """The last price is too old to decide by."""

    reason = Reason.STALE_PRICE


class NothingToReduce(FailedPrecondition):
    """Refusal of a reduce-only order without a position to reduce."""

    reason = Reason.REDUCE_ONLY


class PostOnlyWouldTrade(FailedPrecondition):
    """A post-only order would trade at once."""

    reason = Reason.POST_ONLY_WOULD_TRADE


class PostOnlyUnsupported(FailedPrecondition):
    """The gateway has no post-only orders."""

    reason = Reason.UNSUPPORTED


def expiry_violation(order: NewOrder, now_ns: int) -> Invalid | None:
    """Violations by a GTD order's time."""
    if 0 < order.expire_time_ns <= now_ns:
        return Invalid("expire_time: in the past", field="expire_time")
    return None


class PreTradeChecks:
    """Checks orders against instrument, market, gateway, position and funds, in this order."""

    def __init__(
        self,
        cache: TradingCache,
        settings: LiveSettings[TradingSettings],
        quotes: QuoteRules,
        connected: Callable[[str], bool],
        posts: Callable[[str], bool],
        takes_orders: Callable[[str, str], bool],
    ) -> None:
        """`posts(gateway)`: it has post-only orders; `takes_orders(symbol, gateway)`: the market is open now."""
        self._cache = cache
        self._settings = settings
        self._quotes = quotes
        self._connected = connected
        self._posts = posts
        self._takes_orders = takes_orders

    def reserve_price(self, order: NewOrder, quote: Quote | None) -> Decimal | None:
        """Return the value of a unit; None without a price.

        A limit is valued at its price; a sale to open may fill better, so at the last price when that is higher. What
        has no limit is valued at the trigger or the last price, the higher one, and market_price_buffer more, at most
        at the day's upper limit. A fill beyond that still is booked: the reservation is an estimate.
        """
        last = quote.last_price if quote is not None else None
        if order.type in LIMIT_TYPES:
            assert order.price is not None
            return max(order.price, last) if order.side is Side.SELL and last is not None else order.price
        known = [price for price in (order.stop_price, last) if price is not None]
        if not known:
            return None
        if order.trailing_offset is not None and order.side is Side.BUY and order.stop_price is None:
            known = [price + order.trailing_offset for price in known]
        price = money.amount(max(known) + abs(max(known)) * self._settings.value.market_price_buffer)
        limit_up = quote.limit_up if quote is not None else None
        return price if limit_up is None else min(price, max(limit_up, max(known)))

    def reserve_price_of(self, order: Order, new: NewOrder, quote: Quote | None) -> Decimal:
        """Return the reserve_price of an accepted order with new values; the present one without a price."""
        price = self.reserve_price(new, quote)
        return order.reserve_price if price is None else price

    def violations(
        self,
        account: Account,
        instrument: Instrument,
        quote: Quote | None,
        order: NewOrder,
        price: Decimal | None,
        holds: bool = True,
    ) -> list[RedFireError]:
        """All reasons why the order cannot be accepted now, the first first; `price` is its reserve_price.

        Without `holds` it is not asked whether there is enough to close or to open with.
        """
        violations = self.value_violations(instrument, quote, order)
        if instrument.gateway and not self._quotes.same_market(instrument.gateway, account.gateway):
            text = f"{order.symbol} is traded at {instrument.gateway}, the account trades at {account.gateway}"
            violations.append(SymbolAtOtherGateway(text, symbol_gateway=instrument.gateway, gateway=account.gateway))
        refused = account_violations(self._cache, account, instrument, order)
        violations += refused
        if not self._connected(account.gateway):
            violations.append(
                GatewayDisconnected(f"the gateway {account.gateway} is not connected", gateway=account.gateway)
            )
        if price is None:
            violations.append(NoLiquidity(f"{order.symbol} has no price yet", symbol=order.symbol))
            return violations
        violations += self.quote_violations(account.gateway, order, quote)
        if holds and not any(isinstance(violation, CurrencyMismatch) for violation in refused):
            violations += self.holding_violations(account, instrument, order, price)
        return violations

    def value_violations(self, instrument: Instrument, quote: Quote | None, order: NewOrder) -> list[RedFireError]:
        """Violations by quantity and prices."""
        violations: list[RedFireError] = []
        step, least = instrument.quantity_step, instrument.min_quantity
        if not money.is_multiple(order.quantity, step) or order.quantity < least:
            text = f"quantity: a multiple of {plain(step)}, at least {plain(least)}"
            violations.append(
                QuantityOffStep(text, field="quantity", quantity_step=plain(step), min_quantity=plain(least))
            )
        tick = instrument.price_tick
        for field in ("price", "stop_price", "trailing_offset"):
            value: Decimal | None = getattr(order, field)
            if value is not None and abs(value) >= _PRICELESS:
                # With a last price or the buffer on top they would be more than an amount may be.
                violations.append(Invalid(f"{field}: no market has such prices", field=field))
            if value is not None and not money.is_multiple(value, tick):
                text = f"{field}: a multiple of {plain(tick)}"
                violations.append(PriceOffTick(text, field=field, price_tick=plain(tick)))
        if order.price is not None and quote is not None:
            above = quote.limit_up is not None and order.price > quote.limit_up
            below = quote.limit_down is not None and order.price < quote.limit_down
            if above or below:
                limits = {"limit_up": quote.limit_up, "limit_down": quote.limit_down, "value": order.price}
                violations.append(PriceOutsideLimits("", reason=None, **{k: to_text(v) for k, v in limits.items()}))
        if order.stop_price is not None and order.stop_price <= 0 and quote is not None and quote.limit_down:
            # Another day's limits may reach a stop that today's do not, but not where prices are above 0.
            violations.append(Invalid("stop_price: this market has no such prices", field="stop_price"))
        return violations

    def takes_orders(self, symbol: str, gateway: str) -> bool:
        """Return whether the market is in an auction or open now."""
        return self._takes_orders(symbol, gateway)

    def is_stale(self, symbol: str, gateway: str, quote: Quote) -> bool:
        """Return whether the quote is older than max_quote_age_s, in a market whose prices move now."""
        if self._quotes.age_s(quote) <= self._settings.value.max_quote_age_s:
            return False
        return self._takes_orders(symbol, gateway)

    def quote_violations(self, gateway: str, order: NewOrder, quote: Quote | None) -> list[RedFireError]:
        """Violations by an order in this market: priced by an old quote, or post-only and about to trade."""
        violations: list[RedFireError] = []
        if order.post_only and not self._posts(gateway):
            violations.append(PostOnlyUnsupported(f"{gateway} has no post-only orders", gateway=gateway))
        if quote is None:
            return violations
        opens = order.position_effect is PositionEffect.OPEN
        by_quote = (opens and order.type is OrderType.MARKET) or (
            order.type is OrderType.TRAILING_STOP and order.stop_price is None
        )
        if by_quote and self.is_stale(order.symbol, gateway, quote):
            age_s = round(self._quotes.age_s(quote))
            text = f"the last price of {order.symbol} is {age_s} s old"
            violations.append(StalePrice(text, age_s=age_s, max_quote_age_s=self._settings.value.max_quote_age_s))
        if order.post_only and order.price is not None:
            best = quote.ask if order.side is Side.BUY else quote.bid
            crosses = float(order.price) >= best if order.side is Side.BUY else float(order.price) <= best
            if best and crosses and not self.is_stale(order.symbol, gateway, quote):
                text = f"price: {plain(order.price)} would trade at once, the other side is at {best:g}"
                violations.append(PostOnlyWouldTrade(text, price=plain(order.price), best=f"{best:g}"))
        return violations

    def reduced(self, account: Account, order: NewOrder) -> NewOrder:
        """A reduce-only order cut to what there is to reduce; every other order as it is.

        A stop that waits holds nothing of the position, so that others may close it meanwhile: all that is held counts.
        Raises NothingToReduce.
        """
        if not order.reduce_only:
            return order
        return _cut(order, self._reducible(account, order))

    def reduced_group(self, account: Account, orders: Sequence[NewOrder]) -> list[NewOrder]:
        """Reduce-only orders of a group cut to what they can hold together; other orders as they are.

        Raises NothingToReduce.
        """
        if not orders[0].reduce_only:
            return list(orders)
        most = self.closable(account, orders[0])
        return [_cut(order, most) for order in orders]

    def _reducible(self, account: Account, order: NewOrder) -> Decimal:
        if order.type not in STOP_TYPES:
            return self.closable(account, order)
        position = self._position(account, order)
        return position.held(order.position_effect) if position is not None else ZERO

    def holding_violations(
        self, account: Account, instrument: Instrument, order: NewOrder, price: Decimal
    ) -> list[RedFireError]:
        """Check that there is enough to close, or enough money to open. Asked again at the moment of acceptance."""
        if order.position_effect is not PositionEffect.OPEN:
            position = self._position(account, order)
            closable = position.closable(order.position_effect) if position is not None else ZERO
            if order.quantity > closable and not order.reduce_only:  # that is cut to what there is
                return [InsufficientPosition(closable=plain(closable), quantity=plain(order.quantity))]
            today_first = self._cache.closes_today_first(order.symbol)
            violation = split_violation(instrument, position, order, today_first)
            return [violation] if violation is not None else []
        needed = self._cache.terms_of(account, instrument).funds(price, order.quantity)
        available = account.available(self._cache.last_prices.of(account.gateway))
        if needed > available:
            return [InsufficientFunds(needed=plain(needed), available=plain(available))]
        return []

    def terms(self, account: Account, instrument: Instrument) -> Instrument:
        """The instrument's terms in the account's currency; as they are, where there is no rate."""
        return self._cache.terms_of(account, instrument)

    def closable(self, account: Account, order: NewOrder) -> Decimal:
        """Return the quantity to close that no other order holds."""
        position = self._position(account, order)
        return position.closable(order.position_effect) if position is not None else ZERO

    def require_funds(self, account: Account, orders: Iterable[tuple[Instrument, Decimal, Decimal]]) -> None:
        """Raises InsufficientFunds where (instrument, price, quantity) of all together need more than there is."""
        terms = self._cache.terms_of
        needed = money.total(terms(account, one).funds(price, quantity) for one, price, quantity in orders)
        available = account.available(self._cache.last_prices.of(account.gateway))
        if needed > available:
            raise InsufficientFunds(needed=plain(needed), available=plain(available))

    def margin_violation(self, order: Order, price: Decimal) -> RedFireError | None:
        """Violations by an accepted opening order at this price: it would need more margin than there is."""
        more = self._cache.reservation(order, None, price) - order.reserved
        account = self._cache.accounts[order.account_id]
        available = account.available(self._cache.last_prices.of(account.gateway))
        if more > available:
            return InsufficientFunds(needed=plain(more), available=plain(available))
        return None

    def max_quantity(self, account: Account, instrument: Instrument, order: NewOrder, price: Decimal) -> Decimal:
        """The most that position or funds allow now, in whole steps."""
        if order.position_effect is not PositionEffect.OPEN:
            return self._reducible(account, order) if order.reduce_only else self.closable(account, order)
        return self.affordable(account, instrument, [price], order.quantity)

    def affordable(
        self, account: Account, instrument: Instrument, prices: Sequence[Decimal], unpriced: Decimal
    ) -> Decimal:
        """The most that the funds allow of opening orders of one quantity at these prices together, in whole steps.

        `unpriced` where they need no funds at all.
        """
        available = account.available(self._cache.last_prices.of(account.gateway))
        step = instrument.quantity_step or Decimal(1)
        instrument = self._cache.terms_of(account, instrument)

        def funds(steps: Decimal) -> Decimal:
            return money.total(instrument.funds(price, steps * step) for price in prices)

        if available <= 0:
            return ZERO
        if not (one := funds(Decimal(1))):
            return unpriced
        steps = (available / one).to_integral_value(rounding=ROUND_FLOOR)
        # Amounts are rounded once for a whole order, so a step's amount times steps may be a little off.
        while steps > 0 and funds(steps) > available:
            steps -= 1
        result = steps * step
        return result if result >= instrument.min_quantity else ZERO

    @staticmethod
    def _position(account: Account, order: NewOrder) -> Position | None:
        side = PositionSide.SHORT if order.side is Side.BUY else PositionSide.LONG
        return account.positions.get((order.symbol, side))


def _cut(order: NewOrder, most: Decimal) -> NewOrder:
    if most <= 0:
        raise NothingToReduce(f"there is nothing of {order.symbol} to reduce", symbol=order.symbol)
    return order if order.quantity <= most else replace(order, quantity=most)
