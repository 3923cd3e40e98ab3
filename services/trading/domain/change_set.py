"""Changes of one step for one user: written, published, and acted on once they are durable."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Self

from redfire.enums import PositionSide

from services.kernel.data.writes import Write
from services.trading.domain.account import Account
from services.trading.domain.external_order import ExternalActivity
from services.trading.domain.instrument import Instrument
from services.trading.domain.ledger import LedgerEntry
from services.trading.domain.order import Order
from services.trading.domain.order_group import OrderGroup
from services.trading.domain.position import Position
from services.trading.domain.trade import Trade


@dataclass(frozen=True, slots=True)
class MarginCall:
    """A margin call that begins, or else is over."""

    user_id: str
    account_id: str
    begins: bool
    equity: Decimal
    margin: Decimal


@dataclass(frozen=True, slots=True)
class GroupRestatement:
    """A group whose orders stand for something else, because of what its venue took back or reported late."""

    group: OrderGroup
    cause: str
    quantity: Decimal
    unprotected_quantity: Decimal


@dataclass(slots=True)
class ChangeSet:
    """Orders, positions and accounts are written as they are at the end of the step.

    A step is a block, `with store.begin(user_id) as changes:`, in which the books are changed and the step is
    committed. A block that is left by an exception may have changed half of what it should: `abandon` then has the
    books read anew. What may refuse a step is therefore asked before it.
    """

    user_id: str
    now_ns: int
    created: dict[str, Order] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    groups: dict[str, OrderGroup] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    trade_updates: list[Trade] = field(default_factory=list)  # booked before, and busted now
    entries: list[LedgerEntry] = field(default_factory=list)
    positions: dict[tuple[str, str, PositionSide], Position] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    # Accounts whose row changed; a reservation changes only what is shown of an account.
    account_rows: dict[str, Account] = field(default_factory=dict)
    finished: list[Order] = field(default_factory=list)
    # Triggered stops that cannot be sent now and stay armed.
    rearmed: list[Order] = field(default_factory=list)
    # Exits of groups that may not be sent yet, since they would trade with their owner's orders.
    exits_held: list[Order] = field(default_factory=list)
    instruments: list[Instrument] = field(default_factory=list)
    # What gateways reported: (trading day, whether it is one of their own).
    gateways: dict[str, tuple[int, bool]] = field(default_factory=dict)
    # Orders whose outcome is known to the venue alone, and what venues have that is not ours: for the outbox.
    uncertain: list[Order] = field(default_factory=list)
    external: list[ExternalActivity] = field(default_factory=list)
    # Other rows of the same transaction.
    writes: list[Write] = field(default_factory=list)
    opened: list[Account] = field(default_factory=list)
    restated: list[GroupRestatement] = field(default_factory=list)
    margin_calls: list[MarginCall] = field(default_factory=list)
    # Once it is durable: the ids of orders to send, and of orders to cancel at the venue.
    sends: list[str] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    abandon: "Callable[[ChangeSet, BaseException], None] | None" = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None and self.abandon is not None:
            self.abandon(self, error)

    def order(self, order: Order) -> None:
        """The order changed."""
        order.update_time_ns = self.now_ns
        if order.order_id not in self.created:
            self.orders[order.order_id] = order

    def position(self, position: Position) -> None:
        """The position changed."""
        self.positions[position.account_id, position.symbol, position.side] = position

    def account(self, account: Account) -> None:
        """The account's row changed."""
        self.accounts[account.account_id] = self.account_rows[account.account_id] = account

    def __bool__(self) -> bool:
        return bool(
            self.created
            or self.orders
            or self.trades
            or self.trade_updates
            or self.entries
            or self.positions
            or self.account_rows
            or self.cancels
            or self.gateways
            or self.writes
            or self.external
        )
