"""Risk follows the shards that its process serves: users come with what is kept of them, and go without a trace."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from decimal import Decimal
from typing import Any

from redfire.common.v1 import common_pb2
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1 import trading_pb2

from services.kernel.clock import ManualClock
from services.kernel.shards.ownership import shard_of
from services.quant.calendar import Calendar
from services.risk.domain.day_counts import CountRow, FeedPosition
from services.risk.domain.limits import Limits
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.shard_counts import ShardCounts
from services.risk.peers.shard_feed import ShardFeed
from tests.waiting import until

ALICE, BOB = "alice", "bob"
A, B = shard_of(ALICE), shard_of(BOB)
SYMBOL = "rb2105.SHFE"


class Trading:
    """A replica of trading: what it sends on its stream, and the commit log that others left."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.log: list[Any] = []
        self.asked: list[dict[int, int]] = []
        # What was missed of the shard that is asked for first comes only then.
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def WatchShards(self, request: Any, **_: Any) -> AsyncIterator[Any]:
        if request.missed_after:
            self.asked.append(dict(request.missed_after))
            if len(self.asked) == 1:
                await self.go_on.wait()
            for message in self.log:
                shard = shard_of(message.user_id)
                if message.update.sequence > request.missed_after.get(shard, 1 << 60):
                    yield message
            return
        while (message := await self.sent.get()) is not None:
            yield message

    def send(self, **fields: Any) -> None:
        self.sent.put_nowait(pb.WatchShardsResponse(**fields))


def order(user: str, number: int, sequence: int, now_ns: int, status: str = "NEW", new: bool = True) -> Any:
    one = trading_pb2.Order(
        order_id=f"{user}-{number}", account_id=f"{user}-account", symbol=SYMBOL, side=common_pb2.SIDE_BUY,
        quantity="2", leaves_quantity="2", price="4000", status=f"ORDER_STATUS_{status}",
        position_effect=common_pb2.POSITION_EFFECT_OPEN,
    )  # fmt: skip
    one.create_time.FromNanoseconds(now_ns)
    one.update_time.FromNanoseconds(now_ns if new else now_ns + 1)
    return pb.WatchShardsResponse(user_id=user, update=pb.StreamOrdersResponse(sequence=sequence, order=one))


def account(user: str, sequence: int) -> Any:
    one = trading_pb2.Account(account_id=f"{user}-account", gateway="SIM", realized_pnl="0", commission="0")
    return pb.WatchShardsResponse(user_id=user, update=pb.StreamOrdersResponse(sequence=sequence, account=one))


