"""An order's fingerprint stays in the database: what makes it must not change."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from redfire.enums import AccountKind, OrderType, PositionEffect, Side, TimeInForce

from services.trading.domain.account import Account
from services.trading.domain.appraisal import Appraisal, make_order
from services.trading.domain.order import NewOrder, fingerprint
from tests.trading.books import instrument

amounts = st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**17), max_value=10**17)


new_orders = st.builds(
    NewOrder,
    client_order_id=st.just("a"), symbol=st.text(), side=st.sampled_from(Side), type=st.sampled_from(OrderType),
    quantity=amounts, price=st.none() | amounts, stop_price=st.none() | amounts,
    trailing_offset=st.none() | amounts, time_in_force=st.sampled_from(TimeInForce), expire_time_ns=st.integers(),
    position_effect=st.sampled_from(PositionEffect), strategy_id=st.text(), reduce_only=st.booleans(),
    post_only=st.booleans(),
)  # fmt: skip


@given(new_orders)
def test_an_orders_fingerprint_is_that_of_its_values(order):
    flags = [name for name in ("reduce_only", "post_only") if getattr(order, name)]
    assert order.fingerprint() == fingerprint(
        order.symbol, order.side, order.type, order.quantity, order.price, order.stop_price, order.trailing_offset,
        order.time_in_force, order.expire_time_ns, order.position_effect, order.strategy_id, *flags,
    )  # fmt: skip


def test_an_orders_fingerprint_is_what_it_was():
    order = NewOrder("a", "IF2101.CFFEX", Side.BUY, OrderType.LIMIT, Decimal("1.50"), price=Decimal("3456.2"))
    assert order.fingerprint() == "5ddc43c8fb459fd957997989d04da7dc"


@given(new_orders.filter(lambda order: order.quantity > 0))
def test_an_open_order_that_is_asked_again_asks_for_the_same(order):
    account = Account("account-1", "user-1", "test", AccountKind.PAPER, "SIM", "CNY", 0, "r")
    accepted = make_order("1", account, Appraisal(order, instrument(), None, Decimal(1)), "", "", 0)
    assert accepted.asked_again() == replace(order, account_id="account-1")
