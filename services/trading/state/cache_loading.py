"""Loading of the cache with the rows that were read from the database."""

from redfire.enums import PositionSide

from services.trading.domain import external_booking
from services.trading.domain.cache import TradingCache
from services.trading.repository import Loaded


def load_cache(cache: TradingCache, loaded: Loaded) -> None:
    """Put what is open of some users into the cache, which has nothing of them yet."""
    for instrument in loaded.instruments:
        cache.instruments.setdefault(instrument.symbol, instrument)
    for account in loaded.accounts:
        cache.add_account(account)
    for account_id, symbol, side, realized in loaded.realized:
        cache.accounts[account_id].realized_of[symbol, PositionSide(side)] = realized
    for trade in loaded.external_trades:
        external_booking.remember(cache.accounts[trade.account_id], trade)
    for position in loaded.positions:
        cache.add_position(position)
    for order in loaded.orders:
        cache.add_order(order)
    for group in loaded.order_groups:
        cache.add_group(group)
        for order in group.orders:
            if not order.is_open:
                cache.remember_finished(order)
