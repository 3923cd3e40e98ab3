"""The simulated exchange without its database: what it says, quote by quote."""

import asyncio
from datetime import timedelta
from decimal import Decimal as D

import pytest
from redfire.reasons import Reason

from services.engine.settings import EngineSettings
from services.engine.updates import (
    OrderStatus,
    PositionSide,
    PositionUpdate,
    TradingDayUpdate,
)
from tests.engine.sim_harness import SYMBOL, TODAY, Harness
from tests.simulated_time import in_simulated_time


@pytest.fixture
def harness():
    harness = Harness()
    harness.quote()
    return harness


def test_a_market_order_fills_at_once(harness):
    order = harness.send()
    assert [u.status for u in harness.orders(order)] == [OrderStatus.NEW, OrderStatus.FILLED]
    assert harness.fills(order) == [(D("4500.2"), D(1))]
    assert len(harness.exchange) == 0


def test_a_large_market_order_waits_for_more_quotes(harness):
    order = harness.send(quantity="12")
    assert harness.last(order).status is OrderStatus.PARTIALLY_FILLED
    harness.quote(ask=4500.4)
    harness.quote(ask=4500.6)
    assert harness.fills(order) == [(D("4500.2"), D(5)), (D("4500.4"), D(5)), (D("4500.6"), D(2))]
    assert harness.last(order).status is OrderStatus.FILLED


def test_ioc_leaves_nothing_and_says_why(harness):
    order = harness.send(quantity="8", price="4500.2", tif="IOC")
    last = harness.last(order)
    assert (last.status, last.cumulative_quantity, last.reason) == (OrderStatus.CANCELED, D(5), Reason.NO_LIQUIDITY)


@pytest.mark.parametrize(("quantity", "filled"), [("5", 5), ("6", 0)])
def test_fok_is_all_or_nothing(harness, quantity, filled):
    order = harness.send(quantity=quantity, price="4600", tif="FOK")
    assert harness.last(order).cumulative_quantity == filled
    assert not harness.last(order).status.is_open


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"price": "4500.1"}, Reason.PRICE_OFF_TICK),
        ({"price": "4500.00000001"}, Reason.PRICE_OFF_TICK),
        ({"quantity": "0.5"}, Reason.QUANTITY_OFF_STEP),
        ({"quantity": "1.5", "price": "4500"}, Reason.QUANTITY_OFF_STEP),
        ({"price": "4950.2"}, Reason.PRICE_OUTSIDE_LIMITS),
        ({"price": "4049.8"}, Reason.PRICE_OUTSIDE_LIMITS),
        ({"price": "999999999999999999.8"}, Reason.PRICE_OUTSIDE_LIMITS),
        ({"tif": "GTD", "price": "4500"}, Reason.INVALID_FIELD),
    ],
)
def test_what_the_rules_forbid_is_rejected_with_its_reason(harness, order, reason):
    update = harness.last(harness.send(**order))
    assert (update.status, update.reason) == (OrderStatus.REJECTED, reason)
    assert update.message


@pytest.mark.parametrize("price", ["4950", "4050"])
def test_the_limits_themselves_are_allowed(harness, price):
    assert harness.last(harness.send(price=price)).status is not OrderStatus.REJECTED


def test_a_market_order_without_any_market_is_rejected():
    harness = Harness()
    assert harness.last(harness.send()).reason is Reason.NO_LIQUIDITY


def test_a_smaller_quantity_keeps_the_place_in_the_queue_and_another_price_loses_it(harness):
    first, second = harness.send(price="4499.0", quantity="4"), harness.send(price="4499.0", quantity="4")
    harness.exchange.amend(first, D(3), None)
    harness.quote(ask=4498.8, shown=2)
    assert harness.fills(first) == [(D("4499.0"), D(2))] and not harness.fills(second)
    harness.exchange.amend(first, None, D("4498.8"))
    harness.exchange.amend(first, None, D("4499.0"))
    harness.quote(ask=4498.8, shown=3)
    assert sum(q for _, q in harness.fills(second)) == 3
    assert harness.last(first).quantity == 3


