"""The checks of trading's own books: all of one moment, in one transaction that only reads."""

from collections.abc import Callable
from dataclasses import dataclass

from services.kernel.data.repositories import Repositories
from services.trading.verify.books_repository import BooksRepository
from services.trading.verify.finding import MOST_KEPT, Finding, Findings
from services.trading.verify.money_checks import MoneyChecks
from services.trading.verify.order_checks import check_holds, check_orders

SHOW_EVERY = 1000


@dataclass(frozen=True, slots=True)
class CheckedBooks:
    """Findings of a check of the books, and counts of the rows checked."""

    findings: Findings
    counts: dict[str, int]


async def check_books(
    repositories: Repositories[BooksRepository], progress: Callable[[float], None] = lambda part: None
) -> CheckedBooks:
    """Check all that is stored. `progress(part)` is called now and then, with the part that is done."""
    async with repositories.read() as repository:
        books = await repository.open_books()
        counts = await repository.counts()
        rows = 2 * counts["trades"] + counts["ledger entries"] + counts["orders"] or 1
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            if done % SHOW_EVERY == 0:
                progress(min(done / rows, 1.0))

        money = MoneyChecks(books.accounts, books.positions, books.instruments)
        await money.read(repository.entries_by_time(), repository.trades_by_time(), step)
        findings = money.findings()
        accounts = {account.account_id: account for account in books.accounts}
        await check_orders(repository.orders_by_id(), repository.trades_by_order(), accounts, findings, step)
        for account_id, client_order_id, orders in await repository.keys_used_twice(MOST_KEPT):
            owner = accounts[account_id].user_id if account_id in accounts else ""
            message = f"several orders of an account have the client order id {client_order_id}"
            findings.add(Finding("client_order_id", message, "1", str(orders), owner, account_id))
        check_holds(books, findings)
    return CheckedBooks(findings, counts)
