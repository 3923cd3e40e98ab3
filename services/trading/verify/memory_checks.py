"""Checks of what running trading has in memory, as it shows it to risk, against what is stored.

What is frozen is in memory alone: it must be what the open orders and positions that are stored need.
"""

from collections.abc import Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any

from redfire.enums import OrderStatus, PositionSide
from redfire.trading.v1 import order_service_pb2 as pb

from services.kernel.data.repositories import Repositories
from services.kernel.decimals import plain
from services.kernel.errors import Unavailable
from services.kernel.rpc.silence import until_silent
from services.trading.domain.account import Account
from services.trading.domain.money import ZERO
from services.trading.domain.order import FINISHED
from services.trading.domain.position import Position
from services.trading.verify.books_repository import BooksRepository
from services.trading.verify.finding import Finding, Findings
from services.trading.verify.order_checks import check_holds, of_order


class _Snapshot:
    """The snapshot that a process of trading streams."""

    def __init__(self) -> None:
        self.accounts: dict[str, Any] = {}
        self.positions: dict[tuple[str, str, PositionSide], Any] = {}
        self.orders: dict[str, Any] = {}

    def take(self, update: Any) -> bool:
        """Take an update; False when the snapshot is complete."""
        kind = update.WhichOneof("event")
        if kind == "end":
            raise Unavailable(f"trading ended the stream: {update.end.reason}")
        if kind == "account":
            self.accounts[update.account.account_id] = update.account
        elif kind == "position":
            one = update.position
            self.positions[one.account_id, one.symbol, PositionSide(one.side)] = one
        elif kind == "order":
            self.orders[update.order.order_id] = update.order
        return kind != "snapshot_complete"


async def compare_memory(trading: Sequence[Any], repositories: Repositories[BooksRepository]) -> list[Finding]:
    """Compare the stored books with those in memory of `trading`, stubs of all its processes; returns what differs now.

    Raises what their RPCs raise.
    """
    findings = Findings()
    streamed = _Snapshot()
    for stub in trading:
        one = await _snapshot(stub)
        for account_id in one.accounts.keys() & streamed.accounts.keys():
            message = "two processes of trading own an account"
            findings.add(Finding("account_owner", message, "1", "2", account_id=account_id))
        streamed.accounts |= one.accounts
        streamed.positions |= one.positions
        streamed.orders |= one.orders
    async with repositories.read() as repository:
        books = await repository.open_books()
    cache = check_holds(books, Findings())
    for account in cache.accounts.values():
        _compare_account(account, streamed, findings)
        for position in account.positions.values():
            _compare_position(position, streamed, findings)
    for order_id in sorted(cache.orders.keys() | streamed.orders.keys()):
        order, mine = cache.orders.get(order_id), streamed.orders.get(order_id)
        if mine is not None and OrderStatus(mine.status) in FINISHED:
            mine = None
        here = "not open" if order is None else f"{order.status.name} {plain(order.cumulative_quantity)}"
        there = "not open" if mine is None else f"{OrderStatus(mine.status).name} {mine.cumulative_quantity}"
        if here != there:
            of = {"order_id": order_id} if order is None else of_order(order)
            findings.add(
                Finding("memory_order", "trading's memory has an order otherwise than is stored", here, there, **of)
            )
    return findings.kept


async def _snapshot(trading: Any) -> _Snapshot:
    streamed = _Snapshot()
    async with aclosing(until_silent(trading.WatchTrading(pb.WatchTradingRequest()))) as messages:
        async for message in messages:
            if not streamed.take(message.update):
                break
    return streamed


def _compare_account(account: Account, streamed: _Snapshot, findings: Findings) -> None:
    of = {"user_id": account.user_id, "account_id": account.account_id}
    mine = streamed.accounts.get(account.account_id)
    if mine is None:
        findings.add(Finding("account_owner", "no process of trading has an account", "1", "0", **of))
        return
    message = "what an account has frozen is not what its open orders need"
    findings.differ("frozen", message, account.frozen, Decimal(mine.frozen or 0), **of)
    message = "trading's memory has another balance than is stored"
    findings.differ("memory_balance", message, account.balance, Decimal(mine.balance or 0), **of)


def _compare_position(position: Position, streamed: _Snapshot, findings: Findings) -> None:
    mine = streamed.positions.get((position.account_id, position.symbol, position.side))
    held, frozen = (ZERO, ZERO) if mine is None else (Decimal(mine.quantity), Decimal(mine.frozen_quantity or 0))
    of = {
        "user_id": position.user_id, "account_id": position.account_id,
        "subject": f"{position.symbol} {position.side.name}",
    }  # fmt: skip
    findings.differ(
        "memory_position", "trading's memory has another position than is stored", position.quantity, held, **of
    )
    message = "what a position has frozen is not what open orders hold of it"
    findings.differ("frozen", message, position.frozen_quantity, frozen, **of)
