"""Handler of gateways' reports: finds the order, books it in one step, and tracks which gateways are connected."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from redfire.enums import OrderStatus

from services.kernel.errors import RedFireError, ShardMoved
from services.trading.domain.apply_reports import apply_order_report, apply_trade_report
from services.trading.domain.bust import bust, correct
from services.trading.domain.order import Order, ReplaceStep, order_id_of
from services.trading.domain.report import AccountReport, FillReport, OrderStatusReport, TradeKind, UnreadableReport
from services.trading.emulation.stops import Stops
from services.trading.peers.engine_client import (
    EngineClient,
    GatewayChanged,
    StreamStarted,
    TradingDayBegan,
    VenueEvent,
)
from services.trading.state.store import TradingStore
from services.trading.venue.externals import Externals
from services.trading.venue.live_accounts import LiveAccounts

log = logging.getLogger(__name__)
MOST_EARLY = 1000
MOST_WAITING = 2000
MOST_ATTEMPTS = 3


class ReportHandler:
    """Follows the engine's event stream."""

    def __init__(
        self,
        store: TradingStore,
        stops: Stops,
        engine: EngineClient,
        externals: Externals,
        live_accounts: LiveAccounts,
        request_reconciliation: Callable[[], None],
    ) -> None:
        """`request_reconciliation()` is called when something may have been missed."""
        self._store = store
        self._stops = stops
        self._engine = engine
        self._externals = externals
        self._live_accounts = live_accounts
        self._request_reconciliation = request_reconciliation
        self._epoch = ""
        self._sequence = 0
        self._one_by_one_through = 0
        self._changes_of_gateways = 0
        # How often reports could not be booked.
        self._attempts: dict[str, int] = {}
        # Busts and corrections, one at a time, and those that came before their fill, the oldest first.
        self._amending = asyncio.Lock()
        self._early: dict[tuple[str, str], list[FillReport]] = {}
        # How many account reports each gateway has sent since it is connected.
        self.account_reports: Counter[str] = Counter()

    async def follow(self) -> None:
        """One event stream, to its end; the caller starts it again."""
        try:
            async for events in self._engine.events(self._epoch, self._sequence):
                acknowledged = 0
                for number, (sequence, event) in enumerate(events):
                    if number < acknowledged:
                        continue
                    if isinstance(event, OrderStatusReport) and sequence > self._one_by_one_through:
                        acknowledged = number + self._acknowledge(events[number:])
                        if number < acknowledged:
                            self._sequence = events[acknowledged - 1][0]
                            await self._slow_down()
                            continue
                    await self._handle(sequence, event)
        except RedFireError as error:
            log.warning("events of the engine: unavailable: %s", error.message)
        finally:
            self._engine.connected.clear()
            self.account_reports.clear()

    async def _handle(self, sequence: int, event: VenueEvent | None) -> None:
        if isinstance(event, StreamStarted):
            await self._started(event)
            return
        if isinstance(event, OrderStatusReport | FillReport | UnreadableReport):
            await self.apply(event)
        elif isinstance(event, AccountReport):
            self.account_reports[event.gateway] += 1
            self._live_accounts.apply(event)
        elif isinstance(event, TradingDayBegan):
            self.begin_day(event.gateway, event.trading_day)
        elif isinstance(event, GatewayChanged):
            self._changes_of_gateways += 1
            self._engine.connected[event.gateway] = event.connected
            self.account_reports.pop(event.gateway, None)
            if event.connected:
                self._stops.on_connected(event.gateway)
                self._request_reconciliation()
        if sequence:
            self._sequence = sequence

    def _acknowledge(self, events: Sequence[tuple[int, VenueEvent | None]]) -> int:
        """Book the acknowledgements that these events begin with, of one user, in one step; returns how many."""
        reports: list[tuple[Order, OrderStatusReport]] = []
        for _, event in events:
            order = self._acknowledged(event) if isinstance(event, OrderStatusReport) else None
            if order is None or (reports and order.user_id != reports[0][0].user_id):
                break
            reports.append((order, event))  # type: ignore[arg-type]
        if len(reports) < 2:
            return 0  # the usual way does as well
        # Should one of them not be possible to book, they are booked one by one when they come again.
        self._one_by_one_through = events[len(reports) - 1][0]
        with self._store.begin(reports[0][0].user_id) as changes:
            for order, report in reports:
                apply_order_report(self._store.cache, order, report, changes)
            if changes:
                self._store.commit(changes)
        self._one_by_one_through = 0
        return len(reports)

    def _acknowledged(self, report: OrderStatusReport) -> Order | None:
        """The order of a report which says no more than that its venue has it, and from which nothing else follows."""
        if report.status is not OrderStatus.NEW or report.cumulative_quantity or report.amend_rejected:
            return None
        order = self._store.cache.orders.get(order_id_of(report.reference))
        is_plain = (
            order is not None
            and order.status is OrderStatus.PENDING_NEW
            and order.replace_step is ReplaceStep.NONE
            and not order.order_group_id
            and self._store.is_open
            and not self._attempts
            and not self._externals.has_unclaimed
        )
        return order if is_plain else None

    async def apply(
        self, report: OrderStatusReport | FillReport | UnreadableReport, stale_amend_after_ns: int = 0
    ) -> None:
        """Book a report. What is not ours is recorded as external, and left alone.

        One that cannot be booked, because of an internal error, holds up those behind it for a few attempts (the books
        are read anew after each) and is then surfaced as unreadable.
        """
        if isinstance(report, UnreadableReport):
            await self._externals.record(report)
            return
        if self._attempts and self._attempts.get(_key(report), 0) >= MOST_ATTEMPTS:
            return  # it is reported again and again, and was surfaced
        try:
            await self._book(report, stale_amend_after_ns)
        except ShardMoved:
            return  # another replica serves the order's user, and gets the same report
        except RedFireError:
            raise
        except Exception as error:
            key = _key(report)
            attempts = self._attempts[key] = self._attempts.get(key, 0) + 1
            if attempts < MOST_ATTEMPTS:
                raise
            log.exception("%s cannot be booked", key)
            kind, venue_id = ("trade", report.venue_trade_id) if isinstance(report, FillReport) else ("order", "")
            venue_id = venue_id or report.venue_order_id
            await self._externals.record(
                UnreadableReport(report.gateway, kind, report.reference, venue_id, report.symbol, repr(error))
            )

    async def _book(self, report: OrderStatusReport | FillReport, stale_amend_after_ns: int) -> None:
        order = self._store.cache.orders.get(order_id_of(report.reference))
        if order is None:
            if self._store.is_elsewhere(order_id_of(report.reference)):
                return  # its owner gets the same report
            report, order = await self._recall(report)
        if not self._store.is_open:
            return  # all is asked again once the books are read
        if order is None:
            if await self._externals.record(report):
                return
            report, order = await self._recall(report)  # adopted meanwhile
            if order is None or not self._store.is_open:
                return
        if isinstance(report, FillReport) and report.kind is not TradeKind.NEW:
            await self._amend_trade(order, report)
            return
        if not order.is_open and isinstance(report, FillReport) and report.venue_trade_id not in order.trade_ids:
            await self._store.recall_group(order)
            if not self._store.is_open or not self._store.serves(order.user_id):
                return
            order = self._store.cache.find_order(order.order_id) or order
        with self._store.begin(order.user_id) as changes:
            if isinstance(report, FillReport):
                apply_trade_report(self._store.cache, order, report, changes)
            else:
                stale = 0 < order.update_time_ns < stale_amend_after_ns
                apply_order_report(self._store.cache, order, report, changes, stale)
            if self._externals.has_unclaimed:
                self._externals.claim(report, order.account_id, changes)
            if changes:
                self._store.commit(changes)
        if self._early and isinstance(report, FillReport):
            for early in self._early.pop((order.order_id, report.venue_trade_id), ()):
                await self._amend_trade(order, early)
        await self._slow_down()

    async def _slow_down(self) -> None:
        if self._store.commit_log.waiting > MOST_WAITING:
            await self._store.commit_log.durable()

    def begin_day(self, gateway: str, trading_day: int, asked_ns: int = 0) -> None:
        """A gateway's trading day, as reported, or answered to what was asked at `asked_ns`."""
        if not self._store.is_open or not trading_day:
            return
        before = self._store.cache.days.reported(gateway)[0]
        steps = self._store.cache.begin_day(gateway, trading_day, self._store.clock.now_ns(), asked_ns)
        for changes in steps if self._store.serves("") else ():  # every replica knows it, one writes it
            self._store.commit(changes)
        if steps and before not in (0, trading_day):
            self._stops.begin_day(gateway)

    async def _started(self, event: StreamStarted) -> None:
        missed = not event.resumed or event.epoch != self._epoch
        if missed:
            self._epoch, self._sequence = event.epoch, event.sequence
            self._store.cache.days.suspect()
        self._engine.connected.update(await self._engine.connected_gateways())
        for gateway, connected in self._engine.connected.items():
            if connected:
                self._stops.on_connected(gateway)
        if missed:
            self._request_reconciliation()

    async def _amend_trade(self, order: Order, report: FillReport) -> None:
        """A bust or a correction; the same again changes nothing."""
        async with self._amending:
            await self._amend_trade_alone(order, report)

    async def _amend_trade_alone(self, order: Order, report: FillReport) -> None:
        versions = await self._store.find_trades(order, report.venue_trade_id)
        if not self._store.is_open or not self._store.serves(order.user_id):
            return
        order = self._store.cache.find_order(order.order_id) or order
        current = next((trade for trade in reversed(versions) if not trade.busted), None)
        if current is None:
            if not versions:
                # It has overtaken its fill; or that is never reported, and somebody must look at it.
                self._early.setdefault((order.order_id, report.venue_trade_id), []).append(report)
                if len(self._early) > MOST_EARLY:
                    del self._early[next(iter(self._early))]
                await self._externals.record(report)
            return
        # A corrected trade may be corrected again: the earlier corrections come again, too.
        known = [current, *versions[1:]]
        if report.kind is TradeKind.CORRECTION and (report.price, report.quantity) in (
            (trade.price, trade.quantity) for trade in known
        ):
            return
        await self._store.recall_group(order)
        if not self._store.is_open or not self._store.serves(order.user_id):
            return
        order = self._store.cache.find_order(order.order_id) or order
        with self._store.begin(order.user_id) as changes:
            if report.kind is TradeKind.BUST:
                bust(self._store.cache, order, current, changes)
            else:
                correct(self._store.cache, order, current, report, len(versions), changes)
            written = self._store.commit(changes)
        await written

    async def compare_gateways(self) -> None:
        """Ask which gateways are connected: an event that was missed must not keep orders from one without end."""
        changes = self._changes_of_gateways
        connected_gateways = await self._engine.connected_gateways()
        if changes != self._changes_of_gateways or not self._engine.connected:
            return  # what the event stream reported meanwhile is newer
        for gateway, connected in connected_gateways.items():
            if self._engine.connected.get(gateway) is connected:
                continue
            log.warning("gateway %s is %s, and no event reported it", gateway, "connected" if connected else "cut")
            self._engine.connected[gateway] = connected
            if connected:
                self._stops.on_connected(gateway)

    async def _recall(
        self, report: OrderStatusReport | FillReport
    ) -> tuple[OrderStatusReport | FillReport, Order | None]:
        """The report under our reference, if it is adopted, and its order, read back if it is finished."""
        reference = await self._externals.reference_of(report)
        if not reference:
            return report, None
        if self._store.is_elsewhere(order_id_of(reference)):
            raise ShardMoved
        return replace(report, reference=reference), await self._store.recall(order_id_of(reference))


def _key(report: OrderStatusReport | FillReport) -> str:
    """The key that distinguishes a report from others."""
    if isinstance(report, FillReport):
        return f"{report.gateway} {report.reference} trade {report.venue_trade_id} {report.kind}"
    return f"{report.gateway} {report.reference} {report.venue_order_id} {report.status} {report.cumulative_quantity}"
