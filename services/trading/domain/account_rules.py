"""Rules of what an account may trade: by its kind, its gateway, its currency, and whether it may open anything now."""

from collections.abc import Mapping

from redfire.enums import AccountKind, PositionEffect
from redfire.reasons import Reason

from services.kernel.decimals import plain
from services.kernel.errors import FailedPrecondition, RedFireError
from services.trading.domain.account import Account
from services.trading.domain.cache import TradingCache
from services.trading.domain.instrument import Instrument
from services.trading.domain.order import STOP_TYPES, NewOrder


class GatewayNotAllowed(FailedPrecondition):
    """Paper accounts trade at simulated gateways, live ones at the real one that an administrator opened them for."""

    reason = Reason.GATEWAY_NOT_ALLOWED


class CurrencyMismatch(FailedPrecondition):
    """The instrument's currency is not the account's, and no rate is configured."""

    reason = Reason.CURRENCY_MISMATCH


class ContractExpired(FailedPrecondition):
    """The contract's last trading day is over."""

    reason = Reason.CONTRACT_EXPIRED


class MarginCalled(FailedPrecondition):
    """The equity is below the margin: only what reduces passes."""

    reason = Reason.MARGIN_CALL


class NotReported(FailedPrecondition):
    """The gateway has not reported the account since the platform started: nobody knows what it may use."""

    reason = Reason.INSUFFICIENT_FUNDS


def gateway_violation(kind: AccountKind, gateway: str, simulated: Mapping[str, bool]) -> GatewayNotAllowed | None:
    """Violations by accounts of a kind that trade at a gateway; `simulated` has each gateway that the engine knows."""
    is_simulated = simulated.get(gateway)
    if is_simulated is None:
        return GatewayNotAllowed(f"there is no gateway {gateway}", gateway=gateway)
    if is_simulated is (kind is AccountKind.PAPER):
        return None
    nature = "simulated" if is_simulated else "real"
    return GatewayNotAllowed(f"{gateway} is a {nature} gateway, the account is {kind.name}", gateway=gateway)


class MarketClosed(FailedPrecondition):
    """The market is not in a session, and the exchanges' hours are kept."""

    reason = Reason.MARKET_CLOSED


def account_violations(
    cache: TradingCache, account: Account, instrument: Instrument, order: NewOrder
) -> list[RedFireError]:
    """Violations by any order of the account in the instrument now, whatever its quantity and price."""
    violations: list[RedFireError] = []
    # A gateway that is not known yet is not connected, which is reported anyway.
    if account.gateway in cache.simulated:
        violation = gateway_violation(account.kind, account.gateway, cache.simulated)
        if violation is not None:
            violations.append(violation)
    if cache.is_expired(account.gateway, instrument):
        violations.append(ContractExpired(symbol=instrument.symbol, expire_date=str(instrument.expire_date)))
    elif cache.enforces_sessions and not (
        order.type in STOP_TYPES or cache.days.takes_orders(account.gateway, instrument.symbol)  # stops wait here
    ):
        violations.append(MarketClosed(f"{instrument.symbol} is not in a session now", symbol=instrument.symbol))
    if order.position_effect is not PositionEffect.OPEN:
        return violations
    if cache.currencies.terms(instrument, account.currency) is None:
        text = f"{instrument.symbol} is in {instrument.currency}, the account in {account.currency}, and no rate is set"
        violations.append(CurrencyMismatch(text, currency=instrument.currency, account_currency=account.currency))
    if account.margin_call:
        equity = account.equity(cache.last_prices.of(account.gateway))
        violations.append(MarginCalled(equity=plain(equity), margin=plain(account.margin)))
    if account.kind is AccountKind.LIVE and not account.is_reported:
        violations.append(NotReported(f"{account.gateway} has not reported the account yet", gateway=account.gateway))
    return violations
