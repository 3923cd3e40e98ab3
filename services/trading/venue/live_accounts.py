"""Live accounts: their money is what their gateway reports.

**Cash.** The ledger stays double entry: the balance is the sum of the cash entries, always. What a gateway reports as
balance is the account's equity: CTP's Balance is the static balance and the day's close and position profit less
commission, and vnpy passes it on. So the books' cash and unrealised profit are compared with it, and a difference is
posted as an ADJUSTMENT (its reference names the venue's account and the report's time): deposits, fees, interest and
fills that are not ours come into the books this way.

**A fill is never adjusted as well.** A report and a fill reach us by different ways (CTP answers account queries once a
second), so either may know what the other does not. A difference is posted at once only where no fill can be on its
way: nothing is held, no order of the account is at the venue, nothing was booked since the report before. Else it must
be the same in two reports in a row without a fill booked between them. While positions are held, two prices of the same
moment differ, so the difference must be more than `NOISE` of the positions' value; the rest is posted when they are
flat. The account shows the difference as it was detected.

**Available** is what the report has less what was accepted since, and never more: what orders release counts with the
next report. Orders from `LATE_NS` before the report's time on count as not in it.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from redfire.enums import LedgerEntryKind

from services.kernel.decimals import plain
from services.trading.domain import ledger, money
from services.trading.domain.account import Account
from services.trading.domain.money import ZERO
from services.trading.domain.order import Delivery, Order
from services.trading.domain.report import AccountReport
from services.trading.state.store import TradingStore

log = logging.getLogger(__name__)
NOISE = Decimal("0.002")
LATE_NS = 2_000_000_000


class LiveAccounts:
    """Books what gateways report of accounts."""

    def __init__(self, store: TradingStore) -> None:
        self._store = store
        self._strange: set[tuple[str, str]] = set()

    def apply(self, report: AccountReport) -> None:
        """Book a report; one of an account that is not ours is logged once, and left alone."""
        account = self._account(report)
        if account is None or not self._store.is_open:
            return
        try:
            self._apply(account, report)
        except Exception:
            log.exception("gateway %s: its report of account %s cannot be booked", *self._name(report))

    @staticmethod
    def _name(report: AccountReport) -> tuple[str, str]:
        return report.gateway, report.venue_account_id

    def _apply(self, account: Account, report: AccountReport) -> None:
        with self._store.begin(account.user_id) as changes:
            report = replace(report, time_ns=report.time_ns or changes.now_ns)
            before, was_reported = account.venue, account.is_reported
            report = replace(report, difference=report.balance - account.balance)
            amount = self._adjustment(account, report)
            if amount:
                reference = f"{report.gateway}:{report.venue_account_id}:{report.time_ns}"[:64]
                log.info("account %s: the gateway has %s more than the books", account.account_id, plain(amount))
                changes.entries += ledger.post(account, LedgerEntryKind.ADJUSTMENT, amount, reference, changes.now_ns)
            if before is None and report.currency:
                account.currency = report.currency
            account.venue, account.is_reported, account.traded = report, True, False
            orders = self._store.cache.open_orders(account.account_id)
            account.used = [(at, used) for at, used in account.used if at >= report.time_ns - LATE_NS]
            account.waiting = _not_at_venue(orders, report.time_ns - LATE_NS)
            if amount or before is None or not was_reported or not report.says_the_same(before):
                changes.account(account)
                self._store.commit(changes)

    def _account(self, report: AccountReport) -> Account | None:
        """The one LIVE account of the gateway; the first account that the venue reports there is its own for good."""
        account = self._store.cache.live_account(report.gateway)
        if account is not None and (account.venue is None or account.venue.venue_account_id == report.venue_account_id):
            return account
        key = self._name(report)
        if key not in self._strange:
            self._strange.add(key)
            log.info("gateway %s reports account %s, which is no account of ours", *key)
        return None

    def _adjustment(self, account: Account, report: AccountReport) -> Decimal:
        """The payments to be posted now."""
        prices = self._store.cache.last_prices.of(account.gateway)
        if any(symbol not in prices for symbol, _ in account.positions):
            account.suspected = None
            return ZERO  # what they are worth is not known
        difference = money.amount(report.balance - account.balance - account.unrealized_pnl(prices))
        values = (money.product(prices[p.symbol], p.quantity, p.contract_size) for p in account.positions.values())
        noise = money.total(abs(value) for value in values) * NOISE
        suspected, account.suspected = account.suspected, None
        if abs(difference) <= noise:
            return ZERO
        if account.venue is None:
            return difference
        working = any(order.legs for order in self._store.cache.open_orders(account.account_id))
        if not account.traded and not working and not account.positions:
            return difference
        if not account.traded and suspected is not None and abs(difference - suspected) <= noise:
            return difference
        account.suspected = difference
        return ZERO


def _not_at_venue(orders: Iterable[Order], accepted_before_ns: int) -> Decimal:
    """Return what older orders hold that the venue does not know of: waiting stops, sends without an answer."""
    return money.total(
        order.reserved
        for order in orders
        if order.create_time_ns < accepted_before_ns
        and (not order.legs or any(leg.delivery is not Delivery.SENT for leg in order.legs))
    )
