"""The ledger in double entry: every movement of money is a transaction whose amounts sum to 0."""

from dataclasses import dataclass
from decimal import Decimal

from redfire.enums import AccountKind, LedgerEntryKind

from services.kernel.identifiers import new_id
from services.trading.domain.account import Account
from services.trading.domain.money import ZERO

SETTLEMENT = "settlement:"
"""Prefix of the reference of a daily settlement, which is of a position; that of an expiry is of its trade."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One side of a movement; positive amounts go into the ledger account."""

    entry_id: str
    transaction_id: str
    user_id: str
    account_id: str
    ledger_account: str
    amount: Decimal
    kind: LedgerEntryKind
    reference: str
    create_time_ns: int


_CASH, _COMMISSION, _PNL = "cash:", "income:commission", "trading:pnl"
_OTHER_SIDE = {
    LedgerEntryKind.COMMISSION: _COMMISSION,
    LedgerEntryKind.REALIZED_PNL: _PNL,
    LedgerEntryKind.SETTLEMENT: _PNL,
    LedgerEntryKind.ADJUSTMENT: "venue:adjustment",
}


def post(account: Account, kind: LedgerEntryKind, into_cash: Decimal, reference: str, now_ns: int) -> list[LedgerEntry]:
    """Move money into the account's cash (out of it when negative) and return the transaction; none for 0."""
    return _post(account, kind, kind, into_cash, reference, now_ns)


def reverse(
    account: Account, kind: LedgerEntryKind, into_cash: Decimal, reference: str, now_ns: int
) -> list[LedgerEntry]:
    """Post a movement that takes one of `kind` back: a REVERSAL between the same ledger accounts."""
    return _post(account, LedgerEntryKind.REVERSAL, kind, into_cash, reference, now_ns)


def post_trade(
    account: Account, commission: Decimal, realized: Decimal, trade_id: str, now_ns: int
) -> list[LedgerEntry]:
    """Post a trade's commission and result."""
    return post(account, LedgerEntryKind.COMMISSION, -commission, trade_id, now_ns) + post(
        account, LedgerEntryKind.REALIZED_PNL, realized, trade_id, now_ns
    )


def reverse_trade(
    account: Account, commission: Decimal, realized: Decimal, trade_id: str, now_ns: int
) -> list[LedgerEntry]:
    """Take a trade's commission and result back."""
    return reverse(account, LedgerEntryKind.COMMISSION, commission, trade_id, now_ns) + reverse(
        account, LedgerEntryKind.REALIZED_PNL, -realized, trade_id, now_ns
    )


def _post(
    account: Account,
    written_as: LedgerEntryKind,
    kind: LedgerEntryKind,
    into_cash: Decimal,
    reference: str,
    now_ns: int,
) -> list[LedgerEntry]:
    if not into_cash:
        return []
    capital = "equity:paper" if account.kind is AccountKind.PAPER else "equity:live"
    transaction_id = new_id()
    entries = [
        LedgerEntry(
            new_id(),
            transaction_id,
            account.user_id,
            account.account_id,
            ledger_account,
            value,
            written_as,
            reference,
            now_ns,
        )
        for ledger_account, value in (
            (f"{_CASH}{account.account_id}", into_cash),
            (_OTHER_SIDE.get(kind, capital), -into_cash),
        )
    ]
    for entry in entries:
        add_up(account, entry)
    return entries


def add_up(account: Account, entry: LedgerEntry) -> None:
    """Count an entry in the sums that an account has of its ledger: balance, commission, realised profit."""
    if entry.ledger_account.startswith(_CASH):
        account.balance += entry.amount
    elif entry.ledger_account == _COMMISSION:
        account.commission += entry.amount
    elif entry.ledger_account == _PNL:
        account.realized_pnl -= entry.amount


def cash_of_trade(entry: LedgerEntry) -> Decimal:
    """Return what an entry moves into the cash by a trade, its `reference`, when that was booked; else 0."""
    is_trade = entry.kind in (LedgerEntryKind.COMMISSION, LedgerEntryKind.REALIZED_PNL) or (
        entry.kind is LedgerEntryKind.SETTLEMENT and not entry.reference.startswith(SETTLEMENT)
    )
    return entry.amount if is_trade and entry.ledger_account.startswith(_CASH) else ZERO
