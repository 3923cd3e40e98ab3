"""What an account has at stake, as a picture of one moment."""

from dataclasses import dataclass
from decimal import Decimal

from services.risk.domain.book import ZERO, AccountBook
from services.risk.domain.portfolio import Portfolio


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


@dataclass(frozen=True, slots=True)
class Exposure:
    """Exposure of an account. `update_time_ns` is that of the last tick or order, 0 when there was none."""

    account_id: str
    gross_notional: Decimal
    net_notional: Decimal
    open_orders: int
    unrealized_pnl: Decimal
    daily_pnl: Decimal
    symbols: tuple[SymbolExposure, ...]
    update_time_ns: int


def exposure_of(portfolio: Portfolio, book: AccountBook) -> Exposure:
    """The exposure of an account now."""
    symbols = tuple(_of_symbol(portfolio, book, symbol) for symbol in sorted(book.symbols()))
    ticks = (portfolio.prices.time_ns(book.market, exposure.symbol) for exposure in symbols)
    return Exposure(
        account_id=book.account_id,
        gross_notional=sum((exposure.gross_notional for exposure in symbols), ZERO),
        net_notional=sum((exposure.net_notional for exposure in symbols), ZERO),
        open_orders=book.open_orders,
        unrealized_pnl=sum((exposure.unrealized_pnl for exposure in symbols), ZERO),
        daily_pnl=portfolio.daily_pnl(book),
        symbols=symbols,
        update_time_ns=max(book.update_time_ns, *ticks, 0),
    )


def _of_symbol(portfolio: Portfolio, book: AccountBook, symbol: str) -> SymbolExposure:
    quantities, notionals, unrealized = {True: ZERO, False: ZERO}, {True: ZERO, False: ZERO}, ZERO
    for long in (True, False):
        position = book.positions.get((symbol, long))
        if position is not None:
            quantities[long] = position.quantity
            notionals[long] = portfolio.notional(book, symbol, long)
            unrealized += portfolio.unrealized_pnl(book, symbol, long)
    return SymbolExposure(
        symbol=symbol,
        long_quantity=quantities[True],
        short_quantity=quantities[False],
        pending_buy_quantity=book.pending.get((symbol, True), ZERO),
        pending_sell_quantity=book.pending.get((symbol, False), ZERO),
        net_notional=notionals[True] - notionals[False],
        gross_notional=abs(notionals[True]) + abs(notionals[False]),
        unrealized_pnl=unrealized,
    )
