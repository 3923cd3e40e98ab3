"""Orders at a gateway that knows only DAY and reports no day's end, as vnpy's are."""

import asyncio
import itertools
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from redfire.common.v1.error_reason_pb2 import GATEWAY_DISCONNECTED, MARKET_CLOSED, ORDER_EXPIRED
from redfire.reasons import Reason

from services.kernel.clock import ManualClock
from services.kernel.errors import FailedPrecondition, Unavailable
from services.trading.emulation.stops import Stops
from tests.trading.conftest import trading
from tests.trading.fakes import OTHER, Peers
from tests.waiting import until

DAY, GTC, GTD = 1, 2, 5
NEW = 2


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr("services.trading.day.day_ends.CHECK_S", 0.02)


@asynccontextmanager
async def at(clock, peers=None, **more):
    """Trading at a gateway that knows DAY, IOC and FOK."""
    peers = peers or Peers()
    peers.engine.time_in_forces = [1, 3, 4]
    async with trading(peers, clock=clock, reconcile_interval_s=0.1, **more) as trader:
        yield trader


def shanghai(hour, minute=0, day=5, second=0):
    return datetime(2026, 1, day, hour - 8, minute, second, tzinfo=UTC)


def turn(clock, to):
    clock.advance((to - clock.now()).total_seconds())


@pytest.fixture
def clock():
    return ManualClock(shanghai(14, 30))  # a Monday


async def _working(trader, **more):
    order = await trader.create(symbol=OTHER, price="3500", **more)
    return await trader.becomes(order.order_id, "NEW")


async def _held(trader, order_id):
    async def held():
        order = await trader.get(order_id)
        return order if order.hold_reason == MARKET_CLOSED else None

    return await until(held)


async def test_a_day_order_is_canceled_at_its_last_sessions_end_and_expires(clock):
    async with at(clock) as trader:
        order = await _working(trader, quantity=2, tif="DAY")
        trader.engine.fill(order.order_id, 1, "3500")
        await trader.becomes(order.order_id, "PARTIALLY_FILLED")
        turn(clock, shanghai(15))
        done = await trader.becomes(order.order_id, "EXPIRED")
        assert done.reject_reason == ORDER_EXPIRED and done.cumulative_quantity == "1"
        assert trader.engine.cancels == [order.order_id]


async def test_a_day_order_that_could_not_be_canceled_expires_when_a_later_day_does_not_know_it(clock):
    async with at(clock) as trader:
        order = await _working(trader, tif="DAY")
        trader.engine.auto_cancel = False
        turn(clock, shanghai(15))
        await until(lambda: trader.engine.cancels)
        assert (await trader.get(order.order_id)).status == 2
        trader.engine.complete = False
        del trader.engine.orders[order.order_id]
        turn(clock, shanghai(20, 55))
        trader.engine.trading_day = 20260106
        asked = trader.engine.queries
        await until(lambda: trader.engine.queries > asked + 2)
        assert (await trader.get(order.order_id)).status in (2, 10)  # an answer that is not complete proves nothing
        trader.engine.complete = True
        assert (await trader.becomes(order.order_id, "EXPIRED")).reject_reason == ORDER_EXPIRED


async def test_a_gtd_order_whose_cancel_failed_at_its_time_is_canceled_again(clock):
    peers = Peers()
    cancel, tries = peers.engine.CancelOrder, []

    async def fail_once(request, call):
        tries.append(request.order_id)
        if len(tries) == 1:
            raise Unavailable("cut")
        return await cancel(request, call)

    peers.engine.CancelOrder = fail_once
    async with at(clock, peers) as trader:
        time = Timestamp()
        time.FromDatetime(shanghai(14, 45))
        order = await _working(trader, tif="GTD", expire_time=time)
        turn(clock, shanghai(14, 45))
        assert (await trader.becomes(order.order_id, "EXPIRED")).reject_reason == ORDER_EXPIRED


@pytest.mark.parametrize("tif", ["DAY", "GTC"])
async def test_an_order_whose_day_ends_while_it_is_replaced_is_not_sent_into_the_closed_market(clock, tif):
    async with at(clock) as trader:
        trader.engine.can_amend = trader.engine.auto_cancel = False
        order = await _working(trader, tif=tif)
        await trader.replace(order.order_id, price="3490")
        await until(lambda: trader.engine.cancels)
        turn(clock, shanghai(15))
        await until(lambda: len(trader.engine.cancels) > 1)
        trader.engine.update(order.order_id, "CANCELED")
        if tif == "DAY":
            await trader.becomes(order.order_id, "EXPIRED")
        else:
            assert (await _held(trader, order.order_id)).price == "3490"
        assert len(trader.engine.sends) == 1


