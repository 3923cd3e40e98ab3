"""Properties of matching: they hold for any sequence of quotes and orders."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.quant.matching import Book, Fill, Level, Lifetime, MatchOrder
from tests.examples import examples

prices = st.integers(90, 110)
lots = st.integers(1, 20)
sides = st.lists(st.tuples(prices, lots), max_size=5, unique_by=lambda level: level[0])
snapshots = st.tuples(st.just("quote"), sides, sides)
orders = st.tuples(st.just("order"), st.booleans(), st.one_of(st.none(), prices), lots, st.sampled_from(list(Lifetime)))
removals = st.tuples(st.just("remove"), st.integers(0, 30))
steps = st.lists(st.one_of(snapshots, orders, orders, removals), min_size=1, max_size=40)


def levels(pairs: list[tuple[int, int]], *, best_is_highest: bool) -> list[Level]:
    return [Level(price, shown) for price, shown in sorted(pairs, reverse=best_is_highest)]


class Play:
    """Plays steps on a book and checks the rules after each."""

    def __init__(self) -> None:
        self.book = Book()
        self.asked: dict[int, MatchOrder] = {}
        self.quantities: dict[int, int] = {}
        self.filled: dict[int, int] = {}
        self.shown: dict[tuple[bool, int], int] = {}
        self.ended: set[int] = set()

    def quote(self, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
        self.shown = {(True, p): q for p, q in asks} | {(False, p): q for p, q in bids}
        resting = [o for o in self.asked.values() if self.book.get(o.id)]
        before = {o.id: o.lots for o in resting}
        fills = self.book.quote(levels(bids, best_is_highest=True), levels(asks, best_is_highest=False))
        self.take(fills, taker=None)
        for buy in (True, False):
            queue = sorted((o for o in resting if o.buy is buy), key=lambda o: o.rank)
            got = [before[o.id] - o.lots for o in queue]
            for ahead, behind in zip(range(len(queue)), range(1, len(queue)), strict=False):
                if got[behind]:
                    assert queue[ahead].lots == 0, "an order was filled before the one that goes first"

    def order(self, buy: bool, price: int | None, quantity: int, lifetime: Lifetime) -> None:
        number = len(self.asked) + 1
        order = MatchOrder(number, buy, price, quantity, number)
        self.asked[number], self.quantities[number], self.filled[number] = order, quantity, 0
        fills = self.book.submit(order, lifetime)
        self.take(fills, taker=number)
        if lifetime is Lifetime.FOK:
            assert self.filled[number] in (0, quantity)
        if lifetime is not Lifetime.RESTS:
            assert self.book.get(number) is None, "an IOC or FOK order rests"
            self.ended.add(number)
        elif self.filled[number] < quantity:
            assert self.book.get(number) is order

    def remove(self, place: int) -> None:
        if self.book.remove(place) is not None:
            self.ended.add(place)

    def take(self, fills: list[Fill], taker: int | None) -> None:
        for fill in fills:
            order = self.asked[fill.order_id]
            assert taker in (None, fill.order_id)
            assert fill.lots > 0
            if order.price is not None:
                assert fill.price <= order.price if order.buy else fill.price >= order.price, "worse than the limit"
            if taker is not None or order.price is None:
                assert (order.buy, fill.price) in self.shown, "a price that nobody showed"
            self.filled[fill.order_id] += fill.lots
        # A resting order fills at its own price out of levels at least as good: what is taken within reach of the
        # worst fill must have been shown there.
        for buy in (True, False):
            taken = [f for f in fills if self.asked[f.order_id].buy is buy]
            self._take_from_shown(buy, taken)
        for number, order in self.asked.items():
            assert order.lots == self.quantities[number] - self.filled[number] >= 0, "quantity is not conserved"

    def _take_from_shown(self, buy: bool, fills: list[Fill]) -> None:
        side = sorted((p for b, p in self.shown if b is buy), reverse=not buy)
        for fill in fills:
            left = fill.lots
            for price in side:
                if (price <= fill.price) if buy else (price >= fill.price):
                    part = min(left, self.shown[buy, price])
                    self.shown[buy, price] -= part
                    left -= part
            assert left == 0, "more was filled than was shown"


@settings(max_examples=examples(300), deadline=None)
@given(steps)
def test_any_sequence_keeps_the_rules(sequence):
    play = Play()
    for kind, *rest in sequence:
        getattr(play, kind)(*rest)


def book_with(bids, asks) -> Book:
    book = Book()
    book.quote([Level(*level) for level in bids], [Level(*level) for level in asks])
    return book


def test_a_market_order_walks_the_levels():
    book = book_with([], [(100, 2), (101, 3), (105, 9)])
    order = MatchOrder(1, True, None, 6, 1)
    assert book.submit(order, Lifetime.RESTS) == [Fill(1, 100, 2), Fill(1, 101, 3), Fill(1, 105, 1)]


def test_the_rest_of_a_market_order_fills_with_the_next_snapshot_before_limits():
    book = book_with([], [(100, 2)])
    market, limit = MatchOrder(1, True, None, 5, 2), MatchOrder(2, True, 200, 5, 1)
    book.submit(market, Lifetime.RESTS)
    book.submit(limit, Lifetime.RESTS)
    assert book.quote([], [Level(101, 4)]) == [Fill(1, 101, 3), Fill(2, 200, 1)]


def test_shown_quantity_is_shared_until_the_next_snapshot():
    book = book_with([], [(100, 5)])
    assert book.submit(MatchOrder(1, True, 100, 4, 1), Lifetime.RESTS) == [Fill(1, 100, 4)]
    assert book.submit(MatchOrder(2, True, 100, 4, 2), Lifetime.RESTS) == [Fill(2, 100, 1)]
    assert book.quote([], [Level(100, 5)]) == [Fill(2, 100, 3)]


def test_a_resting_order_fills_at_its_own_price_when_crossed():
    book = book_with([(98, 1)], [(100, 5)])
    assert book.submit(MatchOrder(1, True, 99, 4, 1), Lifetime.RESTS) == []
    assert book.quote([], [Level(97, 3)]) == [Fill(1, 99, 3)]


def test_fok_that_does_not_fit_takes_nothing():
    book = book_with([], [(100, 5)])
    assert book.submit(MatchOrder(1, True, 100, 6, 1), Lifetime.FOK) == []
    assert book.submit(MatchOrder(2, True, 100, 5, 2), Lifetime.IOC) == [Fill(2, 100, 5)]
