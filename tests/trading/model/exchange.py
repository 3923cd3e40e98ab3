"""The exchange of the model: its own book of truth, whatever was reported of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal as D

from redfire.common.v1 import common_pb2 as common
from redfire.engine.v1 import engine_pb2

OPEN_STATUSES = frozenset({common.ORDER_STATUS_NEW, common.ORDER_STATUS_PARTIALLY_FILLED})
CLOSES = frozenset(
    {common.POSITION_EFFECT_CLOSE, common.POSITION_EFFECT_CLOSE_TODAY, common.POSITION_EFFECT_CLOSE_YESTERDAY}
)


@dataclass(frozen=True)
class Listing:
    """An instrument, and the gateway that serves it."""

    symbol: str
    gateway: str
    contract_size: str
    price_tick: str
    price: int
    splits_closes: bool = False  # SHFE and INE: CLOSE means yesterday's


# SIM keeps every time in force and amends; TTS, as CTP, knows only its trading day.
LISTINGS = {
    listing.symbol: listing
    for listing in (
        Listing("IF2606.CFFEX", "SIM", "300", "1", 4000),
        Listing("rb2610.SHFE", "SIM", "10", "1", 3500, splits_closes=True),
        Listing("cu2609.SHFE", "TTS", "5", "10", 70000, splits_closes=True),
        Listing("i2609.DCE", "TTS", "100", "1", 800),
    )
}
SYMBOLS = tuple(LISTINGS)
GATEWAYS = ("SIM", "TTS")
KEEPS_ORDERS = frozenset({"SIM"})


@dataclass
class VenueOrder:
    """An order at the exchange. `reference` is empty for somebody else's."""

    reference: str
    venue_order_id: str
    gateway: str
    symbol: str
    side: int
    type: int
    time_in_force: int
    effect: int
    quantity: D
    price: D | None
    account_id: str = ""
    expire_ns: int = 0
    filled: D = D(0)
    status: int = common.ORDER_STATUS_NEW
    reason: int = 0
    message: str = ""
    day: int = 0
    frozen_today: D = D(0)
    frozen_yesterday: D = D(0)
    # The line that carried it does not know any more whose it is.
    anonymous: bool = False
    # The order of ours that an administrator made of it.
    adopted: str = ""

    @property
    def owner(self) -> str:
        """The order of ours that it is, as trading can know; empty for somebody else's."""
        return self.adopted or ("" if self.anonymous else self.reference[:36])

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def leaves(self) -> D:
        return self.quantity - self.filled if self.is_open else D(0)

    @property
    def closing(self) -> bool:
        return self.effect in CLOSES


@dataclass
class VenueTrade:
    """A fill, as it is now: its price may be corrected, and it may be taken back."""

    venue_trade_id: str
    reference: str
    venue_order_id: str
    gateway: str
    symbol: str
    side: int
    effect: int
    price: D
    quantity: D
    trading_day: int
    time_ns: int
    of_today: D  # how much of a close took contracts of that day
    busted: bool = False
    corrected: bool = False


@dataclass(frozen=True)
class FillReport:
    """A report of a trade: new, busted, or corrected."""

    trade: VenueTrade
    kind: int
    price: D
    quantity: D


@dataclass
class Holding:
    """The holding of a symbol on one side, by everybody who trades by this line."""

    today: D = D(0)
    yesterday: D = D(0)
    frozen_today: D = D(0)
    frozen_yesterday: D = D(0)


