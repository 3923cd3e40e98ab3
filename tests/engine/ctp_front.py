"""A broker's CTP front with its exchanges, scripted: what a trader API of CTP answers, without the API.

It outlives the gateways that log in to it. Its time is a clock's, its trading days and sessions the calendar's. Orders
are matched against quotes that the test sets. All that the front sends an investor of orders and trades goes into
the private flow of the trading day, which a session that subscribed with RESTART gets from its beginning at each login.
"""

import queue
import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count

from services.kernel.clock import Clock
from services.quant.calendar import Calendar, SessionState
from tests.engine.ctp_books import Books
from tests.engine.ctp_fields import (
    ALL_TRADED,
    ANY_PRICE,
    BUY,
    CANCELED,
    COMPLETE_VOLUME,
    ERRORS,
    IOC,
    NETWORK_READ_FAILED,
    PART_TRADED,
    QUEUEING,
    RB,
    SC,
    SHANGHAI,
    CtpOrder,
    CtpTrade,
    Instrument,
    M,
    garble,
)

LIMIT_ONLY_EXCHANGES = ("SHFE", "INE", "CFFEX")  # they take no market orders


@dataclass
class Session:
    """A connection. Its events are taken on its own thread, as the API calls its callbacks."""

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
        self.books = Books(self.instruments, cash)
        self.orders: dict[tuple[int, int, str], CtpOrder] = {}
        self.trades: list[CtpTrade] = []
        self.history: list[CtpTrade] = []
        self.flow: list[tuple[str, object]] = []
        self.quotes: dict[str, tuple[float, int, float, int]] = {}
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
            answer = {
                "account": self.account,
                "positions": self.books.positions,
                "instruments": self._list_instruments,
            }[kind]
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
            self.books.last[symbol] = bid
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
            self.books.hold(order, trade)
            self._publish_order(order)
            self.trades.append(trade)
            self.history.append(trade)
            self._publish("trade", trade)
            return trade

    def end(self, order: CtpOrder, message: str) -> None:
        """An order is cancelled, by any client."""
        with self.lock:
            self.books.freeze(order, -order.left)
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
            self.books.settle(prices or {})
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
        return self.books.account(self.orders.values())

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
        return self.books.refusal(order, self.orders.values())

    def _accept(self, order: CtpOrder) -> None:
        order.date, order.time = self._stamp(order.exchange)
        self.orders[order.key] = order
        self.books.freeze(order, order.volume)
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
