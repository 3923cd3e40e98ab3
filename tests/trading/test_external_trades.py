"""Property test of a LIVE account's books: own and hand trades, reported late, around what is taken over."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.enums import AccountKind, OrderStatus, PositionEffect, PositionSide, Side

from services.trading.domain.apply_reports import apply_order_report, apply_trade_report
from services.trading.domain.external_booking import adjust, book_external
from services.trading.domain.report import FillReport, OrderStatusReport, TradeKind
from services.trading.venue.position_adjustments import PositionDifference, _parts
from tests.examples import examples
from tests.trading.books import D, Trader

SYMBOL = "IF2606.CFFEX"
OPEN, CLOSE = PositionEffect.OPEN, PositionEffect.CLOSE
MINUTE_NS = 60_000_000_000


class Venue:
    """The holdings at the venue, and the reports it has not sent yet."""

    def __init__(self):
        self.trader = Trader()
        self.account, self.cache = self.trader.account, self.trader.cache
        self.account.kind = AccountKind.LIVE
        self.day, self.time_ns, self.count = 20260105, MINUTE_NS, 0
        self.held = dict.fromkeys(PositionSide, 0)
        self.unreported = []
        self.resting = []
        self.trader.begin_day(self.day)
        self.cache.last_prices.of("SIM")[SYMBOL] = D(4000)

    def trade(self, side, effect, quantity, price, order=None):
        opens = effect is OPEN
        held = PositionSide.LONG if (side is Side.BUY) is opens else PositionSide.SHORT
        quantity = quantity if opens else min(quantity, self.held[held])
        if not quantity:
            return
        self.held[held] += quantity if opens else -quantity
        self.count += 1
        reference = "" if order is None else order.reference(order.legs[-1])
        report = FillReport(
            "SIM", reference, f"t{self.count}", SYMBOL, D(price), D(quantity), self.time_ns, self.day,
            side=side, position_effect=effect,
        )  # fmt: skip
        self.unreported.append((order, report))

    def send(self, side, effect, quantity):
        if effect is CLOSE:
            position = self.account.positions.get(
                (SYMBOL, PositionSide.SHORT if side is Side.BUY else PositionSide.LONG)
            )
            if position is None or position.closable(CLOSE) < quantity:
                return
        order = self.trader.order(side, quantity, effect=effect)
        changes = self.trader.step()
        report = OrderStatusReport(
            "SIM", order.order_id, "v", SYMBOL, order.quantity, order.price, D(0), OrderStatus.NEW
        )
        apply_order_report(self.cache, order, report, changes)
        self.trader.record(changes)
        self.resting.append(order)

    def report(self, place):
        order, report = self.unreported.pop(place)
        changes = self.trader.step()
        if order is None:
            book_external(self.cache, self.account, report, changes)
        else:
            apply_trade_report(self.cache, order, report, changes)
        self.trader.record(changes)

    def book_settled(self):
        for side, quantity in self.held.items():
            position = self.account.positions.get((SYMBOL, side))
            held = D(0) if position is None else position.quantity
            difference = PositionDifference("SIM", SYMBOL, side, D(quantity), held, 0)
            if not difference.quantity:
                continue
            today, older = _parts(self.account, difference, D(0))
            changes = self.trader.step()
            adjust(self.cache, self.account, SYMBOL, side, today, older, D(4000), self.time_ns, changes)
            self.trader.record(changes)

    def agrees(self):
        return {side: quantity for side, quantity in self.held.items() if quantity} == {
            side: position.quantity for (_, side), position in self.account.positions.items()
        }


@pytest.mark.slow
@settings(max_examples=examples(200), deadline=None)
@given(data=st.data(), in_order=st.booleans())
def test_no_trade_is_booked_twice_whatever_was_taken_over_before_its_report(data, in_order):
    venue = Venue()
    sides, effects = st.sampled_from(Side), st.sampled_from([OPEN, OPEN, CLOSE])
    quantities = st.integers(1, 4)
    for _ in range(data.draw(st.integers(1, 25))):
        venue.time_ns += MINUTE_NS
        action = data.draw(st.sampled_from(["send", "fill", "hand", "hand", "report", "report", "book settled"]))
        if action == "send":
            venue.send(data.draw(sides), data.draw(effects), data.draw(quantities))
        elif action == "fill" and venue.resting:
            order = venue.resting.pop(0)
            venue.trade(
                order.side, order.position_effect, int(order.quantity), data.draw(st.integers(3900, 4100)), order
            )
        elif action == "hand":
            price = data.draw(st.integers(3900, 4100))
            venue.trade(data.draw(sides), data.draw(effects), data.draw(quantities), price)
        elif action == "report" and venue.unreported:
            venue.report(0 if in_order else data.draw(st.integers(0, len(venue.unreported) - 1)))
        elif action == "book settled":
            venue.book_settled()
        venue.trader.check()
    venue.time_ns += MINUTE_NS
    while venue.unreported:
        venue.report(0)
        venue.trader.check()
    assert venue.agrees() or not in_order
    venue.book_settled()
    venue.trader.check()
    assert venue.agrees()


def test_a_hand_trade_that_is_corrected_once_it_was_closed_leaves_no_position():
    venue = Venue()
    trader = venue.trader
    for side, effect, price in ((Side.BUY, OPEN, 4001), (Side.SELL, CLOSE, 4001)):
        venue.trade(side, effect, 1, price)
        changes = trader.step()
        book_external(venue.cache, venue.account, venue.unreported[-1][1], changes)
        trader.record(changes)
    correction = replace(venue.unreported[0][1], kind=TradeKind.CORRECTION, price=D(4004))
    changes = trader.step()
    book_external(venue.cache, venue.account, correction, changes)
    trader.record(changes)
    trader.check()
    assert not venue.account.positions and venue.account.realized_pnl == -900
