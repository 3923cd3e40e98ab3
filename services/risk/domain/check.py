"""The check of an order against state and limits: pure computation, no waiting, no I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal

from redfire.enums import TradingState
from redfire.reasons import Reason

from services.kernel.decimals import plain
from services.risk.domain.account_exposure import ZERO, AccountExposure
from services.risk.domain.day_counts import NONE, Counts
from services.risk.domain.order import OrderCandidate
from services.risk.domain.prices import LastPrice
from services.risk.domain.programme import behaviour_violations
from services.risk.domain.violation import Violation, above, refusal

# Another quantity would pass, or the same a moment later.
_OF_QUANTITY_OR_MOMENT = frozenset(
    {
        Reason.RISK_LIMIT_MAX_ORDER_QUANTITY,
        Reason.RISK_LIMIT_MAX_ORDER_NOTIONAL,
        Reason.RISK_LIMIT_MAX_POSITION_QUANTITY,
        Reason.RISK_LIMIT_MAX_GROSS_NOTIONAL,
        Reason.RISK_LIMIT_MAX_ORDERS_PER_SECOND,
        Reason.RISK_LIMIT_DUPLICATE_ORDER,
    }
)
_STEP = Decimal("0.00000001")


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class Circumstances:
    """Inputs of a check besides the account's exposure."""

    state: TradingState
    state_reason: str
    gross_notional: Decimal  # of the account's positions
    last: LastPrice | None  # of the candidate's symbol, where the account trades
    loss_reached: bool
    daily_pnl: Decimal
    now: float
    # A symbol whose contract size is not known: the candidate's, or one that the account has at stake.
    unsized: str = ""
    # A symbol whose price market has not confirmed for too long: the candidate's, or one of the account's positions.
    stale: str = ""
    unconfirmed_s: float = 0.0  # of the last price
    # Of accounts with limits of programme trading: the day's counts, and the user's resting orders that it would meet.
    counts: Counts = NONE
    crossed: Sequence[str] = ()


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class Growth:
    """Quantity and notional that an order would add to those counted already."""

    leaves: Decimal
    notional: Decimal
    orders: int


def growth_of(account: AccountExposure, candidate: OrderCandidate) -> Growth:
    """The whole order when it is new; of one that is counted already only what is new."""
    working, reserved = account.orders.get(candidate.order_id), account.reservations.get(candidate.order_id)
    if working is not None:
        leaves = max(ZERO, working.leaves + candidate.quantity - working.quantity)
        notional = abs(candidate.value_price) * leaves * candidate.contract_size
        added, worth = max(ZERO, leaves - working.leaves), max(ZERO, notional - working.notional)
    else:
        added, worth = candidate.quantity, candidate.notional
    if reserved is not None:
        added, worth = added - reserved.leaves, worth - reserved.notional
    known = working is not None or reserved is not None or candidate.triggered
    return Growth(added, worth, 0 if known else 1)


def reduces(account: AccountExposure, candidate: OrderCandidate) -> bool:
    """Return true when a replace adds no risk: it makes a working order smaller or less eager, and nothing greater."""
    order = account.orders.get(candidate.order_id)
    if order is None or candidate.quantity > order.quantity:
        return False
    if candidate.price is None or order.price is None:
        return candidate.price is order.price
    return candidate.price <= order.price if candidate.buys else candidate.price >= order.price


def violations(
    account: AccountExposure, candidate: OrderCandidate, now: Circumstances, growth: Growth
) -> Iterator[Violation]:
    """All reasons why the order may not be accepted, the gravest first; `growth` is `growth_of` the same.

    Closing stops that have triggered are stopped by a halt alone, replaces that reduce also by the rules of programme
    trading.
    """
    limits = account.limits
    if now.state is TradingState.HALTED:
        yield refusal(Reason.TRADING_HALTED, "trading is halted", state_reason=now.state_reason)
    if candidate.triggered and not candidate.opens:
        return
    reducing = candidate.replaces and reduces(account, candidate)
    restricted = now.state is not TradingState.ACTIVE or now.loss_reached or now.unsized or now.stale
    if restricted and candidate.opens and not reducing:
        yield from _opening_violations(account, candidate, now)
    if account.watched:
        yield from behaviour_violations(account, candidate, now.counts, now.crossed, now.now)
    if reducing:
        return
    if limits.max_order_quantity is not None:
        yield from above(Reason.RISK_LIMIT_MAX_ORDER_QUANTITY, limits.max_order_quantity, candidate.quantity)
    if limits.max_order_notional is not None:
        yield from above(Reason.RISK_LIMIT_MAX_ORDER_NOTIONAL, limits.max_order_notional, candidate.notional)
    # A stop that triggers adds nothing to what was counted when it was accepted; positions and limits may have changed.
    if candidate.opens and (growth.leaves > 0 or candidate.triggered) and limits.max_position_quantity is not None:
        value = position_with_orders(account, candidate) + growth.leaves
        yield from above(Reason.RISK_LIMIT_MAX_POSITION_QUANTITY, limits.max_position_quantity, value)
    if candidate.opens and (growth.notional > 0 or candidate.triggered) and limits.max_gross_notional is not None:
        value = now.gross_notional + account.pending_notional + growth.notional
        yield from above(Reason.RISK_LIMIT_MAX_GROSS_NOTIONAL, limits.max_gross_notional, value)
    if growth.orders and limits.max_open_orders is not None:
        value = Decimal(account.open_orders + 1)
        yield from above(Reason.RISK_LIMIT_MAX_OPEN_ORDERS, Decimal(limits.max_open_orders), value)
    if growth.orders and limits.max_orders_per_second is not None:
        value = Decimal(account.orders_in_last_second(now.now) + 1)
        yield from above(Reason.RISK_LIMIT_MAX_ORDERS_PER_SECOND, Decimal(limits.max_orders_per_second), value)
    yield from _collar(account, candidate, now)


