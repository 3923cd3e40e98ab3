"""The counts of a day are those of its updates, whenever risk was killed, and whatever the clock does."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.trading.v1 import order_service_pb2, trading_pb2

from services.kernel.clock import ManualClock
from services.quant.calendar import Calendar
from services.risk.domain.behaviour import MOST_RECENT, Behaviour
from services.risk.domain.day_counts import DAYS, CountRow, DayCounts, FeedPosition
from services.risk.domain.limits import Limits
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.shard_counts import ShardCounts
from services.risk.peers.trading_feed import OPEN, TradingFeed
from tests.examples import examples

pytestmark = pytest.mark.usefixtures("both_databases")

CALENDAR = Calendar.load()
SYMBOLS = ["IF2101.CFFEX", "rb2105.SHFE"]
NEW, PART, FILLED, PENDING_CANCEL, CANCELED, PENDING_REPLACE = 2, 3, 4, 5, 6, 7
NEXT = {
    NEW: (PART, FILLED, PENDING_CANCEL, PENDING_REPLACE, CANCELED),
    PART: (PART, FILLED, PENDING_CANCEL, PENDING_REPLACE),
    PENDING_CANCEL: (PENDING_CANCEL, NEW, CANCELED, FILLED),
    PENDING_REPLACE: (PENDING_REPLACE, NEW, PART, FILLED, PENDING_CANCEL),
}
MONDAY_NS = int(datetime(2021, 1, 4, 2, tzinfo=UTC).timestamp()) * 10**9
DAY_NS = 86_400 * 10**9


class Trading:
    """Trading's stream of orders: all that ever happened, and what is open."""

    def __init__(self) -> None:
        self.history: list[order_service_pb2.WatchTradingResponse] = []
        self.orders: dict[str, trading_pb2.Order] = {}
        self.time_ns = MONDAY_NS
        self.expected: Counter[tuple[str, str]] = Counter()

    def order(self, order: trading_pb2.Order) -> order_service_pb2.WatchTradingResponse:
        self.time_ns += 1000
        order.update_time.FromNanoseconds(self.time_ns)
        sequence = len(self.history) + 1
        update = order_service_pb2.StreamOrdersResponse(sequence=sequence, order=order)
        self.history.append(order_service_pb2.WatchTradingResponse(user_id="user", update=update))
        return self.history[-1]

    def create(self, symbol: str) -> order_service_pb2.WatchTradingResponse:
        order_id = f"o{len(self.orders)}"
        order = trading_pb2.Order(
            order_id=order_id, account_id="a", symbol=symbol, side=1, type=2, quantity="1", price="10", status=NEW
        )
        order.create_time.FromNanoseconds(self.time_ns + 1000)
        self.orders[order_id] = order
        self.expected[symbol, "orders"] += 1
        return self.order(order)

    def move(self, number: int, step: int) -> order_service_pb2.WatchTradingResponse | None:
        open_orders = [order for order in self.orders.values() if order.status in OPEN]
        if not open_orders:
            return None
        order = open_orders[number % len(open_orders)]
        status = NEXT[order.status][step % len(NEXT[order.status])]
        if status != order.status and status == PENDING_CANCEL:
            self.expected[order.symbol, "cancels"] += 1
        if status != order.status and status == PENDING_REPLACE:
            self.expected[order.symbol, "replaces"] += 1
        order.status = status
        return self.order(order)

    async def WatchTrading(self, request: Any) -> AsyncIterator[Any]:
        for message in self.history[request.resume_after_sequence :]:
            yield message
        beat = order_service_pb2.StreamOrdersResponse.Heartbeat()
        update = order_service_pb2.StreamOrdersResponse(sequence=len(self.history), heartbeat=beat)
        yield order_service_pb2.WatchTradingResponse(update=update)