@pytest.mark.parametrize("tif", ["DAY", "GTC"])
async def test_a_replacement_whose_cancel_comes_right_after_the_days_end_is_not_sent(clock, tif, monkeypatch):
    monkeypatch.setattr("services.trading.day.day_ends.CHECK_S", 1000)  # nobody has looked at the day's end yet
    async with at(clock) as trader:
        trader.engine.can_amend = trader.engine.auto_cancel = False
        order = await _working(trader, tif=tif)
        await trader.replace(order.order_id, price="3490")
        await until(lambda: trader.engine.cancels)
        turn(clock, shanghai(15))
        trader.engine.update(order.order_id, "CANCELED")
        if tif == "DAY":
            await trader.becomes(order.order_id, "EXPIRED")
        else:
            assert (await _held(trader, order.order_id)).price == "3490"
        assert len(trader.engine.sends) == 1


async def test_a_gtc_order_is_there_for_the_day_waits_over_the_break_and_is_sent_again_for_what_is_left(clock):
    async with at(clock) as trader:
        order = await _working(trader, quantity=3, tif="GTC")
        assert trader.engine.sends[0].time_in_force == DAY
        trader.engine.fill(order.order_id, 1, "3500")
        await trader.becomes(order.order_id, "PARTIALLY_FILLED")
        turn(clock, shanghai(15))
        held = await _held(trader, order.order_id)
        assert held.status == 3 and held.leaves_quantity == "2" and not held.venue_order_id
        turn(clock, shanghai(20, 30))
        trader.engine.trading_day = 20260106
        asked = trader.engine.queries
        await until(lambda: trader.engine.queries > asked + 2)
        assert len(trader.engine.sends) == 1
        turn(clock, shanghai(21))
        await until(lambda: len(trader.engine.sends) == 2)
        again = trader.engine.sends[1]
        assert (again.order_id, again.quantity, again.time_in_force) == (f"{order.order_id}-1", "2", DAY)
        trader.engine.fill(again.order_id, 2, "3499")
        done = await trader.becomes(order.order_id, "FILLED")
        assert done.cumulative_quantity == "3" and not done.hold_reason


async def test_never_are_two_live_though_the_cancel_at_the_days_end_is_lost(clock):
    async with at(clock) as trader:
        order = await _working(trader, quantity=2, tif="GTC")
        trader.engine.auto_cancel = False
        turn(clock, shanghai(15))
        await until(lambda: trader.engine.cancels)
        turn(clock, shanghai(21, 1))  # the next day's night session, and the gateway is still in the old day
        asked = trader.engine.queries
        await until(lambda: trader.engine.queries > asked + 2)
        assert len(trader.engine.sends) == 1
        trader.engine.fill(order.order_id, 1, "3500", silent=True)  # it traded at the very end
        trader.engine.update(order.order_id, "EXPIRED", silent=True)
        trader.engine.trading_day = 20260106
        await until(lambda: len(trader.engine.sends) == 2)
        assert trader.engine.sends[1].quantity == "1"


