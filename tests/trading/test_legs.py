"""Orders of several lives at the venue: closes of today's and yesterday's contracts, and legs across restarts."""

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redfire.common.v1 import error_reason_pb2
from redfire.enums import OrderStatus, PositionEffect, Side
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import reconciliation_service_pb2 as reconciliation_pb
from redfire.trading.v1.reconciliation_service_pb2_grpc import ReconciliationServiceStub

from services.kernel.errors import Unavailable
from services.kernel.identifiers import new_id
from services.trading import rows
from services.trading.domain.order import Delivery, Leg
from tests.trading.books import D, Trader, instrument
from tests.trading.conftest import refused, trading
from tests.trading.fakes import OTHER
from tests.waiting import until

TODAY, YESTERDAY = 3, 4  # PositionEffect


async def _hold(trader, yesterday, today, symbol=OTHER):
    """A long position of so many contracts of each kind."""
    for quantity, rolls in ((yesterday, True), (today, False)):
        if quantity:
            price = "3500" if symbol == OTHER else "4000"
            order = await trader.create(quantity=quantity, symbol=symbol, price=price)
            await trader.becomes(order.order_id, "NEW")
            trader.engine.fill(order.order_id, quantity, price)
            await trader.becomes(order.order_id, "FILLED")
        if rolls:
            trader.engine.trading_day += 1
            trader.engine.emit(trading_day={"gateway_name": "SIM", "trading_day": trader.engine.trading_day})
    (position,) = await until(trader.positions)
    assert (position.yesterday_quantity, position.today_quantity) == (str(yesterday), str(today))
    trader.engine.sends.clear()


def _sent(trader):
    return {(s.position_effect, s.quantity) for s in trader.engine.sends}


@pytest.mark.parametrize(
    ("first", "parts"),
    [
        ("today", {(TODAY, "3"), (YESTERDAY, "1")}),
        ("yesterday", {(YESTERDAY, "3"), (TODAY, "1")}),
        ("auto", {(YESTERDAY, "3"), (TODAY, "1")}),  # closing today's costs more
    ],
)
async def test_a_close_at_shfe_is_split_into_todays_and_yesterdays_contracts(first, parts):
    async with trading(close_first=first) as trader:
        await _hold(trader, 3, 3)
        order = await trader.create("SELL", 4, effect="CLOSE", symbol=OTHER, price="3500")
        await until(lambda: len(trader.engine.sends) == 2)
        assert _sent(trader) == parts
        await trader.becomes(order.order_id, "NEW")
        for send in list(trader.engine.sends):
            trader.engine.fill(send.order_id, send.quantity, "3510")
        done = await trader.becomes(order.order_id, "FILLED")
        assert done.cumulative_quantity == "4" and len(done.venue_order_id.split(",")) == 2
        (position,) = await trader.positions()
        left = {"today": ("0", "2"), "yesterday": ("2", "0"), "auto": ("2", "0")}[first]
        assert (position.today_quantity, position.yesterday_quantity) == left and position.frozen_quantity == "0"


async def test_a_leg_of_unknown_outcome_is_ended_by_an_administrator_and_the_leg_that_works_works_on(trader, caplog):
    async def cut(request):
        if request.position_effect == YESTERDAY:
            trader.engine.hidden.add(request.order_id)
            raise Unavailable("the engine died")

    await _hold(trader, 1, 1)
    trader.engine.before_send = cut
    order = await trader.create("SELL", 2, effect="CLOSE", symbol=OTHER, price="3500")
    await until(lambda: "stays UNKNOWN" in caplog.text and len(trader.engine.sends) == 1)
    asked = trader.engine.queries
    await until(lambda: trader.engine.queries >= asked + 2)
    # The other leg's reports say nothing of it: it is marked once, and stays so.
    assert (await trader.get(order.order_id)).status == OrderStatus.UNKNOWN
    assert caplog.text.count("stays UNKNOWN") == 1
    admin = trader.platform.identity(role="admin").stub(ReconciliationServiceStub)
    request = reconciliation_pb.ResolveUncertainOrderRequest(
        order_id=order.order_id, status=OrderStatus.CANCELED, reason="the broker says so"
    )
    assert (await admin.ResolveUncertainOrder(request)).order.status == OrderStatus.NEW
    assert not trader.engine.cancels
    trader.engine.fill(trader.engine.sends[0].order_id, 1, "3510")
    done = await trader.becomes(order.order_id, "CANCELED")
    assert done.cumulative_quantity == "1" and done.reject_message == "the broker says so"
    (position,) = await trader.positions()
    assert (position.quantity, position.frozen_quantity) == ("1", "0")


async def test_a_close_of_todays_contracts_alone_is_sent_as_close_today(trader):
    await _hold(trader, 0, 2)
    await trader.create("SELL", 2, effect="CLOSE", symbol=OTHER, price="3500")
    await until(lambda: trader.engine.sends)
    assert _sent(trader) == {(TODAY, "2")}


