"""Reports of a venue in any order and any number of times: order, trades, position and ledger agree."""

from decimal import Decimal as D

from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.enums import OrderStatus, PositionEffect, Side

from services.trading.domain.apply_reports import apply_order_report, apply_trade_report
from services.trading.domain.order import FINISHED, Delivery, ReplaceStep
from services.trading.domain.order_states import TRANSITIONS, may_follow, move
from services.trading.domain.report import FillReport, OrderStatusReport
from tests.examples import examples
from tests.trading.books import Trader, instrument

SYMBOLS = ("IF2606.CFFEX", "rb2610.SHFE")


def story(order, fills, end, leg=None):
    """Reports of a venue about an order's leg, the last by default, in order."""
    leg = leg or order.legs[-1]
    reference = order.reference(leg)
    reports = [_report(order, OrderStatus.NEW, D(0), leg)]
    done = D(0)
    for index, (quantity, price) in enumerate(fills):
        done += quantity
        reports.append(FillReport("SIM", reference, f"{reference}/{index}", order.symbol, price, quantity, 1))
        status = OrderStatus.FILLED if done == leg.quantity else OrderStatus.PARTIALLY_FILLED
        reports.append(_report(order, status, done, leg))
    if done < leg.quantity and end is not None:
        reports.append(_report(order, end, done, leg))
    return reports


def _report(order, status, cumulative, leg=None):
    leg = leg or order.legs[-1]
    return OrderStatusReport(
        "SIM", order.reference(leg), "v1", order.symbol, leg.quantity, order.price, cumulative, status
    )


@st.composite
def fills_of(draw, quantity):
    left, result = quantity, []
    while left and draw(st.booleans()):
        part = draw(st.integers(1, left))
        result.append((D(part), D(draw(st.integers(1, 50_000))) * D("0.2")))
        left -= part
    return result


@st.composite
def shuffled(draw, reports):
    """The reports, reordered and some of them repeated."""
    extra = draw(st.lists(st.sampled_from(reports), max_size=4)) if reports else []
    return draw(st.permutations(reports + extra))


def apply(trader, report):
    order = trader.orders[report.reference[:36]]
    changes = trader.step()
    before = (order.status, order.cumulative_quantity)
    if isinstance(report, FillReport):
        apply_trade_report(trader.cache, order, report, changes)
    else:
        apply_order_report(trader.cache, order, report, changes)
    assert order.status is before[0] or order.status in reachable(before[0])
    assert order.cumulative_quantity >= before[1]
    trader.record(changes)
    trader.check()


def reachable(status):
    seen, todo = set(), [status]
    while todo:
        for following in TRANSITIONS[todo.pop()]:
            if following not in seen:
                seen.add(following)
                todo.append(following)
    return seen


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_any_order_of_reports_ends_where_the_story_ends(data):
    trader = Trader(instrument(SYMBOLS[0]), instrument(SYMBOLS[1], contract_size=D(10), price_tick=D(1)))
    reports, ends = [], {}
    for _ in range(data.draw(st.integers(1, 3))):
        quantity = data.draw(st.integers(1, 5))
        order = trader.order(
            data.draw(st.sampled_from(Side)), quantity, D("4000"), symbol=data.draw(st.sampled_from(SYMBOLS))
        )
        fills = data.draw(fills_of(quantity))
        end = data.draw(st.sampled_from([None, OrderStatus.CANCELED, OrderStatus.EXPIRED]))
        full = sum((q for q, _ in fills), D(0)) == quantity
        ends[order.order_id] = (OrderStatus.FILLED if full else end, sum((q for q, _ in fills), D(0)))
        reports += story(order, fills, end)
    for report in data.draw(shuffled(reports)):
        apply(trader, report)
    for order_id, (status, cumulative) in ends.items():
        order = trader.orders[order_id]
        assert order.cumulative_quantity == cumulative
        if status is not None:
            assert order.status is status
        else:
            assert order.status is (OrderStatus.PARTIALLY_FILLED if cumulative else OrderStatus.NEW)


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_opening_and_closing_with_rolls_keeps_position_and_ledger_right(data):
    trader = Trader(instrument(SYMBOLS[0]), instrument(SYMBOLS[1], contract_size=D(10), price_tick=D(1)))
    day = 20260105
    trader.begin_day(day)
    for _ in range(data.draw(st.integers(1, 8))):
        action = data.draw(st.sampled_from(["open", "close", "roll", "report"]))
        symbol = data.draw(st.sampled_from(SYMBOLS))
        side = data.draw(st.sampled_from(Side))
        quantity = data.draw(st.integers(1, 4))
        if action == "roll":
            day += 1
            trader.begin_day(day)
        elif action == "open":
            order = trader.order(side, quantity, D("4000"), symbol=symbol)
            for report in data.draw(shuffled(story(order, data.draw(fills_of(quantity)), OrderStatus.CANCELED))):
                apply(trader, report)
        elif action == "close":
            effect = data.draw(
                st.sampled_from([PositionEffect.CLOSE, PositionEffect.CLOSE_TODAY, PositionEffect.CLOSE_YESTERDAY])
            )
            key = (symbol, 2 if side is Side.BUY else 1)
            position = trader.account.positions.get(key)
            if position is None or position.closable(effect) < quantity:
                continue
            order = trader.order(side, quantity, D("4000"), effect, symbol)
            end = data.draw(st.sampled_from([None, OrderStatus.CANCELED]))
            assert sum(leg.quantity for leg in order.legs) == quantity
            reports = [
                report
                for leg in order.legs
                for report in story(order, data.draw(fills_of(int(leg.quantity))), end, leg)
            ]
            for report in data.draw(shuffled(reports)):
                apply(trader, report)
        trader.check()


