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
from tests.engine.sim_desk import SYMBOL, Desk
from tests.harness import platform
from tests.waiting import until

SHANGHAI = ZoneInfo("Asia/Shanghai")
PRICE = "4500.2"


class HoursDesk(Desk):
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
def desk() -> HoursDesk:
    made = HoursDesk()
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
def test_an_order_outside_of_sessions_is_refused(desk, moment):
    desk.turn_to(moment)
    assert desk.refusal(price=PRICE) is Reason.MARKET_CLOSED


def test_an_order_in_a_session_trades_as_ever(desk):
    assert desk.last(desk.send(price=PRICE)).status is OrderStatus.FILLED


def test_an_auction_takes_limit_orders_which_wait_for_the_first_quote(desk):
    desk.turn_to("2026-11-24 09:26")
    order = desk.send(price=PRICE)
    assert desk.last(order).status is OrderStatus.NEW
    assert desk.refusal() is Reason.MARKET_CLOSED
    assert desk.refusal(price=PRICE, tif="IOC") is Reason.MARKET_CLOSED
    desk.turn_to("2026-11-24 09:30")
    desk.quote(day=20261124)
    assert desk.last(order).status is OrderStatus.FILLED


def test_an_order_of_the_auction_is_of_the_new_trading_day(desk):
    desk.turn_to("2026-11-24 09:26")
    order = desk.send(price="4400")
    assert desk.exchange.trading_day == 20261124
    desk.turn_to("2026-11-24 09:30")
    desk.quote(day=20261124)
    assert desk.last(order).status is OrderStatus.NEW


def test_day_orders_end_with_the_last_session_and_others_live_on(desk):
    day, gtc = desk.send(price="4400"), desk.send(price="4400", tif="GTC")
    for moment, ended in (("11:45", False), ("14:59", False), ("15:00", True)):
        desk.turn_to(f"2026-11-23 {moment}")
        desk.exchange.expire()
        assert (desk.last(day).status is OrderStatus.EXPIRED) == ended
    assert desk.last(day).message == "the trading day is over"
    assert desk.last(gtc).status is OrderStatus.NEW


def test_a_day_order_that_a_restart_slept_over_ends(desk):
    order = desk.send(price="4400")
    kept = desk.exchange.find(order)
    desk.turn_to("2026-11-24 10:00")
    desk.restart()
    desk.exchange.restore([kept], 20261123, 1000)
    desk.exchange.expire()
    assert desk.last(order).status is OrderStatus.EXPIRED


def test_a_contract_ends_with_its_last_day(desk):
    desk.turn_to("2026-12-18 14:59")  # IF2612's last one
    orders = [
        desk.send(price="4400", tif="GTC"),
        desk.send(price="4400", tif="GTD", expire=desk.clock.now() + timedelta(days=30)),
    ]
    assert [desk.last(order).status for order in orders] == [OrderStatus.NEW] * 2
    desk.turn_to("2026-12-18 15:00")
    desk.exchange.expire()
    assert [desk.last(order).status for order in orders] == [OrderStatus.EXPIRED] * 2
    desk.turn_to("2026-12-21 10:00")
    assert desk.refusal(price="4400") is Reason.CONTRACT_EXPIRED
    assert desk.hours.state("rb2701.SHFE").takes_orders


def test_what_is_amended_outside_of_sessions_stays_as_it_was(desk):
    order = desk.send(price="4400")
    desk.turn_to("2026-11-23 12:00")
    assert desk.exchange.amend(order, None, desk.fills(order) or None)
    update = desk.last(order)
    assert update.amend_rejected and update.reason is Reason.MARKET_CLOSED
    assert desk.exchange.cancel(order)


async def test_symbols_tick_in_their_sessions_only(desk):
    desk.turn_to("2026-11-23 21:30")
    seen: list[str] = []

    async def capacity() -> None:
        """Always."""

    feed = SimFeed(Catalogue.load().listed(), 7, desk.clock, lambda: 1000.0, hours=desk.hours)
    task = asyncio.create_task(feed.run(lambda quote: seen.append(quote.symbol), capacity))

    async def pump() -> bool:
        desk.clock.advance(0.001)
        return len(set(seen)) == 5

    await until(pump)
    assert SYMBOL not in seen
    desk.turn_to("2026-11-24 03:00")
    seen.clear()
    for _ in range(50):
        desk.clock.advance(0.01)
        await asyncio.sleep(0)
    assert seen == []
    task.cancel()
    await asyncio.wait([task])


def test_without_the_setting_sim_trades_at_any_hour():
    desk = Desk()
    desk.clock.advance(hours=14)
    desk.quote()
    assert desk.last(desk.send(price=PRICE)).status is OrderStatus.FILLED


@pytest.mark.parametrize(("replays", "closed"), [(False, True), (True, False)])
async def test_the_setting_of_trading_closes_the_random_market_but_no_recording(tmp_path, replays, closed):
    saturday = ManualClock(datetime(2026, 11, 28, 10, tzinfo=SHANGHAI))
    rows = write(tmp_path / "rows.csv", [row(second, 5000.0) for second in range(10)])
    settings = {
        "engine": {"feed": f"replay:{rows}@max" if replays else "sim:7"},
        "trading": {"enforce_sessions": True},
    }
    async with platform("engine", settings=settings, clock=saturday, data_dir=tmp_path / "data") as running:
        engine = running.service_stub(EngineServiceStub, "trading")
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
