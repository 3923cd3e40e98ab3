"""SIM where the exchanges' hours are kept: refusals, auctions, the end of DAY orders, and ticks in sessions only."""

import asyncio
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from redfire.common.v1 import common_pb2 as common
from redfire.common.v1.error_reason_pb2 import MARKET_CLOSED
from redfire.engine.v1 import engine_pb2 as pb
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.reasons import Reason

from services.engine.feeds.sim_hours import SimHours
from services.engine.feeds.simulated import SimFeed
from services.engine.sim.exchange import SimExchange
from services.engine.updates import OrderStatus
from services.kernel.clock import ManualClock
from services.kernel.identifiers import new_id
from services.quant.catalogue import Catalogue
from tests.engine.recordings import row, write
from tests.engine.sim_harness import SYMBOL, Harness
from tests.harness import platform
from tests.waiting import until

SHANGHAI = ZoneInfo("Asia/Shanghai")
PRICE = "4500.2"


class HoursHarness(Harness):
    """An exchange that keeps its hours. It is Monday, 23 November 2026, 10:00 in Shanghai."""

    def __init__(self) -> None:
        super().__init__()
        self.hours = SimHours(self.clock, Catalogue.load())
        self.restart()

    def restart(self) -> None:
        settings = self.settings
        self.exchange = SimExchange("SIM", Catalogue.load(), self.store, self.clock, lambda: settings, self.hours)

    def turn_to(self, text: str) -> None:
        moment = datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)
        self.clock.advance((moment - self.clock.now()).total_seconds())

    def refusal(self, **order: str) -> Reason | None:
        update = self.last(self.send(**order))
        return update.reason if update.status is OrderStatus.REJECTED else None


@pytest.fixture
def harness() -> HoursHarness:
    made = HoursHarness()
    made.quote()
    return made


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-23 09:20",
        "2026-11-23 12:00",
        "2026-11-23 15:00",
        "2026-11-23 21:30",
        "2026-11-28 10:00",
        "2026-10-01 10:00",
    ],
)
def test_an_order_outside_of_sessions_is_refused(harness, moment):
    harness.turn_to(moment)
    assert harness.refusal(price=PRICE) is Reason.MARKET_CLOSED


def test_an_order_in_a_session_trades_as_ever(harness):
    assert harness.last(harness.send(price=PRICE)).status is OrderStatus.FILLED


def test_an_auction_takes_limit_orders_which_wait_for_the_first_quote(harness):
    harness.turn_to("2026-11-24 09:26")
    order = harness.send(price=PRICE)
    assert harness.last(order).status is OrderStatus.NEW
    assert harness.refusal() is Reason.MARKET_CLOSED
    assert harness.refusal(price=PRICE, tif="IOC") is Reason.MARKET_CLOSED
    harness.turn_to("2026-11-24 09:30")
    harness.quote(day=20261124)
    assert harness.last(order).status is OrderStatus.FILLED


def test_an_order_of_the_auction_is_of_the_new_trading_day(harness):
    harness.turn_to("2026-11-24 09:26")
    order = harness.send(price="4400")
    assert harness.exchange.trading_day == 20261124
    harness.turn_to("2026-11-24 09:30")
    harness.quote(day=20261124)
    assert harness.last(order).status is OrderStatus.NEW


def test_day_orders_end_with_the_last_session_and_others_live_on(harness):
    day, gtc = harness.send(price="4400"), harness.send(price="4400", tif="GTC")
    for moment, ended in (("11:45", False), ("14:59", False), ("15:00", True)):
        harness.turn_to(f"2026-11-23 {moment}")
        harness.exchange.expire()
        assert (harness.last(day).status is OrderStatus.EXPIRED) == ended
    assert harness.last(day).message == "the trading day is over"
    assert harness.last(gtc).status is OrderStatus.NEW


