"""Books for tests: an instrument, an account, orders, and what must always be true of them."""

from decimal import Decimal as D

from services.kernel.identifiers import new_id
from services.trading import ledger
from services.trading.accounts import Account, AccountKind
from services.trading.book import Book
from services.trading.changes import Changes
from services.trading.execution import send
from services.trading.instruments import Instrument
from services.trading.ledger import LedgerEntryKind
from services.trading.orders import Order, OrderType, PositionEffect, Side, TimeInForce


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
        self.book = Book()
        for item in instruments or (instrument(),):
            self.book.instruments[item.symbol] = item
        self.account = Account(new_id(), "user-1", "test", AccountKind.PAPER, "SIM", "CNY", 0, "r")
        self.entries = ledger.post(self.account, LedgerEntryKind.DEPOSIT, cash, "deposit", 0)
        self.book.add_account(self.account)
        self.trades = []
        self.orders = {}

    def step(self):
        return Changes("user-1", 1)

    def record(self, changes):
        self.entries += changes.entries
        self.trades += changes.trades
        return changes

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
        self.book.accept(order, changes)
        send(self.book, order, changes)
        self.record(changes)
        self.orders[order.order_id] = order
        return order

    def check(self):
        """Orders, trades, positions and ledger agree to the last digit."""
        account, book = self.account, self.book
        for order in self.orders.values():
            mine = [t for t in self.trades if t.order_id == order.order_id]
            assert order.cumulative_quantity == sum((t.quantity for t in mine), D(0))
            assert order.commission == sum((t.commission for t in mine), D(0))
            assert (order.order_id in book.orders) == order.is_open
            if order.is_open:
                # Never two live for the same quantity.
                live = sum((leg.leaves_quantity for leg in order.legs), D(0))
                assert live <= order.leaves_quantity or order.pending_quantity is not None
            assert order.is_open or (order.reserved == 0 and order.hold_today == 0 and order.hold_yesterday == 0)
        net = {}
        for trade in self.trades:
            net[trade.symbol] = net.get(trade.symbol, D(0)) + (
                trade.quantity if trade.side == Side.BUY else -trade.quantity
            )
        held = dict.fromkeys(net, D(0))
        for (symbol, side), position in account.positions.items():
            held[symbol] += position.quantity if side == 1 else -position.quantity
            assert position.today_quantity >= 0 and position.yesterday_quantity >= 0
            holders = [
                o for o in book.orders.values() if o.is_closing and (o.symbol, o.position_side) == (symbol, side)
            ]
            assert position.frozen_quantity == sum((o.hold_today + o.hold_yesterday for o in holders), D(0))
        assert net == held
        transactions = {}
        for entry in self.entries:
            transactions[entry.transaction_id] = transactions.get(entry.transaction_id, D(0)) + entry.amount
        assert all(total == 0 for total in transactions.values())
        cash = [e.amount for e in self.entries if e.ledger_account == f"cash:{account.account_id}"]
        assert account.balance == sum(cash, D(0))
        assert account.frozen == sum((o.reserved for o in book.orders.values()), D(0))
        assert account.margin == sum((p.margin for p in account.positions.values()), D(0))
        assert all(o.reserved == book.reservation(o) for o in book.orders.values() if o.pending_quantity is None)
        # What is flat has realised what came in less what went out.
        if not account.positions:
            flow = D(0)
            for trade in self.trades:
                value = trade.price * trade.quantity * book.instruments[trade.symbol].contract_size
                flow += -value if trade.side == Side.BUY else value
            assert account.realized_pnl == flow