def _opening_violations(account: AccountExposure, candidate: OrderCandidate, now: Circumstances) -> Iterator[Violation]:
    if now.state is TradingState.REDUCING:
        yield refusal(Reason.REDUCE_ONLY, "only orders that reduce a position", state_reason=now.state_reason)
    if now.loss_reached:
        limit = account.limits.max_daily_loss
        yield refusal(
            Reason.RISK_LIMIT_MAX_DAILY_LOSS,
            "the day's loss has reached max_daily_loss; until the next trading day only reducing orders",
            limit="" if limit is None else plain(limit),
            value=plain(-now.daily_pnl),
        )
    if now.unsized:
        message = f"the contract size of {now.unsized} is not known yet, and so not the account's exposure"
        yield refusal(Reason.UNKNOWN_SYMBOL, message, symbol=now.unsized)
    # A stop that waits goes by the prices to come.
    if now.stale and not candidate.held:
        message = f"market no longer confirms the price of {now.stale}; until it does only reducing orders"
        numbers = price_metadata(now) if now.stale == candidate.symbol else {}
        yield refusal(Reason.STALE_PRICE, message, symbol=now.stale, **numbers)


def price_metadata(now: Circumstances) -> dict[str, str]:
    """The last price that a check went by, its source, and its age, as an event or a refusal states them."""
    last = now.last
    if last is None:
        return {}
    numbers = {"last_price": plain(last.price), "price_age_s": f"{now.now - last.received_s:.3f}"}
    if last.time_ns:
        numbers["price_time"] = datetime.fromtimestamp(last.time_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    if last.gateway:
        numbers["price_gateway"] = last.gateway
    if now.unconfirmed_s:
        numbers["price_unconfirmed_s"] = f"{now.unconfirmed_s:.3f}"
    return numbers


def max_quantity(
    account: AccountExposure, candidate: OrderCandidate, now: Circumstances, refusals: Sequence[Violation]
) -> Decimal | None:
    """The most that would be accepted at this price; None: not limited. 0 where more than the quantity is refused."""
    limits = account.limits
    if any(violation.reason not in _OF_QUANTITY_OR_MOMENT for violation in refusals):
        return ZERO
    worth = abs(candidate.value_price) * candidate.contract_size
    most = [limits.max_order_quantity]
    if limits.max_order_notional is not None and worth:
        most.append(limits.max_order_notional / worth)
    if candidate.opens and limits.max_position_quantity is not None:
        most.append(limits.max_position_quantity - position_with_orders(account, candidate))
    if candidate.opens and limits.max_gross_notional is not None and worth:
        most.append((limits.max_gross_notional - now.gross_notional - account.pending_notional) / worth)
    bounds = [bound for bound in most if bound is not None]
    return max(ZERO, min(bounds)).quantize(_STEP, ROUND_DOWN) if bounds else None


def position_with_orders(account: AccountExposure, candidate: OrderCandidate) -> Decimal:
    """Contracts that an account has on the order's side, with the open orders that would add to them."""
    side = candidate.symbol, candidate.buys
    position = account.positions.get(side)
    return (position.quantity if position else ZERO) + account.pending.get(side, ZERO)


def _collar(account: AccountExposure, candidate: OrderCandidate, now: Circumstances) -> Iterator[Violation]:
    ratio, price = account.limits.price_collar_ratio, candidate.price
    if ratio is None or price is None or candidate.held:
        return
    if now.last is None:
        if candidate.opens:
            message = f"price_collar_ratio: there is no last price of {candidate.symbol} to compare the limit with"
            yield refusal(Reason.NO_LIQUIDITY, message, symbol=candidate.symbol)
        return
    # Of prices below zero the distance counts, too.
    last = now.last.price
    away = abs(last) * ratio
    limit = last + away if candidate.buys else last - away
    if price > limit if candidate.buys else price < limit:
        where = "above" if candidate.buys else "below"
        yield refusal(
            Reason.RISK_LIMIT_PRICE_COLLAR,
            f"price_collar_ratio: {plain(price)} is {where} {plain(limit)}, too far from the last price {plain(last)}",
            limit=plain(limit),
            value=plain(price),
            **price_metadata(now),
        )
