"""Follows trading where replicas share the users: those of the shards that this process serves, as they come and go.

What is kept of a shard's users (the day's profit and loss, counts of orders) is read when the shard comes, and what
came after it is counted from trading's commit log. Until then an order of such a user waits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import Any

from redfire.trading.v1 import order_service_pb2
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.clock import Clock
from services.kernel.errors import Unavailable
from services.kernel.rpc.silence import SILENCE_S, until_silent
from services.kernel.shards.ownership import shard_of
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.shard_counts import ShardCounts
from services.risk.peers.trading_feed import MISSED_S, TradingFeed, _ns

log = logging.getLogger(__name__)
Message = Any
# How long a check waits for a shard that comes: less than trading waits for the check.
WAIT_S = 0.8
_COUNTED_AT_ONCE = 4
SECOND_NS = 1_000_000_000
Load = Callable[[Mapping[int, int], Collection[str]], Awaitable[Collection[int]]]


class ShardFeed(TradingFeed):
    """Fills the portfolio with the users of the shards that are served here."""

    def __init__(
        self,
        trading: OrderServiceStub,
        portfolio: Portfolio,
        counts: ShardCounts,
        sizes_known: asyncio.Event,
        clock: Clock,
        load: Load,
    ) -> None:
        """`load(epochs, users)` reads what is kept of shards' users; answers the shards that are this process's."""
        super().__init__(trading, portfolio, counts, sizes_known, clock)
        self._load = load
        # Epochs of the shards whose users are known.
        self.epochs: dict[int, int] = {}
        self._ready = asyncio.Event()

    async def known(self, user_id: str) -> bool:
        """Wait a moment until what trading knows of a user is known; false when it is not."""
        shard = shard_of(user_id)
        if shard in self.epochs:
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while shard not in self.epochs:
                    self._ready.clear()
                    await self._ready.wait()
        return shard in self.epochs

    async def _follow(self) -> None:
        """Follow one stream. It begins with all that is served now, which replaces what was known."""
        taken: Mapping[int, int] | None = None
        waiting: list[Message] = []
        is_first = True
        messages = until_silent(self._trading.WatchShards(order_service_pb2.WatchShardsRequest()), SILENCE_S)
        async with aclosing(messages) as stream:
            async for message in stream:
                if message.HasField("taken"):
                    taken = dict(message.taken.epochs)
                elif message.HasField("ready"):
                    assert taken is not None
                    await self._take(taken, message.ready.sequences, waiting, is_first)
                    taken, waiting, is_first = None, [], False
                    self.complete = self._connected = True
                elif message.HasField("lost"):
                    self._lose(message.lost.shards)
                elif taken is not None:
                    waiting.append(message)
                elif message.update.WhichOneof("event") == "end":
                    return
                elif message.user_id:
                    self._apply_change(message)

    def _apply_change(self, message: Message) -> None:
        counts, update = self._counts.of_user(message.user_id), message.update
        if shard_of(message.user_id) not in self.epochs or update.sequence <= (counts.sequence or 0):
            return  # what stood when the shard came includes it
        self._in_snapshot = False
        self._apply_item(message.user_id, update, update.WhichOneof("event"))
        counts.sequence = update.sequence

    async def _take(
        self, taken: Mapping[int, int], through: Mapping[int, int], waiting: Iterable[Message], is_first: bool
    ) -> None:
        """Know users as they stand, with what is kept of them and was missed."""
        ready = {shard: epoch for shard, epoch in taken.items() if shard in through}
        if is_first:
            self._lose([shard for shard, epoch in self.epochs.items() if ready.get(shard) != epoch])
        coming = {shard: epoch for shard, epoch in ready.items() if self.epochs.get(shard) != epoch}
        messages = [message for message in waiting if shard_of(message.user_id) in ready]
        users = {message.user_id for message in messages if shard_of(message.user_id) in coming}
        owned = await self._load(coming, users) if coming else ()
        if is_first:
            self._portfolio.begin_snapshot()
        self._in_snapshot = True
        for message in messages:
            if shard_of(message.user_id) not in coming or shard_of(message.user_id) in owned:
                self._apply_item(message.user_id, message.update, message.update.WhichOneof("event"))
        if is_first:
            self._portfolio.complete_snapshot()
        room = asyncio.Semaphore(_COUNTED_AT_ONCE)

        async def complete(shard: int) -> None:
            async with room:
                await self._count_missed_of(shard, through[shard])
            self.epochs[shard] = ready[shard]
            self._ready.set()

        # Each is served once it is counted: one of which much was missed holds up no other.
        kept = [shard for shard in ready if shard not in coming or shard in owned]
        outcomes = await asyncio.gather(*(complete(shard) for shard in kept), return_exceptions=True)
        self._uncounted.clear()
        self._in_snapshot = False
        for error in outcomes:
            if error is not None:
                raise error

    async def _count_missed_of(self, shard: int, through: int) -> None:
        """Count what a shard's former owner had not written down; its orders of the present second count as such."""
        counts = self._counts.by_shard[shard]
        counts.sequence = counts.sequence or 0
        after = min(counts.sequence, counts.rate_sequence or counts.sequence)
        if after >= through:
            counts.sequence = through
            return
        second_ago_ns, admitted = self._clock.now_ns() - SECOND_NS, dict[str, tuple[str, int]]()

        async def noted() -> Any:
            request = order_service_pb2.WatchShardsRequest(missed_after={shard: after})
            async for message in self._trading.WatchShards(request):
                if message.update.WhichOneof("event") == "order":
                    order = message.update.order
                    if _ns(order.create_time) > second_ago_ns:
                        admitted[order.order_id] = order.account_id, _ns(order.create_time)
                yield message

        try:
            async with asyncio.timeout(MISSED_S):
                await self._count(noted(), counts, through)
        except Unavailable as error:
            log.warning("what was missed of shard %s cannot be counted: %s", shard, error.message)
            raise
        now, now_ns = self._clock.monotonic(), self._clock.now_ns()
        for account_id, created_ns in sorted(admitted.values(), key=lambda one: one[1]):
            if (account := self._portfolio.find(account_id)) is not None:
                account.admit(now - max(now_ns - created_ns, 0) / SECOND_NS)

    def _lose(self, shards: Collection[int]) -> None:
        for shard in shards:
            self.epochs.pop(shard, None)
        self._counts.drop(shards)
        self._portfolio.drop(lambda user_id: shard_of(user_id) in shards)
