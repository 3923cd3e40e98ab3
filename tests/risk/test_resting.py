"""Orders that a new one would trade with are matched whatever came and went before."""

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.domain.account_exposure import ZERO, AccountExposure
from services.risk.domain.order import OrderCandidate, WorkingOrder
from services.risk.domain.resting import RestingOrders, Side
from tests.examples import examples

IDS = st.sampled_from("abcdef")
PRICES = st.integers(-3, 3).map(Decimal)
EVENTS = st.lists(
    st.tuples(st.just("put"), IDS, st.booleans(), PRICES, st.booleans())
    | st.tuples(st.just("drop"), IDS, st.booleans(), PRICES, st.booleans()),
    max_size=40,
)


@settings(max_examples=examples(300))
@given(events=EVENTS, buys=st.booleans(), price=st.none() | PRICES)
def test_all_orders_that_cross_are_returned_and_no_others(events: list[Any], buys: bool, price: Decimal | None) -> None:
    resting, places = RestingOrders(), dict[tuple[str, bool], tuple[bool, Decimal]]()
    for kind, order_id, side, at, replacing in events:
        if kind == "put":
            resting.put(order_id, Side("SIM", "rb.SHFE", side), at, replacing=replacing)
            places[order_id, replacing] = side, at
        else:
            resting.drop(order_id, replacing=replacing)
            places.pop((order_id, replacing), None)
    expected = {
        order_id
        for (order_id, _), (side, at) in places.items()
        if side is not buys and order_id != "a" and (price is None or (at <= price if buys else at >= price))
    }
    crossing = resting.crossing("SIM", "rb.SHFE", buys, price, "a")
    assert (set(crossing), len(crossing)) == (expected, len(expected))
    assert resting.crossing("SIM", "cu.SHFE", buys, price, "a") == []
    assert resting.crossing("CTP", "rb.SHFE", buys, price, "a") == []


def test_a_replace_on_its_way_rests_at_both_prices() -> None:
    exposure, resting = AccountExposure("a", "u"), RestingOrders()
    order = WorkingOrder("o", "rb.SHFE", False, True, Decimal(1), Decimal(1), Decimal(20), Decimal(20), ZERO)
    exposure.apply_order(order)
    exposure.rest_among(resting)
    replacement = OrderCandidate(
        "u", "a", "o", "rb.SHFE", False, True, Decimal(2), Decimal(10), Decimal(1), Decimal(10)
    )
    exposure.reserve(replacement, Decimal(1), Decimal(10), 99.0)

    def crosses(price: int) -> bool:
        return resting.crossing("", "rb.SHFE", True, Decimal(price), "new") == ["o"]

    assert [crosses(price) for price in (9, 10, 20)] == [False, True, True]
    exposure.expire(100.0)
    assert [crosses(price) for price in (9, 10, 20)] == [False, False, True]
    exposure.finish_order("o")
    assert not crosses(20)
