"""The trading store, the one place where the books change: a step is synchronous, written as one, seen when durable."""

import asyncio
import copy
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from redfire.enums import PositionSide

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import NotFound, Unavailable
from services.trading import metrics
from services.trading.domain import external_booking
from services.trading.domain.account import Account
from services.trading.domain.account_view import AccountView, PositionView, view_account, view_position
from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.order import Order
from services.trading.domain.order_group import OrderGroup
from services.trading.domain.trade import Trade
from services.trading.repository import TradingRepository
from services.trading.state.commit_log import CommitLog, Encode, messages
from services.trading.state.streams import Snapshot, StreamUpdate, UpdateKind

log = logging.getLogger(__name__)
READ_AT_ONCE = 500
# Beyond so many steps on their way, requests are refused; what venues report, and what follows from it, never is.
MOST_WAITING = 20_000
TRIMMED_AT_ONCE, TRIM_PAUSE_S = 1000, 0.01


@dataclass(slots=True)
class _Lookup:
    """An order that is looked up by the client's id."""

    order: Order | None = None
    is_done: bool = False


class TradingStore:
    """The books, their commit log, and their recovery from the database when a step could not be written."""

    def __init__(
        self,
        cache: TradingCache,
        commit_log: CommitLog,
        repositories: Repositories[TradingRepository],
        clock: Clock,
        encode: Encode,
        describe: Callable[[bytes], tuple[int, str]],
    ) -> None:
        """`describe(message)` answers (sequence, account id) of an encoded change."""
        self.cache = cache
        self.commit_log = commit_log
        self.clock = clock
        self._repositories = repositories
        self._encode = encode
        self._describe = describe
        self._loaded = False
        self._failed = asyncio.Event()
        self._reloaded: list[Callable[[], None]] = []
        self._recovered: list[Callable[[Sequence[StreamUpdate]], None]] = []
        self._completions: list[Callable[[ChangeSet], None]] = []
        self._lookups: dict[tuple[str, str], _Lookup] = {}
        self._lookup_lock = asyncio.Lock()
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        commit_log.on_published(self._published)
        commit_log.on_failure(self._on_failure)

    @property
    def is_open(self) -> bool:
        """Return whether the books may be changed."""
        return self._loaded

    def require_open(self) -> None:
        """Raises Unavailable while the books are being read, or where the database does not keep up."""
        if not self._loaded:
            raise Unavailable("trading is reading its books; try again")
        if self.commit_log.waiting >= MOST_WAITING:
            raise Unavailable("the database does not keep up")

    def on_reloaded(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the books were read."""
        self._reloaded.append(listener)

    def on_recovered(self, listener: Callable[[Sequence[StreamUpdate]], None]) -> None:
        """Call `listener(updates)` with those of steps that were written, though it was not known in time."""
        self._recovered.append(listener)

    def on_published(self, listener: Callable[[ChangeSet, list[StreamUpdate]], None]) -> None:
        """Call `listener(changes, updates)` for each step that is durable, in order."""
        self.commit_log.on_published(listener)

    def on_commit(self, complete: Callable[[ChangeSet], None]) -> None:
        """Call `complete(changes)` in each step before it is written: it adds what follows, without awaiting."""
        self._completions.append(complete)

    # Changing

    def begin(self, user_id: str) -> ChangeSet:
        """Begin a step: `with store.begin(user_id) as changes:`, in which nothing is awaited and the step is committed.

        When the block raises, the books are read anew before anything else is done.
        """
        return ChangeSet(user_id, self.clock.now_ns(), abandon=self._abandon)

    def roll(self, account: Account, symbol: str) -> None:
        """Bring what is held of a symbol into today, in a step of its own: an order's step may still be refused."""
        due = [p for (name, _), p in account.positions.items() if name == symbol and not p.is_current]
        if due:
            with self.begin(account.user_id) as changes:
                for position in due:
                    self.cache.roll(position, changes)
                self.commit(changes)

    def commit(self, changes: ChangeSet, refusable: bool = False) -> "asyncio.Future[None]":
        """End a step; see CommitLog.commit. Sends and cancels follow by themselves once it is durable.

        Listeners complete it first with what follows from it; nothing follows from a refusable one.
        """
        if not refusable:
            for complete in self._completions:
                complete(changes)
        return self.commit_log.commit(changes, refusable)

    async def changed(self, order_id: str) -> None:
        """Wait for the next durable change of an order."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(order_id, [])
        waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters and self._waiters.get(order_id) is waiters:
                del self._waiters[order_id]

    # Reading

    async def get_order(self, user_id: str, order_id: str) -> Order:
        """An order of the user. Raises NotFound, whether there is none or it is somebody else's."""
        order = self.cache.find_order(order_id)
        if order is not None:
            if order.user_id != user_id:
                raise NotFound("order", order_id)
            await self.commit_log.durable()
            return self.cache.find_order(order_id) or order
        async with self._repositories.read() as repository:
            return await repository.get_order(user_id, order_id)

    async def recall(self, order_id: str) -> Order | None:
        """An order of anybody, put back among the finished ones when it was forgotten; for late reports."""
        order = self.cache.find_order(order_id)
        if order is None:
            # What ended a moment ago is open in the database until its step is durable.
            with suppress(Unavailable):
                await self.commit_log.durable()
            async with self._repositories.read() as repository:
                stored = await repository.find_order(order_id)
            order = self.cache.find_order(order_id)  # it may have come back meanwhile
            if order is None and stored is not None and not stored.is_open:
                self.cache.remember_finished(stored)
                order = stored
        return order

    async def recall_group(self, order: Order) -> None:
        """Put the group of a finished order back into the books for the step that books a trade of it."""
        if not order.order_group_id or order.order_group_id in self.cache.groups:
            return
        with suppress(Unavailable):
            await self.commit_log.durable()
        async with self._repositories.read() as repository:
            group = await repository.get_order_group(order.user_id, order.order_group_id)
        if self.is_open and order.order_group_id not in self.cache.groups:
            for one in group.orders:
                if (mine := self.cache.find_order(one.order_id)) is not None:
                    group.adopt(mine)
                else:
                    self.cache.remember_finished(one)
            self.cache.add_group(group)

    async def find_trades(self, order_id: str, venue_trade_id: str) -> list[Trade]:
        """A venue's trade of an order and its corrections, oldest first."""
        with suppress(Unavailable):
            await self.commit_log.durable()
        async with self._repositories.read() as repository:
            return await repository.find_trades(order_id, venue_trade_id)

    async def find_by_client(self, account_id: str, client_order_id: str) -> Order | None:
        """An order by the client's id, however old."""
        order = self.cache.find_by_client(account_id, client_order_id)
        if order is not None:
            await self.commit_log.durable()
            return order
        return await self._look_up((account_id, client_order_id))

    async def _look_up(self, key: tuple[str, str]) -> Order | None:
        """An order from the database; those who ask while it is read share the next query.

        After a restart clients repeat hundreds of requests at once, and each of them is looked up.
        """
        lookup = self._lookups.setdefault(key, _Lookup())
        async with self._lookup_lock:
            if not lookup.is_done:
                asked = list(self._lookups)
                async with self._repositories.read() as repository:
                    stored = await repository.find_by_clients(asked)
                for one in asked:
                    done = self._lookups.pop(one)
                    done.order, done.is_done = stored.get(one), True
                    if done.order is not None and not done.order.is_open and self.cache.find_by_client(*one) is None:
                        self.cache.remember_finished(done.order)
        return lookup.order

    async def snapshot(self, user_id: str, account_id: str) -> Snapshot:
        """All that is open for a user (everybody when empty), for a stream."""
        self.require_open()
        sequence, changes = self.commit_log.sequence, []
        owners = [user_id] if user_id else list(self.cache.accounts_of)
        for owner in owners:
            for account in self.cache.accounts_of.get(owner, ()):
                if account_id and account.account_id != account_id:
                    continue
                prices = self.cache.last_prices.of(account.gateway)
                items: list[Order | OrderGroup | PositionView | AccountView] = [
                    view_account(account, prices),
                    *(view_position(position, prices) for position in account.positions.values()),
                    *self.cache.open_orders(account.account_id),
                    *self.cache.groups_of(account.account_id),
                ]
                changes += [
                    StreamUpdate(UpdateKind.CHANGE, sequence, owner, account.account_id, self._encode(sequence, item))
                    for item in items
                ]
        await self.commit_log.durable()
        return Snapshot(sequence, changes)

    async def missed(self, after: int, through: int, user_id: str) -> AsyncIterator[StreamUpdate]:
        """Return the updates published after a sequence, from the database."""
        while after < through:
            async with self._repositories.read() as repository:
                rows = await repository.commit_log(after, through, user_id, READ_AT_ONCE)
            for last, owner, payload in rows:
                for message in messages(payload):
                    sequence, account_id = self._describe(message)
                    if sequence > after:
                        yield StreamUpdate(UpdateKind.CHANGE, sequence, owner, account_id, message)
                after = last
            if len(rows) < READ_AT_ONCE:
                return

    async def open_copies(self, account_id: str) -> tuple[list[Order], int]:
        """An account's open orders as they are at this sequence."""
        orders, sequence = [copy.copy(order) for order in self.cache.open_orders(account_id)], self.commit_log.sequence
        await self.commit_log.durable()
        return orders, sequence

    # From the database

    async def load(self) -> None:
        """Read the books."""
        async with self._repositories.read() as repository:
            loaded = await repository.load(self.clock.now_ns() - external_booking.REMEMBERED_NS)
        # A commit during which the database was lost may be done, and nobody was sent what it wrote.
        published = self.commit_log.published
        unsent = [update async for update in self.missed(published, loaded.last_sequence, "")] if published else []
        cache = self.cache
        cache.clear()
        for instrument in loaded.instruments:
            cache.instruments.setdefault(instrument.symbol, instrument)
        for gateway, (trading_day, is_own) in loaded.gateways.items():
            cache.days.restore(gateway, trading_day, is_own)
        for account in loaded.accounts:
            cache.add_account(account)
        for account_id, symbol, side, realized in loaded.realized:
            cache.accounts[account_id].realized_of[symbol, PositionSide(side)] = realized
        for trade in loaded.external_trades:
            external_booking.remember(cache.accounts[trade.account_id], trade)
        for position in loaded.positions:
            cache.add_position(position)
        for order in loaded.orders:
            cache.add_order(order)
        for group in loaded.order_groups:
            cache.add_group(group)
            for order in group.orders:
                if not order.is_open:
                    cache.remember_finished(order)
        self.commit_log.begin(loaded.last_sequence, loaded.trimmed_through)
        for recovered in self._recovered:
            recovered(unsent)
        self._failed.clear()
        self._loaded = True
        for listener in self._reloaded:
            listener()

    async def recover(self) -> None:
        """Read the books anew whenever a step could not be written, until cancelled."""
        pause_s = 0.05
        while True:
            await self._failed.wait()
            log.error("the books are read anew")
            await self.commit_log.idle()
            try:
                await self.load()
                pause_s = 0.05
            except Exception:
                log.exception("the books cannot be read")
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, 5.0)

    async def trim(self, keep: int) -> None:
        """Forget updates that are older than the last `keep`."""
        through = self.commit_log.published - keep
        if through > self.commit_log.trimmed_through:
            # Stated first: what is being deleted is not promised to streams that resume.
            self.commit_log.trimmed_through = through
            more = True
            while more:
                # In parts, since the order path cannot write meanwhile; it is first in line after each.
                async with self._repositories() as repository:
                    more = await repository.trim_commit_log(through, TRIMMED_AT_ONCE)
                await asyncio.sleep(TRIM_PAUSE_S)

    def _abandon(self, error: BaseException) -> None:
        if self._loaded:
            log.error("a step of trading failed half-way", exc_info=error)
            self.commit_log.close()
            self._on_failure()

    def _on_failure(self) -> None:
        self._loaded = False
        self._failed.set()

    def _published(self, changes: ChangeSet, updates: list[StreamUpdate]) -> None:
        if changes.created:
            metrics.orders.inc(len(changes.created))
        if changes.trades:
            metrics.trades.inc(len(changes.trades))
        if self._waiters:
            for order_id in (*changes.orders, *changes.created):
                for waiter in self._waiters.get(order_id, ()):
                    if not waiter.done():
                        waiter.set_result(None)
