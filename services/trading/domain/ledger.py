"""The ledger in double entry: every movement of money is a transaction whose amounts sum to 0."""

from dataclasses import dataclass
from decimal import Decimal

from redfire.enums import AccountKind, LedgerEntryKind

from services.kernel.identifiers import new_id
from services.trading.domain.account import Account


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


_OTHER_SIDE = {
    LedgerEntryKind.COMMISSION: "income:commission",
    LedgerEntryKind.REALIZED_PNL: "trading:pnl",
    LedgerEntryKind.SETTLEMENT: "trading:pnl",
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
    account.balance += into_cash
    if kind is LedgerEntryKind.COMMISSION:
        account.commission -= into_cash
    elif kind in (LedgerEntryKind.REALIZED_PNL, LedgerEntryKind.SETTLEMENT):
        account.realized_pnl += into_cash
    capital = "equity:paper" if account.kind is AccountKind.PAPER else "equity:live"
    transaction_id = new_id()
    return [
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
            (f"cash:{account.account_id}", into_cash),
            (_OTHER_SIDE.get(kind, capital), -into_cash),
        )
    ]