def test_a_day_order_that_a_restart_slept_over_ends(harness):
    order = harness.send(price="4400")
    kept = harness.exchange.find(order)
    harness.turn_to("2026-11-24 10:00")
    harness.restart()
    harness.exchange.restore([kept], 20261123, 1000)
    harness.exchange.expire()
    assert harness.last(order).status is OrderStatus.EXPIRED


def test_a_contract_ends_with_its_last_day(harness):
    harness.turn_to("2026-12-18 14:59")  # IF2612's last one
    orders = [
        harness.send(price="4400", tif="GTC"),
        harness.send(price="4400", tif="GTD", expire=harness.clock.now() + timedelta(days=30)),
    ]
    assert [harness.last(order).status for order in orders] == [OrderStatus.NEW] * 2
    harness.turn_to("2026-12-18 15:00")
    harness.exchange.expire()
    assert [harness.last(order).status for order in orders] == [OrderStatus.EXPIRED] * 2
    harness.turn_to("2026-12-21 10:00")
    assert harness.refusal(price="4400") is Reason.CONTRACT_EXPIRED
    assert harness.hours.state("rb2701.SHFE").takes_orders


def test_what_is_amended_outside_of_sessions_stays_as_it_was(harness):
    order = harness.send(price="4400")
    harness.turn_to("2026-11-23 12:00")
    assert harness.exchange.amend(order, None, harness.fills(order) or None)
    update = harness.last(order)
    assert update.amend_rejected and update.reason is Reason.MARKET_CLOSED
    assert harness.exchange.cancel(order)


async def test_symbols_tick_in_their_sessions_only(harness):
    harness.turn_to("2026-11-23 21:30")
    seen: list[str] = []

    async def capacity() -> None:
        """Return at once: there is always capacity."""

    feed = SimFeed(Catalogue.load().listed(), 7, harness.clock, lambda: 1000.0, hours=harness.hours)
    task = asyncio.create_task(feed.run(lambda quote: seen.append(quote.symbol), capacity))

    async def pump() -> bool:
        harness.clock.advance(0.001)
        return len(set(seen)) == 5

    await until(pump)
    assert SYMBOL not in seen
    harness.turn_to("2026-11-24 03:00")
    seen.clear()
    for _ in range(50):
        harness.clock.advance(0.01)
        await asyncio.sleep(0)
    assert seen == []
    task.cancel()
    await asyncio.wait([task])


def test_without_the_setting_sim_trades_at_any_hour():
    harness = Harness()
    harness.clock.advance(hours=14)
    harness.quote()
    assert harness.last(harness.send(price=PRICE)).status is OrderStatus.FILLED


@pytest.mark.parametrize(("replays", "closed"), [(False, True), (True, False)])
async def test_the_setting_of_trading_closes_the_random_market_but_no_recording(tmp_path, replays, closed):
    saturday = ManualClock(datetime(2026, 11, 28, 10, tzinfo=SHANGHAI))
    rows = write(tmp_path / "rows.csv", [row(second, 5000.0) for second in range(10)])
    settings = {
        "engine": {"feed": f"replay:{rows}@max" if replays else "sim:7"},
        "trading": {"enforce_sessions": True},
    }
    async with platform("engine", settings=settings, clock=saturday, data_dir=tmp_path / "data") as running:
        engine = running.service_stub(EngineServiceStub)
        order = pb.SendOrderRequest(
            gateway_name="SIM",
            order_id=new_id(),
            account_id="a",
            symbol="IF2101.CFFEX" if replays else SYMBOL,
            side=common.SIDE_BUY,
            type=common.ORDER_TYPE_LIMIT,
            time_in_force=common.TIME_IN_FORCE_DAY,
            quantity="1",
            price="4900",
        )
        await engine.SendOrder(order)

        async def state() -> pb.OrderUpdate | None:
            query = pb.QueryStateRequest(gateway_name="SIM", order_ids=[order.order_id])
            return next(iter((await engine.QueryState(query)).orders), None)

        await until(state)
        order = await state()
        assert (order.status == common.ORDER_STATUS_REJECTED) == closed
        assert (order.reason == MARKET_CLOSED) == closed