class Counting:
    """Risk's feed with its counts, begun from stored counts."""

    def __init__(self, trading: Trading, stored: tuple[FeedPosition | None, list[CountRow]]) -> None:
        counts = ShardCounts(CALENDAR)
        self.counts = counts.all
        self.counts.load(*stored)
        clock = ManualClock()
        portfolio = Portfolio(clock, Limits())
        self.feed = TradingFeed(trading, portfolio, counts, asyncio.Event(), clock)  # type: ignore[arg-type]
        self.trading = trading

    async def start(self) -> None:
        through = len(self.trading.history)
        self.feed._begin_snapshot()
        for order in self.trading.orders.values():
            if order.status in OPEN:
                update = order_service_pb2.StreamOrdersResponse(sequence=through, order=order)
                self.feed._apply(order_service_pb2.WatchTradingResponse(user_id="user", update=update))
        await self.feed._count_missed(through)
        done = order_service_pb2.StreamOrdersResponse.SnapshotComplete()
        update = order_service_pb2.StreamOrdersResponse(sequence=through, snapshot_complete=done)
        self.feed._apply(order_service_pb2.WatchTradingResponse(update=update))


STEPS = st.lists(
    st.tuples(st.just("create"), st.sampled_from([0, 1]), st.just(0))
    | st.tuples(st.just("move"), st.integers(0, 5), st.integers(0, 4))
    | st.tuples(st.sampled_from(["save", "kill", "snapshot", "down"]), st.integers(0, 3), st.just(0)),
    max_size=60,
)


@pytest.mark.slow
@settings(max_examples=examples(300), deadline=None)
@given(steps=STEPS)
def test_each_order_cancel_and_replace_counts_once_wherever_risk_is_killed(steps: list[Any]) -> None:
    async def play() -> None:
        trading = Trading()
        stored: dict[tuple[str, int], CountRow] = {}
        position: FeedPosition | None = None
        risk = Counting(trading, (None, []))
        await risk.start()

        def save() -> None:
            nonlocal position
            position = risk.counts.position()
            stored.update(((row.symbol, row.trading_day), row) for row in risk.counts.take_changed())

        listening = True
        for kind, one, two in steps:
            message = None
            if kind == "create":
                message = trading.create(SYMBOLS[one])
            elif kind == "move":
                message = trading.move(one, two)
            elif kind == "save":
                save()
            elif kind == "kill":
                risk = Counting(trading, (position, list(stored.values())))
                await risk.start()
                listening = True
            elif kind == "snapshot":
                await risk.start()
                listening = True
            else:
                listening = False  # cut off, until the next snapshot
            if message is not None and listening:
                risk.feed._apply(message)
        if not listening:
            await risk.start()
        for symbol in SYMBOLS:
            counts = risk.counts.of("a", symbol, MONDAY_NS)
            expected = [trading.expected[symbol, name] for name in ("orders", "cancels", "replaces")]
            assert [counts.orders, counts.cancels, counts.replaces] == expected

    asyncio.run(play())


def counted(counts: DayCounts, symbol: str, time_ns: int, number: list[int]) -> None:
    number[0] += 1
    order = trading_pb2.Order(order_id=str(number), account_id="a", symbol=symbol, status=NEW)
    counts.count("user", order, time_ns, new=True)


def test_the_evening_counts_for_the_next_trading_day() -> None:
    counts, number, symbol = DayCounts(CALENDAR), [0], "rb2105.SHFE"
    evening = int(datetime(2021, 1, 8, 13, tzinfo=UTC).timestamp()) * 10**9  # Friday 21:00
    monday = int(datetime(2021, 1, 11, 2, tzinfo=UTC).timestamp()) * 10**9
    counted(counts, symbol, evening, number)
    counted(counts, symbol, monday, number)
    assert counts.of("a", symbol, monday).orders == 2
    assert counts.of("a", symbol, evening - 8 * 3600 * 10**9).orders == 0
    assert [row.trading_day for row in counts.take_changed()] == [20210111]