async def test_other_exchanges_take_a_close_as_it_is(trader):
    await _hold(trader, 2, 2, "IF2606.CFFEX")
    await trader.create("SELL", 4, effect="CLOSE", price="4000")
    await until(lambda: trader.engine.sends)
    assert _sent(trader) == {(2, "4")}


async def test_close_position_is_split_too(trader):
    await _hold(trader, 3, 3)
    await trader.accounts.ClosePosition(account_pb.ClosePositionRequest(symbol=OTHER, client_order_id=new_id()))
    await until(lambda: len(trader.engine.sends) == 2)
    assert _sent(trader) == {(TODAY, "3"), (YESTERDAY, "3")}


async def test_a_fill_or_kill_that_would_need_two_legs_is_refused_and_names_what_to_send(trader):
    await _hold(trader, 3, 3)
    async with refused("UNSUPPORTED", grpc.StatusCode.FAILED_PRECONDITION) as caught:
        await trader.create("SELL", 4, effect="CLOSE", symbol=OTHER, price="3500", tif="FOK")
    assert "CLOSE_TODAY 1 and CLOSE_YESTERDAY 3" in caught.value.details()
    async with refused("UNSUPPORTED"):
        await trader.create("SELL", 4, effect="CLOSE", symbol=OTHER, price="3500", tif="FOK", reduce_only=True)
    await trader.create("SELL", 3, effect="CLOSE", symbol=OTHER, price="3500", tif="FOK")
    await until(lambda: trader.engine.sends)
    assert _sent(trader) == {(YESTERDAY, "3")}


async def test_a_split_order_whose_one_part_is_refused_ends_when_the_other_does(trader):
    await _hold(trader, 3, 3)
    order = await trader.create("SELL", 4, effect="CLOSE", symbol=OTHER, price="3500")
    await until(lambda: len(trader.engine.sends) == 2)
    await trader.becomes(order.order_id, "NEW")
    today, yesterday = sorted(trader.engine.sends, key=lambda s: s.position_effect)
    trader.engine.update(today.order_id, "REJECTED", reason=44)
    trader.engine.fill(yesterday.order_id, 1, "3500")
    assert (await trader.becomes(order.order_id, "PARTIALLY_FILLED")).cumulative_quantity == "1"
    trader.engine.fill(yesterday.order_id, 2, "3500")
    done = await trader.becomes(order.order_id, "CANCELED")
    assert done.cumulative_quantity == "3" and done.reject_reason == 44
    (position,) = await trader.positions()
    assert position.frozen_quantity == "0" and position.quantity == "3"


async def test_a_split_order_is_canceled_and_replaced_in_both_parts(trader):
    await _hold(trader, 3, 3)
    order = await trader.create("SELL", 4, effect="CLOSE", symbol=OTHER, price="3500")
    await until(lambda: len(trader.engine.sends) == 2)
    await trader.becomes(order.order_id, "NEW")
    await trader.replace(order.order_id, quantity="5", price="3501")
    await until(lambda: len(trader.engine.sends) == 4)
    assert len(trader.engine.cancels) == 2
    assert {(s.position_effect, s.quantity, s.price) for s in trader.engine.sends[2:]} == {
        (TODAY, "2", "3501"), (YESTERDAY, "3", "3501"),
    }  # fmt: skip
    await trader.becomes(order.order_id, "NEW")
    await trader.cancel(order.order_id)
    await trader.becomes(order.order_id, "CANCELED")
    assert len(trader.engine.cancels) == 4


LEGS = st.builds(
    Leg,
    st.integers(0, 9),
    st.sampled_from(PositionEffect),
    st.integers(1, 5).map(D),
    st.sampled_from([Delivery.SENT, Delivery.UNCERTAIN]),
    st.integers(0, 5).map(D),
    st.integers(0, 5).map(D),
    st.sampled_from(["", "v1"]),
    st.sampled_from([None, OrderStatus.CANCELED]),
    st.sampled_from(["", "GATEWAY_REJECTED"]),
    st.sampled_from(["", "no"]),
)


@given(legs=st.lists(LEGS, max_size=3), count=st.integers(0, 12), cumulative=st.integers(0, 5))
def test_an_orders_row_brings_back_its_legs(legs, count, cumulative):
    order = Trader().order(quantity=5)
    order.legs, order.leg_count, order.cumulative_quantity = legs, max(count, bool(legs)), D(cumulative)
    again = rows.order_from_row(rows.order_row(order), set())
    assert (again.legs, again.leg_count) == (order.legs, order.leg_count)


def test_the_usual_order_needs_no_details_in_its_row():
    trader = Trader(instrument())
    order = trader.order(Side.BUY, 5)
    assert rows.order_row(order)["details"] == ""
    assert rows.order_from_row(rows.order_row(order), set()).legs[0].delivery is Delivery.UNCERTAIN


