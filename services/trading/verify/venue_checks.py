"""Checks of the books against a gateway: what it has of our orders, its trades of the day, and positions.

Both move on while they are read. So each check answers what differs at its moment, and only what stays so is a finding.
"""

import re
from collections.abc import Iterable, Mapping

from services.kernel.data.repositories import Repositories
from services.kernel.decimals import plain
from services.trading.domain.account import net_quantities
from services.trading.domain.cache import TradingCache
from services.trading.domain.money import ZERO
from services.trading.domain.order import FINISHED, Delivery, Leg, Order, ReplaceStep, order_id_of
from services.trading.domain.report import FillReport, OrderStatusReport, TradeKind, VenueState
from services.trading.domain.trade import Trade
from services.trading.peers.engine_client import EngineClient
from services.trading.verify.books_repository import BooksRepository
from services.trading.verify.finding import Finding, Findings
from services.trading.verify.order_checks import check_holds, of_order

_OURS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-\d+)?")
"""A reference that is one of ours: an order's id, and the number of a later leg."""


class VenueChecks:
    """One gateway, checked again and again."""

    def __init__(self, gateway: str, engine: EngineClient, repositories: Repositories[BooksRepository]) -> None:
        self._gateway = gateway
        self._engine = engine
        self._repositories = repositories
        self._cursor = ""
        # By the venue's id: trades that were not seen in the books yet.
        self._unbooked: dict[str, FillReport] = {}
        self.orders = self.trades = 0
        """Numbers compared: orders at the last check, trades in all."""

    async def check(self) -> list[Finding]:
        """Check once; returns what differs now. Raises what the engine's RPC raises."""
        async with self._repositories.read() as repository:
            asked = {
                order.reference(leg)
                for order in (await repository.open_books()).orders
                if order.gateway == self._gateway
                for leg in order.legs
                if leg.is_live
            }
        state = await self._engine.state(self._gateway, sorted(asked), self._cursor)
        await self._take_trades(state)
        names = {order_id_of(report.reference) for report in state.orders if _OURS.fullmatch(report.reference)}
        names |= {order_id_of(report.reference) for report in self._unbooked.values()}
        async with self._repositories.read() as repository:  # after the venue: what it has is written by now, or soon
            books = await repository.open_books()
            orders = await repository.orders(sorted(names))
            trades = await repository.trades_of(sorted({order_id_of(r.reference) for r in self._unbooked.values()}))
            foreign = {row["symbol"] for row in await repository.foreign_trades(self._gateway)}
        cache = check_holds(books, Findings())
        findings = self._compare_trades(orders, trades)
        if state.complete:
            self.orders = len(state.orders)
            findings += self._compare_orders(cache.orders.values(), asked, state)
            findings += [finding for report in state.orders if (finding := self._of_report(report, orders)) is not None]
            if self._engine.simulated.get(self._gateway):
                findings += self._compare_positions(cache, state, foreign)
        return findings

    async def _take_trades(self, state: VenueState) -> None:
        while True:
            for trade in state.trades:
                if trade.kind is TradeKind.NEW and _OURS.fullmatch(trade.reference):
                    self._unbooked[trade.venue_trade_id] = trade
                    self.trades += 1
            self._cursor = state.next_trades_cursor
            if not state.more_trades:
                return
            state = await self._engine.state(self._gateway, [], self._cursor)

    def _compare_trades(self, orders: Mapping[str, Order], trades: Iterable[Trade]) -> list[Finding]:
        """Trades of the venue that are not booked, or booked otherwise. Corrected and busted ones are booked."""
        booked: dict[tuple[str, str], Trade] = {}
        for trade in trades:
            booked.setdefault((trade.order_id, trade.venue_trade_id.partition("#")[0]), trade)
        findings = []
        for name, report in list(self._unbooked.items()):
            order_id = order_id_of(report.reference)
            mine = booked.get((order_id, name))
            if mine is not None and (mine.busted or (mine.price, mine.quantity) == (report.price, report.quantity)):
                del self._unbooked[name]
                continue
            of = of_order(orders[order_id]) if order_id in orders else {"order_id": order_id}
            there = f"{plain(report.quantity)} at {plain(report.price)}"
            here = "nothing" if mine is None else f"{plain(mine.quantity)} at {plain(mine.price)}"
            message = "a trade of the venue is not in the books"
            findings.append(Finding("venue_trade", message, there, here, **of, subject=f"venue trade {name}"))
        return findings

    def _compare_orders(self, orders: Iterable[Order], asked: set[str], state: VenueState) -> list[Finding]:
        by_reference = {report.reference: report for report in state.orders}
        by_venue_id = {report.venue_order_id: report for report in state.orders}
        findings = []
        for order in orders:
            if order.gateway != self._gateway:
                continue
            for leg in order.legs:
                reference = order.reference(leg)
                if not leg.is_live or reference not in asked:
                    continue
                # An adopted order is known by the venue's id alone.
                report = by_reference.get(reference) or by_venue_id.get(leg.venue_order_id)
                if finding := _compare_leg(order, leg, report):
                    findings.append(finding)
        return findings

    def _of_report(self, report: OrderStatusReport, orders: Mapping[str, Order]) -> Finding | None:
        """Finding of an order of ours that works at the venue and not in the books; None when it works in both."""
        if report.status in FINISHED or not _OURS.fullmatch(report.reference):
            return None
        order_id = order_id_of(report.reference)
        order = orders.get(order_id)
        if order is not None and order.is_open:
            return None
        of = {"order_id": order_id} if order is None else of_order(order)
        here = "not there" if order is None else order.status.name
        message = "an order works at the venue that does not work in the books"
        return Finding("venue_order", message, report.status.name, here, **of, subject=report.reference)

    def _compare_positions(self, cache: TradingCache, state: VenueState, foreign: set[str]) -> list[Finding]:
        """Compare positions of a simulated gateway; those at a real one may be of others, and trading watches them."""
        ours = net_quantities(cache.accounts.values(), self._gateway)
        theirs = {(report.symbol, report.side): report.quantity for report in state.positions}
        findings = []
        for key in sorted(ours.keys() | theirs.keys()):
            symbol, side = key
            instrument = cache.instruments.get(symbol)
            # An expired contract is closed in the books alone; what others traded is nobody's.
            is_over = instrument is not None and 0 < instrument.expire_date < state.trading_day
            here, there = ours.get(key, ZERO), theirs.get(key, ZERO)
            if here != there and symbol not in foreign and not is_over:
                message = "the accounts' positions together are not the venue's"
                subject = f"{self._gateway} {symbol} {side.name}"
                findings.append(Finding("venue_position", message, plain(there), plain(here), subject=subject))
        return findings


def _compare_leg(order: Order, leg: Leg, report: OrderStatusReport | None) -> Finding | None:
    of, reference = of_order(order), order.reference(leg)
    if report is None:
        if leg.delivery is not Delivery.SENT:
            return None  # it may not have been sent; what stays so is an outcome that is not known in time
        message = "an acknowledged order is neither final nor at its venue"
        return Finding("venue_order", message, "at the venue", "not there", **of, subject=reference)
    if report.status in FINISHED:
        message = "an order works in the books that the venue has ended"
        return Finding("venue_order", message, report.status.name, order.status.name, **of, subject=reference)
    there, here = report.quantity - report.cumulative_quantity, leg.quantity - leg.filled
    if order.replace_step is ReplaceStep.NONE and there != here:
        message = "the rest of an order at its venue is another"
        return Finding("venue_leaves", message, plain(there), plain(here), **of, subject=reference)
    return None
