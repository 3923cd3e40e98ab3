"""External orders and trades: at venues, but requested by nobody here, until an administrator adopts them."""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import replace
from decimal import Decimal
from uuid import UUID, uuid5

from redfire.enums import OrderStatus

from services.kernel.data.database import Database
from services.kernel.data.repositories import Repositories
from services.kernel.errors import RedFireError
from services.trading import metrics, models
from services.trading.domain.account import Account
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.external_booking import book_external
from services.trading.domain.external_order import ExternalActivity, ExternalOrder, ExternalTrade, order_row, trade_row
from services.trading.domain.money import ZERO
from services.trading.domain.order import FINISHED, order_id_of
from services.trading.domain.report import FillReport, OrderStatusReport, TradeKind, UnreadableReport
from services.trading.external_repository import ExternalRepository
from services.trading.peers.instruments import Instruments
from services.trading.state.store import TradingStore

log = logging.getLogger(__name__)
KNOWN = 10_000
# How long after its end reports may come of an adopted order: over a holiday.
ADOPTED_FOR_NS = 12 * 86_400 * 1_000_000_000
_NAMESPACE = UUID("6f1d5a0e-3c58-4b0e-9a3c-4d1f7a6f2b11")


class Externals:
    """Keeps external orders and trades, each once, and which order of ours an adopted one is."""

    def __init__(
        self,
        store: TradingStore,
        database: Database,
        repositories: Repositories[ExternalRepository],
        instruments: Instruments,
    ) -> None:
        self._store = store
        self._instruments = instruments
        self._repositories = repositories
        self._upsert_order = database.upsert(
            models.ExternalOrderRow, ["external_order_id"], fixed=("create_time_ns", "gateway", "venue_order_id")
        )
        self._upsert_trade = database.upsert(models.ExternalTradeRow, ["external_trade_id"])
        # Of those that were reported lately, what is written; the others are looked up.
        self._orders: OrderedDict[str, ExternalOrder] = OrderedDict()
        self._trades: OrderedDict[str, None] = OrderedDict()
        # Of the former those that are nobody's yet, by (gateway, venue's id).
        self._unclaimed: dict[tuple[str, str], str] = {}
        # By (gateway, venue's id): the reference of the order of ours that it is, and its symbol. Some venues give an
        # id again another day.
        self._adopted: dict[tuple[str, str], tuple[str, str]] | None = None
        # One at a time: what is adopted must not be recorded as external meanwhile.
        self.lock = asyncio.Lock()
        store.on_reloaded(self._forget)

    async def reference_of(self, report: OrderStatusReport | FillReport) -> str:
        """RedFire's reference of a report's order: the venue's word, or an administrator's; empty if none."""
        adopted = await self._load()
        reference, symbol = adopted.get((report.gateway, report.venue_order_id), ("", ""))
        return reference if reference and symbol == report.symbol else report.reference

    async def record(self, report: OrderStatusReport | FillReport | UnreadableReport) -> bool:
        """Write down an external order or trade; False when it was adopted meanwhile, and belongs to the books."""
        if isinstance(report, UnreadableReport):
            self._unreadable(report)
            return True
        if not report.venue_order_id and not report.reference:
            log.warning("gateway %s reports something in %s without any id", report.gateway, report.symbol)
            return True
        if not await self.is_recorder(report.gateway):
            return True  # another replica does
        async with self.lock:
            if not self._store.serves_all:
                self._forget()  # another replica may have adopted it
            if await self.reference_of(report) != report.reference:
                return False
            if isinstance(report, OrderStatusReport):
                await self._record_order(report)
            else:
                await self._record_trade(report)
        return True

    async def is_recorder(self, gateway: str) -> bool:
        """Return whether this replica records what is external at a gateway.

        It is the one that serves the owner of the gateway's LIVE account, else that which serves what is nobody's.
        """
        if self._store.serves_all or self._store.cache.live_account(gateway) is not None:
            return True
        if not self._store.serves(""):
            return False
        async with self._repositories.read() as repository:
            return not await repository.has_live_account(gateway)

    def step_user(self, gateway: str) -> str:
        """The user whose shard's steps write what is external at a gateway."""
        account = self._store.cache.live_account(gateway)
        return "" if account is None else account.user_id

    def adopt(self, order: ExternalOrder, reference: str, account_id: str, changes: ChangeSet) -> ExternalOrder:
        """From now on an external order is the leg `reference` of an order of ours; written with the step."""
        adopted = replace(
            order,
            reference=reference,
            order_id=order_id_of(reference),
            account_id=account_id,
            update_time_ns=changes.now_ns,
        )
        assert self._adopted is not None
        self._adopted[order.gateway, order.venue_order_id] = reference, order.symbol
        self._write_order(adopted, changes)
        return adopted

    def claim(self, report: OrderStatusReport | FillReport, account_id: str, changes: ChangeSet) -> None:
        """Drop an external order that the gateway has recognised as one of ours."""
        external_order_id = self._unclaimed.get((report.gateway, report.venue_order_id))
        if external_order_id is not None and external_order_id in self._orders:
            self.adopt(self._orders[external_order_id], report.reference, account_id, changes)

    @property
    def has_unclaimed(self) -> bool:
        """Return whether any external order that was reported lately is not adopted."""
        return bool(self._unclaimed)

    async def _record_order(self, report: OrderStatusReport) -> None:
        external_order_id = external_order_id_of(report.gateway, report.venue_order_id or report.reference)
        before = await self.find_order(external_order_id)
        if before is None and report.status in FINISHED and not report.cumulative_quantity:
            return  # over without a trace
        order = ExternalOrder(
            external_order_id=external_order_id,
            gateway=report.gateway,
            venue_order_id=report.venue_order_id or report.reference,
            reference=report.reference,
            symbol=report.symbol,
            side=report.side,
            position_effect=report.position_effect,
            type=report.type,
            quantity=report.quantity,
            price=report.price,
            cumulative_quantity=report.cumulative_quantity,
            status=report.status,
            create_time_ns=before.create_time_ns if before is not None else self._store.clock.now_ns(),
            update_time_ns=before.update_time_ns if before is not None else self._store.clock.now_ns(),
            account_id=before.account_id if before is not None else "",
            order_id=before.order_id if before is not None else "",
        )
        if not self._store.is_open:
            return  # all is reported again once the books are read
        if before == order or (before is not None and before.status in FINISHED and report.status not in FINISHED):
            return
        if not self._store.serves(self.step_user(report.gateway)):
            return
        with self._store.begin(self.step_user(report.gateway)) as changes:
            if before is None:
                self._record_activity(
                    "order", report.gateway, report.symbol, order.venue_order_id, report.quantity, changes
                )
            self._write_order(replace(order, update_time_ns=changes.now_ns), changes)
            self._store.commit(changes)

    async def _record_trade(self, report: FillReport) -> None:
        venue_order_id = report.venue_order_id or report.reference
        trade_id = str(uuid5(_NAMESPACE, f"{report.gateway}\n{report.venue_trade_id}\n{venue_order_id}\n{report.kind}"))
        if trade_id in self._trades:
            return
        async with self._repositories.read() as repository:
            written = await repository.has_trade(trade_id)
        self._trades[trade_id] = None
        while len(self._trades) > KNOWN:
            self._trades.popitem(last=False)
        external_order_id = external_order_id_of(report.gateway, venue_order_id)
        order = None if written else await self.find_order(external_order_id)
        account = None if written else await self._live_account(report)
        if written or not self._store.is_open or not self._store.serves(self.step_user(report.gateway)):
            return
        with self._store.begin(self.step_user(report.gateway)) as changes:
            trade = ExternalTrade(
                external_trade_id=trade_id,
                external_order_id=external_order_id,
                gateway=report.gateway,
                venue_trade_id=report.venue_trade_id,
                venue_order_id=venue_order_id,
                symbol=report.symbol,
                side=report.side,
                position_effect=report.position_effect,
                kind=report.kind,
                price=report.price,
                quantity=report.quantity,
                time_ns=report.time_ns,
                trading_day=report.trading_day,
                create_time_ns=changes.now_ns,
            )
            changes.writes.append((self._upsert_trade, trade_row(trade)))
            if order is None:  # its order was not reported: what is known of it is what it traded
                order = ExternalOrder(
                    external_order_id, report.gateway, venue_order_id, report.reference, report.symbol, report.side,
                    report.position_effect, quantity=report.quantity, price=None, cumulative_quantity=report.quantity,
                    status=OrderStatus.UNKNOWN, create_time_ns=changes.now_ns, update_time_ns=changes.now_ns,
                    account_id="" if account is None else account.account_id,
                )  # fmt: skip
                self._write_order(order, changes)
            else:
                after = order
                if order.status is OrderStatus.UNKNOWN and report.kind is TradeKind.NEW:
                    traded = order.cumulative_quantity + report.quantity
                    after = replace(order, quantity=traded, cumulative_quantity=traded)
                if account is not None:
                    after = replace(after, account_id=account.account_id)
                if after != order:
                    self._write_order(replace(after, update_time_ns=changes.now_ns), changes)
            if account is not None:
                book_external(self._store.cache, account, report, changes)
            self._record_activity(
                "trade", report.gateway, report.symbol, report.venue_trade_id, report.quantity, changes
            )
            self._store.commit(changes)

    async def _live_account(self, report: FillReport) -> Account | None:
        """The LIVE account that a hand trade is booked to; None where there is none, or it is booked already."""
        if self._store.cache.live_account(report.gateway) is None:
            return None
        try:
            await self._instruments.require(report.symbol)
            await self._store.commit_log.durable()
        except RedFireError as error:
            # As a difference of positions it comes into the books once its instrument is known.
            log.warning("trade %s in %s cannot be booked now: %s", report.venue_trade_id, report.symbol, error.message)
            return None
        if report.kind is TradeKind.NEW:
            async with self._repositories.read() as repository:
                if await repository.is_booked(report):
                    return None
        return self._store.cache.live_account(report.gateway)

    def _unreadable(self, report: UnreadableReport) -> None:
        key = f"unreadable {report.gateway} {report.kind} {report.venue_id or report.reference} {report.problem}"
        if key in self._trades:
            return
        self._trades[key] = None
        metrics.unreadable.labels(report.gateway, report.kind).inc()
        log.error(
            "gateway %s reports %s %s of order %s in %s, which cannot be booked: %s",
            report.gateway, report.kind, report.venue_id, report.reference, report.symbol, report.problem,
        )  # fmt: skip
        if self._store.is_open and self._store.serves(self.step_user(report.gateway)):
            with self._store.begin(self.step_user(report.gateway)) as changes:
                venue_id = report.venue_id or report.reference
                changes.external.append(ExternalActivity(report.gateway, report.kind, report.symbol, venue_id, ZERO))
                self._store.commit(changes)

    def _record_activity(
        self, kind: str, gateway: str, symbol: str, venue_id: str, quantity: Decimal, changes: ChangeSet
    ) -> None:
        metrics.external.labels(gateway, kind).inc()
        log.warning("gateway %s has %s %s in %s, which is not ours", gateway, kind, venue_id, symbol)
        changes.external.append(ExternalActivity(gateway, kind, symbol, venue_id, quantity))

    def _write_order(self, order: ExternalOrder, changes: ChangeSet) -> None:
        self._orders[order.external_order_id] = order
        self._orders.move_to_end(order.external_order_id)
        while len(self._orders) > KNOWN:
            _, oldest = self._orders.popitem(last=False)
            self._unclaimed.pop((oldest.gateway, oldest.venue_order_id), None)
        key = (order.gateway, order.venue_order_id)
        if order.order_id:
            self._unclaimed.pop(key, None)
        else:
            self._unclaimed[key] = order.external_order_id
        changes.writes.append((self._upsert_order, order_row(order)))

    async def find_order(self, external_order_id: str) -> ExternalOrder | None:
        """An external order, as it is written or about to be."""
        await self._load()
        order = self._orders.get(external_order_id)
        if order is None:
            async with self._repositories.read() as repository:
                order = await repository.find_order(external_order_id)
        return order

    async def _load(self) -> dict[tuple[str, str], tuple[str, str]]:
        if self._adopted is None:
            async with self._repositories.read() as repository:
                self._adopted = await repository.adopted(self._store.clock.now_ns() - ADOPTED_FOR_NS)
        return self._adopted

    def _forget(self) -> None:
        self._orders.clear()
        self._unclaimed.clear()
        self._trades.clear()
        self._adopted = None


def external_order_id_of(gateway: str, venue_order_id: str) -> str:
    """The id of an external order: the same whenever it is reported."""
    return str(uuid5(_NAMESPACE, f"{gateway}\n{venue_order_id}"))
