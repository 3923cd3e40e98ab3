"""One account in memory: positions, working orders, what is reserved, and the sums over them."""

from collections import deque
from collections.abc import Mapping, Set
from dataclasses import dataclass
from decimal import Decimal

from services.risk.domain.behaviour import Behaviour
from services.risk.domain.limits import Limits
from services.risk.domain.order import OrderCandidate, Reservation, WorkingOrder
from services.risk.domain.resting import RestingOrders, Side

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Position:
    """One side of an account's position in a symbol."""

    quantity: Decimal
    average_price: Decimal
    unrealized_pnl: Decimal  # as trading last sent it
    last_price: Decimal | None  # likewise


class AccountExposure:
    """Positions, orders and reservations of an account.

    The sums follow each change, so that a check costs the same for a busy account.
    """

    def __init__(self, account_id: str, user_id: str, *, provisional: bool = False) -> None:
        self.account_id = account_id
        self.user_id = user_id
        # Known from a check only; trading has not sent it yet.
        self.provisional = provisional
        # Where it trades, and the market whose prices count for it (see Prices).
        self.gateway = ""
        self.market = ""
        self.create_time_ns = 0
        self.realized_pnl = ZERO
        self.commission = ZERO
        self.positions: dict[tuple[str, bool], Position] = {}  # by symbol and whether it is long
        self.orders: dict[str, WorkingOrder] = {}
        self.reservations: dict[str, Reservation] = {}
        # Contracts that opening orders and reservations would add, by symbol and whether they buy.
        self.pending: dict[tuple[str, bool], Decimal] = {}
        self.pending_notional = ZERO
        # Working orders that no cancel is on its way for, and those of them that open.
        self.resting = self.resting_opening = 0
        self.update_time_ns = 0
        self._new_reservations = 0
        self._admitted: deque[float] = deque()
        self.limits = Limits()
        # What all accounts of the user may have and do together; None: nothing is limited.
        self.together: Limits | None = None
        self.watched = False  # whether there are limits of programme trading
        self.unseen: dict[str, int] = {}  # new orders that were let through and are not seen yet, by symbol
        self.behaviour = Behaviour()
        # The resting orders of all the user's accounts, where self-trades are prevented.
        self.resting_orders: RestingOrders | None = None

    @property
    def open_orders(self) -> int:
        """Working orders, and those let through but not seen yet."""
        return len(self.orders) + self._new_reservations

    def symbols(self) -> set[str]:
        """Symbols with positions or opening orders."""
        return {symbol for symbol, _ in self.positions} | {symbol for symbol, _ in self.pending}

    def apply_order(self, order: WorkingOrder) -> None:
        """An order that works, as it is now at trading."""
        before = self.orders.pop(order.order_id, None)
        if before is not None:
            self._count(before, -1)
            self._count_resting(before, -1)
        reserved = self.reservations.get(order.order_id)
        # A replace is seen when the order has the new quantity; a new order when it is there at all.
        if reserved is not None and (not reserved.replaces or order.quantity == reserved.quantity):
            self.release(order.order_id)
        self.orders[order.order_id] = order
        self._count(order, 1)
        self._count_resting(order, 1)
        if order.changing:
            self.behaviour.confirm_cancel(order.order_id)
        if self.resting_orders is not None:
            self.place(self.resting_orders, order)

    def finish_order(self, order_id: str) -> None:
        """An order that works no more."""
        before = self.orders.pop(order_id, None)
        if before is not None:
            self._count(before, -1)
            self._count_resting(before, -1)
        if order_id in self.reservations:
            self.release(order_id)
        if self.watched:
            self.behaviour.confirm_cancel(order_id)
        if self.resting_orders is not None:
            self.resting_orders.drop(order_id)
            self.resting_orders.drop(order_id, replacing=True)

    def rest_among(self, resting: RestingOrders) -> None:
        """Put the working orders among those of the user's accounts, from now on each as it changes."""
        self.resting_orders = resting
        for order in self.orders.values():
            self.place(resting, order)

    def place(self, resting: RestingOrders, order: WorkingOrder) -> None:
        """Put an order among its user's resting ones, or take it away."""
        if order.held or order.immediate or order.price is None:
            resting.drop(order.order_id)
        else:
            resting.put(order.order_id, Side(self.gateway, order.symbol, order.buys), order.price)
        if not order.changing:
            resting.drop(order.order_id, replacing=True)

    def apply_position(self, symbol: str, long: bool, position: Position) -> None:
        """A position as it is now at trading."""
        if position.quantity:
            self.positions[symbol, long] = position
        else:
            self.positions.pop((symbol, long), None)

    def revalue(self, symbols: Set[str], sizes: Mapping[str, Decimal]) -> None:
        """Value working orders in these symbols with other contract sizes."""
        for order in self.orders.values():
            if order.symbol in symbols:
                self._count(order, -1)
                order.notional = abs(order.value_price) * order.leaves * sizes[order.symbol]
                self._count(order, 1)

    def reserve(
        self, candidate: OrderCandidate, leaves: Decimal, notional: Decimal, until: float, repeat_key: int = 0
    ) -> None:
        """Count an order that is let through until trading shows it. The same order again counts once."""
        self.release(candidate.order_id)
        reservation = Reservation(
            candidate.symbol,
            candidate.buys,
            candidate.opens,
            leaves,
            notional,
            candidate.quantity,
            candidate.value_price,
            candidate.order_id in self.orders,
            until,
            repeat_key,
        )
        self._enter(candidate.order_id, reservation)
        if self.resting_orders is not None and candidate.price is not None and not candidate.held:
            side = Side(self.gateway, candidate.symbol, candidate.buys)
            self.resting_orders.put(candidate.order_id, side, candidate.price, replacing=reservation.replaces)

    def release(self, order_id: str) -> None:
        """Stop counting a reservation, if there is one."""
        reservation = self.reservations.pop(order_id, None)
        if reservation is not None:
            self._count(reservation, -1)
            if not reservation.replaces:
                self._new_reservations -= 1
                left = self.unseen[reservation.symbol] - 1
                if left:
                    self.unseen[reservation.symbol] = left
                else:
                    del self.unseen[reservation.symbol]

    def expire(self, now: float) -> None:
        """Release what trading never showed. All are held equally long: the first one ends first."""
        while self.reservations:
            order_id, reservation = next(iter(self.reservations.items()))
            if reservation.until > now:
                return
            self._drop(order_id, reservation)

    def withdraw(self, order_id: str) -> None:
        """Forget a new order that was let through and never became one: it does not count for the rate either."""
        reservation = self.reservations.get(order_id)
        if reservation is not None and not reservation.replaces:
            self._drop(order_id, reservation)
            if self._admitted:
                self._admitted.pop()

    def _drop(self, order_id: str, reservation: Reservation) -> None:
        self.release(order_id)
        # It never became an order.
        self.behaviour.forget(reservation.repeat_key, order_id)
        if self.resting_orders is not None and (reservation.replaces or order_id not in self.orders):
            self.resting_orders.drop(order_id, replacing=reservation.replaces)

    def adopt(self, old: "AccountExposure") -> None:
        """Take over what trading does not know of from the exposure before a new snapshot."""
        self._admitted, self.behaviour = old._admitted, old.behaviour
        for order_id, reservation in old.reservations.items():
            order = self.orders.get(order_id)
            if order is None or (reservation.replaces and order.quantity != reservation.quantity):
                self._enter(order_id, reservation)

    def orders_in_last_second(self, now: float) -> int:
        """Orders admitted in the second that ends now."""
        while self._admitted and self._admitted[0] <= now - 1.0:
            self._admitted.popleft()
        return len(self._admitted)

    def admit(self, now: float) -> None:
        """Count an admitted order for the rate."""
        self._admitted.append(now)

    def _enter(self, order_id: str, reservation: Reservation) -> None:
        self.reservations[order_id] = reservation
        self._count(reservation, 1)
        if not reservation.replaces:
            self._new_reservations += 1
            self.unseen[reservation.symbol] = self.unseen.get(reservation.symbol, 0) + 1

    def _count_resting(self, order: WorkingOrder, sign: int) -> None:
        if not order.cancelling:
            self.resting += sign
            self.resting_opening += sign * order.opens

    def _count(self, order: WorkingOrder | Reservation, sign: int) -> None:
        if not order.opens:
            return
        key = order.symbol, order.buys
        left = self.pending.get(key, ZERO) + sign * order.leaves
        if left:
            self.pending[key] = left
        else:
            self.pending.pop(key, None)
        self.pending_notional += sign * order.notional
