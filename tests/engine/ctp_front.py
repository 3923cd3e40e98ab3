"""A broker's CTP front with its exchanges, scripted: what a trader API of CTP answers, without the API.

It outlives the gateways that log in to it. Its time is a clock's, its trading days and sessions the calendar's. Orders
are matched against quotes that the test sets. All that the front sends an investor of orders and trades goes into
the private flow of the trading day, which a session that subscribed with RESTART gets from its beginning at each login.

Numbers and names are CTP's: errors of its error.xml, order status characters, offset flags, disconnect reasons.
Longer than other files: it is one object, whose parts share the front's lock, flows and books.
"""

import queue
import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from zoneinfo import ZoneInfo

from services.kernel.clock import Clock
from services.quant.calendar import Calendar, SessionState

SHANGHAI = ZoneInfo("Asia/Shanghai")
NETWORK_READ_FAILED = 0x1001

ERRORS = {
    3: "CTP:不合法的登录",
    7: "CTP:还没有初始化",
    16: "CTP:找不到合约",
    22: "CTP:报单错误：不允许重复报单",
    25: "CTP:撤单找不到相应报单",
    26: "CTP:报单已全成交或已撤销，不能再撤",
    30: "CTP:平仓量超过持仓量",
    31: "CTP:资金不足",
    42: "CTP:结算结果未确认",
    50: "CTP:平今仓位不足",
    51: "CTP:平昨仓位不足",
    90: "CTP:查询未就绪，请稍后重试",
}
BUY, SELL = "0", "1"
OPEN, CLOSE, CLOSE_TODAY, CLOSE_YESTERDAY = "0", "1", "3", "4"
ALL_TRADED, PART_TRADED, QUEUEING, CANCELED, UNKNOWN = "0", "1", "3", "5", "a"
LIMIT_PRICE, ANY_PRICE = "2", "1"
IOC, GFD = "1", "3"
ANY_VOLUME, COMPLETE_VOLUME = "1", "3"
TODAY_EXCHANGES = ("SHFE", "INE")
LIMIT_ONLY_EXCHANGES = ("SHFE", "INE", "CFFEX")  # they take no market orders


@dataclass(frozen=True)
class Instrument:
    """A contract."""

    symbol: str
    exchange: str
    size: int
    tick: float
    margin: float = 0.1

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange}"


RB = Instrument("rb2701", "SHFE", 10, 1.0)
SC = Instrument("sc2701", "INE", 1000, 0.1)
M = Instrument("m2701", "DCE", 10, 1.0)


@dataclass
class CtpOrder:
    """An order as the front keeps it."""

    front_id: int
    session_id: int
    ref: str
    symbol: str
    exchange: str
    direction: str
    offset: str
    price: float
    volume: int
    price_type: str = LIMIT_PRICE
    time_condition: str = GFD
    volume_condition: str = ANY_VOLUME
    sys_id: str = ""
    traded: int = 0
    status: str = UNKNOWN
    message: str = ""
    date: str = ""
    time: str = ""

    @property
    def key(self) -> tuple[int, int, str]:
        return self.front_id, self.session_id, self.ref

    @property
    def open(self) -> bool:
        return self.status in (UNKNOWN, PART_TRADED, QUEUEING)

    @property
    def left(self) -> int:
        return self.volume - self.traded


@dataclass(frozen=True)
class CtpTrade:
    """A fill as the front keeps it."""

    trade_id: str
    sys_id: str
    symbol: str
    exchange: str
    direction: str
    offset: str
    price: float
    volume: int
    date: str
    time: str
    trading_day: int


@dataclass
class Holding:
    """A position's detail."""

    today: int = 0
    yesterday: int = 0
    frozen_today: int = 0
    frozen_yesterday: int = 0
    cost: float = 0.0


@dataclass
class Session:
    """A logged-in connection. `deliver` is called on its own thread, as the API calls its callbacks."""

    front_id: int
    session_id: int
    events: "queue.SimpleQueue" = field(default_factory=queue.SimpleQueue)
    logged_in: bool = False
    queried_at: float = -1e9