def test_an_amended_price_that_crosses_fills(harness):
    order = harness.send(price="4490")
    harness.exchange.amend(order, None, D("4500.4"))
    assert harness.fills(order) == [(D("4500.2"), D(1))]


@pytest.mark.parametrize(
    ("quantity", "price", "reason"),
    [
        (D(2), None, Reason.GATEWAY_REJECTED),
        (None, D("4499.9"), Reason.PRICE_OFF_TICK),
        (D("2.5"), None, Reason.QUANTITY_OFF_STEP),
    ],
)
def test_an_impossible_amendment_leaves_the_order_as_it_was(harness, quantity, price, reason):
    order = harness.send(price="4499.0", quantity="4")
    harness.quote(ask=4498.8, shown=2)
    harness.exchange.amend(order, quantity, price)
    update = harness.last(order)
    assert update.amend_rejected and update.reason is reason
    assert (update.quantity, update.price, update.status) == (D(4), D("4499.0"), OrderStatus.PARTIALLY_FILLED)
    harness.quote(ask=4498.8)
    assert harness.last(order).status is OrderStatus.FILLED


def test_canceling_what_is_not_there_changes_nothing(harness):
    assert harness.exchange.cancel(12345) is False
    order = harness.send(price="4490")
    assert harness.exchange.cancel(order) is True
    assert harness.exchange.cancel(order) is False
    assert harness.last(order).status is OrderStatus.CANCELED
    assert harness.exchange.amend(order, D(1), None) is False


def test_the_trading_day_ends_day_orders_and_turns_positions(harness):
    harness.send(quantity="2")
    day, gtc = harness.send(price="4490"), harness.send(price="4490", tif="GTC")
    harness.quote(day=TODAY + 1)
    assert harness.last(day).status is OrderStatus.EXPIRED
    assert harness.last(gtc).status is OrderStatus.NEW
    assert TradingDayUpdate("SIM", TODAY + 1) in harness.store.published
    assert harness.exchange.positions.all() == [PositionUpdate("SIM", SYMBOL, PositionSide.LONG, D(2), D(2))]
    assert harness.store.state == {"trading_day": TODAY + 1}


def test_days_only_go_forward_though_a_replay_may_begin_in_the_past():
    harness = Harness()
    harness.quote(day=20210104)
    assert harness.exchange.trading_day == 20210104
    harness.quote(day=20210105)
    day = harness.send(price="4490")
    harness.quote(day=20210104)
    assert harness.exchange.trading_day == 20210105 and harness.last(day).status is OrderStatus.NEW


def test_a_gtd_order_ends_at_its_time(harness):
    at = harness.clock.now() + timedelta(seconds=10)
    order = harness.send(price="4490", tif="GTD", expire=at)
    harness.exchange.expire()
    assert harness.last(order).status is OrderStatus.NEW
    harness.clock.advance(10)
    harness.exchange.expire()
    assert harness.last(order).status is OrderStatus.EXPIRED


@in_simulated_time
async def test_latency_keeps_an_order_out_of_the_book_and_it_can_be_canceled_on_its_way():
    harness = Harness(sim_latency_ms=20)
    harness.quote()
    first, second = harness.send(), harness.send()
    assert harness.last(first).status is OrderStatus.PENDING_NEW
    harness.exchange.cancel(second)
    await asyncio.sleep(0.019)
    assert harness.last(first).status is OrderStatus.PENDING_NEW
    await asyncio.sleep(0.002)
    assert harness.last(first).status is OrderStatus.FILLED
    await asyncio.sleep(60)
    assert not harness.fills(second)


def test_refusals_at_random(harness):
    harness.settings = EngineSettings(sim_reject_ratio=1.0)
    assert harness.last(harness.send()).reason is Reason.GATEWAY_REJECTED


def test_closing_takes_from_the_other_side(harness):
    harness.send(quantity="3")
    harness.send(side="SELL", quantity="1", effect="CLOSE")
    assert harness.exchange.positions.all() == [PositionUpdate("SIM", SYMBOL, PositionSide.LONG, D(2), D(0))]
