"""An account: its money and its positions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from redfire.enums import AccountKind, PositionSide

from services.trading.domain import money
from services.trading.domain.money import ZERO
from services.trading.domain.position import Position
from services.trading.domain.report import AccountReport
from services.trading.domain.trade import Trade


@dataclass(slots=True)
class Account:
    """`balance` is the sum of the account's cash entries, `frozen` what its open orders hold, always."""

    account_id: str
    user_id: str
    display_name: str
    kind: AccountKind
    gateway: str
    currency: str
    create_time_ns: int
    # The key of idempotency of its opening.
    request_id: str
    balance: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    commission: Decimal = ZERO
    # In memory only.
    frozen: Decimal = ZERO
    margin: Decimal = ZERO
    positions: dict[tuple[str, PositionSide], Position] = field(default_factory=dict)
    # What positions that are flat now have realised: the next one of its symbol and side goes on from there.
    realized_of: dict[tuple[str, PositionSide], Decimal] = field(default_factory=dict)
    # The equity is below the margin: only what reduces passes.
    margin_call: bool = False
    # Of a LIVE account: what its gateway reported last, and whether it did since the books were read.
    venue: AccountReport | None = None
    is_reported: bool = False
    # What was accepted since: (when, how much); and what older orders hold that are not at the venue.
    used: list[tuple[int, Decimal]] = field(default_factory=list)
    waiting: Decimal = ZERO
    # Whether a fill was booked since the last report, and a difference that the next one must confirm.
    traded: bool = False
    suspected: Decimal | None = None
    # Of a LIVE account: its trades of late that no order made, by the venue's id (external_trades).
    external_trades: dict[str, Trade] = field(default_factory=dict)

    def drop_flat(self, position: Position) -> None:
        """Keep of a position that is flat only what it realised."""
        if not position.quantity:
            del self.positions[position.key]
            self.realized_of[position.key] = position.realized_pnl

    def unrealized_pnl(self, last_prices: Mapping[str, Decimal]) -> Decimal:
        """The profit of closing all positions at the last prices."""
        result = ZERO
        for position in self.positions.values():
            result += position.unrealized_pnl(last_prices.get(position.symbol))
        return result

    def equity(self, last_prices: Mapping[str, Decimal]) -> Decimal:
        """The balance after closing all positions at the last prices."""
        return self.balance + self.unrealized_pnl(last_prices)

    def available(self, last_prices: Mapping[str, Decimal]) -> Decimal:
        """Funds that new orders may use: losses count at once, profits only when they are realised.

        Of a LIVE account what the gateway reported less what was accepted since, and 0 before it reported.
        """
        if self.kind is AccountKind.LIVE:
            if self.venue is None or not self.is_reported:
                return ZERO
            return self.venue.available - self.waiting - money.total(used for _, used in self.used)
        return self.balance + min(self.unrealized_pnl(last_prices), ZERO) - self.margin - self.frozen


def net_quantities(accounts: Iterable[Account], gateway: str) -> dict[tuple[str, PositionSide], Decimal]:
    """Return the sum of the accounts' positions at a gateway."""
    result: dict[tuple[str, PositionSide], Decimal] = {}
    for account in accounts:
        if account.gateway == gateway:
            for key, position in account.positions.items():
                result[key] = result.get(key, ZERO) + position.quantity
    return result
