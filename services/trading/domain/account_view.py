"""Accounts and positions as they are shown: with what follows from the last prices."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from redfire.enums import AccountKind, PositionSide

from services.trading.domain.account import Account
from services.trading.domain.money import ZERO
from services.trading.domain.position import Position
from services.trading.domain.report import AccountReport


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class AccountView:
    """An account at one moment."""

    account_id: str
    display_name: str
    kind: AccountKind
    gateway: str
    currency: str
    balance: Decimal
    available: Decimal
    margin: Decimal
    frozen: Decimal
    unrealized_pnl: Decimal
    realized_pnl: Decimal
    equity: Decimal
    commission: Decimal
    create_time_ns: int
    margin_call: bool = False
    venue: AccountReport | None = None


@dataclass(frozen=True, slots=True)
class PositionView:
    """A position at one moment."""

    account_id: str
    symbol: str
    side: PositionSide
    quantity: Decimal
    today_quantity: Decimal
    yesterday_quantity: Decimal
    frozen_quantity: Decimal
    average_price: Decimal
    last_price: Decimal | None
    unrealized_pnl: Decimal
    realized_pnl: Decimal
    margin: Decimal
    venue_difference: Decimal = ZERO


def view_account(account: Account, last_prices: Mapping[str, Decimal]) -> AccountView:
    """The account with what its positions are worth now."""
    unrealized = account.unrealized_pnl(last_prices)
    return AccountView(
        account.account_id,
        account.display_name,
        account.kind,
        account.gateway,
        account.currency,
        account.balance,
        account.balance + min(unrealized, ZERO) - account.margin - account.frozen
        if account.venue is None and account.kind is AccountKind.PAPER
        else account.available(last_prices),
        account.margin if account.venue is None or account.venue.margin is None else account.venue.margin,
        account.frozen,
        unrealized,
        account.realized_pnl,
        account.balance + unrealized,
        account.commission,
        account.create_time_ns,
        account.margin_call,
        account.venue,
    )


def view_position(position: Position, last_prices: Mapping[str, Decimal]) -> PositionView:
    """The position with what it is worth now."""
    last_price = last_prices.get(position.symbol)
    return PositionView(
        position.account_id,
        position.symbol,
        position.side,
        position.quantity,
        position.today_quantity,
        position.yesterday_quantity,
        position.frozen_quantity,
        position.average_price,
        last_price,
        position.unrealized_pnl(last_price),
        position.realized_pnl,
        position.margin,
        position.venue_difference,
    )
