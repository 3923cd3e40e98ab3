"""Steps on their way to the database: sequence, rows, one commit; published in order, once they are durable.

One process gives out one row of sequences, and goes on behind the last one of each shard that it takes over: so the
sequences of a user grow whichever replica serves the user. A stream of a user is true at a sequence of the user's shard
alone, since other shards' tell nothing at another replica.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from services.kernel.audit.draft import joining
from services.kernel.data.writes import Fence, Write, Writer, WriteSequence
from services.kernel.errors import CommitUnknown, Duplicate, Fenced, RedFireError, ShardMoved, Unavailable
from services.kernel.shards.ownership import shard_of
from services.trading import rows
from services.trading.domain.account_view import AccountView, PositionView, view_account, view_position
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.order import Order
from services.trading.domain.order_group import OrderGroup
from services.trading.domain.quote import LastPrices
from services.trading.domain.trade import Trade
from services.trading.repository import Statements
from services.trading.state.periods import period_of
from services.trading.state.streams import StreamUpdate, UpdateKind

log = logging.getLogger(__name__)
Encode = Callable[[int, Order | OrderGroup | Trade | PositionView | AccountView], bytes]


class Events(Protocol):
    """Makes the outbox rows by which other services learn of a step."""

    def writes(self, changes: ChangeSet) -> list[Write]:
        """Rows for the same transaction."""
        ...

    def committed(self) -> None:
        """Rows that were made are durable."""
        ...


@dataclass(slots=True)
class ShardLog:
    """Of one shard: the fence of its writes, and how far its sequences are."""

    fence: Fence
    # Given out last, and durable.
    sequence: int = 0
    published: int = 0
    # Sequences up to this one may not be kept any more.
    trimmed_through: int = 0
    # Steps of a shard build on each other.
    writes: WriteSequence = field(default_factory=WriteSequence)


@dataclass(slots=True)
class _Step:
    changes: ChangeSet
    shard_log: ShardLog
    updates: list[StreamUpdate]
    last_sequence: int
    # Given out, so that a caller that waits for it and disconnects cancels it; `written` goes on for the others.
    done: "asyncio.Future[None]"
    written: "asyncio.Future[None]"
    has_events: bool
    failure: RedFireError | None = None


class CommitLog:
    """Writes steps in the order they were made and publishes them in that order."""

    def __init__(
        self,
        writer: Writer,
        statements: Statements,
        events: Events,
        encode: Encode,
        last_prices: LastPrices,
    ) -> None:
        self._writer = writer
        self._statements = statements
        self._events = events
        self._encode = encode
        self._last_prices = last_prices
        self._closed = False
        self._steps: deque[_Step] = deque()
        self.sequence = 0
        self.published = 0
        # By shard that is served here.
        self.shards: dict[int, ShardLog] = {}
        self._published: list[Callable[[ChangeSet, list[StreamUpdate]], None]] = []
        self._failed: list[Callable[[], None]] = []
        self._fenced: list[Callable[[Fence], None]] = []

    def on_published(self, listener: Callable[[ChangeSet, list[StreamUpdate]], None]) -> None:
        """Call `listener(changes, updates)` for each step that is durable, in order."""
        self._published.append(listener)

    def on_failure(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a step could not be written."""
        self._failed.append(listener)

    def on_fenced(self, listener: Callable[[Fence], None]) -> None:
        """Call `listener(fence)` when a step was refused since another replica has taken its shard over."""
        self._fenced.append(listener)

    def begin(self, shards: Mapping[int, ShardLog]) -> None:
        """Go on after what was read of shards; a sequence that was given out is never given again."""
        for shard, shard_log in shards.items():
            # What was given out here before, and could not be written, is not given again either.
            self.sequence = max(self.sequence, shard_log.sequence)
            self.shards[shard] = shard_log
        if not self._steps:
            self.published = self.sequence

    def drop(self, shards: Collection[int]) -> None:
        """Accept no steps of these shards any more."""
        for shard in shards:
            self.shards.pop(shard, None)

    def shard_log(self, user_id: str) -> ShardLog:
        """The log of a user's shard. Raises ShardMoved when it is not served here."""
        shard_log = self.shards.get(shard_of(user_id))
        if shard_log is None:
            raise ShardMoved
        return shard_log

    def kept(self, user_id: str) -> tuple[int, int]:
        """(lost through, published through) of a user's shard; of all that are served here when empty."""
        if user_id:
            shard_log = self.shard_log(user_id)
            return shard_log.trimmed_through, shard_log.published
        return max((one.trimmed_through for one in self.shards.values()), default=0), self.published

    def close(self) -> None:
        """Accept no more steps until `reopen`; those that were accepted are written."""
        self._closed = True

    def reopen(self) -> None:
        """Accept steps again: the books were read anew."""
        self._closed = False

    @property
    def waiting(self) -> int:
        """The number of steps that are not durable yet."""
        return len(self._steps)

    def commit(self, changes: ChangeSet, refusable: bool = False) -> "asyncio.Future[None]":
        """Write a step; the future resolves when it is durable and published.

        Fails with Duplicate where a `refusable` step breaks a unique key (alone), with ShardMoved where another replica
        has taken the user's shard over, else with Unavailable or CommitUnknown, and then all later steps fail too: the
        books must be read anew.
        """
        if self._closed:
            raise Unavailable("the books are being read anew")
        shard_log = self.shard_log(changes.user_id)
        before = shard_log.sequence
        updates = self._updates(changes)
        events = self._events.writes(changes)
        writes = self._writes(changes, updates, shard_log.fence.shard, before) + events
        if (draft := joining()) is not None and not draft.resource and (orders := changes.created or changes.orders):
            draft.resource = f"orders/{next(iter(orders))}"
        if updates:
            shard_log.sequence = self.sequence
        try:
            written = self._writer.submit(writes, shard_log.writes, refusable, (shard_log.fence,))
        except Unavailable:
            self._fail()
            raise
        done: asyncio.Future[None] = written.get_loop().create_future()
        self._steps.append(_Step(changes, shard_log, updates, self.sequence, done, written, bool(events)))
        written.add_done_callback(self._advance)
        return done

    def state_trimmed(self, shard_log: ShardLog, through: int) -> "asyncio.Future[None]":
        """Promise no updates of a shard up to a sequence any more, in this process at once and for its next owners."""
        shard_log.trimmed_through = through
        row = {"shard": shard_log.fence.shard, "trimmed_through": through}
        return self._writer.submit([(self._statements.upsert_shard_sequence, row)], fences=(shard_log.fence,))

    def forget(self, shard_log: ShardLog, sequences: Iterable[int]) -> "asyncio.Future[None]":
        """Delete rows of a shard."""
        rows = [{"shard": shard_log.fence.shard, "sequence": sequence} for sequence in sequences]
        return self._writer.submit([(self._statements.trim_updates, row) for row in rows], fences=(shard_log.fence,))

    async def durable(self) -> None:
        """Wait until all that was done so far is durable. Raises Unavailable when it could not be written."""
        if self._steps:
            last = self._steps[-1]
            await asyncio.wait([last.written])
            if last.failure is not None:
                raise type(last.failure)(last.failure.message)

    async def idle(self) -> None:
        """Wait until nothing is on its way, whether it could be written or not."""
        while self._steps:
            await asyncio.wait([self._steps[-1].written])

    def _advance(self, _: object) -> None:
        while self._steps and self._steps[0].written.done():
            step = self._steps.popleft()
            error = step.written.exception()
            if error is None:
                self.published = step.last_sequence
                if step.updates:
                    step.shard_log.published = step.last_sequence
                # First, so that the answer is on its way before the venue is: who waits runs after all of this.
                if not step.done.done():
                    step.done.set_result(None)
                if step.has_events:
                    self._events.committed()
                for listener in self._published:
                    listener(step.changes, step.updates)
                continue
            is_moved = self.shards.get(step.shard_log.fence.shard) is not step.shard_log
            if isinstance(error, Fenced) or (is_moved and not isinstance(error, CommitUnknown)):
                error = step.failure = ShardMoved()
                if not is_moved:
                    for on_fenced in self._fenced:
                        on_fenced(step.shard_log.fence)
            elif not isinstance(error, Duplicate) or step.shard_log.writes.broken:
                log.error("a step of trading could not be written: %s", error)
                step.failure = Unavailable("the books are being read anew")
                if not isinstance(error, CommitUnknown):
                    error = Unavailable("the order could not be written; nothing was done")
                if not is_moved:
                    self._fail()
            if not step.done.done():
                step.done.set_exception(error)
                # A step need not be awaited; asyncio would log its exception as never retrieved. on_failure handles it.
                step.done.exception()

    def _fail(self) -> None:
        self._closed = True
        for listener in self._failed:
            listener()

    def _updates(self, changes: ChangeSet) -> list[StreamUpdate]:
        return [self._change(changes.user_id, item) for item in self._items(changes)]

    def _items(self, changes: ChangeSet) -> Iterator[Order | OrderGroup | Trade | PositionView | AccountView]:
        yield from changes.created.values()
        yield from changes.orders.values()
        yield from changes.groups.values()
        yield from changes.trades
        yield from changes.trade_updates
        for position in changes.positions.values():
            yield view_position(position, self._last_prices.of(position.gateway))
        for account in changes.accounts.values():
            yield view_account(account, self._last_prices.of(account.gateway))

    def _change(self, user_id: str, item: Order | OrderGroup | Trade | PositionView | AccountView) -> StreamUpdate:
        self.sequence += 1
        payload = self._encode(self.sequence, item)
        return StreamUpdate(UpdateKind.CHANGE, self.sequence, user_id, item.account_id, payload)

    def _writes(self, changes: ChangeSet, updates: list[StreamUpdate], shard: int, before: int) -> list[Write]:
        # Most of it is empty, and a loop over nothing costs less than a comprehension.
        to, writes = self._statements, list[Write]()
        for order in changes.created.values():
            writes.append((to.upsert_order, rows.order_row(order)))
        for order in changes.orders.values():
            writes.append((to.upsert_order, rows.order_row(order)))
        for group in changes.groups.values():
            writes.append((to.upsert_order_group, rows.order_group_row(group)))
        for trade in changes.trades:
            writes.append((to.insert_trade, rows.trade_row(trade)))
        for trade in changes.trade_updates:
            writes.append((to.upsert_trade, rows.trade_row(trade)))
        for entry in changes.entries:
            writes.append((to.insert_entry, rows.entry_row(entry)))
        for position in changes.positions.values():
            writes.append((to.upsert_position, rows.position_row(position)))
        for account in changes.account_rows.values():
            writes.append((to.upsert_account, rows.account_row(account)))
        for instrument in changes.instruments:
            writes.append((to.upsert_instrument, rows.instrument_row(instrument)))
        for gateway, (day, is_own) in changes.gateways.items():
            writes.append((to.upsert_gateway, {"gateway": gateway, "trading_day": day, "keeps_own_days": is_own}))
        if updates:
            row = {
                "shard": shard,
                "sequence": updates[-1].sequence,
                "period": period_of(changes.now_ns),
                "first_sequence": before + 1,
                "user_id": changes.user_id,
                "payload": b"".join(len(item.payload).to_bytes(4) + item.payload for item in updates),
            }
            writes.append((to.insert_updates, row))
        writes += changes.writes
        return writes


def messages(payload: bytes) -> Iterator[bytes]:
    """The messages of a row of the commit log."""
    at = 0
    while at < len(payload):
        size = int.from_bytes(payload[at : at + 4])
        yield payload[at + 4 : at + 4 + size]
        at += 4 + size