async def test_a_held_order_survives_a_restart_and_is_canceled_here(clock, tmp_path):
    async with at(clock, data_dir=tmp_path, user_id="u-1") as trader:
        kept = await _working(trader, tif="GTC")
        other = await _working(trader, tif="GTC")
        turn(clock, shanghai(15, 1))
        for order in (kept, other):
            await _held(trader, order.order_id)
    trader.peers.engine.listeners.clear()
    trader.peers.engine.trading_day = 20260106
    async with at(clock, trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        cancels = len(trader.engine.cancels)
        assert (await trader.cancel(other.order_id)).status == 6
        turn(clock, shanghai(9, 1, day=6))
        await until(lambda: len(trader.engine.sends) == 3)
        assert trader.engine.sends[2].order_id == f"{kept.order_id}-1"
        assert len(trader.engine.cancels) == cancels


@pytest.mark.parametrize("ends", [shanghai(14, 45), shanghai(18)])
async def test_a_gtd_order_ends_at_its_time_at_the_venue_or_here(clock, ends):
    async with at(clock) as trader:
        expire_time = Timestamp()
        expire_time.FromDatetime(ends)
        order = await _working(trader, tif="GTD", expire_time=expire_time)
        if ends > shanghai(15):
            turn(clock, shanghai(15))
            await _held(trader, order.order_id)
        turn(clock, ends)
        assert (await trader.becomes(order.order_id, "EXPIRED")).reject_reason == ORDER_EXPIRED


async def test_a_later_days_leg_that_never_was_sent_is_sent_again(clock):
    async with at(clock) as trader:
        order = await _working(trader, tif="GTC")
        turn(clock, shanghai(15))
        await _held(trader, order.order_id)

        async def fail(request):
            raise Unavailable("the engine died before it had it")

        trader.engine.before_send = fail
        trader.engine.trading_day = 20260106
        turn(clock, shanghai(21))
        await trader.becomes(order.order_id, "UNKNOWN")
        trader.engine.before_send = None

        async def again():
            clock.advance(0.5)
            return len(trader.engine.sends) == 2

        await until(again)
        assert trader.engine.sends[1].order_id == f"{order.order_id}-2"
        await trader.becomes(order.order_id, "NEW")


async def test_an_order_that_cannot_be_sent_again_now_waits_and_is_tried_again(clock):
    async with at(clock) as trader:
        order = await _working(trader, tif="GTC")
        turn(clock, shanghai(15))
        await _held(trader, order.order_id)

        async def cut(request):
            raise FailedPrecondition("the line is cut", reason=Reason.GATEWAY_DISCONNECTED)

        trader.engine.before_send = cut
        trader.engine.trading_day = 20260106
        turn(clock, shanghai(21))

        async def waits():
            return (await trader.get(order.order_id)).hold_reason == GATEWAY_DISCONNECTED

        await until(waits)
        trader.engine.before_send = None
        await until(lambda: len(trader.engine.sends) == 2)
        await trader.becomes(order.order_id, "NEW")


async def test_a_triggered_stop_whose_later_send_is_refused_late_is_tried_until_it_can_be_sent(clock, monkeypatch):
    attempts, looks, gate = [], [], asyncio.Event()
    look = Stops._try_again

    def counted(self, order_id, now):
        looks.append(len(attempts))
        look(self, order_id, now)

    async def closed(request):
        attempts.append(request.order_id)
        if len(attempts) == 2:
            await gate.wait()
        raise FailedPrecondition("the market is closed", reason=Reason.MARKET_CLOSED)

    async def meanwhile(condition):
        clock.advance(0.5)
        return condition()

    monkeypatch.setattr(Stops, "_try_again", counted)
    async with at(clock) as trader:
        trader.engine.before_send = closed
        order = await trader.create(symbol=OTHER, type="STOP", stop_price="3510", tif="GTC")
        await until(lambda: trader.market.listeners)
        trader.market.price(OTHER, 3511.0)
        await until(lambda: meanwhile(lambda: len(attempts) == 2))
        await until(lambda: meanwhile(lambda: looks[-1] == 2))  # the stop's next try comes while it is being sent
        trader.engine.before_send = None
        gate.set()
        await until(lambda: meanwhile(lambda: trader.engine.sends))
        assert [send.order_id[:36] for send in trader.engine.sends] == [order.order_id]


@pytest.mark.parametrize(("tif", "sent"), [("DAY", 1), ("GTC", 2)])
async def test_an_order_that_waited_for_its_gateway_into_the_next_day_is_not_sent_as_yesterdays(clock, tif, sent):
    gate = asyncio.Event()

    async def hang(request):
        await gate.wait()

    async with at(clock, senders=1) as trader:
        trader.engine.before_send = hang
        await trader.create(symbol=OTHER, price="3500", tif="IOC")
        waits = await trader.create(symbol=OTHER, price="3500", tif=tif)
        trader.engine.trading_day = 20260106
        turn(clock, shanghai(21))
        gate.set()
        await trader.becomes(waits.order_id, "EXPIRED" if tif == "DAY" else "NEW")
        await until(lambda: len(trader.engine.sends) == sent)
        assert waits.order_id not in [send.order_id for send in trader.engine.sends]


async def test_a_stop_for_the_new_day_outlives_its_gateways_word_of_that_day_and_yesterdays_ends(clock):
    async with at(clock) as trader:
        yesterdays = await trader.create(symbol=OTHER, type="STOP", stop_price="3600", tif="DAY")
        turn(clock, shanghai(20, 30))  # a trading day begins at 17:00, and gateways log in before the night
        todays = await trader.create(symbol=OTHER, type="STOP", stop_price="3600", tif="DAY")
        trader.engine.trading_day = 20260106
        trader.engine.emit(trading_day={"gateway_name": "SIM", "trading_day": 20260106})
        await trader.becomes(yesterdays.order_id, "EXPIRED")
        assert (await trader.get(todays.order_id)).status == NEW


async def test_many_stops_end_with_their_day_in_parts_between_which_others_are_served(clock, monkeypatch):
    ended, real = [], Stops._expire

    def expire(self, order):
        ended.append(asyncio.get_running_loop().time())
        real(self, order)

    monkeypatch.setattr(Stops, "_expire", expire)
    monkeypatch.setattr("services.trading.emulation.stops.AT_ONCE", 10)
    turns = []

    async def others():
        while True:
            turns.append(len(ended))
            await asyncio.sleep(0)

    async with at(clock, paper_cash="900000000000") as trader:
        stops = await asyncio.gather(
            *(trader.create(symbol=OTHER, type="STOP", stop_price="3600", tif="DAY") for _ in range(100))
        )
        serving = asyncio.create_task(others())
        turn(clock, shanghai(20, 30))
        trader.engine.trading_day = 20260106
        trader.engine.emit(trading_day={"gateway_name": "SIM", "trading_day": 20260106})
        for stop in stops:
            await trader.becomes(stop.order_id, "EXPIRED")
        serving.cancel()
    assert max(after - before for before, after in itertools.pairwise(turns)) <= 10