def test_an_open_order_of_a_version_before_legs_goes_on_with_its_second_life():
    order = Trader(instrument()).order(Side.BUY, 5)
    row = rows.order_row(order) | {
        "cumulative_quantity": D(3), "venue_order_id": "v2", "delivery": int(Delivery.SENT),
        "details": '{"leg": "1", "leg_base": "2", "leg_announced": "2", "hold_today": "1"}',
    }  # fmt: skip
    again = rows.order_from_row(row, set())
    (leg,) = again.legs
    assert (leg.number, leg.quantity, leg.filled, leg.announced) == (1, D(3), D(1), D(2))
    assert again.reference(leg) == f"{order.order_id}-1" and again.leg_count == 2 and again.hold_today == 1


@pytest.mark.parametrize(("symbol", "stop_price", "effect"), [(OTHER, "3400", YESTERDAY), ("IF2606.CFFEX", "3900", 2)])
async def test_a_stop_of_todays_contracts_closes_yesterdays_when_it_triggers_the_day_after(
    trader, symbol, stop_price, effect
):
    await _hold(trader, 0, 2, symbol)
    await trader.create("SELL", 2, type="STOP", stop_price=stop_price, effect="CLOSE_TODAY", symbol=symbol)
    trader.engine.trading_day += 1
    trader.engine.emit(trading_day={"gateway_name": "SIM", "trading_day": trader.engine.trading_day})

    async def yesterdays():
        return (await trader.positions())[0].yesterday_quantity == "2"

    await until(yesterdays)
    await until(lambda: trader.market.listeners)
    trader.market.price(symbol, float(stop_price))
    await until(lambda: trader.engine.sends)
    assert _sent(trader) == {(effect, "2")}
    trader.engine.fill(trader.engine.sends[0].order_id, 2, stop_price)

    async def flat():
        return not await trader.positions()

    await until(flat)


async def test_a_fill_or_kill_that_one_days_contracts_can_carry_takes_these(trader):
    await _hold(trader, 1, 3)
    await trader.create("SELL", 2, effect="CLOSE", symbol=OTHER, price="3500", tif="FOK")
    await until(lambda: trader.engine.sends)
    assert _sent(trader) == {(TODAY, "2")}


async def test_a_fill_or_kill_stop_takes_the_one_days_contracts_that_can_carry_it_when_it_triggers(trader):
    await _hold(trader, 0, 2)
    stop = await trader.create(
        "SELL", 2, type="STOP", stop_price="3400", effect="CLOSE", symbol=OTHER, tif="FOK", reduce_only=True
    )
    await _roll_and_buy(trader, 2)
    await trader.create("SELL", 1, effect="CLOSE_YESTERDAY", symbol=OTHER, price="3600")
    await until(lambda: trader.engine.sends)
    trader.engine.sends.clear()
    trader.market.price(OTHER, 3399.0)
    await until(lambda: trader.engine.sends)
    assert [(s.order_id, s.position_effect, s.quantity) for s in trader.engine.sends] == [(stop.order_id, TODAY, "2")]


async def test_a_fill_or_kill_stop_that_needs_two_legs_stays_armed_with_a_reason_and_is_sent_when_it_needs_one(trader):
    await _hold(trader, 0, 2)
    stop = await trader.create(
        "SELL", 2, type="STOP", stop_price="3400", effect="CLOSE", symbol=OTHER, tif="FOK", reduce_only=True
    )
    await _roll_and_buy(trader, 1)
    sold = await trader.create("SELL", 1, effect="CLOSE_YESTERDAY", symbol=OTHER, price="3500")
    await trader.becomes(sold.order_id, "NEW")
    trader.engine.fill(sold.order_id, 1, "3500")
    await trader.becomes(sold.order_id, "FILLED")
    trader.engine.sends.clear()
    trader.market.price(OTHER, 3399.0)

    async def waits():
        return (await trader.get(stop.order_id)).hold_reason == error_reason_pb2.UNSUPPORTED

    await until(waits)
    assert not trader.engine.sends
    # On the next day all of them are yesterday's.
    trader.engine.trading_day += 1
    trader.engine.emit(trading_day={"gateway_name": "SIM", "trading_day": trader.engine.trading_day})
    await until(lambda: trader.engine.sends)
    assert _sent(trader) == {(YESTERDAY, "2")}
    trader.engine.fill(stop.order_id, 2, "3398")
    await trader.becomes(stop.order_id, "FILLED")
    assert not await trader.positions()


async def _roll_and_buy(trader, quantity):
    """Another trading day, on which so many more are bought."""
    trader.engine.trading_day += 1
    trader.engine.emit(trading_day={"gateway_name": "SIM", "trading_day": trader.engine.trading_day})
    bought = await trader.create(quantity=quantity, symbol=OTHER, price="3500")
    await trader.becomes(bought.order_id, "NEW")
    trader.engine.fill(bought.order_id, quantity, "3500")
    await trader.becomes(bought.order_id, "FILLED")
    await until(lambda: trader.market.listeners)
    trader.engine.sends.clear()
