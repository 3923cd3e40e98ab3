"""An investor's books at a CTP front: cash, margin, and positions of today and yesterday."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from tests.engine.ctp_fields import BUY, CLOSE_TODAY, OPEN, SELL, CtpOrder, CtpTrade, Holding, Instrument

TODAY_EXCHANGES = ("SHFE", "INE")  # they keep today's positions and yesterday's apart


class Books:
    """Cash and positions."""

    def __init__(self, instruments: Mapping[str, Instrument], cash: float) -> None:
        self.instruments = instruments
        self.cash, self.commission = cash, 0.0
        self.holdings: dict[tuple[str, str], Holding] = defaultdict(Holding)
        self.last: dict[str, float] = {}

    def refusal(self, order: CtpOrder, orders: Iterable[CtpOrder]) -> int:
        """The error of an order that the investor cannot pay for or has nothing to close for; else 0."""
        instrument = self.instruments[order.symbol]
        if order.offset == OPEN:
            needed = order.price * order.volume * instrument.size * instrument.margin
            return 31 if needed > self.account(orders)["Available"] else 0
        held = self.holdings[order.symbol, SELL if order.direction == BUY else BUY]
        today, yesterday = held.today - held.frozen_today, held.yesterday - held.frozen_yesterday
        if instrument.exchange not in TODAY_EXCHANGES:
            return 30 if order.volume > today + yesterday else 0
        if order.offset == CLOSE_TODAY:
            return 50 if order.volume > today else 0
        return 51 if order.volume > yesterday else 0

    def hold(self, order: CtpOrder, trade: CtpTrade) -> None:
        """Book a trade."""
        instrument = self.instruments[order.symbol]
        self.commission += 1.0 * trade.volume
        if order.offset == OPEN:
            held = self.holdings[order.symbol, order.direction]
            held.today += trade.volume
            held.cost += trade.price * trade.volume * instrument.size
            return
        held = self.holdings[order.symbol, SELL if order.direction == BUY else BUY]
        average = held.cost / max(held.today + held.yesterday, 1)
        self.freeze(order, -trade.volume)
        first = held.today if order.offset == CLOSE_TODAY else 0
        if instrument.exchange not in TODAY_EXCHANGES:
            first = max(0, trade.volume - held.yesterday)
        from_today = min(first, trade.volume)
        held.today -= from_today
        held.yesterday -= trade.volume - from_today
        held.cost -= average * trade.volume
        gain = (trade.price * instrument.size - average) * trade.volume
        self.cash += gain if order.direction == SELL else -gain

    def freeze(self, order: CtpOrder, volume: int) -> None:
        """Keep positions for an order that closes them; a negative volume gives them back."""
        if order.offset == OPEN:
            return
        held = self.holdings[order.symbol, SELL if order.direction == BUY else BUY]
        if order.offset == CLOSE_TODAY:
            held.frozen_today += volume
        else:
            held.frozen_yesterday += volume

    def settle(self, prices: Mapping[str, float]) -> None:
        """Make today's positions yesterday's, marked to the settlement prices that there are."""
        for (symbol, direction), held in self.holdings.items():
            held.yesterday += held.today
            held.today = held.frozen_today = held.frozen_yesterday = 0
            price = prices.get(symbol)
            if price is not None:
                amount = price * self.instruments[symbol].size * held.yesterday
                self.cash += (amount - held.cost) * (1 if direction == BUY else -1)
                held.cost = amount

    def account(self, orders: Iterable[CtpOrder]) -> dict:
        """CThostFtdcTradingAccountField, as far as vnpy reads it."""
        margin = sum(held.cost * self.instruments[symbol].margin for (symbol, _), held in self.holdings.items())
        frozen = sum(
            order.price * order.left * self.instruments[order.symbol].size * self.instruments[order.symbol].margin
            for order in orders
            if order.open and order.offset == OPEN
        )
        # What positions gained since the last settlement counts at once.
        gains = (
            (self.last.get(symbol, 0) * self.instruments[symbol].size * (held.today + held.yesterday) - held.cost)
            * (1 if direction == BUY else -1)
            for (symbol, direction), held in self.holdings.items()
            if held.today + held.yesterday and symbol in self.last
        )
        balance = self.cash + sum(gains) - self.commission
        return {
            "AccountID": "123456", "Balance": balance, "Available": balance - margin - frozen,
            "FrozenMargin": frozen, "FrozenCash": 0.0, "FrozenCommission": 0.0, "CurrMargin": margin,
        }  # fmt: skip

    def positions(self) -> list[dict]:
        """CThostFtdcInvestorPositionField: on SHFE and INE one row for today's and one for yesterday's."""
        rows = []
        for (symbol, direction), held in self.holdings.items():
            base = {
                "InstrumentID": symbol, "PosiDirection": "2" if direction == BUY else "3", "PositionProfit": 0.0,
                "PositionCost": held.cost, "LongFrozen": 0, "ShortFrozen": 0,
            }  # fmt: skip
            if self.instruments[symbol].exchange in TODAY_EXCHANGES:
                whole = max(held.today + held.yesterday, 1)
                parts = [(0, held.today, held.today), (held.yesterday, 0, held.yesterday)]
                for yd, today, position in parts:
                    row = {"YdPosition": yd, "TodayPosition": today, "Position": position}
                    rows.append({**base, **row, "PositionCost": held.cost * position / whole})
            else:
                row = {"YdPosition": held.yesterday, "TodayPosition": held.today}
                rows.append({**base, **row, "Position": held.today + held.yesterday})
        return rows
