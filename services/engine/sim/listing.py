"""An instrument at the simulated exchange: its order book, its limits, and the checks of quantities and prices."""

from dataclasses import dataclass, replace
from decimal import Decimal

from redfire.reasons import Reason

from services.engine.feeds.quote import Quote
from services.engine.sim.order import SimOrder
from services.quant.catalogue import Instrument
from services.quant.matching import Book, Level, MatchOrder


class Refused(Exception):
    """The exchange refuses an order or an amendment."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason, self.message = reason, message
        super().__init__(message)


@dataclass(slots=True)
class Listing:
    """An instrument with its order book and the last snapshot."""

    instrument: Instrument
    tick: float
    lot: float
    book: Book
    limit_up: float = 0.0
    limit_down: float = 0.0
    quote: Quote | None = None
    # False until the book has the levels of `quote`. Most snapshots meet no order, and are not made levels at all.
    shown: bool = True

    def show(self) -> Book:
        """The book, with the last snapshot's levels."""
        if not self.shown:
            self.book.show(*self.take_levels())
        return self.book

    def take_levels(self) -> tuple[list[Level], list[Level]]:
        """The last snapshot's bids and asks in ticks and lots, best first; its quantities are in the book from now."""
        assert self.quote is not None
        self.shown = True
        tick, lot = self.tick, self.lot
        bids, asks = (
            [Level(round(price / tick), int(quantity / lot + 1e-9)) for price, quantity in levels]
            for levels in (self.quote.bids, self.quote.asks)
        )
        bids.sort(key=lambda level: -level.price)
        asks.sort(key=lambda level: level.price)
        return bids, asks


def match_order(listing: Listing, order: SimOrder) -> MatchOrder:
    """The open part of an order, as the matching takes it: in lots and ticks."""
    price = None if order.price is None else int(order.price / listing.instrument.price_tick)
    buy = order.request.side.value == "BUY"
    return MatchOrder(order.venue_order_id, buy, price, lots(listing, order.left), order.priority)


def would_take(listing: Listing, order: SimOrder, price: Decimal | None = None) -> bool:
    """Return true when an order, with another price if given, would trade at once."""
    taker = match_order(listing, order)
    if price is not None:
        taker = replace(taker, price=int(price / listing.instrument.price_tick))
    return listing.show().reachable(taker) > 0


def lots(listing: Listing, quantity: Decimal) -> int:
    """A quantity in steps of the instrument."""
    return int(quantity / listing.instrument.quantity_step)


def check_quantity(instrument: Instrument, quantity: Decimal) -> None:
    """Raises: Refused for a quantity below the least one, or between two steps."""
    if quantity < instrument.min_quantity or quantity % instrument.quantity_step:
        what = f"at least {instrument.min_quantity}, in steps of {instrument.quantity_step}"
        raise Refused(Reason.QUANTITY_OFF_STEP, f"quantity {quantity}: it must be {what}")


def check_price(listing: Listing, price: Decimal | None) -> None:
    """Raises: Refused for no price, one between two ticks, and one outside of the day's limits."""
    tick = listing.instrument.price_tick
    if price is None or price <= 0:
        raise Refused(Reason.INVALID_FIELD, "a limit order needs a price above 0")
    if price % tick:
        raise Refused(Reason.PRICE_OFF_TICK, f"price {price}: it must be a multiple of {tick}")
    ticks = float(price / tick)
    up, down = listing.limit_up, listing.limit_down
    if (up and ticks > up / listing.tick + 1e-6) or (down and ticks < down / listing.tick - 1e-6):
        raise Refused(Reason.PRICE_OUTSIDE_LIMITS, f"price {price}: today's limits are {down} and {up}")
