"""Books for tests: an instrument, an account, orders, and what must always be true of them."""

from decimal import Decimal as D

from redfire.enums import AccountKind, LedgerEntryKind, OrderStatus, OrderType, PositionEffect, Side, TimeInForce

from services.kernel.identifiers import new_id
from services.trading import rows
from services.trading.domain import ledger
from services.trading.domain.account import Account
from services.trading.domain.apply_reports import apply_order_report, apply_trade_report, send
from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.instrument import Instrument
from services.trading.domain.order import Order
from services.trading.domain.report import FillReport, OrderStatusReport


def instrument(symbol="IF2606.CFFEX", **over):
    values = {
        "symbol": symbol,
        "exchange": symbol.split(".")[1],
        "gateway": "SIM",
        "currency": "CNY",
        "contract_size": D(300),
        "price_tick": D("0.2"),
        "min_quantity": D(1),
        "quantity_step": D(1),
        "margin_rate": D("0.12"),
        "commission_rate": D("0.000023"),
        "commission_fixed": D(0),
        "close_today_commission_rate": D("0.000345"),
        "close_today_commission_fixed": D("0.01"),
    }
    return Instrument(**{**values, **over})


class Trader:
    """A book with one account, and a record of all that was written."""

    def __init__(self, *instruments, cash=D(10_000_000)):
        self.cache = TradingCache()
        for item in instruments or (instrument(),):
            self.cache.instruments[item.symbol] = item
        self.account = Account(new_id(), "user-1", "test", AccountKind.PAPER, "SIM", "CNY", 0, "r")
        self.entries = ledger.post(self.account, LedgerEntryKind.DEPOSIT, cash, "deposit", 0)
        self.cache.add_account(self.account)
        self.trades = []
        self.orders = {}
        # What the database has: orders and positions as they were written last, and what gateways reported.
        self.written = {}

    def step(self):
        return ChangeSet("user-1", 1)

    def record(self, changes):
        self.entries += changes.entries
        self.trades = [
            next((u for u in changes.trade_updates if u.trade_id == t.trade_id), t) for t in self.trades
        ] + changes.trades
        for order in (*changes.created.values(), *changes.orders.values()):
            self.written["order", order.order_id] = rows.order_row(order)
        for position in changes.positions.values():
            self.written["position", position.key] = rows.position_row(position)
        for gateway, reported in changes.gateways.items():
            self.written["gateway", gateway] = reported
        return changes

    def begin_day(self, trading_day, gateway="SIM"):
        for changes in self.cache.begin_day(gateway, trading_day, 1):
            self.record(changes)

    def fill(self, order, quantity, price="4000", day=0):
        """The venue fills an order's last leg; then everything must be right."""
        changes = self.step()
        reference = order.reference(order.legs[-1])
        report = FillReport("SIM", reference, new_id(), order.symbol, D(price), D(quantity), 1, day)
        apply_trade_report(self.cache, order, report, changes)
        self.record(changes)
        self.check()

    def cancel(self, order):
        """The venue ends an order's last leg."""
        changes = self.step()
        report = OrderStatusReport(
            "SIM", order.reference(order.legs[-1]), "v", order.symbol, order.quantity, order.price,
            order.cumulative_quantity, OrderStatus.CANCELED,
        )  # fmt: skip
        apply_order_report(self.cache, order, report, changes)
        self.record(changes)
        self.check()

    def reloaded(self):
        """The book that a restart makes of what was written."""
        cache = TradingCache()
        cache.instruments.update(self.cache.instruments)
        account = Account(self.account.account_id, "user-1", "test", AccountKind.PAPER, "SIM", "CNY", 0, "r")
        rows_of = {
            kind: [value for (k, _), value in self.written.items() if k == kind] for kind in ("order", "position")
        }
        for (kind, name), value in self.written.items():
            if kind == "gateway":
                cache.days.restore(name, *value)
        cache.add_account(account)
        for row in rows_of["position"]:
            if row["is_open"]:
                cache.add_position(rows.position_from_row(row))
            elif row["realized_pnl"]:
                account.realized_of[row["symbol"], row["side"]] = row["realized_pnl"]
        for row in rows_of["order"]:
            if row["is_open"]:
                cache.add_order(rows.order_from_row(row, set()))
        return cache

    def order(
        self, side=Side.BUY, quantity=1, price=D("4000"), effect=PositionEffect.OPEN, symbol="IF2606.CFFEX", **over
    ):
        values = {
            "order_id": new_id(),
            "client_order_id": new_id(),
            "user_id": "user-1",
            "account_id": self.account.account_id,
            "gateway": "SIM",
            "symbol": symbol,
            "side": side,
            "type": OrderType.LIMIT,
            "time_in_force": TimeInForce.GTC,
            "position_effect": effect,
            "quantity": D(quantity),
            "price": price,
            "stop_price": None,
            "trailing_offset": None,
            "expire_time_ns": 0,
            "strategy_id": "",
            "trace_id": "",
            "fingerprint": "f",
            "create_time_ns": 1,
            "update_time_ns": 1,
            "reserve_price": price,
        }
        order = Order(**{**values, **over})
        changes = self.step()
        self.cache.accept(order, changes)
        send(self.cache, order, changes)
        self.record(changes)
        self.orders[order.order_id] = order
        return order

    def check(self):
        """Orders, trades, positions and ledger agree to the last digit."""
        account, cache = self.account, self.cache
        for order in self.orders.values():
            mine = [t for t in self.trades if t.order_id == order.order_id and not t.busted]
            assert order.cumulative_quantity == sum((t.quantity for t in mine), D(0))
            assert order.commission == sum((t.commission for t in mine), D(0))
            assert (order.order_id in cache.orders) == order.is_open
            if order.is_open:
                # Never two live for the same quantity.
                live = sum((leg.leaves_quantity for leg in order.legs), D(0))
                assert live <= order.leaves_quantity or order.pending_quantity is not None
            assert order.is_open or (order.reserved == 0 and order.hold_today == 0 and order.hold_yesterday == 0)
        net = {}
        for trade in self.trades:
            if trade.busted:
                continue
            net[trade.symbol] = net.get(trade.symbol, D(0)) + (
                trade.quantity if trade.side == Side.BUY else -trade.quantity
            )
        # What is busted leaves no net position, though it may leave one on either side.
        net |= {trade.symbol: net.get(trade.symbol, D(0)) for trade in self.trades}
        held = dict.fromkeys(net, D(0))
        for (symbol, side), position in account.positions.items():
            held[symbol] += position.quantity if side == 1 else -position.quantity
            assert position.today_quantity >= 0 and position.yesterday_quantity >= 0
            assert 0 <= position.frozen_day <= position.day_quantity
            assert 0 <= position.frozen_older <= position.older_quantity
            holders = [
                o for o in cache.orders.values() if o.is_closing and (o.symbol, o.position_side) == (symbol, side)
            ]
            assert position.frozen_quantity == sum((o.hold_today + o.hold_yesterday for o in holders), D(0))
        assert net == held
        transactions = {}
        for entry in self.entries:
            transactions[entry.transaction_id] = transactions.get(entry.transaction_id, D(0)) + entry.amount
        assert all(total == 0 for total in transactions.values())
        cash = [e.amount for e in self.entries if e.ledger_account == f"cash:{account.account_id}"]
        assert account.balance == sum(cash, D(0))
        assert account.frozen == sum((o.reserved for o in cache.orders.values()), D(0))
        assert account.margin == sum((p.margin for p in account.positions.values()), D(0))
        assert all(o.reserved == cache.reservation(o) for o in cache.orders.values() if o.pending_quantity is None)
        self.check_reloaded()
        # What is flat has realised what came in less what went out.
        if not account.positions:
            flow = D(0)
            for trade in self.trades:
                if trade.busted:
                    continue
                value = trade.price * trade.quantity * cache.instruments[trade.symbol].contract_size
                flow += -value if trade.side == Side.BUY else value
            assert account.realized_pnl == flow

    def check_reloaded(self):
        """A restart at this moment makes the same of what was written."""
        again = self.reloaded()
        mine, theirs = self.account, again.accounts[self.account.account_id]
        assert [_figures(p) for p in mine.positions.values() if p.quantity] == [
            _figures(theirs.positions[key]) for key, p in mine.positions.items() if p.quantity
        ]
        assert theirs.positions.keys() == mine.positions.keys()
        assert theirs.realized_of == {key: amount for key, amount in mine.realized_of.items() if amount}
        assert (theirs.margin, theirs.frozen) == (mine.margin, mine.frozen)
        assert again.orders.keys() == self.cache.orders.keys()


def _figures(position):
    return (
        position.key, position.today_quantity, position.yesterday_quantity, position.frozen_today,
        position.frozen_yesterday, position.cost, position.margin, position.realized_pnl,
    )  # fmt: skip
