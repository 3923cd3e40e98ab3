"""Makes the books agree with what gateways have: at start, after every gap, and from time to time."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from redfire.enums import OrderStatus, PositionSide

from services.kernel.data.repositories import Repositories
from services.kernel.errors import RedFireError
from services.kernel.runtime.live_settings import LiveSettings
from services.kernel.shards.ownership import SHARDS
from services.kernel.tasks import Tasks
from services.trading import metrics
from services.trading.domain import apply_reports
from services.trading.domain.account import net_quantities
from services.trading.domain.external_order import ExternalActivity
from services.trading.domain.money import ZERO
from services.trading.domain.order import GOOD_TILL, Delivery, Leg, Order, ReplaceStep, order_id_of
from services.trading.domain.report import FillReport, TradeKind, VenueState
from services.trading.external_repository import ExternalRepository
from services.trading.peers.engine_client import EngineClient
from services.trading.settings import TradingSettings
from services.trading.state.store import TradingStore
from services.trading.venue.externals import Externals
from services.trading.venue.live_accounts import LiveAccounts
from services.trading.venue.order_router import OrderRouter
from services.trading.venue.position_adjustments import SETTLES_S as DIFFERENCE_SETTLES_S
from services.trading.venue.position_adjustments import PositionAdjustments, PositionDifference
from services.trading.venue.report_handler import ReportHandler

log = logging.getLogger(__name__)
RETRY_S = 0.5
AMEND_SETTLES_S = 5.0
# A gateway that has just come back may not have all its orders together at once.
FORGOTTEN_S = 10.0
SETTLES_S = 1.0
# How long one gateway's answer is waited for before the others are asked again.
PATIENCE_S = 2.0
# Reports taken between two turns of the loop.
AT_ONCE = 200


class Reconciliation:
    """Asks gateways what they have and books the difference."""

    def __init__(
        self,
        store: TradingStore,
        engine: EngineClient,
        settings: LiveSettings[TradingSettings],
        externals: Externals,
        repositories: Repositories[ExternalRepository],
        tasks: Tasks,
        live_accounts: LiveAccounts,
        adjustments: PositionAdjustments,
        order_router: OrderRouter,
        report_handler: ReportHandler,
        requested: asyncio.Event,
    ) -> None:
        """`requested` is set by whatever may have missed something; it is asked then."""
        self._store = store
        self._engine = engine
        self._settings = settings
        self._externals = externals
        self._repositories = repositories
        self._tasks = tasks
        self._live_accounts = live_accounts
        self._adjustments = adjustments
        self._order_router = order_router
        self._report_handler = report_handler
        self._requested = requested
        # By gateway: what asks it now, and whether it shall be asked once more after that.
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        # Those that have not answered since all were asked last.
        self._unanswered: set[str] = set()
        # References that their gateway does not have, and since when it reports so.
        self._missing: dict[str, int] = {}
        # Where each gateway's trades of the day were read to.
        self._cursors: dict[str, str] = {}
        self._read_again: set[str] = set()
        self._differences: dict[str, dict[tuple[str, PositionSide], PositionDifference]] = {}
        self.done_once = False
        store.on_loaded(self._begin_anew)

    @property
    def position_differences(self) -> list[PositionDifference]:
        """Positions that differed the last two times they were compared: once may be a fill that is on its way."""
        return [
            difference
            for differences in self._differences.values()
            for difference in differences.values()
            if difference.since_ns
        ]

    @property
    def missing_references(self) -> set[str]:
        """References of legs that their gateways did not show when they answered last."""
        return set(self._missing)

    def request(self) -> None:
        """Request a reconciliation now: reports may have been missed."""
        self._requested.set()

    def request_all_trades(self, gateway: str) -> None:
        """Trades that were passed by belong to the books now: ask for all of the day."""
        self._read_again.add(gateway)
        self.request()

    async def reconcile_day(self) -> list[str]:
        """Ask every gateway now, for all trades of the day too; those that have not answered in time."""
        gateways = {account.gateway for account in self._store.cache.accounts.values()}
        for gateway in gateways:
            self.request_all_trades(gateway)
        await self.reconcile()
        return sorted(self._unanswered | (gateways - self._engine.connected.keys()))

    async def run(self) -> None:
        """Ask whenever it is requested, and from time to time."""
        retry_s = RETRY_S
        while True:
            pause_s = self._settings.value.reconcile_interval_s
            doubtful = any(_is_doubtful(order) for order in self._store.cache.orders.values())
            if doubtful or self._missing or self._order_router.has_uncanceled:
                # Soon at first; what stays unknown for hours is not asked for twice a second.
                pause_s, retry_s = min(pause_s, retry_s), min(retry_s * 1.2, pause_s)
            else:
                retry_s = RETRY_S
            if any(
                self._adjustments.applies_to(gateway)
                for gateway, differences in self._differences.items()
                if differences
            ):
                pause_s = min(pause_s, DIFFERENCE_SETTLES_S / 4)
            try:
                async with asyncio.timeout(pause_s):
                    await self._requested.wait()
            except TimeoutError:
                pass
            else:
                retry_s = RETRY_S
            self._requested.clear()
            if self._store.is_open:
                await self.reconcile()

    async def reconcile(self) -> None:
        """Ask every gateway that is used, all at once; one that could not be asked is asked again soon."""
        cache = self._store.cache
        if not self._engine.connected:
            return  # the engine is gone; when it is back, that is an event
        try:
            await self._report_handler.compare_gateways()
        except RedFireError as error:
            log.warning("the engine cannot be asked for its gateways: %s", error.message)
        gateways = {account.gateway for account in cache.accounts.values()}
        gateways |= {name for name, connected in self._engine.connected.items() if connected}
        asking = []
        self._unanswered.clear()
        for gateway in sorted(gateways):
            if self._engine.connected.get(gateway) is False:
                continue  # when it is connected again, that is an event, and it is asked
            running = self._asking.get(gateway)
            if running is None:
                running = self._asking[gateway] = self._tasks.spawn("trading.reconcile", self._ask(gateway))
            else:
                self._again.add(gateway)  # its answer may be older than what was missed
            self._unanswered.add(gateway)
            asking.append(running)
        if asking:
            # One that takes longer goes on by itself: to ask it once more would only make it longer.
            for task in (await asyncio.wait(asking, timeout=PATIENCE_S))[0]:
                task.result()
        self.done_once = self.done_once or not self._unanswered

    async def _ask(self, gateway: str) -> None:
        """Ask one gateway, as often as it is requested meanwhile, and soon again when it could not be asked."""
        answered = False
        try:
            while not answered:
                self._again.discard(gateway)
                await self._reconcile(gateway)
                answered = gateway not in self._again
        except RedFireError as error:
            log.warning("gateway %s cannot be asked what it has: %s", gateway, error.message)
        finally:
            del self._asking[gateway]
            if answered:
                self._unanswered.discard(gateway)
                self.done_once = self.done_once or not self._unanswered
            else:
                asyncio.get_running_loop().call_later(RETRY_S, self.request)

    async def _reconcile(self, gateway: str) -> None:
        store, sending = self._store, self._order_router.is_sending
        # What is being sent at this moment may or may not be in the answer: it is left for the next time.
        asked_legs = {
            reference: (order.order_id, leg)
            for order in store.cache.orders.values()
            if order.gateway == gateway
            for leg in order.legs
            if (
                leg.is_live or order.replace_step is ReplaceStep.AMENDING
            )  # filled, and the amend's outcome is not known
            and not sending(reference := order.reference(leg))
        }
        asked = {reference: order_id for reference, (order_id, _) in asked_legs.items()}
        # Such a leg is not sent again: where the engine refuses a request for it that comes late, nobody waits for one.
        doubtful = [reference for reference, (_, leg) in asked_legs.items() if leg.delivery is Delivery.UNCERTAIN]
        now_ns = store.clock.now_ns()
        again = gateway in self._read_again
        cursor = "" if again else self._cursors.get(gateway, "")
        shards = set(store.commit_log.shards)
        state = await self._engine.state(gateway, list(asked), cursor, store.epochs, doubtful)
        if again:
            self._read_again.discard(gateway)
        # An order that was being written was not sent yet, and by now it is on its way.
        await store.commit_log.durable()
        self._report_handler.begin_day(gateway, state.trading_day, asked_ns=now_ns)
        await self._take_trades(gateway, state, shards)
        for number, report in enumerate(state.orders):
            await self._report_handler.apply(report, now_ns - int(AMEND_SETTLES_S * 1e9))
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        if not state.complete or not store.is_open:
            return
        known = {await self._externals.reference_of(report) for report in state.orders}
        self._compare_orders(asked, known, state, now_ns)
        if not await self._externals.is_recorder(gateway):
            self._differences.pop(gateway, None)
            return
        elsewhere = await self._quantities_elsewhere(gateway)
        if not store.is_open or not store.serves(self._externals.step_user(gateway)):
            return
        self._compare_positions(gateway, state, elsewhere)
        await self._adjust_positions(gateway, state)

    async def _take_trades(self, gateway: str, state: VenueState, shards: set[int]) -> None:
        """All trades since the last time, of all orders, in parts between which the loop goes on."""
        while True:
            for account in state.accounts:
                self._live_accounts.apply(account)
            for unreadable in state.unreadable:
                await self._report_handler.apply(unreadable)
            for start in range(0, len(state.trades), AT_ONCE):
                for trade in await self._unbooked(gateway, state.trades[start : start + AT_ONCE]):
                    await self._report_handler.apply(trade)
                await asyncio.sleep(0)
            if not self._store.is_open:
                return
            if not shards >= self._store.commit_log.shards.keys():
                return  # users came meanwhile, whose trades were passed by: all are asked for again
            self._cursors[gateway] = state.next_trades_cursor
            if not state.more_trades:
                return
            state = await self._engine.state(gateway, [], state.next_trades_cursor)

    async def _unbooked(self, gateway: str, trades: list[FillReport]) -> list[FillReport]:
        """Trades that may not be booked yet; the database has those of orders that are not in memory."""
        unknown = [trade for trade in trades if not self._is_booked(trade) and not self._is_elsewhere(trade)]
        others = [
            trade.venue_trade_id for trade in unknown if order_id_of(trade.reference) not in self._store.cache.orders
        ]
        if not others:
            return unknown
        async with self._repositories.read() as repository:
            booked = await repository.booked(gateway, others)
        return [
            trade
            for trade in unknown
            if trade.kind is not TradeKind.NEW or (trade.venue_trade_id, order_id_of(trade.reference)) not in booked
        ]

    def _is_elsewhere(self, trade: FillReport) -> bool:
        return self._store.is_elsewhere(order_id_of(trade.reference))

    def _is_booked(self, trade: FillReport) -> bool:
        order = self._store.cache.find_order(order_id_of(trade.reference))
        return order is not None and trade.kind is TradeKind.NEW and trade.venue_trade_id in order.trade_ids

    def _compare_orders(self, asked: dict[str, str], known: set[str], state: VenueState, now_ns: int) -> None:
        """Deal with each leg that may trade, by what a complete answer has of it; it shows the `known` ones."""
        missing = {}
        for reference, order_id in asked.items():
            order = self._store.cache.orders.get(order_id)
            leg = order.find_leg(reference) if order is not None else None
            if order is None or leg is None or not leg.is_live or self._order_router.is_sending(reference):
                continue
            if self._is_of_earlier_day(order, leg, known, state):
                with self._store.begin(order.user_id) as changes:
                    apply_reports.end_leg(self._store.cache, order, leg, changes)
                    self._store.commit(changes)
                continue
            if reference in known:
                ending = order.status is OrderStatus.PENDING_CANCEL or order.day_over
                if ending or order.replace_step is ReplaceStep.CANCELING:
                    self._order_router.cancel(order_id)  # the first request may be lost
                continue
            since_ns = missing[reference] = self._missing.get(reference, now_ns)
            waited_s = (now_ns - since_ns) / 1e9
            if reference in state.uncertain or leg.delivery is not Delivery.UNCERTAIN:
                # It is there, or was, though the gateway does not show it now: never ended by our own hand. What the
                # gateway took a moment ago may come into its answers a little later.
                patience_s = SETTLES_S if reference in state.uncertain else FORGOTTEN_S
                if leg.delivery is Delivery.UNCERTAIN or waited_s >= patience_s:
                    self._mark_uncertain(order)
            elif reference in state.refused or waited_s >= self._settings.value.unknown_grace_s:
                self._never_sent(order, leg)
        self._missing = missing | {
            name: since_ns
            for name, since_ns in self._missing.items()
            if name not in asked and order_id_of(name) in self._store.cache.orders
        }

    def _is_of_earlier_day(self, order: Order, leg: Leg, known: set[str], state: VenueState) -> bool:
        """Return whether a leg was good for a day that is over at its venue, which does not know it any more.

        Where the gateway reports no day's end it may still show it: as it was before that.
        """
        if not 0 < leg.trading_day < state.trading_day:
            return False
        if leg.delivery is Delivery.UNCERTAIN and order.reference(leg) in state.uncertain:
            return False  # it may have been there under no name of ours, and traded: its day's end does not show that
        kept = self._store.cache.keeps_overnight(order.gateway)
        if kept and order.time_in_force in GOOD_TILL:
            return False
        return not (kept and order.reference(leg) in known)

    def _mark_uncertain(self, order: Order) -> None:
        """Mark it as uncertain, once: its outcome is known to the venue alone."""
        with self._store.begin(order.user_id) as changes:
            apply_reports.mark_uncertain(order, changes)
            if changes:
                log.error("order %s: its gateway does not show it; it stays UNKNOWN", order.order_id)
                self._store.commit(changes)

    def _never_sent(self, order: Order, leg: Leg) -> None:
        """The gateway never had it, and nobody sends it any more."""
        self._missing.pop(order.reference(leg), None)
        log.warning("order %s: the gateway did not get it", order.reference(leg))
        with self._store.begin(order.user_id) as changes:
            if order.is_retried and order.status is not OrderStatus.PENDING_CANCEL:
                order.legs.remove(leg)
                apply_reports.send(self._store.cache, order, changes)  # a stop, or an exit, outlives a restart
            else:
                apply_reports.not_sent(self._store.cache, order, leg, changes)
            self._store.commit(changes)

    async def _quantities_elsewhere(self, gateway: str) -> dict[tuple[str, PositionSide], Decimal]:
        """Net quantities at a gateway of users whom other replicas serve."""
        shards = self._store.commit_log.shards.keys()
        if len(shards) == SHARDS:
            return {}
        async with self._repositories.read() as repository:
            return await repository.quantities_elsewhere(gateway, shards)

    def _compare_positions(
        self, gateway: str, state: VenueState, elsewhere: Mapping[tuple[str, PositionSide], Decimal]
    ) -> None:
        """Note positions that differ twice in a row: once may be a fill that is on its way."""
        ours = net_quantities(self._store.cache.accounts.values(), gateway)
        for held, quantity in elsewhere.items():
            ours[held] = ours.get(held, ZERO) + quantity
        theirs: dict[tuple[str, PositionSide], Decimal] = {}
        for position in state.positions:
            if position.gateway in ("", gateway):
                key = (position.symbol, position.side)
                theirs[key] = theirs.get(key, ZERO) + position.quantity
        before = self._differences.get(gateway, {})
        reports = self._report_handler.account_reports[gateway]
        differences: dict[tuple[str, PositionSide], PositionDifference] = {}
        with self._store.begin(self._externals.step_user(gateway)) as changes:
            for key in ours.keys() | theirs.keys():
                symbol, side = key
                difference = PositionDifference(
                    gateway, symbol, side, theirs.get(key, ZERO), ours.get(key, ZERO), 0, changes.now_ns, reports
                )
                if not difference.quantity:
                    continue
                earlier = before.get(key)
                if earlier is not None and earlier.quantity == difference.quantity:
                    difference = replace(difference, since_ns=earlier.since_ns or changes.now_ns)
                    if reports >= earlier.account_reports:  # else the line is another
                        difference = replace(
                            difference, seen_ns=earlier.seen_ns, account_reports=earlier.account_reports
                        )
                    if not earlier.since_ns:
                        log.warning(
                            "gateway %s holds %s more %s of %s than the books",
                            gateway,
                            difference.quantity,
                            side.name,
                            symbol,
                        )
                        changes.external.append(ExternalActivity(gateway, "position", symbol, "", difference.quantity))
                differences[key] = difference
            self._differences[gateway] = differences
            self._count_differences(gateway)
            if changes:
                self._store.commit(changes)

    async def _adjust_positions(self, gateway: str, state: VenueState) -> None:
        differences = self._differences[gateway]
        self._adjustments.show(gateway, differences)
        reports = self._report_handler.account_reports[gateway]
        for booked in await self._adjustments.book_settled(list(differences.values()), state, reports):
            differences.pop((booked.symbol, booked.side), None)
        self._count_differences(gateway)

    def _count_differences(self, gateway: str) -> None:
        differences = self._differences[gateway].values()
        metrics.differences.labels(gateway).set(sum(1 for difference in differences if difference.since_ns))

    def _begin_anew(self, *_: object) -> None:
        """Users came into the books: trades that were taken and not written, or passed by, are asked for again."""
        self._cursors.clear()
        self.request()


def _is_doubtful(order: Order) -> bool:
    return order.status is OrderStatus.UNKNOWN or any(leg.delivery is Delivery.UNCERTAIN for leg in order.legs)
