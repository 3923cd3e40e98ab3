"""Groups under any acts of a venue, a client and restarts: they close at most what is held, and fills are covered."""

from decimal import Decimal as D
from types import SimpleNamespace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from redfire.enums import AccountKind, OrderGroupKind, OrderStatus, OrderType, PositionEffect, Side, TimeInForce
from redfire.reasons import Reason

from services.kernel.identifiers import new_id
from services.trading import rows
from services.trading.domain.account import Account
from services.trading.domain.apply_reports import apply_order_report, apply_trade_report, cancel, send
from services.trading.domain.bust import bust
from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.crossing import crossing_orders
from services.trading.domain.order import FINISHED, Delivery, Order
from services.trading.domain.order_group import OrderGroup
from services.trading.domain.report import FillReport, OrderStatusReport
from services.trading.emulation.order_groups import GroupSettlement, settle_group
from tests.examples import examples
from tests.trading.books import instrument

SYMBOLS = ("IF2606.CFFEX", "rb2610.SHFE")
LIVE = (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


class AtVenue:
    """A leg as its venue knows it."""

    def __init__(self, order_id, quantity):
        self.order_id = order_id
        self.quantity = quantity
        self.filled = D(0)
        self.status = OrderStatus.NEW
        self.cancel_asked = False

    @property
    def is_live(self):
        return self.status in LIVE


class NothingPrevented:
    """Answers at the next step that exits may meet orders of their owner."""

    def __init__(self, cache):
        self.cache = cache
        self.held = set()

    def ask_about_held(self, changes):
        for order in changes.exits_held:
            order.crossed.update({other.order_id: False for other in crossing_orders(self.cache, order)})
            self.held.add(order.order_group_id)

    def ended(self, changes):
        held, self.held = self.held, set()
        return held & self.cache.groups.keys()


class Groups(RuleBasedStateMachine):
    """One bracket or OCO, its venue, and everybody who may disturb."""

    def __init__(self):
        super().__init__()
        self.venue = {}
        self.written = {}
        self.trades = []
        self.group = None
        self.canceled = set()

    # What is made

    @initialize(
        bracket=st.booleans(), closes=st.booleans(), symbol=st.sampled_from(SYMBOLS), quantity=st.integers(1, 6),
        yesterday=st.integers(0, 6), limits=st.booleans(),
    )  # fmt: skip
    def begin(self, bracket, closes, symbol, quantity, yesterday, limits):
        self.symbol, self.quantity = symbol, D(quantity)
        self.closes = bracket or closes
        self._make_book(TradingCache())
        self.cache.days.begin("SIM", 20260105)
        self.account = self.cache.accounts["a"]
        held = D(0) if bracket or not closes else self.quantity
        if held:
            self._seed_position(held, min(D(yesterday), held))
        kind = OrderGroupKind.BRACKET if bracket else OrderGroupKind.OCO
        out = (Side.SELL, PositionEffect.CLOSE) if self.closes else (Side.BUY, PositionEffect.OPEN)
        orders = [self._order(*out, OrderType.LIMIT), self._order(*out, OrderType.STOP)]
        if bracket:
            orders.insert(0, self._order(Side.BUY, PositionEffect.OPEN, OrderType.LIMIT))
            for order in orders[1:]:
                order.entry_open, order.status = True, OrderStatus.PENDING_NEW
        elif not closes and limits:
            orders.append(self._order(*out, OrderType.LIMIT))
        group = OrderGroup("g", "c", "u", "a", kind, "f", self.quantity, orders, 1, 1)
        changes = ChangeSet("u", 1)
        for order in orders:
            self.cache.accept(order, changes, holds=False)
        self.cache.add_group(group)
        changes.groups["g"] = group
        settle_group(self.cache, group, changes)
        if bracket:
            send(self.cache, orders[0], changes)
        self._record(changes)
        self.names = [order.order_id for order in orders]
        self.start = held

    def _order(self, side, effect, type):
        return Order(
            new_id(), new_id(), "u", "a", "SIM", self.symbol, side, type, TimeInForce.GTC, effect, self.quantity,
            D(4000) if type is OrderType.LIMIT else None, D(3900) if type is OrderType.STOP else None, None, 0, "", "",
            "f", 1, 1, D(4000), OrderStatus.NEW if type is OrderType.STOP else OrderStatus.PENDING_NEW,
            order_group_id="g",
        )  # fmt: skip

    def _make_book(self, cache):
        self.cache = cache
        cache.instruments[self.symbol] = instrument(self.symbol)
        cache.add_account(Account("a", "u", "n", AccountKind.PAPER, "SIM", "CNY", 0, "r", balance=D(10**9)))
        store = SimpleNamespace(cache=cache, on_loaded=lambda listener: None)
        self.settlement = GroupSettlement(store, NothingPrevented(cache))

    def _seed_position(self, quantity, yesterday):
        opening = self._order(Side.BUY, PositionEffect.OPEN, OrderType.LIMIT)
        opening.quantity, opening.order_group_id = quantity, ""
        changes = ChangeSet("u", 1)
        self.cache.accept(opening, changes)
        send(self.cache, opening, changes)
        for part, day in ((yesterday, 20260104), (quantity - yesterday, 20260105)):
            if part:
                report = FillReport("SIM", opening.order_id, new_id(), self.symbol, D(4000), part, 1, day)
                apply_trade_report(self.cache, opening, report, changes)
        changes.sends.clear()
        self._record(changes)

    def _record(self, changes):
        """The step is completed, written, and what follows from it reaches the venue."""
        self.group = self.cache.groups.get("g", self.group)
        self.settlement.complete(changes)
        if self.group is not None:
            self.names = [order.order_id for order in self.group.orders]
        for order in (*changes.created.values(), *changes.orders.values()):
            self.written["order", order.order_id] = rows.order_row(order)
        for position in changes.positions.values():
            self.written["position", position.key] = rows.position_row(position)
        for group in changes.groups.values():
            self.written["group", group.order_group_id] = rows.order_group_row(group)
        fresh = []
        for order_id in changes.sends:
            order = self.cache.orders.get(order_id)
            for leg in order.legs if order is not None else ():
                if leg.delivery is Delivery.QUEUED and leg.is_live:
                    leg.delivery = Delivery.SENT
                    assert order.reference(leg) not in self.venue, "sent twice"
                    self.venue[order.reference(leg)] = AtVenue(order_id, leg.quantity)
                    fresh.append(order.reference(leg))
        for order_id in changes.cancels:
            for at in self.venue.values():
                at.cancel_asked |= at.order_id == order_id and at.is_live
        for order in (*changes.created.values(), *changes.orders.values()):
            self.written["order", order.order_id] = rows.order_row(order)

        for reference in fresh:
            self._report_status(reference, self.venue[reference])

    def _find(self, order_id):
        return self.cache.find_order(order_id)

    def _orders(self):
        return [self._find(name) for name in self.names]

    def _report(self, reference, at, status, reason=""):
        return OrderStatusReport(
            "SIM", reference, "v", self.symbol, at.quantity, None, at.filled, status, reason, "",
        )  # fmt: skip

    def _report_status(self, reference, at, reason=""):
        order = self._find(at.order_id)
        changes = ChangeSet("u", 1)
        apply_order_report(self.cache, order, self._report(reference, at, at.status, reason), changes)
        self._record(changes)

    # What happens

    @precondition(lambda self: any(at.is_live for at in self.venue.values()))
    @rule(data=st.data())
    def fill(self, data):
        reference = data.draw(st.sampled_from(sorted(r for r, at in self.venue.items() if at.is_live)))
        at = self.venue[reference]
        part = D(data.draw(st.integers(1, int(at.quantity - at.filled))))
        at.filled += part
        at.status = OrderStatus.FILLED if at.filled == at.quantity else OrderStatus.PARTIALLY_FILLED
        order = self._find(at.order_id)
        trade = FillReport("SIM", reference, new_id(), self.symbol, D(4000), part, 1, 20260105)
        late = data.draw(st.booleans())
        if late:
            self._report_status(reference, at)
        changes = ChangeSet("u", 1)
        apply_trade_report(self.cache, order, trade, changes)
        self.trades += changes.trades
        self._record(changes)
        if not late:
            self._report_status(reference, at)

    @precondition(lambda self: self.trades)
    @rule(data=st.data())
    def bust(self, data):
        trade = data.draw(st.sampled_from(self.trades))
        position = next(iter(self.account_now().positions.values()), None)
        opened = self.closes and trade.side is Side.BUY
        if opened and (position is None or position.quantity < trade.quantity):
            return  # what was closed since is realised: nothing of the group
        self.trades.remove(trade)
        if "g" not in self.cache.groups:
            self.cache.add_group(self.group)
        changes = ChangeSet("u", 1)
        bust(self.cache, self._find(trade.order_id), trade, changes)
        self._record(changes)
        # Until the venue has canceled what was to close it, more may be closed than is held.
        for reference in [r for r, at in self.venue.items() if opened and at.is_live and at.cancel_asked]:
            self.venue[reference].status = OrderStatus.CANCELED
            self._report_status(reference, self.venue[reference])

    @precondition(lambda self: any(at.is_live and at.cancel_asked for at in self.venue.values()))
    @rule(data=st.data())
    def end_canceled(self, data):
        asked = sorted(r for r, at in self.venue.items() if at.is_live and at.cancel_asked)
        reference = data.draw(st.sampled_from(asked))
        self.venue[reference].status = OrderStatus.CANCELED
        self._report_status(reference, self.venue[reference])

    @precondition(lambda self: any(at.is_live and not at.filled for at in self.venue.values()))
    @rule(data=st.data())
    def refuse(self, data):
        fresh = sorted(r for r, at in self.venue.items() if at.is_live and not at.filled)
        reference = data.draw(st.sampled_from(fresh))
        at = self.venue[reference]
        at.status = OrderStatus.REJECTED
        reason = data.draw(st.sampled_from([Reason.GATEWAY_DISCONNECTED, Reason.GATEWAY_REJECTED]))
        self._report_status(reference, at, reason)
        # What its venue refuses for good stays so, also where another leg of the order goes on.
        if reason is Reason.GATEWAY_REJECTED or not self._find(at.order_id).is_open:
            self.canceled.add(at.order_id)

    @rule()
    def trigger(self):
        for order in self._orders():
            if order.is_open and order.is_held and order.type is OrderType.STOP and not order.dormant:
                changes = ChangeSet("u", 1)
                order.triggered, order.hold_reason = True, ""
                changes.order(order)
                self._record(changes)

    @rule(data=st.data())
    def cancel_one(self, data):
        order = self._find(data.draw(st.sampled_from(self.names)))
        if order.is_open and order.status is not OrderStatus.PENDING_CANCEL:
            self.canceled.add(order.order_id)
            changes = ChangeSet("u", 1)
            cancel(self.cache, order, changes)
            self._record(changes)

    @rule()
    def restart(self):
        cache = self.cache
        self._make_book(TradingCache())
        self.cache.days.restore("SIM", *cache.days.reported("SIM"))
        orders = {}
        for (kind, _), row in self.written.items():
            if kind == "position" and row["is_open"]:
                self.cache.add_position(rows.position_from_row(row))
        for (kind, _), row in sorted(self.written.items(), key=lambda item: str(item[0])):
            if kind == "order":
                order = orders[row["order_id"]] = rows.order_from_row(row, set())
                for leg in order.legs:
                    if order.reference(leg) in self.venue:
                        leg.delivery = Delivery.SENT  # reconciliation has confirmed it
                (self.cache.add_order if order.is_open else self.cache.remember_finished)(order)
        self.group = group = rows.order_group_from_row(self.written["group", "g"], orders)
        if group.is_open:
            self.cache.add_group(group)
            changes = ChangeSet("u", 1)
            before = [(o.quantity, o.status, len(o.legs)) for o in group.orders]
            settle_group(self.cache, group, changes)
            assert [(o.quantity, o.status, len(o.legs)) for o in group.orders] == before
            assert not changes.sends and not changes.cancels
        self.account = self.cache.accounts["a"]

    # What must be true

    @invariant()
    def nobody_closes_more_than_is_held(self):
        if not self.venue or not self.closes:
            return
        side = {position.side.name: position for position in self.account_now().positions.values()}
        assert "SHORT" not in side
        held = side["LONG"].quantity if "LONG" in side else D(0)
        members = [order.order_id for order in self.group.members]
        live = {
            name: sum(
                (at.quantity - at.filled for at in self.venue.values() if at.order_id == name and at.is_live), D(0)
            )
            for name in members
        }
        assert sum(live.values()) <= held
        assert sum(1 for quantity in live.values() if quantity) <= 1
        if "LONG" in side:
            holds = sum((o.hold_today + o.hold_yesterday for o in self.cache.orders.values()), D(0))
            assert side["LONG"].frozen_quantity == holds <= held

    @invariant()
    def what_is_held_is_covered_while_the_stop_was_let_be(self):
        if not self.venue or not self.closes:
            return
        position = next(iter(self.account_now().positions.values()), None)
        stop = [order for order in self._orders() if order.type is OrderType.STOP][-1]
        if stop.order_id in self.canceled:
            return
        held = position.quantity if position is not None else D(0)
        if stop.is_open and not stop.dormant:
            assert stop.leaves_quantity == held
        else:
            assert not held

    @invariant()
    def opening_orders_lose_what_others_fill(self):
        if not self.venue or self.closes:
            return
        orders = self._orders()
        filled = sum((o.cumulative_quantity for o in orders), D(0))
        for order in orders:
            waits = order.status is OrderStatus.PENDING_CANCEL or order.pending_quantity is not None
            if order.is_open and not waits:
                assert order.leaves_quantity <= max(self.quantity - filled, D(0))

    def account_now(self):
        return self.cache.accounts["a"]

    def teardown(self):
        if not self.venue:
            return
        for _ in range(20):  # the venue does all that was asked of it
            asked = [r for r, at in self.venue.items() if at.is_live and at.cancel_asked]
            if not asked:
                break
            for reference in asked:
                self.venue[reference].status = OrderStatus.CANCELED
                self._report_status(reference, self.venue[reference])
                self.nobody_closes_more_than_is_held()
                self.what_is_held_is_covered_while_the_stop_was_let_be()
        for order in self._orders():
            assert order.status is not OrderStatus.PENDING_CANCEL
            at_venue = any(at.is_live for at in self.venue.values() if at.order_id == order.order_id)
            assert order.status not in FINISHED or not at_venue
        if self.closes:
            entry = self.group.entry
            bought = self.start + (self._find(entry.order_id).cumulative_quantity if entry is not None else D(0))
            sold = sum((self._find(order.order_id).cumulative_quantity for order in self.group.members), D(0))
            held = sum((p.quantity for p in self.account_now().positions.values()), D(0))
            assert held == bought - sold >= 0


Groups.TestCase.settings = settings(max_examples=examples(100), stateful_step_count=25, deadline=None)
TestGroups = Groups.TestCase


class Draws:
    """Data of a run that is known: what a rule draws, in order."""

    def __init__(self, *values):
        self._values = iter(values)

    def draw(self, _):
        return next(self._values)


def test_a_stop_of_which_a_part_was_refused_stands_for_no_more_than_a_bust_leaves_held():
    groups = Groups()
    groups.begin(True, False, SYMBOLS[0], 2, 0, False)
    entry, limit, stop = groups.names
    groups.fill(Draws(entry, 1, False))
    groups.trigger()
    groups.end_canceled(Draws(limit))
    groups.fill(Draws(entry, 1, False))
    groups.refuse(Draws(stop, Reason.GATEWAY_DISCONNECTED))
    groups.bust(Draws(groups.trades[0]))
    (position,) = groups.account_now().positions.values()
    assert position.quantity == groups._find(stop).leaves_quantity == 1
    groups.nobody_closes_more_than_is_held()
    groups.what_is_held_is_covered_while_the_stop_was_let_be()
