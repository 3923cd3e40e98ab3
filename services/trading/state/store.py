"""The trading store, the one place where the books change: a step is synchronous, written as one, seen when durable."""

import asyncio
import copy
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.data.writes import Fence
from services.kernel.errors import NotFound, Unavailable
from services.kernel.shards.ownership import SHARDS, shard_of
from services.trading import metrics
from services.trading.domain import external_booking
from services.trading.domain.account import Account
from services.trading.domain.account_view import AccountView, PositionView, view_account, view_position
from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.order import Order
from services.trading.domain.order_group import OrderGroup
from services.trading.domain.order_ids import shard_of_order
from services.trading.domain.trade import Trade
from services.trading.repository import Loaded, TradingRepository
from services.trading.state.cache_loading import load_cache
from services.trading.state.commit_log import CommitLog, Encode, ShardLog, messages
from services.trading.state.streams import Snapshot, StreamUpdate, UpdateKind

log = logging.getLogger(__name__)
READ_AT_ONCE = 500
# Beyond so many steps on their way, requests are refused; what venues report, and what follows from it, never is.
MOST_WAITING = 20_000


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
        # Epochs of the shards whose users are here, or are being read.
        self._epochs: dict[int, int] = {}
        self._reading = asyncio.Lock()
        self._reloaded: list[Callable[[], None]] = []
        self._recovered: list[Callable[[Sequence[StreamUpdate]], None]] = []
        self._users_loaded: list[Callable[[Loaded, bool], None]] = []
        self._dropped: list[Callable[[Collection[int], Collection[str]], None]] = []
        self._completions: list[Callable[[ChangeSet], None]] = []
        self._lookups: dict[tuple[str, str, str], _Lookup] = {}
        self._lookup_lock = asyncio.Lock()
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        commit_log.on_published(self._published)
        commit_log.on_failure(self._on_failure)
        commit_log.on_fenced(self._on_fenced)

    @property
    def is_open(self) -> bool:
        """Return whether the books may be changed."""
        return self._loaded

    def require_open(self, user_id: str = "") -> None:
        """Raises Unavailable while the books are being read, or where the database does not keep up.

        And ShardMoved where another replica serves the user.
        """
        if not self._loaded:
            raise Unavailable("trading is reading its books; try again")
        if self.commit_log.waiting >= MOST_WAITING:
            raise Unavailable("the database does not keep up")
        if user_id:
            self.commit_log.shard_log(user_id)

    def serves(self, user_id: str) -> bool:
        """Return whether this process serves a user; the empty one stands for what is nobody's."""
        return shard_of(user_id) in self.commit_log.shards

    @property
    def serves_all(self) -> bool:
        """Return whether there is no other replica, or none serves anybody."""
        return len(self.commit_log.shards) == SHARDS

    @property
    def epochs(self) -> Mapping[int, int]:
        """Epochs of the shards that are served here."""
        return {shard: one.fence.epoch for shard, one in self.commit_log.shards.items()}

    def fence(self, user_id: str) -> Fence:
        """The fence of writes for a user. Raises ShardMoved."""
        return self.commit_log.shard_log(user_id).fence

    def is_elsewhere(self, order_id: str) -> bool:
        """Return whether an order that is not in the books certainly is of a user whom another replica serves."""
        shard = shard_of_order(order_id)
        return shard is not None and shard not in self.commit_log.shards

    def on_reloaded(self, listener: Callable[[], None]) -> None:
        """Call `listener` when all books were read anew, after a step that could not be written."""
        self._reloaded.append(listener)

    def on_recovered(self, listener: Callable[[Sequence[StreamUpdate]], None]) -> None:
        """Call `listener(updates)` with those of steps that were written, though it was not known in time."""
        self._recovered.append(listener)

    def on_loaded(self, listener: Callable[[Loaded, bool], None]) -> None:
        """Call `listener(loaded, anew)` whenever users come into the books; `anew`: instead of all that were there."""
        self._users_loaded.append(listener)

    def on_dropped(self, listener: Callable[[Collection[int], Collection[str]], None]) -> None:
        """Call `listener(shards, users)` when another replica serves users from now on."""
        self._dropped.append(listener)

    def on_published(self, listener: Callable[[ChangeSet, list[StreamUpdate]], None]) -> None:
        """Call `listener(changes, updates)` for each step that is durable, in order."""
        self.commit_log.on_published(listener)

    def on_commit(self, complete: Callable[[ChangeSet], None]) -> None:
        """Call `complete(changes)` in each step before it is written: it adds what follows, without awaiting."""
        self._completions.append(complete)

    # Changing

    def begin(self, user_id: str) -> ChangeSet:
        """Begin a step: `with store.begin(user_id) as changes:`, in which nothing is awaited and the step is committed.

        When the block raises, the books are read anew before anything else is done. Raises ShardMoved.
        """
        self.commit_log.shard_log(user_id)
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
        """An order of anybody, put back among the finished ones when it was forgotten; for late reports.

        Raises ShardMoved for an order of a user whom another replica serves.
        """
        order = self.cache.find_order(order_id)
        if order is None:
            # What ended a moment ago is open in the database until its step is durable.
            with suppress(Unavailable):
                await self.commit_log.durable()
            async with self._repositories.read() as repository:
                stored = await repository.find_order(order_id)
            if stored is not None:
                self.commit_log.shard_log(stored.user_id)
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
        if self.is_open and self.serves(order.user_id) and order.order_group_id not in self.cache.groups:
            for one in group.orders:
                if (mine := self.cache.find_order(one.order_id)) is not None:
                    group.adopt(mine)
                else:
                    self.cache.remember_finished(one)
            self.cache.add_group(group)

    async def find_trades(self, order: Order, venue_trade_id: str) -> list[Trade]:
        """A venue's trade of an order and its corrections, oldest first."""
        with suppress(Unavailable):
            await self.commit_log.durable()
        async with self._repositories.read() as repository:
            return await repository.find_trades(order.user_id, order.order_id, venue_trade_id)

    async def find_by_client(self, user_id: str, account_id: str, client_order_id: str) -> Order | None:
        """An order of a user's account by the client's id, however old."""
        order = self.cache.find_by_client(account_id, client_order_id)
        if order is not None:
            await self.commit_log.durable()
            return order
        return await self._look_up((user_id, account_id, client_order_id))

    async def _look_up(self, key: tuple[str, str, str]) -> Order | None:
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
                    if done.order is None or done.order.is_open or not self.serves(done.order.user_id):
                        continue
                    if self.cache.find_by_client(*one[1:]) is None:
                        self.cache.remember_finished(done.order)
        return lookup.order

    async def snapshot(self, user_id: str, account_id: str) -> Snapshot:
        """All that is open for a user (everybody when empty), for a stream."""
        self.require_open(user_id)
        shard_log = self.commit_log.shard_log(user_id) if user_id else None
        sequence = (self.commit_log if shard_log is None else shard_log).sequence
        changes: list[StreamUpdate] = []
        for owner in [user_id] if user_id else list(self.cache.accounts_of):
            changes += self._stand(owner, account_id, sequence)
        await self.commit_log.durable()
        if shard_log is not None:
            sequence = min(sequence, shard_log.published)  # a refused step has a sequence, but no row
        return Snapshot(sequence, changes)

    def stand_of(self, shards: Collection[int]) -> list[StreamUpdate]:
        """All that is open for the users of shards, as it stands, durable or not yet."""
        owners = [user_id for user_id in self.cache.accounts_of if shard_of(user_id) in shards]
        return [item for owner in owners for item in self._stand(owner, "", self.commit_log.sequence)]

    def _stand(self, owner: str, account_id: str, sequence: int) -> Iterator[StreamUpdate]:
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
            for item in items:
                payload = self._encode(sequence, item)
                yield StreamUpdate(UpdateKind.CHANGE, sequence, owner, account.account_id, payload)

    async def missed(
        self, after: int, through: int, user_id: str, shards: Collection[int] | None = None
    ) -> AsyncIterator[StreamUpdate]:
        """Return the updates published after a sequence, from the database; of all of these shards for no user."""
        shards = self.commit_log.shards if shards is None else shards
        while after < through:
            async with self._repositories.read() as repository:
                rows = await repository.commit_log(after, through, user_id, shards, READ_AT_ONCE)
            for last, owner, payload in rows:
                for message in messages(payload):
                    sequence, account_id = self._describe(message)
                    if sequence > after:
                        yield StreamUpdate(UpdateKind.CHANGE, sequence, owner, account_id, message)
                after = last
            if len(rows) < READ_AT_ONCE:
                return

    async def open_copies(self, account: Account) -> tuple[list[Order], int]:
        """An account's open orders as they are at this sequence."""
        shard_log = self.commit_log.shard_log(account.user_id)
        orders, sequence = [copy.copy(one) for one in self.cache.open_orders(account.account_id)], shard_log.sequence
        await self.commit_log.durable()
        return orders, min(sequence, shard_log.published)

    # From the database

    async def open(self) -> None:
        """Read what is nobody's, at start; users come with their shards."""
        async with self._reading:
            await self._read({})

    async def load(self, shards: Mapping[int, int]) -> None:
        """Read the users of shards that this process serves from now on; epochs by shard."""
        self._epochs.update(shards)
        async with self._reading:
            await self._read({shard: epoch for shard, epoch in shards.items() if shard not in self.commit_log.shards})

    def drop(self, shards: Collection[int]) -> None:
        """Forget the users of shards: another replica serves them. Nothing of them is written from now on."""
        for shard in shards:
            self._epochs.pop(shard, None)
        self.commit_log.drop(shards)
        users = {user_id for user_id in self.cache.accounts_of if shard_of(user_id) in shards}
        self.cache.drop_users(users)
        for listener in self._dropped:
            listener(shards, users)

    async def recover(self) -> None:
        """Read the books anew whenever a step could not be written, until cancelled."""
        pause_s = 0.05
        while True:
            await self._failed.wait()
            log.error("the books are read anew")
            await self.commit_log.idle()
            try:
                async with self._reading:
                    await self._read(self._epochs, anew=True)
                pause_s = 0.05
            except Exception:
                log.exception("the books cannot be read")
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, 5.0)

    async def _read(self, shards: Mapping[int, int], anew: bool = False) -> None:
        """Put users of shards into the books; `anew`: instead of all that is there."""
        while True:
            wanted = self._wanted(shards)
            async with self._repositories.read() as repository:
                loaded = await repository.load(self.clock.now_ns() - external_booking.REMEMBERED_NS, wanted)
            unsent = await self._unsent(loaded) if anew else []
            if wanted == self._wanted(shards):
                break  # none was lost meanwhile
        if anew:
            self.cache.clear()
            self.commit_log.drop(list(self.commit_log.shards))
        if anew or not self._loaded:
            for gateway, (trading_day, is_own) in loaded.gateways.items():
                self.cache.days.restore(gateway, trading_day, is_own)
        load_cache(self.cache, loaded)
        logs = {}
        for shard, ends in loaded.sequences.items():
            fence = Fence(shard, wanted[shard])
            logs[shard] = ShardLog(fence, ends.last, ends.last, ends.trimmed_through)
        self.commit_log.begin(logs)
        for recovered in self._recovered if anew else ():
            recovered(unsent)
        if anew or not self._failed.is_set():
            self.commit_log.reopen()
            self._failed.clear()
            self._loaded = True
        for listener in self._users_loaded:
            listener(loaded, anew)
        if anew:
            for reloaded in self._reloaded:
                reloaded()

    async def _unsent(self, loaded: Loaded) -> list[StreamUpdate]:
        """Updates that nobody was sent: a commit during which the database was lost may be done."""
        unsent: list[StreamUpdate] = []
        for shard, ends in loaded.sequences.items():
            shard_log = self.commit_log.shards.get(shard)
            if shard_log is not None and shard_log.published < ends.last:
                unsent += [one async for one in self.missed(shard_log.published, ends.last, "", [shard])]
        return sorted(unsent, key=lambda one: one.sequence)

    def _wanted(self, shards: Mapping[int, int]) -> dict[int, int]:
        return {shard: epoch for shard, epoch in shards.items() if self._epochs.get(shard) == epoch}

    def _abandon(self, changes: ChangeSet, error: BaseException) -> None:
        if self._loaded:
            log.error("a step of trading failed half-way", exc_info=error)
            self.commit_log.close()
            self._on_failure()

    def _on_failure(self) -> None:
        self._loaded = False
        self._failed.set()

    def lose(self, user_id: str) -> None:
        """A venue's word that another replica has taken a user over."""
        if self.serves(user_id):
            self._on_fenced(self.fence(user_id))

    def _on_fenced(self, fence: Fence) -> None:
        """Another replica has taken a shard over, and the lease was not known to be lost."""
        if self._epochs.get(fence.shard) == fence.epoch:
            log.warning("shard %s was taken over by another replica", fence.shard)
            self.drop([fence.shard])

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