@settings(max_examples=examples(100), deadline=None)
@given(data=st.data())
def test_replacing_by_cancel_never_has_two_orders_live(data):
    trader = Trader()
    order = trader.order(quantity=5)
    first = data.draw(fills_of(5))
    cancel = story(order, first, OrderStatus.CANCELED)
    apply(trader, cancel[0])
    replaced_quantity = data.draw(st.integers(1, 8))
    move(order, OrderStatus.PENDING_REPLACE)
    order.replace_step, order.pending_quantity, order.pending_price = (
        ReplaceStep.CANCELING,
        D(replaced_quantity),
        D("4000.2"),
    )
    trader.cache.reserve(order)
    changes = trader.step()
    changes.order(order)
    trader.record(changes)
    trader.check()
    for report in data.draw(shuffled(cancel)):
        apply(trader, report)
    filled = order.cumulative_quantity
    if not order.is_open:
        assert order.status is OrderStatus.FILLED
        assert filled == 5 or filled >= replaced_quantity
        return
    (leg,) = order.legs
    assert leg.number == 1 and leg.delivery is Delivery.QUEUED and order.quantity == replaced_quantity
    second = data.draw(fills_of(int(order.leaves_quantity)))
    reports = story(order, second, OrderStatus.CANCELED)
    for report in data.draw(shuffled(cancel + reports)):
        apply(trader, report)
    assert order.cumulative_quantity == filled + sum((q for q, _ in second), D(0))
    assert order.status is (
        OrderStatus.FILLED if order.cumulative_quantity == replaced_quantity else OrderStatus.CANCELED
    )


@settings(max_examples=examples(100), deadline=None)
@given(data=st.data())
def test_an_amend_whose_fills_come_before_its_answer_ends_right(data):
    trader = Trader()
    order = trader.order(quantity=3)
    apply(trader, _report(order, OrderStatus.NEW, D(0)))
    move(order, OrderStatus.PENDING_REPLACE)
    order.replace_step, order.pending_quantity, order.pending_price = ReplaceStep.AMENDING, D(5), None
    trader.cache.reserve(order)
    changes = trader.step()
    changes.order(order)
    trader.record(changes)
    old = _report(order, OrderStatus.NEW, D(0))
    amended = OrderStatusReport("SIM", order.order_id, "v1", order.symbol, D(5), order.price, D(0), OrderStatus.NEW)
    trades = [FillReport("SIM", order.order_id, f"t{i}", order.symbol, D("4000"), D(1), 1) for i in range(5)]
    filled = OrderStatusReport("SIM", order.order_id, "v1", order.symbol, D(5), order.price, D(5), OrderStatus.FILLED)
    for report in data.draw(shuffled([old, amended, *trades, filled])):
        apply(trader, report)
    assert order.status is OrderStatus.FILLED and order.quantity == 5 and order.cumulative_quantity == 5


def test_an_end_that_overtakes_its_trades_waits_for_them():
    trader = Trader()
    order = trader.order(quantity=3)
    apply(trader, _report(order, OrderStatus.FILLED, D(3)))
    assert order.status is OrderStatus.PENDING_NEW and order.cumulative_quantity == 0
    for index in range(3):
        apply(trader, FillReport("SIM", order.order_id, f"t{index}", order.symbol, D("3999.8"), D(1), 1))
    assert order.status is OrderStatus.FILLED