class Risk:
    """A portfolio and its feed of shards."""

    def __init__(self, stored: Mapping[int, tuple[FeedPosition, list[CountRow]]] | None = None) -> None:
        self.clock = ManualClock()
        self.portfolio = Portfolio(self.clock, Limits())
        self.portfolio.learn_sizes({SYMBOL: Decimal(10)})
        self.counts = ShardCounts(Calendar.load(), is_shared=True)
        self.trading, self.loaded, self.stored = Trading(), [], stored or {}
        known = asyncio.Event()
        known.set()
        self.feed = ShardFeed(self.trading, self.portfolio, self.counts, known, self.clock, self.load)  # type: ignore[arg-type]

    async def load(self, epochs: Mapping[int, int], users: Collection[str]) -> Collection[int]:
        self.loaded.append((dict(epochs), set(users)))
        for shard in epochs:
            position, rows = self.stored.get(shard, (FeedPosition(0, 0), []))
            self.counts.take(shard).load(position, rows)
        return epochs.keys()

    async def __aenter__(self) -> "Risk":
        self.task = asyncio.create_task(self.feed.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def begin(self) -> None:
        self.trading.send(taken={"epochs": {}})
        self.trading.send(ready={"sequences": {}})

    def orders_of(self, user: str) -> int:
        exposure = self.portfolio.find(f"{user}-account")
        return -1 if exposure is None else exposure.open_orders

    def counted(self, user: str) -> int:
        return self.counts.of_user(user).of(f"{user}-account", SYMBOL, self.clock.now_ns()).orders


async def test_users_come_with_their_shard_and_go_with_it_and_others_stay() -> None:
    assert A != B
    async with Risk() as risk:
        risk.begin()
        now_ns = risk.clock.now_ns()
        for user, shard in (ALICE, A), (BOB, B):
            risk.trading.send(taken={"epochs": {shard: 3}})
            risk.trading.sent.put_nowait(account(user, 7))
            risk.trading.sent.put_nowait(order(user, 1, 7, now_ns))
            risk.trading.send(ready={"sequences": {shard: 7}})
        assert await risk.feed.known(ALICE) and await risk.feed.known(BOB)
        assert risk.orders_of(ALICE) == risk.orders_of(BOB) == 1
        assert risk.loaded == [({A: 3}, {ALICE}), ({B: 3}, {BOB})]
        risk.trading.sent.put_nowait(order(ALICE, 2, 8, now_ns))
        await until(lambda: risk.orders_of(ALICE) == 2)
        risk.trading.send(lost={"shards": [A]})
        await until(lambda: risk.orders_of(ALICE) == -1)
        assert risk.orders_of(BOB) == 1 and A not in risk.counts.by_shard


async def test_a_shard_whose_missed_updates_come_late_holds_up_no_other() -> None:
    async with Risk() as risk:
        risk.begin()
        risk.trading.go_on.clear()
        now_ns = risk.clock.now_ns()
        risk.trading.log = [order(ALICE, 1, 6, now_ns), order(BOB, 1, 6, now_ns)]
        risk.trading.send(taken={"epochs": {A: 1, B: 1}})
        risk.trading.sent.put_nowait(account(ALICE, 6))
        risk.trading.sent.put_nowait(account(BOB, 6))
        risk.trading.send(ready={"sequences": {A: 6, B: 6}})
        await until(lambda: len(risk.trading.asked) == 2)
        await until(lambda: len(risk.feed.epochs) == 1)
        (served,) = risk.feed.epochs
        assert [served] == list(risk.trading.asked[1])
        risk.trading.go_on.set()
        assert await risk.feed.known(ALICE) and await risk.feed.known(BOB)
        assert risk.counted(ALICE) == risk.counted(BOB) == 1


async def test_an_update_that_the_shards_state_includes_is_not_counted_again() -> None:
    async with Risk() as risk:
        risk.begin()
        now_ns = risk.clock.now_ns()
        risk.trading.log = [order(ALICE, 1, 6, now_ns), order(ALICE, 2, 7, now_ns)]
        risk.trading.send(taken={"epochs": {A: 1}})
        risk.trading.sent.put_nowait(account(ALICE, 7))
        risk.trading.sent.put_nowait(order(ALICE, 2, 7, now_ns))
        risk.trading.send(ready={"sequences": {A: 7}})
        risk.trading.sent.put_nowait(order(ALICE, 2, 7, now_ns))  # it waited in the stream while the state was made
        risk.trading.sent.put_nowait(order(ALICE, 3, 8, now_ns))
        await until(lambda: risk.orders_of(ALICE) == 2)
        assert risk.counted(ALICE) == 3


async def test_orders_that_a_killed_owner_had_not_written_count_and_those_of_the_last_second_for_the_rate() -> None:
    stored = {A: (FeedPosition(5, 0, rate_sequence=3), [])}
    async with Risk(stored) as risk:
        now_ns = risk.clock.now_ns()
        old_ns = now_ns - 5_000_000_000
        risk.trading.log = [
            order(ALICE, 1, 2, old_ns), order(ALICE, 2, 4, now_ns), order(ALICE, 2, 5, now_ns, "CANCELED", new=False),
            order(ALICE, 3, 6, now_ns), order(ALICE, 3, 7, now_ns, "CANCELED", new=False),
        ]  # fmt: skip
        risk.begin()
        risk.trading.send(taken={"epochs": {A: 2}})
        risk.trading.sent.put_nowait(account(ALICE, 7))
        risk.trading.send(ready={"sequences": {A: 7}})
        assert await risk.feed.known(ALICE)
        assert risk.trading.asked == [{A: 3}]
        assert risk.counted(ALICE) == 1  # the others are in what was written
        exposure = risk.portfolio.find(f"{ALICE}-account")
        assert exposure is not None and exposure.orders_in_last_second(risk.clock.monotonic()) == 2


async def test_a_check_waits_for_a_shard_that_comes_and_is_refused_when_it_does_not(monkeypatch: Any) -> None:
    async with Risk() as risk:
        risk.begin()
        await until(lambda: risk.feed.complete)
        waiting = asyncio.create_task(risk.feed.known(ALICE))
        await asyncio.sleep(0)
        assert not waiting.done()
        risk.trading.send(taken={"epochs": {A: 1}})
        risk.trading.send(ready={"sequences": {A: 0}})
        assert await waiting
        monkeypatch.setattr("services.risk.peers.shard_feed.WAIT_S", 0.01)
        assert not await risk.feed.known(BOB)


async def test_a_stream_that_breaks_is_followed_anew_and_keeps_what_is_kept_of_shards_that_stayed() -> None:
    async with Risk() as risk:
        risk.begin()
        now_ns = risk.clock.now_ns()
        for shard, user in (A, ALICE), (B, BOB):
            risk.trading.send(taken={"epochs": {shard: 1}})
            risk.trading.sent.put_nowait(account(user, 7))
            risk.trading.send(ready={"sequences": {shard: 7}})
        risk.trading.sent.put_nowait(order(ALICE, 1, 8, now_ns))
        await until(lambda: risk.orders_of(ALICE) == 1 and risk.orders_of(BOB) == 0)
        risk.trading.sent.put_nowait(None)
        risk.trading.send(taken={"epochs": {A: 1}})
        risk.trading.sent.put_nowait(account(ALICE, 8))
        risk.trading.sent.put_nowait(order(ALICE, 1, 8, now_ns))
        risk.trading.send(ready={"sequences": {A: 8}})
        await until(lambda: risk.orders_of(BOB) == -1)
        assert risk.orders_of(ALICE) == 1 and risk.counted(ALICE) == 1
        assert [set(epochs) for epochs, _ in risk.loaded] == [{A}, {B}]
