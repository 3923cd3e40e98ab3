"""Checks of money and positions, in one pass over ledger and trades in the order of time.

Of what is not over yet (a transaction of which one side was read, a trade whose entries come) only the difference is
kept, and forgotten when it is 0: so memory depends on accounts and positions, not on the number of trades.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from redfire.enums import PositionSide, Side

from services.trading.domain import ledger, money
from services.trading.domain.account import Account
from services.trading.domain.external_booking import ADJUSTMENT
from services.trading.domain.instrument import Instrument
from services.trading.domain.ledger import LedgerEntry
from services.trading.domain.money import SCALE, ZERO
from services.trading.domain.position import Position
from services.trading.domain.trade import Trade
from services.trading.verify.finding import Finding, Findings

SIDES = (PositionSide.LONG, PositionSide.SHORT)
PositionKey = tuple[str, str, PositionSide]
Progress = Callable[[], None]


@dataclass(slots=True)
class _CashFlow:
    """Cash flow of an account's trades in a symbol."""

    received: Decimal = ZERO
    trades: int = 0


class MoneyChecks:
    """Sums of ledger and trades, compared with accounts and positions at the end."""

    def __init__(
        self, accounts: Iterable[Account], positions: Iterable[Position], instruments: Iterable[Instrument]
    ) -> None:
        self._accounts = {account.account_id: account for account in accounts}
        self._positions = {(p.account_id, p.symbol, p.side): p for p in positions}
        self._instruments = {instrument.symbol: instrument for instrument in instruments}
        self._sums: dict[str, Account] = {
            account_id: replace(account, balance=ZERO, realized_pnl=ZERO, commission=ZERO)
            for account_id, account in self._accounts.items()
        }
        # By what is not over: the user, the account, and the difference so far.
        self._transactions: dict[str, tuple[str, str, Decimal]] = {}
        self._trades: dict[str, tuple[str, str, Decimal]] = {}
        self._held: dict[PositionKey, Decimal] = defaultdict(Decimal)
        self._flows: dict[tuple[str, str], _CashFlow] = defaultdict(_CashFlow)
        self._findings = Findings()

    async def read(self, entries: AsyncIterator[LedgerEntry], trades: AsyncIterator[Trade], progress: Progress) -> None:
        """Read both, side by side by (user, time)."""
        entry, trade = await anext(entries, None), await anext(trades, None)
        while entry is not None or trade is not None:
            progress()
            if trade is None or (entry is not None and _moment(entry) <= _moment(trade)):
                assert entry is not None
                self.add_entry(entry)
                entry = await anext(entries, None)
            else:
                self.add_trade(trade)
                trade = await anext(trades, None)

    def add_entry(self, entry: LedgerEntry) -> None:
        """Count an entry."""
        _add(self._transactions, entry.transaction_id, entry.user_id, entry.account_id, entry.amount)
        if moved := ledger.cash_of_trade(entry):
            _add(self._trades, entry.reference, entry.user_id, entry.account_id, moved)
        account = self._sums.get(entry.account_id)
        if account is None or account.user_id != entry.user_id:
            of = {"user_id": entry.user_id, "account_id": entry.account_id, "subject": f"entry {entry.entry_id}"}
            self._findings.add(Finding("ledger_account", "an entry of an account that is not there", **of))
            return
        ledger.add_up(account, entry)

    def add_trade(self, trade: Trade) -> None:
        """Count a trade."""
        if not _is_rest(trade):
            _add(self._trades, trade.trade_id, trade.user_id, trade.account_id, trade.commission - trade.realized_pnl)
        if trade.busted:
            return
        self._held[trade.account_id, trade.symbol, trade.position_side] += trade.held_quantity
        position = self._position(trade.account_id, trade.symbol)
        if position is not None:
            flow = self._flows[trade.account_id, trade.symbol]
            value = money.amount(money.product(trade.price, trade.quantity, position.contract_size))
            flow.received += value if trade.side is Side.SELL else -value
            flow.trades += 1

    def findings(self) -> Findings:
        """All that does not add up."""
        findings = self._findings
        for name, (user_id, account_id, amount) in self._transactions.items():
            of = {"user_id": user_id, "account_id": account_id, "subject": f"transaction {name}"}
            findings.differ("transaction_sum", "the entries of a transaction do not sum to 0", ZERO, amount, **of)
        for name, (user_id, account_id, amount) in self._trades.items():
            of = {"user_id": user_id, "account_id": account_id, "subject": f"trade {name}"}
            message = "the ledger moved another amount for a trade than its result less its commission"
            findings.differ("trade_ledger", message, ZERO, amount, **of)
        for account in self._accounts.values():
            self._compare_account(account, findings)
        for account_id, symbol in sorted({key[:2] for key in self._held.keys() | self._positions.keys()}):
            self._compare_positions(account_id, symbol, findings)
        return findings

    def _compare_account(self, account: Account, findings: Findings) -> None:
        summed = self._sums[account.account_id]
        of = {"user_id": account.user_id, "account_id": account.account_id}
        findings.differ(
            "balance", "an account's balance is not the sum of its cash entries", summed.balance, account.balance, **of
        )
        findings.differ(
            "account_commission", "an account's commission is not that of its ledger", summed.commission,
            account.commission, **of,
        )  # fmt: skip
        findings.differ(
            "account_realized_pnl", "an account's realized profit is not that of its ledger", summed.realized_pnl,
            account.realized_pnl, **of,
        )  # fmt: skip
        positions = (p.realized_pnl for p in self._positions.values() if p.account_id == account.account_id)
        findings.differ(
            "position_realized_pnl", "the realized profit of an account's positions is not the account's",
            account.realized_pnl, money.total(positions), **of,
        )  # fmt: skip

    def _compare_positions(self, account_id: str, symbol: str, findings: Findings) -> None:
        """Compare both sides of a symbol.

        What a venue closed beyond what was held opened the other side (position_booking): both then hold so much more
        than their trades say, never one of them, and never less.
        """
        beyond: dict[PositionSide, Decimal] = {}
        for side in SIDES:
            position = self._positions.get((account_id, symbol, side))
            quantity = position.quantity if position is not None else ZERO
            beyond[side] = quantity - self._held[account_id, symbol, side]
        of = {"user_id": self._owner(account_id), "account_id": account_id}
        common = max(min(beyond.values()), ZERO)
        for side in SIDES:
            summed = self._held[account_id, symbol, side] + common
            findings.differ(
                "position_trades", "a position is not the sum of its trades", summed,
                self._held[account_id, symbol, side] + beyond[side], **of, subject=f"{symbol} {side.name}",
            )  # fmt: skip
            if (position := self._positions.get((account_id, symbol, side))) is not None:
                self._check_position(position, findings)
        self._compare_cost(account_id, symbol, findings)

    def _check_position(self, position: Position, findings: Findings) -> None:
        of = {
            "user_id": position.user_id, "account_id": position.account_id,
            "subject": f"{position.symbol} {position.side.name}",
        }  # fmt: skip
        findings.differ(
            "position_margin", "a position's margin is not what its cost asks for", position.required_margin,
            position.margin, **of,
        )  # fmt: skip
        least = min(position.day_quantity, position.older_quantity)
        if least < ZERO:
            findings.differ("position_quantity", "a position holds less than nothing", ZERO, least, **of)

    def _compare_cost(self, account_id: str, symbol: str, findings: Findings) -> None:
        """Whatever price a position is carried at: cost and realized profit together are what its trades paid and got.

        Each booking may round once.
        """
        if self._position(account_id, symbol) is None:
            return
        flow = self._flows[account_id, symbol]
        cost = realized = ZERO
        for side in SIDES:
            if (position := self._positions.get((account_id, symbol, side))) is not None:
                cost += position.cost if side is PositionSide.LONG else -position.cost
                realized += position.realized_pnl
        expected = flow.received + cost
        if abs(expected - realized) > SCALE * flow.trades:
            findings.differ(
                "position_cost", "cost and realized profit of positions are not what their trades paid and got",
                expected, realized, user_id=self._owner(account_id), account_id=account_id, subject=symbol,
            )  # fmt: skip

    def _position(self, account_id: str, symbol: str) -> Position | None:
        """A position of the symbol; None where its trades may have been valued at several rates or contract sizes."""
        positions = [p for side in SIDES if (p := self._positions.get((account_id, symbol, side))) is not None]
        instrument, account = self._instruments.get(symbol), self._accounts.get(account_id)
        if not positions or instrument is None or account is None or instrument.currency != account.currency:
            return None
        same = all(position.contract_size == instrument.contract_size for position in positions)
        return positions[0] if same else None

    def _owner(self, account_id: str) -> str:
        account = self._accounts.get(account_id)
        return "" if account is None else account.user_id


def _moment(row: LedgerEntry | Trade) -> tuple[str, int]:
    return row.user_id, row.create_time_ns


def _is_rest(trade: Trade) -> bool:
    """Return whether it is what is left of an adjustment, whose entries are those of the whole (external_booking)."""
    return not trade.order_id and bool(trade.corrects_trade_id) and trade.venue_trade_id.startswith(ADJUSTMENT)


def _add(sums: dict[str, tuple[str, str, Decimal]], key: str, user_id: str, account_id: str, amount: Decimal) -> None:
    """Add to a difference; forget it when it is 0."""
    total = sums[key][2] + amount if key in sums else amount
    if total:
        sums[key] = (user_id, account_id, total)
    else:
        sums.pop(key, None)
