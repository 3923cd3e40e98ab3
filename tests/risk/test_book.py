"""The sums of a book are those of a book made from scratch, whatever happened before."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.domain.book import ZERO, AccountBook, Position
from services.risk.domain.order import OrderCandidate, WorkingOrder

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


def play(events: Iterable[Any]) -> AccountBook:
    book, until = AccountBook("account", "user"), 0.0
    for kind, *what in events:
        if kind == "order":
            book.finish_order(what[0].order_id) if what[1] else book.apply_order(what[0])
        elif kind == "reserve":
            until = max(until, what[1])
            book.reserve(candidate(what[0]), what[0].quantity, what[0].quantity * 10, until)
        elif kind == "position":
            book.apply_position(what[0], what[1], Position(what[2], Decimal(10), ZERO, None))
        elif kind == "expire":
            book.expire(what[0])
        else:
            fresh = AccountBook("account", "user")
            for order in book.orders.values():
                fresh.apply_order(order)
            for (symbol, long), position in book.positions.items():
                fresh.apply_position(symbol, long, position)
            fresh.adopt(book)
            book = fresh
    return book


@settings(max_examples=300, deadline=None)
@given(events=EVENTS)
def test_the_sums_are_those_of_a_book_made_from_scratch(events: list[Any]) -> None:
    book = play(events)
    counted = [*book.orders.values(), *book.reservations.values()]
    pending: dict[tuple[str, bool], Decimal] = {}
    for one in counted:
        if one.opens and one.leaves:
            pending[one.symbol, one.buys] = pending.get((one.symbol, one.buys), ZERO) + one.leaves
    assert book.pending == pending
    assert book.pending_notional == sum((one.notional for one in counted if one.opens), ZERO)
    assert book.resting == sum(not order.cancelling for order in book.orders.values())
    assert book.resting_opening == sum(order.opens and not order.cancelling for order in book.orders.values())
    assert book.open_orders == len(book.orders) + sum(not one.replaces for one in book.reservations.values())
    assert all(position.quantity for position in book.positions.values())


def test_the_rate_counts_a_sliding_second() -> None:
    book = AccountBook("account", "user")
    for at in (0.0, 0.4, 0.9):
        book.admit(at)
    assert [book.orders_in_last_second(at) for at in (0.95, 1.0, 1.5, 2.0)] == [3, 2, 1, 0]
