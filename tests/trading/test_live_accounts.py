"""Live accounts under reports and fills that reach us in any order: the ledger is the balance, and the gateway's."""

from decimal import Decimal as D

from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.enums import AccountKind, OrderStatus, PositionEffect, Side

from services.trading.domain.apply_reports import apply_order_report, apply_trade_report
from services.trading.domain.report import AccountReport, FillReport, OrderStatusReport
from services.trading.venue.live_accounts import NOISE, LiveAccounts
from tests.examples import examples
from tests.trading.books import Trader, instrument

SYMBOL = "IF2606.CFFEX"


class RecordingStore:
    """A store whose steps are recorded at once."""

    is_open = True

    def __init__(self, trader):
        self.cache, self.begin = trader.cache, lambda user_id: trader.step()
        self.commit = trader.record


class Gateway:
    """A venue whose fills and reports reach the books later, by ways of their own."""

    def __init__(self):
        self.trader = Trader(instrument(close_today_commission_rate=D("0.000023")), cash=D(0))
        self.account = self.trader.account
        self.account.kind = AccountKind.LIVE
        self.live = LiveAccounts(RecordingStore(self.trader))
        self.trader.cache.last_prices.of("SIM")[SYMBOL] = self.price = D(4000)
        self.money, self.held, self.cost, self.time, self.trades = D(1_000_000), 0, D(0), 10**18, 0
        self.fills, self.reports = [], []

    @property
    def equity(self):
        return self.money + self.price * self.held * 300 - self.cost

    def fill(self, order):
        price, opens = self.price, order.side is Side.BUY
        self.trades += 1
        self.money -= instrument().commission(price, D(1))
        if opens:
            self.held, self.cost = self.held + 1, self.cost + price * 300
        else:
            cost = self.cost / self.held
            self.money += price * 300 - cost
            self.held, self.cost = self.held - 1, self.cost - cost
        self.fills.append((order, price, f"t{self.trades}"))

    def report(self):
        self.time += 10**9
        available = self.equity - self.cost * D("0.12")
        self.reports.append(AccountReport("SIM", "888", "CNY", self.equity, available, None, D(0), self.time))

    def hear_fill(self):
        order, price, trade_id = self.fills.pop(0)
        changes = self.trader.step()
        reference = order.reference(order.legs[-1])
        cache = self.trader.cache
        apply_order_report(
            cache,
            order,
            OrderStatusReport("SIM", reference, "v", SYMBOL, D(1), order.price, D(0), OrderStatus.NEW),
            changes,
        )
        apply_trade_report(cache, order, FillReport("SIM", reference, trade_id, SYMBOL, price, D(1), 1), changes)
        self.trader.record(changes)

    def hear_report(self):
        self.live.apply(self.reports.pop(0))
        reported = self.account.venue.available
        assert self.account.available(self.trader.cache.last_prices.of("SIM")) <= reported

    def check(self):
        cash = [e.amount for e in self.trader.entries if e.ledger_account.startswith("cash:")]
        assert self.account.balance == sum(cash, D(0))


@settings(max_examples=examples(200), deadline=None)
@given(data=st.data())
def test_after_any_order_of_fills_and_reports_the_books_have_what_the_gateway_has(data):
    gateway = Gateway()
    gateway.report()
    gateway.hear_report()
    assert gateway.account.balance == gateway.money
    sent = []
    for _ in range(data.draw(st.integers(1, 25))):
        action = data.draw(st.sampled_from(["open", "close", "fill", "report", "hear", "hear", "price", "pay"]))
        if action == "open":
            sent.append(gateway.trader.order(price=D(9000)))
        elif action == "close":
            position = gateway.account.positions.get((SYMBOL, 1))
            if position is not None and position.closable(PositionEffect.CLOSE) > 0:
                sent.append(gateway.trader.order(Side.SELL, price=D(1000), effect=PositionEffect.CLOSE))
        elif action == "fill" and sent:
            gateway.fill(sent.pop(0))
        elif action == "report":
            gateway.report()
        elif action == "price":
            gateway.price = D(data.draw(st.integers(3900, 4100)))
            gateway.trader.cache.last_prices.of("SIM")[SYMBOL] = gateway.price
        elif action == "pay":
            gateway.money += data.draw(st.sampled_from([D(-10_000), D(50_000)]))
        elif action == "hear" and (gateway.fills or gateway.reports):
            ways = [way for way, queue in (("fill", gateway.fills), ("report", gateway.reports)) if queue]
            (gateway.hear_fill if data.draw(st.sampled_from(ways)) == "fill" else gateway.hear_report)()
        gateway.check()
    while gateway.fills:
        gateway.hear_fill()
    for _ in range(4):
        gateway.report()
    while gateway.reports:
        gateway.hear_report()
        gateway.check()
    difference = gateway.account.equity(gateway.trader.cache.last_prices.of("SIM")) - gateway.equity
    assert abs(difference) <= NOISE * gateway.price * gateway.held * 300 + D("0.00000001")
