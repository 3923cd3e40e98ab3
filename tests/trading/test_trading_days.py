"""Today's contracts: by the day that each fill carries and each symbol is in, whatever comes first."""

from datetime import datetime
from decimal import Decimal as D
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.enums import PositionEffect, Side
from redfire.trading.v1 import order_service_pb2 as order_pb

from services.kernel.data import group_commit, postgres_writer
from services.quant.calendar import Calendar
from services.trading.domain.trading_day import TradingDays
from tests.examples import examples
from tests.trading.books import Trader, instrument
from tests.trading.commits import NOTHING_DONE, tables
from tests.trading.conftest import trading
from tests.waiting import until

MON, TUE, WED = 20260105, 20260106, 20260107


def held(trader):
    (position,) = trader.account.positions.values()
    return position.today_quantity, position.yesterday_quantity


def test_a_fill_that_outruns_its_days_event_is_of_the_new_day():
    trader = Trader()
    trader.begin_day(MON)
    trader.fill(trader.order(), 1, day=MON)
    trader.fill(trader.order(), 1, day=TUE)
    assert held(trader) == (1, 1)
    trader.begin_day(TUE)
    assert held(trader) == (1, 1)
    trader.check()


def test_a_late_fill_of_the_day_before_is_yesterdays():
    trader = Trader()
    trader.begin_day(MON)
    late = trader.order()
    trader.begin_day(TUE)
    trader.fill(trader.order(), 1, day=TUE)
    trader.fill(late, 1, day=MON)
    assert held(trader) == (1, 1)


def test_a_late_close_of_the_day_before_pays_what_closing_on_that_day_costs():
    trader = Trader()
    trader.begin_day(MON)
    trader.fill(trader.order(quantity=2), 2, day=MON)
    close = trader.order(side=Side.SELL, effect=PositionEffect.CLOSE)
    trader.begin_day(TUE)
    trader.fill(close, 1, day=MON)
    assert trader.trades[-1].commission == instrument().commission(D(4000), D(1), D(1))
    assert trader.trades[-1].trading_day == MON and held(trader) == (0, 1)


def test_the_replay_of_an_older_day_has_todays_contracts_of_that_day():
    trader = Trader()
    trader.begin_day(20261130)
    trader.begin_day(20210104)
    trader.fill(trader.order(), 1, day=20210104)
    assert held(trader) == (1, 0)
    (position,) = trader.account.positions.values()
    assert position.hold_for(PositionEffect.CLOSE_TODAY, D(1), True) == (1, 0)


def test_what_closing_orders_hold_comes_into_the_new_day_with_the_position():
    trader = Trader()
    trader.begin_day(MON)
    trader.fill(trader.order(quantity=3), 3, day=MON)
    resting = trader.order(side=Side.SELL, quantity=1, effect=PositionEffect.CLOSE_TODAY)
    trader.begin_day(TUE)
    (position,) = trader.account.positions.values()
    assert (position.frozen_today, position.frozen_yesterday) == (0, 1)
    assert position.closable(PositionEffect.CLOSE_YESTERDAY) == 2 and position.closable(PositionEffect.CLOSE_TODAY) == 0
    trader.fill(trader.order(quantity=1), 1, day=TUE)
    assert (resting.hold_today, resting.hold_yesterday) == (0, 1)
    trader.cancel(resting)
    assert position.closable(PositionEffect.CLOSE_YESTERDAY) == 3 and position.closable(PositionEffect.CLOSE_TODAY) == 1