def test_a_finished_order_stays_finished_but_its_late_trade_is_booked():
    trader = Trader()
    order = trader.order(quantity=2)
    apply(trader, _report(order, OrderStatus.CANCELED, D(0)))
    apply(trader, _report(order, OrderStatus.NEW, D(0)))
    assert order.status is OrderStatus.CANCELED
    apply(trader, FillReport("SIM", order.order_id, "t1", order.symbol, D("4000"), D(1), 1))
    assert order.status is OrderStatus.CANCELED and order.cumulative_quantity == 1


def test_a_finished_order_never_works_again():
    for status in FINISHED:
        assert TRANSITIONS[status] <= {OrderStatus.FILLED, OrderStatus.CANCELED}
    assert set(TRANSITIONS) == set(OrderStatus)
    assert all(not may_follow(status, OrderStatus.PENDING_NEW) for status in OrderStatus)


@settings(max_examples=examples(100), deadline=None)
@given(data=st.data())
def test_replacing_a_split_close_has_never_more_live_than_is_left(data):
    symbol = "rb2610.SHFE"
    trader = Trader(instrument(symbol, contract_size=D(10), price_tick=D(1)))
    for day, quantity in ((20260105, 3), (20260106, 3)):
        trader.begin_day(day)
        order = trader.order(Side.BUY, quantity, D("3500"), symbol=symbol)
        for report in story(order, [(D(quantity), D("3500"))], None):
            apply(trader, report)
    order = trader.order(Side.SELL, data.draw(st.integers(1, 6)), D("3500"), PositionEffect.CLOSE, symbol)
    first = [
        report
        for leg in order.legs
        for report in story(order, data.draw(fills_of(int(leg.quantity))), OrderStatus.CANCELED, leg)
    ]
    for report in first[:1]:
        apply(trader, report)
    if not order.is_open or order.status is OrderStatus.PENDING_NEW:
        return
    replaced_quantity = data.draw(st.integers(1, 6))
    changes = trader.step()
    more = replaced_quantity - order.cumulative_quantity - order.hold_today - order.hold_yesterday
    if more > 0 and not trader.cache.hold_more(order, more, changes):
        return
    move(order, OrderStatus.PENDING_REPLACE)
    order.replace_step, order.pending_quantity = ReplaceStep.CANCELING, D(replaced_quantity)
    changes.order(order)
    trader.record(changes)
    for report in data.draw(shuffled(first)):
        apply(trader, report)
    if not order.is_open:
        return
    filled, legs = order.cumulative_quantity, list(order.legs)
    assert sum(leg.quantity for leg in legs) == replaced_quantity - filled == order.leaves_quantity
    assert all(leg.number >= 1 for leg in legs)
    by_effect = {leg.position_effect: leg.quantity for leg in legs}
    assert by_effect.get(PositionEffect.CLOSE_TODAY, D(0)) <= order.hold_today
    second = [
        report
        for leg in legs
        for report in story(order, data.draw(fills_of(int(leg.quantity))), OrderStatus.CANCELED, leg)
    ]
    for report in data.draw(shuffled(first + second)):
        apply(trader, report)
    assert not order.is_open


@settings(max_examples=examples(100), deadline=None)
@given(data=st.data())
def test_a_venue_that_fills_more_than_it_was_asked_for_leaves_no_negative_hold(data):
    trader = Trader(instrument(SYMBOLS[0]), instrument(SYMBOLS[1], contract_size=D(10), price_tick=D(1)))
    day, orders = 20260105, []
    trader.begin_day(day)
    for number in range(data.draw(st.integers(2, 8))):
        action = data.draw(st.sampled_from(["order", "order", "fill", "fill", "roll"]))
        if action == "roll":
            day += 1
            trader.begin_day(day)
        elif action == "order":
            symbol, side = data.draw(st.sampled_from(SYMBOLS)), data.draw(st.sampled_from(Side))
            position = trader.account.positions.get((symbol, 2 if side is Side.BUY else 1))
            closable = int(position.closable(PositionEffect.CLOSE)) if position is not None else 0
            effect = PositionEffect.CLOSE if closable and data.draw(st.booleans()) else PositionEffect.OPEN
            quantity = data.draw(st.integers(1, closable if effect is PositionEffect.CLOSE else 3))
            orders.append(trader.order(side, quantity, D("4000"), effect, symbol))
        elif orders:
            order = data.draw(st.sampled_from(orders))
            leg = data.draw(st.sampled_from(order.legs))
            quantity = D(data.draw(st.integers(1, 5)))  # whatever was asked for
            reference = order.reference(leg)
            apply(trader, FillReport("SIM", reference, f"t{number}", order.symbol, D("4000"), quantity, 1, day))
        for position in trader.account.positions.values():
            assert D(0) <= position.frozen_today <= position.today_quantity
            assert D(0) <= position.frozen_yesterday <= position.yesterday_quantity
