"""Adjustments of a LIVE account's positions to those of its gateway, where the books differ.

A difference is taken over when it was the same for `SETTLES_S`, in which the gateway reported `REPORTS` times of its
account, all its trades of the day were read, and no fill was on its way: gateways report positions by another way than
of trades, and later (vnpy's for CTP asks for account and positions in turn, each every four seconds). A new line begins
anew: it may not have reported its positions yet. What is taken over wrongly all the same, because a trade of it comes
later still, that trade puts right (external_trades).
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from redfire.enums import PositionSide

from services.kernel.errors import RedFireError
from services.trading.domain.account import Account, net_quantities
from services.trading.domain.external_booking import adjust
from services.trading.domain.money import ZERO
from services.trading.domain.order import Delivery
from services.trading.domain.report import PositionReport, VenueState
from services.trading.peers.instruments import Instruments
from services.trading.peers.quotes import Quotes
from services.trading.state.store import TradingStore

log = logging.getLogger(__name__)
SETTLES_S = 10.0
REPORTS = 2


@dataclass(frozen=True, slots=True)
class PositionDifference:
    """A position that a gateway and the books see differently."""

    gateway: str
    symbol: str
    side: PositionSide
    venue_quantity: Decimal
    book_quantity: Decimal
    # Since when it is shown: 0 until it was seen twice.
    since_ns: int
    # When it was seen first, and how many account reports of this line had come by then.
    seen_ns: int = 0
    account_reports: int = 0

    @property
    def quantity(self) -> Decimal:
        """The venue's less the books'."""
        return self.venue_quantity - self.book_quantity


class PositionAdjustments:
    """Brings LIVE accounts' positions to their gateways'."""

    def __init__(self, store: TradingStore, instruments: Instruments, quotes: Quotes) -> None:
        self._store = store
        self._instruments = instruments
        self._quotes = quotes
        self._unbookable: set[tuple[str, str]] = set()

    def applies_to(self, gateway: str) -> bool:
        """Return whether the gateway has a LIVE account."""
        return self._store.cache.live_account(gateway) is not None

    def show(self, gateway: str, differences: Mapping[tuple[str, PositionSide], PositionDifference]) -> None:
        """Show of each position of the LIVE account what its gateway holds more."""
        account = self._store.cache.live_account(gateway)
        if account is None:
            return
        with self._store.begin(account.user_id) as changes:
            for key, position in account.positions.items():
                difference = differences.get(key)
                more = ZERO if difference is None or not difference.since_ns else difference.quantity
                if position.venue_difference != more:
                    position.venue_difference = more
                    changes.position(position)
            if changes:
                self._store.commit(changes)

    async def book_settled(
        self, differences: Iterable[PositionDifference], state: VenueState, account_reports: int
    ) -> list[PositionDifference]:
        """Book those that have settled; what was booked. `account_reports` counts those of this line."""
        if any(report.kind == "position" for report in state.unreadable):
            return []
        return [
            difference
            for difference in differences
            if self._has_settled(difference, account_reports) and await self._book(difference, state.positions)
        ]

    def _has_settled(self, difference: PositionDifference, account_reports: int) -> bool:
        account = self._store.cache.live_account(difference.gateway)
        return (
            account is not None
            and account.is_reported
            and account_reports >= difference.account_reports + REPORTS
            and self._store.clock.now_ns() - difference.seen_ns >= SETTLES_S * 1e9
        )

    async def _book(self, difference: PositionDifference, reports: Iterable[PositionReport]) -> bool:
        cache, symbol, side = self._store.cache, difference.symbol, difference.side
        mine = [one for one in reports if (one.symbol, one.side) == (symbol, side)]
        try:
            instrument = await self._instruments.require(symbol)
            await self._quotes.fetch(symbol, difference.gateway)
        except RedFireError as error:
            if (difference.gateway, symbol) not in self._unbookable:
                self._unbookable.add((difference.gateway, symbol))
                log.error("the position in %s cannot be taken over: %s", symbol, error.message)
            return False
        # What follows is one step: the books are as they were compared, or it is left for the next time.
        account = cache.live_account(difference.gateway)
        held = net_quantities(cache.accounts.values(), difference.gateway).get((symbol, side), ZERO)
        if not self._store.is_open or account is None or held != difference.book_quantity:
            return False
        if cache.is_expired(difference.gateway, instrument) or _has_fills_to_come(self._store, account, symbol):
            return False
        today, older = _parts(account, difference, sum((one.yesterday_quantity for one in mine), ZERO))
        last = cache.last_prices.of(difference.gateway).get(symbol)
        cost = next((one.average_price for one in mine if one.average_price is not None), None)
        position = account.positions.get((symbol, side))
        price = cost or last if difference.quantity > 0 else last or cost or (position and position.average_price)
        if not price or not (today or older):
            return False
        with self._store.begin(account.user_id) as changes:
            if position is not None:
                position.venue_difference = ZERO
            adjust(cache, account, symbol, side, today, older, price, difference.seen_ns, changes)
            written = self._store.commit(changes)
        await asyncio.wait([written])
        return True


def _has_fills_to_come(store: TradingStore, account: Account, symbol: str) -> bool:
    """Return whether the venue counts fills that were not reported, or an order is on its way to it."""
    return any(
        leg.announced > leg.filled or leg.delivery is Delivery.SENDING
        for order in store.cache.open_orders(account.account_id)
        if order.symbol == symbol
        for leg in order.legs
    )


def _parts(account: Account, difference: PositionDifference, venue_older: Decimal) -> tuple[Decimal, Decimal]:
    """Split a difference into today's and before's, so that the account's contracts of before are the venue's."""
    position = account.positions.get((difference.symbol, difference.side))
    held_today = position.today_quantity if position is not None else ZERO
    held_older = position.yesterday_quantity if position is not None else ZERO
    quantity = difference.quantity
    if quantity > 0:
        older = min(max(venue_older - held_older, ZERO), quantity)
        return quantity - older, older
    closed = min(-quantity, held_today + held_older)
    older = min(max(held_older - venue_older, closed - held_today, ZERO), closed, held_older)
    return older - closed, -older