@pytest.mark.slow
@settings(max_examples=examples(200), deadline=None)
@given(data=st.data())
def test_books_and_what_a_restart_makes_of_them_agree_across_days_late_fills_and_overfills(data):
    trader = Trader(instrument(), instrument("rb2610.SHFE", contract_size=D(10)))
    day = 20260101
    trader.begin_day(day)
    opened = {}
    for _ in range(data.draw(st.integers(1, 15))):
        action = data.draw(st.sampled_from(["open", "close", "fill", "day", "cancel"]))
        symbol = data.draw(st.sampled_from(["IF2606.CFFEX", "rb2610.SHFE"]))
        resting = [order for order in trader.cache.orders.values() if order.legs]
        if action == "day":
            day += 1
            if data.draw(st.booleans()):
                trader.begin_day(day)
        elif action == "open":
            trader.order(data.draw(st.sampled_from(Side)), data.draw(st.integers(1, 4)), symbol=symbol)
        elif action == "close":
            side = data.draw(st.sampled_from(Side))
            effect = data.draw(st.sampled_from([e for e in PositionEffect if e is not PositionEffect.OPEN]))
            position = trader.account.positions.get((symbol, 2 if side is Side.BUY else 1))
            if position is not None and (closable := int(position.closable(effect))) > 0:
                trader.order(side, data.draw(st.integers(1, closable)), effect=effect, symbol=symbol)
        elif resting and action == "fill":
            order = data.draw(st.sampled_from(resting))
            more = data.draw(st.integers(1, 3))  # the venue may fill more than was asked
            of = data.draw(st.sampled_from([day, day, day - 1]))
            trader.fill(order, more, data.draw(st.sampled_from(["3990", "4000", "4010.2"])), of)
            if not order.is_closing:
                key = (symbol := order.symbol, order.position_side)
                opened.setdefault(key, {}).setdefault(of, D(0))
                opened[key][of] += more
        elif resting:
            trader.cancel(data.draw(st.sampled_from(resting)))
        trader.check()
    if all(trade.position_effect is PositionEffect.OPEN for trade in trader.trades):
        for key, position in trader.account.positions.items():
            now = trader.cache.days.of("SIM", key[0])
            assert position.today_quantity == opened[key].get(now, 0)