def test_a_clock_that_jumps_to_another_day_and_back_forgets_nothing() -> None:
    counts, number = DayCounts(CALENDAR), [0]
    for time_ns, expected in (
        (MONDAY_NS, 1),
        (MONDAY_NS + 365 * DAY_NS, 1),
        (MONDAY_NS, 2),
        (MONDAY_NS - 30 * DAY_NS, 1),
        (MONDAY_NS + 1, 3),
    ):
        counted(counts, SYMBOLS[0], time_ns, number)
        assert counts.of("a", SYMBOLS[0], time_ns).orders == expected


@given(days=st.lists(st.integers(0, 9), max_size=40))
def test_only_a_few_days_are_remembered(days: list[int]) -> None:
    counts, number = DayCounts(CALENDAR), [0]
    for day in days:
        counted(counts, SYMBOLS[0], MONDAY_NS + day * DAY_NS, number)
        assert all(len(one.counts) <= DAYS for one in counts._days.values())
        assert counts.of("a", SYMBOLS[0], MONDAY_NS + day * DAY_NS).orders >= 1
    assert all(row.orders for row in counts.take_changed()[-1:])


def test_old_days_are_forgotten_and_not_written_any_more() -> None:
    counts, number = DayCounts(CALENDAR), [0]
    counted(counts, SYMBOLS[0], MONDAY_NS, number)
    counted(counts, SYMBOLS[1], MONDAY_NS + 30 * DAY_NS, number)
    counts.forget_before(20210115)
    assert [row.symbol for row in counts.take_changed()] == [SYMBOLS[1]]
    assert len(counts._days) == 1


def test_what_could_not_be_written_is_written_next_time() -> None:
    counts, number = DayCounts(CALENDAR), [0]
    counted(counts, SYMBOLS[0], MONDAY_NS, number)
    rows = counts.take_changed()
    assert counts.take_changed() == []
    counts.put_back(rows)
    counted(counts, SYMBOLS[0], MONDAY_NS, number)
    assert [row.orders for row in counts.take_changed()] == [2]


def test_a_flood_of_different_orders_is_remembered_only_in_part() -> None:
    behaviour = Behaviour()
    for key in range(MOST_RECENT + 50):
        behaviour.remember(key, str(key), float(key) / 1e6, 86_400.0)
    assert len(behaviour._recent) == MOST_RECENT
    assert behaviour.repeats(MOST_RECENT, "another", 1.0, 86_400.0) is not None


@pytest.mark.parametrize(("age_s", "repeated"), [(0.0, True), (1.9, True), (2.0, False)])
def test_the_window_ends_after_its_time(age_s: float, repeated: bool) -> None:
    behaviour = Behaviour()
    behaviour.remember(7, "first", 10.0, 2.0)
    assert (behaviour.repeats(7, "second", 10.0 + age_s, 2.0) is not None) is repeated
    assert behaviour.repeats(7, "first", 10.0 + age_s, 2.0) is None


ASKS = st.lists(
    st.tuples(st.sampled_from(["ask", "seen", "later"]), st.sampled_from("abcd"), st.sampled_from(SYMBOLS)), max_size=40
)


@given(asks=ASKS)
def test_cancels_on_their_way_are_counted_by_symbol_until_they_are_seen_or_too_old(asks: list[Any]) -> None:
    behaviour, expected, now = Behaviour(), dict[str, tuple[str, float]](), 0.0
    for kind, order_id, symbol in asks:
        if kind == "ask":
            behaviour.add_pending_cancel(order_id, symbol, now + 5)
            expected[order_id] = symbol, now + 5
        elif kind == "seen":
            behaviour.confirm_cancel(order_id)
            expected.pop(order_id, None)
        else:
            now += 2
        for one in SYMBOLS:
            assert behaviour.pending_cancels(one, now) == sum(
                s == one and until > now for s, until in expected.values()
            )