@dataclass
class Exchange:
    """Orders, trades and holdings. Prices do not matter to it: it fills what it is made to fill."""

    trading_day: int
    orders: dict[str, VenueOrder] = field(default_factory=dict)
    trades: list[VenueTrade] = field(default_factory=list)
    # All reports of trades, in order.
    tape: list[FillReport] = field(default_factory=list)
    holdings: dict[tuple[str, int], Holding] = field(default_factory=dict)
    by_reference: dict[str, VenueOrder] = field(default_factory=dict)
    # What must never happen, and did.
    violations: list[str] = field(default_factory=list)
    # The most that was ever asked for of an order.
    most_of: Callable[[str], D] = lambda order_id: D("Infinity")
    # The other orders of an order's group.
    siblings_of: Callable[[str], set[str]] = lambda order_id: set()
    _count: int = 0

    def holding(self, symbol: str, side: int) -> Holding:
        return self.holdings.setdefault((symbol, side), Holding())

    def next_id(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def accept(self, order: VenueOrder) -> str:
        """Take an order; answers why not, or the empty string."""
        order.day = self.trading_day
        base = order.reference[:36]
        if order.reference:
            if order.reference in self.by_reference:
                self.violations.append(f"sent twice: {order.reference}")
            legs = [other for other in self.orders.values() if other.reference[:36] == base]
            siblings = self.siblings_of(base) if order.closing else set()
            # A close may be split into today's and yesterday's; a group's exit grows by another leg.
            if any(leg.is_open and (leg.effect == order.effect or not order.closing) for leg in legs) and not siblings:
                self.violations.append(f"two live legs: {order.reference}")
            # What an exit had closed and the venue took back, its group closes again.
            gone = self.busted_of(base) if siblings else D(0)
            if sum(leg.filled + leg.leaves for leg in legs) + order.quantity - gone > self.most_of(base):
                self.violations.append(f"more than asked for may be filled: {order}, after {legs}")
            for other in self.orders.values():
                if other.reference[:36] in siblings and other.is_open and other.closing:
                    self.violations.append(f"two closing orders of a group: {other.reference}, {order.reference}")
            self.by_reference[order.reference] = order
        self.orders[order.venue_order_id] = order
        if order.closing and not self._freeze(order, order.quantity):
            self._end(order, common.ORDER_STATUS_REJECTED)
            return "not that much to close"
        return ""

    def busted_of(self, base: str) -> D:
        """The quantity of an order's busted trades."""
        return sum((trade.quantity for trade in self.trades if trade.busted and trade.reference[:36] == base), D(0))

    def fill(self, order: VenueOrder, quantity: D, price: D, now_ns: int) -> FillReport:
        """Trade some of an order."""
        quantity = min(quantity, order.leaves)
        holding = self.holding(order.symbol, self.held_side(order))
        of_today = D(0)
        if order.closing:
            first = min(quantity, order.frozen_yesterday)
            of_today = quantity - first
            order.frozen_yesterday -= first
            order.frozen_today -= of_today
            holding.frozen_yesterday -= first
            holding.frozen_today -= of_today
            holding.yesterday -= first
            holding.today -= of_today
        else:
            holding.today += quantity
        order.filled += quantity
        done = order.filled >= order.quantity
        order.status = common.ORDER_STATUS_FILLED if done else common.ORDER_STATUS_PARTIALLY_FILLED
        trade = VenueTrade(
            self.next_id("t"), order.reference, order.venue_order_id, order.gateway, order.symbol, order.side,
            order.effect, price, quantity, self.trading_day, now_ns, of_today,
        )  # fmt: skip
        self.trades.append(trade)
        return self._report(trade, engine_pb2.TRADE_UPDATE_KIND_NEW)

    def bust(self, trade: VenueTrade) -> FillReport:
        """Take a trade back: what it opened is gone, what it closed is there again."""
        order = self.orders[trade.venue_order_id]
        holding = self.holding(trade.symbol, self.held_side(order))
        if order.closing:
            holding.today += trade.of_today
            holding.yesterday += trade.quantity - trade.of_today
        else:
            holding.today -= trade.quantity
        trade.busted = True
        return self._report(trade, engine_pb2.TRADE_UPDATE_KIND_BUST)

    def correct(self, trade: VenueTrade, price: D) -> FillReport:
        """Give a trade another price."""
        trade.price, trade.corrected = price, True
        return self._report(trade, engine_pb2.TRADE_UPDATE_KIND_CORRECTION)

    def _report(self, trade: VenueTrade, kind: int) -> FillReport:
        report = FillReport(trade, kind, trade.price, trade.quantity)
        self.tape.append(report)
        return report

    def amend(self, order: VenueOrder, quantity: D, price: D | None) -> bool:
        """Change an order in place; False when it cannot be."""
        if not order.is_open or quantity <= order.filled:
            return False
        if order.closing and quantity > order.quantity and not self._freeze(order, quantity - order.quantity):
            return False
        if order.closing and quantity < order.quantity:
            self._thaw(order, order.quantity - quantity)
        order.quantity, order.price = quantity, price
        return True

    def end(self, order: VenueOrder, status: int, reason: int = 0, message: str = "") -> bool:
        """Cancel, expire or refuse an order; False when it is over."""
        if not order.is_open:
            return False
        order.reason, order.message = reason, message
        self._end(order, status)
        return True

    def begin_day(self, trading_day: int, now_ns: int) -> list[VenueOrder]:
        """The next trading day; answers the orders that ended with the last one."""
        ended = []
        for order in self.orders.values():
            kept = order.gateway in KEEPS_ORDERS and (
                order.time_in_force == common.TIME_IN_FORCE_GTC
                or (order.time_in_force == common.TIME_IN_FORCE_GTD and order.expire_ns > now_ns)
            )
            if order.is_open and not kept:
                self.end(order, common.ORDER_STATUS_EXPIRED)
                ended.append(order)
            order.frozen_yesterday += order.frozen_today
            order.frozen_today = D(0)
        self.trading_day = trading_day
        for holding in self.holdings.values():
            holding.yesterday += holding.today
            holding.frozen_yesterday += holding.frozen_today
            holding.today = holding.frozen_today = D(0)
        return ended

    def _end(self, order: VenueOrder, status: int) -> None:
        if order.closing:
            self._thaw(order, order.frozen_today + order.frozen_yesterday)
        order.status = status

    def _freeze(self, order: VenueOrder, quantity: D) -> bool:
        holding = self.holding(order.symbol, self.held_side(order))
        today, yesterday = holding.today - holding.frozen_today, holding.yesterday - holding.frozen_yesterday
        if order.effect == common.POSITION_EFFECT_CLOSE_TODAY:
            yesterday = D(0)
        elif order.effect == common.POSITION_EFFECT_CLOSE_YESTERDAY or LISTINGS[order.symbol].splits_closes:
            today = D(0)
        if today + yesterday < quantity:
            return False
        first = min(quantity, yesterday)
        order.frozen_yesterday += first
        order.frozen_today += quantity - first
        holding.frozen_yesterday += first
        holding.frozen_today += quantity - first
        return True

    def _thaw(self, order: VenueOrder, quantity: D) -> None:
        holding = self.holding(order.symbol, self.held_side(order))
        today = min(quantity, order.frozen_today)
        order.frozen_today -= today
        order.frozen_yesterday -= quantity - today
        holding.frozen_today -= today
        holding.frozen_yesterday -= quantity - today

    @staticmethod
    def held_side(order: VenueOrder) -> int:
        """The side of what it opens or closes."""
        opens_long = (order.side == common.SIDE_BUY) != order.closing
        return common.POSITION_SIDE_LONG if opens_long else common.POSITION_SIDE_SHORT
