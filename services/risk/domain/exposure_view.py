"""Exposure of an account at one moment."""

from dataclasses import dataclass
from decimal import Decimal

from services.risk.domain.account_exposure import ZERO, AccountExposure
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.prices import PriceView


@dataclass(frozen=True, slots=True)
class SymbolExposure:
    """Exposure in one instrument."""

    symbol: str
    long_quantity: Decimal
    short_quantity: Decimal
    pending_buy_quantity: Decimal
    pending_sell_quantity: Decimal
    net_notional: Decimal
    gross_notional: Decimal
    unrealized_pnl: Decimal
    last: PriceView | None  # None where it is valued by what trading knows


@dataclass(frozen=True, slots=True)
class ExposureView:
    """Exposure of an account. `update_time_ns` is that of the last tick or order, 0 when there was none."""

    account_id: str
    gross_notional: Decimal
    net_notional: Decimal
    open_orders: int
    unrealized_pnl: Decimal
    daily_pnl: Decimal
    symbols: tuple[SymbolExposure, ...]
    update_time_ns: int


def view_exposure(portfolio: Portfolio, account: AccountExposure, now_s: float) -> ExposureView:
    """The exposure of an account now, in monotonic seconds."""
    symbols = tuple(_of_symbol(portfolio, account, symbol, now_s) for symbol in sorted(account.symbols()))
    ticks = (portfolio.prices.time_ns(account.market, exposure.symbol) for exposure in symbols)
    return ExposureView(
        account_id=account.account_id,
        gross_notional=sum((exposure.gross_notional for exposure in symbols), ZERO),
        net_notional=sum((exposure.net_notional for exposure in symbols), ZERO),
        open_orders=account.open_orders,
        unrealized_pnl=sum((exposure.unrealized_pnl for exposure in symbols), ZERO),
        daily_pnl=portfolio.daily_pnl(account),
        symbols=symbols,
        update_time_ns=max(account.update_time_ns, *ticks, 0),
    )


def _of_symbol(portfolio: Portfolio, account: AccountExposure, symbol: str, now_s: float) -> SymbolExposure:
    quantities, notionals, unrealized = {True: ZERO, False: ZERO}, {True: ZERO, False: ZERO}, ZERO
    for long in (True, False):
        position = account.positions.get((symbol, long))
        if position is not None:
            quantities[long] = position.quantity
            notionals[long] = portfolio.notional(account, symbol, long)
            unrealized += portfolio.unrealized_pnl(account, symbol, long)
    return SymbolExposure(
        symbol=symbol,
        long_quantity=quantities[True],
        short_quantity=quantities[False],
        pending_buy_quantity=account.pending.get((symbol, True), ZERO),
        pending_sell_quantity=account.pending.get((symbol, False), ZERO),
        net_notional=notionals[True] - notionals[False],
        gross_notional=abs(notionals[True]) + abs(notionals[False]),
        unrealized_pnl=unrealized,
        last=portfolio.prices.view(account.market, symbol, now_s),
    )