class CtpFront:
    """The front. Methods may be called by any thread."""

    def __init__(self, clock: Clock | None = None, instruments=(RB, SC, M), cash: float = 10_000_000.0) -> None:
        self.clock = clock or Clock()
        self.calendar = Calendar.load()
        self.instruments = {instrument.symbol: instrument for instrument in instruments}
        self.lock = threading.RLock()
        self.cash, self.commission = cash, 0.0
        self.orders: dict[tuple[int, int, str], CtpOrder] = {}
        self.trades: list[CtpTrade] = []
        self.history: list[CtpTrade] = []
        self.flow: list[tuple[str, object]] = []
        self.holdings: dict[tuple[str, str], Holding] = defaultdict(Holding)
        self.quotes: dict[str, tuple[float, int, float, int]] = {}
        self.last: dict[str, float] = {}
        self.sessions: list[Session] = []
        self.confirmed = False
        self.up = True
        self.trading_day = self.calendar.chinese_trading_day(self.clock.now_ns())
        # What a test scripts
        self.enforce_hours = False
        self.confirms_settlement = True
        self.lost: set[str] = set()  # of "order", "trade", "answer": not delivered, though they are in the flow
        self.swallowed_inserts = 0
        self.orders_per_second = 0
        self.garbled = False
        self.gate = threading.Event()
        self.gate.set()
        self.answers = threading.Event()  # ReqOrderInsert returns
        self.answers.set()
        self.instruments_ready = threading.Event()
        self.instruments_ready.set()
        self.inserts = self.waiting = 0
        self.cancels: list[tuple[int, int, str]] = []
        self._ids = count(1)
        self._session_ids = count(self.clock.now_ns() // 1000 % 100_000_000)
        self._insert_times: list[float] = []
        self._exchange_ids: dict[str, count] = defaultdict(lambda: count(1))

    # The API's requests; 0 is sent, -1 no connection, -2 too many unanswered, -3 too many a second

    def connect(self) -> Session | None:
        """A connection to the front; None while it is down."""
        with self.lock:
            if not self.up:
                return None
            session = Session(1, next(self._session_ids))
            self.sessions.append(session)
            return session

    def login(self, session: Session) -> None:
        """ReqUserLogin: the private flow of the day comes again from its beginning."""
        with self.lock:
            session.logged_in = True
            session.events.put(("login", {"FrontID": session.front_id, "SessionID": session.session_id}))
            for kind, item in self.flow:
                session.events.put((kind, item))

    def confirm_settlement(self, session: Session) -> int:
        """ReqSettlementInfoConfirm."""
        with self.lock:
            self.confirmed = self.confirmed or self.confirms_settlement
            session.events.put(("confirmed", None))
        return 0

    def query(self, session: Session, kind: str) -> int:
        """ReqQry…: one a second."""
        with self.lock:
            if not self._is_connected(session):
                return -1
            now = self.clock.monotonic()
            if now - session.queried_at < 1:
                return -3
            session.queried_at = now
            answer = {"account": self.account, "positions": self.positions, "instruments": self._list_instruments}[kind]
            session.events.put((kind, answer() if kind != "instruments" else answer))
        return 0

    def insert(self, session: Session, order: CtpOrder) -> int:
        """ReqOrderInsert."""
        self.waiting += 1
        self.gate.wait(30)
        self.waiting -= 1
        with self.lock:
            if not self._is_connected(session):
                return -1
            now = self.clock.monotonic()
            self._insert_times = [at for at in self._insert_times if now - at < 1]
            if self.orders_per_second and len(self._insert_times) >= max(self.orders_per_second, 0):
                return -3
            self._insert_times.append(now)
            self.inserts += 1
            if self.swallowed_inserts:
                self.swallowed_inserts -= 1
                return 0
            error = self._check(order)
            if error:
                self._answer(session, "insert_error", (order, self.error(error)))
            else:
                self._accept(order)
        return 0

    def cancel(self, session: Session, key: tuple[int, int, str]) -> int:
        """ReqOrderAction, Delete."""
        self.gate.wait(30)
        with self.lock:
            if not self._is_connected(session):
                return -1
            self.cancels.append(key)
            order = self.orders.get(key)
            if order is None or not order.open:
                self._answer(session, "cancel_error", self.error(25 if order is None else 26))
            elif self._state(order) is not SessionState.CLOSED:  # the exchange's refusal reaches no vnpy gateway
                self.end(order, "已撤单")
        return 0

    # What a test does

    def quote(self, symbol: str, bid: float, ask: float, volume: int = 10) -> None:
        """The market moves."""
        with self.lock:
            self.quotes[symbol] = (bid, volume, ask, volume)
            self.last[symbol] = bid
            for session in self.sessions:
                session.events.put(("tick", (symbol, bid, volume, ask, volume, self._local())))
            for order in list(self.orders.values()):
                if order.symbol == symbol and order.open and order.sys_id:
                    self._match(order)

    def fill(self, order: CtpOrder, volume: int, price: float | None = None) -> CtpTrade:
        """The exchange fills an order in part or in full."""
        with self.lock:
            price = order.price if price is None else price
            date, time = self._stamp(order.exchange)
            trade = CtpTrade(
                str(next(self._exchange_ids[f"trade {order.exchange}"])).rjust(12), order.sys_id, order.symbol,
                order.exchange, order.direction, order.offset, price, volume, date, time, self.trading_day,
            )  # fmt: skip
            order.traded += volume
            order.status = PART_TRADED if order.left else ALL_TRADED
            self._hold(order, trade)
            self._publish_order(order)
            self.trades.append(trade)
            self.history.append(trade)
            self._publish("trade", trade)
            return trade

    def end(self, order: CtpOrder, message: str) -> None:
        """An order is cancelled, by any client."""
        with self.lock:
            self._freeze(order, -order.left)
            order.status, order.message = CANCELED, message
            self._publish_order(order)

    def external(self, instrument: Instrument, direction: str, offset: str, price: float, volume: int) -> CtpOrder:
        """An order from another terminal of the same investor."""
        with self.lock:
            key = 9, next(self._session_ids), str(next(self._ids))
            order = CtpOrder(*key, instrument.symbol, instrument.exchange, direction, offset, price, volume)
            self._accept(order)
            return order

    def disconnect(self, reason: int = NETWORK_READ_FAILED) -> None:
        """The line is cut; the API connects again by itself when the front is up."""
        with self.lock:
            self.up = False
            sessions, self.sessions = self.sessions, []
            for session in sessions:
                session.logged_in = False
                session.events.put(("disconnected", reason))

    def reconnect(self) -> None:
        """The front is there again."""
        self.up = True

    def settle(self, prices: dict[str, float] | None = None) -> None:
        """The evening's settlement: another trading day, positions are yesterday's, no order is left."""
        with self.lock:
            for (symbol, direction), held in self.holdings.items():
                held.yesterday += held.today
                held.today = held.frozen_today = held.frozen_yesterday = 0
                price = (prices or {}).get(symbol)
                if price is not None:
                    amount = price * self.instruments[symbol].size * held.yesterday
                    self.cash += (amount - held.cost) * (1 if direction == BUY else -1)
                    held.cost = amount
            self.orders.clear()
            self.trades.clear()
            self.flow.clear()
            self._exchange_ids.clear()
            self.confirmed = False
            self.trading_day = self.calendar.chinese_trading_day(self.clock.now_ns())

    def find(self, orderid: str) -> CtpOrder:
        """An order by vnpy's orderid."""
        front_id, session_id, ref = orderid.split("_")
        return self.orders[int(front_id), int(session_id), ref]

    def error(self, number: int) -> dict:
        """CThostFtdcRspInfoField, its GBK decoded badly where the test wants that."""
        text = ERRORS[number]
        return {"ErrorID": number, "ErrorMsg": garble(text) if self.garbled else text}

    def account(self) -> dict:
        """CThostFtdcTradingAccountField, as far as vnpy reads it."""
        margin = sum(held.cost * self.instruments[symbol].margin for (symbol, _), held in self.holdings.items())
        frozen = sum(
            order.price * order.left * self.instruments[order.symbol].size * self.instruments[order.symbol].margin
            for order in self.orders.values()
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

    # Inside

    def _is_connected(self, session: Session) -> bool:
        return session in self.sessions

    def _list_instruments(self) -> list[Instrument]:
        self.instruments_ready.wait(30)
        return list(self.instruments.values())

    def _state(self, order: CtpOrder) -> SessionState:
        if not self.enforce_hours:
            return SessionState.OPEN
        return self.calendar.status(f"{order.symbol}.{order.exchange}", self.clock.now_ns()).state

    def _check(self, order: CtpOrder) -> int:
        if not self.confirmed:
            return 42
        if order.symbol not in self.instruments:
            return 16
        if order.key in self.orders:
            return 22
        instrument = self.instruments[order.symbol]
        if order.offset == OPEN:
            needed = order.price * order.volume * instrument.size * instrument.margin
            return 31 if needed > self.account()["Available"] else 0
        held = self.holdings[order.symbol, SELL if order.direction == BUY else BUY]
        today, yesterday = held.today - held.frozen_today, held.yesterday - held.frozen_yesterday
        if instrument.exchange not in TODAY_EXCHANGES:
            return 30 if order.volume > today + yesterday else 0
        if order.offset == CLOSE_TODAY:
            return 50 if order.volume > today else 0
        return 51 if order.volume > yesterday else 0

    def _accept(self, order: CtpOrder) -> None:
        order.date, order.time = self._stamp(order.exchange)
        self.orders[order.key] = order
        self._freeze(order, order.volume)
        self._publish_order(order)  # CTP has it
        order.sys_id = str(next(self._exchange_ids[order.exchange])).rjust(12)
        state = self._state(order)
        if not state.takes_orders:
            self.end(order, f"已撤单报单被拒绝{order.exchange}:当前状态禁止此项操作")
            return
        if order.price_type == ANY_PRICE and order.exchange in LIMIT_ONLY_EXCHANGES:
            self.end(order, f"已撤单报单被拒绝{order.exchange}:不被支持的报单类型")
            return
        self._publish_order(order)  # and has sent it on
        order.status, order.message = QUEUEING, "未成交"
        self._publish_order(order)
        if state is SessionState.OPEN:
            self._match(order)

    def _match(self, order: CtpOrder) -> None:
        bid, bid_volume, ask, ask_volume = self.quotes.get(order.symbol, (0.0, 0, 0.0, 0))
        price, shown = (ask, ask_volume) if order.direction == BUY else (bid, bid_volume)
        market = order.price_type == ANY_PRICE
        reaches = order.price >= price if order.direction == BUY else order.price <= price
        volume = min(order.left, shown) if price and (market or reaches) else 0
        if order.volume_condition == COMPLETE_VOLUME and volume < order.left:
            volume = 0
        if volume and self._state(order) is SessionState.OPEN:
            taken = (0, volume) if order.direction == BUY else (volume, 0)
            self.quotes[order.symbol] = (bid, bid_volume - taken[0], ask, ask_volume - taken[1])
            self.fill(order, volume, price)
        if order.open and (order.time_condition == IOC or market):
            self.end(order, "已撤单")

    def _hold(self, order: CtpOrder, trade: CtpTrade) -> None:
        instrument = self.instruments[order.symbol]
        self.commission += 1.0 * trade.volume
        if order.offset == OPEN:
            held = self.holdings[order.symbol, order.direction]
            held.today += trade.volume
            held.cost += trade.price * trade.volume * instrument.size
            return
        held = self.holdings[order.symbol, SELL if order.direction == BUY else BUY]
        average = held.cost / max(held.today + held.yesterday, 1)
        self._freeze(order, -trade.volume)
        first = held.today if order.offset == CLOSE_TODAY else 0
        if instrument.exchange not in TODAY_EXCHANGES:
            first = max(0, trade.volume - held.yesterday)
        from_today = min(first, trade.volume)
        held.today -= from_today
        held.yesterday -= trade.volume - from_today
        held.cost -= average * trade.volume
        gain = (trade.price * instrument.size - average) * trade.volume
        self.cash += gain if order.direction == SELL else -gain

    def _freeze(self, order: CtpOrder, volume: int) -> None:
        if order.offset == OPEN:
            return
        held = self.holdings[order.symbol, SELL if order.direction == BUY else BUY]
        if order.offset == CLOSE_TODAY:
            held.frozen_today += volume
        else:
            held.frozen_yesterday += volume

    def _publish_order(self, order: CtpOrder) -> None:
        self._publish("order", replace(order))

    def _publish(self, kind: str, item: object) -> None:
        self.flow.append((kind, item))
        if kind not in self.lost:
            for session in self.sessions:
                if session.logged_in:
                    session.events.put((kind, item))

    def _answer(self, session: Session, kind: str, item: object) -> None:
        if "answer" not in self.lost:
            session.events.put((kind, item))

    def _local(self) -> datetime:
        return self.clock.now().astimezone(SHANGHAI)

    def _stamp(self, exchange: str) -> tuple[str, str]:
        """Date and time of an order or trade. DCE writes the trading day, also at night; others the calendar's day."""
        local = self._local()
        date = str(self.trading_day) if exchange == "DCE" and local.hour >= 20 else local.strftime("%Y%m%d")
        return date, local.strftime("%H:%M:%S")


def garble(text: str) -> str:
    """GBK that somebody took for UTF-8."""
    return text.encode("gbk").decode("utf-8", "surrogateescape")


def at(text: str) -> datetime:
    """A time in Shanghai: `at("2026-11-26 20:45")`."""
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def parse_time(date: str, time: str) -> datetime:
    """CTP's date and time in Shanghai."""
    return datetime.strptime(f"{date} {time}", "%Y%m%d %H:%M:%S").replace(tzinfo=SHANGHAI)