def shanghai(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Shanghai")).timestamp() * 1e9)


def test_days_of_a_live_gateway_come_by_the_calendar_and_those_of_a_replay_by_its_feed():
    now = shanghai("2026-01-09 14:00")  # a Friday
    days = TradingDays(Calendar.load(), lambda: now)
    assert days.of("CTP", "rb2605.SHFE") == 20260109
    assert days.begin("CTP", 20260109) and days.begin("SIM", 20210104)
    now = shanghai("2026-01-09 21:30")
    assert days.of("CTP", "rb2605.SHFE") == 20260112 and days.of("SIM", "rb2605.SHFE") == 20210104
    assert days.of("CTP", "BTCUSDT.BINANCE") == 20260109
    assert not days.learn("CTP", "rb2605.SHFE", 20260113) and days.of("CTP", "rb2605.SHFE") == 20260113
    assert days.of("CTP", "ag2606.SHFE") == 20260112
    assert days.learn("SIM", "rb2605.SHFE", 20210105) and days.of("SIM", "IF2101.CFFEX") == 20210105
    assert days.begin("SIM", 20260112) and days.of("SIM", "BTCUSDT.BINANCE") == 20260109


def test_an_answer_that_the_days_change_overtook_takes_no_day_back_but_a_restarted_gateway_may_begin_an_older_one():
    now = shanghai("2026-01-09 14:00")
    days = TradingDays(Calendar.load(), lambda: now)
    days.begin("SIM", 20260109)
    now = shanghai("2026-01-09 17:30")
    assert not days.begin("SIM", 20260109, asked_ns=now) and days.of("SIM", "rb2605.SHFE") == 20260112
    days.begin("SIM", 20260112)
    assert not days.begin("SIM", 20260109, asked_ns=now) and days.of("SIM", "rb2605.SHFE") == 20260112
    days.suspect()
    assert days.begin("SIM", 20260109, asked_ns=now) and days.of("SIM", "rb2605.SHFE") == 20260109
    # What is the calendar's day again is no day of its own any more.
    days.begin("SIM", 20260113)
    now = shanghai("2026-01-13 09:01")
    assert days.begin("SIM", 20260113, asked_ns=now)
    now = shanghai("2026-01-13 21:00")
    assert days.of("SIM", "rb2605.SHFE") == 20260114
    days.restore("SIM", 20260109, True)
    assert days.begin("SIM", 20210104, asked_ns=now) and days.of("SIM", "rb2605.SHFE") == 20210104


def test_an_answer_that_the_days_change_overtook_after_a_restart_begins_no_days_of_the_gateways_own():
    now = asked_ns = shanghai("2026-01-09 16:59:59")
    days = TradingDays(Calendar.load(), lambda: now)
    days.restore("CTP", 20260109, False)
    now = shanghai("2026-01-09 17:00:01")
    days.begin("CTP", 20260109, asked_ns)
    assert days.of("CTP", "rb2605.SHFE") == 20260112


@pytest.mark.parametrize("groups", [1, 512])
async def test_a_power_cut_at_the_days_change_leaves_no_contract_of_the_day_before_todays(commits, groups, monkeypatch):
    async with trading() as trader:
        order = await trader.create(quantity=1)
        await trader.becomes(order.order_id, "NEW")
        trader.engine.fill(order.order_id, 1, "4000")
        await trader.becomes(order.order_id, "FILLED")
        for writer in group_commit, postgres_writer:
            monkeypatch.setattr(writer, "LARGEST_GROUP", groups)
        state = {"marked": False, "over": False}

        def fault(group):
            if state["marked"] and not state["over"]:
                state["over"] = True
                return NOTHING_DONE
            state["marked"] = state["marked"] or "gateways" in tables(group)
            return None

        commits.fault = fault
        trader.engine.trading_day = TUE
        trader.engine.emit(trading_day={"gateway_name": "SIM", "trading_day": TUE})
        await until(lambda: state["marked"])
        try:
            await trader.create(quantity=1)
        except Exception:
            assert state["over"]
        await until(lambda: not trader.platform.host.lifecycle.waiting_for("trading"))
        (position,) = await trader.positions()
        assert (position.today_quantity, position.yesterday_quantity) == ("0", "1")


async def test_days_and_holds_are_as_they_were_after_a_restart(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        order = await trader.create(quantity=3)
        await trader.becomes(order.order_id, "NEW")
        trader.engine.fill(order.order_id, 3, "4000")
        await trader.becomes(order.order_id, "FILLED")
        close = await trader.create("SELL", 1, effect="CLOSE", price="4400")
        await trader.becomes(close.order_id, "NEW")
        trader.engine.trading_day = TUE
        trader.engine.emit(trading_day={"gateway_name": "SIM", "trading_day": TUE})
        await until(lambda: _today_is(trader, "0"))
    async with trading(peers=trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        (position,) = await trader.positions()
        assert (position.today_quantity, position.yesterday_quantity, position.frozen_quantity) == ("0", "3", "1")
        assert [trade.trading_day for trade in await trader.trades()] == [MON]
        assert (await trader.get(order.order_id)).trading_day == MON


async def _today_is(trader, quantity):
    return (await trader.positions())[0].today_quantity == quantity


async def test_a_stream_hears_which_contracts_a_new_day_made_yesterdays(monkeypatch):
    monkeypatch.setattr("services.trading.day.settlement.ROLL_EVERY_S", 0.05)
    async with trading() as trader:
        order = await trader.create(quantity=3)
        await trader.becomes(order.order_id, "NEW")
        trader.engine.fill(order.order_id, 3, "4000")
        await trader.becomes(order.order_id, "FILLED")
        stream = trader.orders.StreamOrders(order_pb.StreamOrdersRequest())
        trader.engine.trading_day = TUE
        trader.engine.emit(trading_day={"gateway_name": "SIM", "trading_day": TUE})
        positions = (message.position async for message in stream if message.HasField("position"))
        rolled = await anext(position async for position in positions if position.yesterday_quantity != "0")
        assert (rolled.today_quantity, rolled.yesterday_quantity) == ("0", "3")
