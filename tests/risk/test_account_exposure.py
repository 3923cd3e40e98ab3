"""The sums of an exposure are those of one made from scratch, whatever happened before."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.domain.account_exposure import ZERO, AccountExposure, Position
from services.risk.domain.order import OrderCandidate, WorkingOrder
from tests.examples import examples

IDS = st.sampled_from(["a", "b", "c", "d"])
SYMBOLS = st.sampled_from(["IF.CFFEX", "rb.SHFE"])
AMOUNTS = st.decimals(1, 50, places=1)


def working(
    order_id: str, symbol: str, buys: bool, opens: bool, quantity: Decimal, filled: Decimal, cancel: bool
) -> WorkingOrder:
    leaves = max(ZERO, quantity - filled)
    return WorkingOrder(order_id, symbol, buys, opens, quantity, leaves, Decimal(10), Decimal(10), leaves * 10, cancel)


ORDERS = st.builds(working, IDS, SYMBOLS, st.booleans(), st.booleans(), AMOUNTS, AMOUNTS, st.booleans())
EVENTS = st.lists(
    st.tuples(st.just("order"), ORDERS, st.booleans())
    | st.tuples(st.just("reserve"), ORDERS, st.floats(0, 10))
    | st.tuples(st.just("position"), SYMBOLS, st.booleans(), st.decimals(0, 9, places=0))
    | st.tuples(st.just("expire"), st.floats(0, 12))
    | st.tuples(st.just("snapshot")),
    max_size=40,
)


def candidate(order: WorkingOrder) -> OrderCandidate:
    return OrderCandidate(
        "user",
        "account",
        order.order_id,
        order.symbol,
        order.buys,
        order.opens,
        order.quantity,
        Decimal(10),
        Decimal(1),
    )


def play(events: Iterable[Any]) -> AccountExposure:
    exposure, until = AccountExposure("account", "user"), 0.0
    for kind, *what in events:
        if kind == "order":
            exposure.finish_order(what[0].order_id) if what[1] else exposure.apply_order(what[0])
        elif kind == "reserve":
            until = max(until, what[1])
            exposure.reserve(candidate(what[0]), what[0].quantity, what[0].quantity * 10, until)
        elif kind == "position":
            exposure.apply_position(what[0], what[1], Position(what[2], Decimal(10), ZERO, None))
        elif kind == "expire":
            exposure.expire(what[0])
        else:
            fresh = AccountExposure("account", "user")
            for order in exposure.orders.values():
                fresh.apply_order(order)
            for (symbol, long), position in exposure.positions.items():
                fresh.apply_position(symbol, long, position)
            fresh.adopt(exposure)
            exposure = fresh
    return exposure


@settings(max_examples=examples(300), deadline=None)
@given(events=EVENTS)
def test_the_sums_are_those_of_a_book_made_from_scratch(events: list[Any]) -> None:
    exposure = play(events)
    counted = [*exposure.orders.values(), *exposure.reservations.values()]
    pending: dict[tuple[str, bool], Decimal] = {}
    for one in counted:
        if one.opens and one.leaves:
            pending[one.symbol, one.buys] = pending.get((one.symbol, one.buys), ZERO) + one.leaves
    assert exposure.pending == pending
    assert exposure.pending_notional == sum((one.notional for one in counted if one.opens), ZERO)
    assert exposure.resting == sum(not order.cancelling for order in exposure.orders.values())
    assert exposure.resting_opening == sum(order.opens and not order.cancelling for order in exposure.orders.values())
    assert exposure.open_orders == len(exposure.orders) + sum(
        not one.replaces for one in exposure.reservations.values()
    )
    assert all(position.quantity for position in exposure.positions.values())


def test_the_rate_counts_a_sliding_second() -> None:
    exposure = AccountExposure("account", "user")
    for at in (0.0, 0.4, 0.9):
        exposure.admit(at)
    assert [exposure.orders_in_last_second(at) for at in (0.95, 1.0, 1.5, 2.0)] == [3, 2, 1, 0]
