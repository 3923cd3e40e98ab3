"""A client that trades by chance through the edge, follows its stream, and remembers all that it was record."""

import json
import random
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any

import httpx

from tests.running import PASSWORD, until

SYMBOL = "rb2701.SHFE"
# Answers that leave open what became of a request: it is repeated with the same key.
OPEN = frozenset({500, 502, 503, 504, 429, 408, 499})
NEVER = frozenset({500, 401})
"""Answers that no fault accounts for."""
PAUSE_S, PATIENCE_S = 0.1, 120.0
RETRIED_S, FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 0.05, 1.0
"""The retry policy."""


@dataclass
class ClientRecord:
    """A client's requests and the answers to them."""

    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By client order id: the request of an order, or of the group that it was asked for with."""
    acknowledged: dict[str, str] = field(default_factory=dict)
    """By client order id: the order."""
    refused: dict[str, str] = field(default_factory=dict)
    """By client order id: the reason."""
    unknown: set[str] = field(default_factory=set)
    """Client order ids whose last answer left the outcome open."""
    canceled: set[str] = field(default_factory=set)
    """Orders whose cancel was accepted."""
    trades: dict[str, str] = field(default_factory=dict)
    """By the trade's id: the quantity, as the stream told it."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Answers of the edge by HTTP status; 0 for none."""
    given_up: list[str] = field(default_factory=list)
    """Calls that had no answer by the retry policy, with the last one they had."""
    problems: list[str] = field(default_factory=list)
    """Two answers that do not agree."""


@dataclass(frozen=True)
class Gap:
    """A time without an acknowledgement."""

    begun: float
    ended: float
    text: str
    """The client, and what it asked for meanwhile."""

    @property
    def length_s(self) -> float:
        """Seconds that it lasted."""
        return self.ended - self.begun


class Trader(threading.Thread):
    """Trades until it is ended; while it is paused it asks for nothing."""

    def __init__(self, url: str, name: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.http = httpx.Client(base_url=url, timeout=10)
        self.user, self.chance, self._jitter = name, random.Random(seed), random.Random()
        self._asked_at = 0.0
        self.record = ClientRecord()
        self.acknowledgements: deque[tuple[float, float]] = deque(maxlen=2000)
        """Times at which orders were asked for, and acknowledged; the last ones."""
        self.tries: deque[tuple[float, float, str]] = deque(maxlen=5000)
        """The last tries of calls: when each was asked and answered, and what it was and became."""
        self.follows = threading.Event()
        self._number = 0
        self._bid = Decimal(0)
        self._open: list[str] = []
        self._ended, self._running, self._idle = threading.Event(), threading.Event(), threading.Event()
        self._follower = threading.Thread(target=self._follow, daemon=True)

    def register(self) -> None:
        """Make the user and log in."""
        body = {"username": self.user, "email": f"{self.user}@example.com", "password": PASSWORD}
        until(lambda: self.asked("POST", "/api/users/register", body, 409), PATIENCE_S, 0.5)

        def log_in() -> bool:
            answer = self.asked("POST", "/api/users/login", {"username": self.user, "password": PASSWORD})
            if answer is not None:
                self.http.headers["authorization"] = f"Bearer {answer.json()['accessToken']}"
            return answer is not None

        # Hashing a password may take longer than the call may last, where the machine is busy.
        until(log_in, PATIENCE_S, 0.5)

    def asked(self, method: str, path: str, body: Any = None, *fine: int) -> httpx.Response | None:
        """The answer to what is no part of trading; None where it failed."""
        answer = self._call(method, path, body)
        return answer if answer is not None and answer.status_code in (200, *fine) else None

    def start(self) -> None:
        super().start()
        self._follower.start()

    def acknowledged_since(self, time_: float) -> float | None:
        """Time of the first acknowledgement of an order that was asked for since then; None: none yet."""
        return next((answered for asked, answered in list(self.acknowledgements) if asked >= time_), None)

    def longest_gap(self, since: float, until: float) -> "Gap":
        """The longest time without an acknowledgement, from the last one before `since`; and what filled it.

        A client that is refused, or repeats what is no order, has none, either.
        """
        times = [answered for _, answered in list(self.acknowledgements)]
        first = max((index for index, time_ in enumerate(times) if time_ < since), default=0)
        gaps = [(later - time_, time_, later) for time_, later in pairwise([*times[first:], until])]
        _, begun, ended = max(gaps, default=(0.0, since, since))
        return Gap(begun, ended, f"{self.user}: {self._filled(begun, ended)}")

    def _filled(self, begun: float, ended: float) -> str:
        """The tries of a time, by what they were and became, those first that took most of it."""
        times: Counter[str] = Counter()
        numbers: Counter[str] = Counter()
        for asked, answered, text in list(self.tries):
            if answered > begun and asked < ended:
                times[text] += int(1000 * (min(answered, ended) - max(asked, begun)))
                numbers[text] += 1
        return ", ".join(f"{numbers[text]} × {text} in {time_ / 1000:.2f} s" for text, time_ in times.most_common(8))

    def pause(self) -> None:
        """Ask for nothing more; what was asked is answered when this returns."""
        self._running.clear()
        assert self._idle.wait(2 * RETRIED_S), f"{self.user} waits for an answer"

    def resume(self) -> None:
        self._idle.clear()
        self._running.set()

    def end(self) -> None:
        self._ended.set()
        self._running.set()
        if self.ident is not None:
            self.join(30)

    def run(self) -> None:
        while not self._ended.is_set():
            if not self._running.is_set():
                self._idle.set()
                self._running.wait(0.2)
                continue
            self._idle.clear()
            self._act()
            time.sleep(self.chance.uniform(0, PAUSE_S))

    # Acting

    def _act(self) -> None:
        if not self._bid or self.chance.random() < 0.1:
            self._look()
        if not self._bid:
            return
        share = self.chance.random()
        if share < 0.25:
            self._order(type="ORDER_TYPE_MARKET")
        elif share < 0.55:
            self._order(type="ORDER_TYPE_LIMIT", price=self._price(-30, 3), timeInForce="TIME_IN_FORCE_GTC")
        elif share < 0.62:
            self._stop_order()
        elif share < 0.68:
            self._group()
        elif share < 0.78:
            self._replace()
        elif share < 0.90:
            self._cancel()
        elif share < 0.97:
            self._close()
        elif share < 0.98:
            self._cancel_all()
        elif self.record.unknown:
            self.learn(self.chance.choice(sorted(self.record.unknown)))

    def _look(self) -> None:
        answer = self._call("GET", f"/api/market/ticks/{SYMBOL}")
        if answer is not None and answer.status_code == 200 and answer.json()["tick"].get("bidPrices"):
            self._bid = Decimal(str(answer.json()["tick"]["bidPrices"][0]))

    def _key(self) -> str:
        self._number += 1
        return f"{self.user}-{self._number}"

    def _price(self, low: int, high: int, side: str = "") -> str:
        return str(self._bid + self.chance.randint(low, high) * (-1 if side == "SELL" else 1))

    def _order(self, **values: Any) -> None:
        side = self.chance.choice(["BUY", "SELL"])
        if "price" in values and side == "SELL":
            values["price"] = str(2 * self._bid - Decimal(values["price"]))
        body = {"symbol": SYMBOL, "side": f"SIDE_{side}", "quantity": str(self.chance.randint(1, 3)), **values}
        self._create(self._key(), body)

    def _stop_order(self) -> None:
        side = self.chance.choice(["BUY", "SELL"])
        away = self.chance.randint(1, 8) * (1 if side == "BUY" else -1)
        body = {
            "symbol": SYMBOL, "side": f"SIDE_{side}", "type": "ORDER_TYPE_STOP", "quantity": "1",
            "stopPrice": str(self._bid + away), "timeInForce": "TIME_IN_FORCE_GTC",
        }  # fmt: skip
        self._create(self._key(), body)

    def _create(self, key: str, body: dict[str, Any]) -> None:
        self.record.bodies[key] = body
        answer = self._call("POST", "/api/trading/orders", {**body, "clientOrderId": key})
        if self._note(key, answer, lambda document: {key: document["order"]["orderId"]}):
            self.acknowledgements.append((self._asked_at, time.monotonic()))

    def _group(self) -> None:
        keys, quantity = [self._key() for _ in range(3)], str(self.chance.randint(1, 2))
        common = {"symbol": SYMBOL, "quantity": quantity}
        entry = {**common, "clientOrderId": keys[0], "side": "SIDE_BUY", "type": "ORDER_TYPE_MARKET"}
        profit = {**common, "clientOrderId": keys[1], "side": "SIDE_SELL", "type": "ORDER_TYPE_LIMIT"}
        stop = {**common, "clientOrderId": keys[2], "side": "SIDE_SELL", "type": "ORDER_TYPE_STOP"}
        profit["price"], stop["stopPrice"] = str(self._bid + 6), str(self._bid - 6)
        body = {"clientOrderGroupId": keys[0], "kind": "ORDER_GROUP_KIND_BRACKET", "orders": [entry, profit, stop]}
        for key in keys:
            self.record.bodies[key] = body
        self._create_group(body, keys)

    def _create_group(self, body: dict[str, Any], keys: list[str]) -> None:
        answer = self._call("POST", "/api/trading/orderGroups", body)
        for key in keys:
            self._note(
                key,
                answer,
                lambda document: {o["clientOrderId"]: o["orderId"] for o in document["orderGroup"]["orders"]},
            )

    def learn(self, key: str) -> None:
        """Ask once more for what has no answer: the same key, the same body."""
        body = self.record.bodies[key]
        if "orders" in body:
            self._create_group(body, [order["clientOrderId"] for order in body["orders"]])
        else:
            self._create(key, body)

    def _note(self, key: str, answer: httpx.Response | None, read: Any) -> bool:
        """Note what was told of a key; whether it was acknowledged."""
        record = self.record
        if answer is None or answer.status_code in OPEN:
            if key not in record.acknowledged:
                record.unknown.add(key)
            return False
        record.unknown.discard(key)
        if answer.status_code != 200:
            if key in record.acknowledged:
                record.problems.append(f"{key}: acknowledged, then refused: {answer.text}")
            record.refused[key] = reason_of(answer)
            return False
        order_id = read(answer.json())[key]
        if record.acknowledged.setdefault(key, order_id) != order_id:
            record.problems.append(f"{key}: two orders, {record.acknowledged[key]} and {order_id}")
        self._open.append(order_id)
        return True

    def _some(self) -> str:
        lately = self._open[-12:]
        return self.chance.choice(lately) if lately else ""

    def _replace(self) -> None:
        if order_id := self._some():
            self._call("PATCH", f"/api/trading/orders/{order_id}", {"price": self._price(-30, 3)})

    def _cancel(self) -> None:
        if order_id := self._some():
            answer = self._call("POST", f"/api/trading/orders/{order_id}:cancel", {})
            if answer is not None and answer.status_code == 200:
                self.record.canceled.add(order_id)

    def _cancel_all(self) -> None:
        self._call("POST", "/api/trading/orders:cancelAll", {})

    def _close(self) -> None:
        key = self._key()
        self.record.bodies[key] = {"close": SYMBOL}
        self.record.refused[key] = ""  # repeated with the same key it may close something else: it is only asked once
        self._call(
            "POST",
            f"/api/trading/positions/{SYMBOL}:close",
            {"clientOrderId": key, "side": "POSITION_SIDE_LONG"},
            once=True,
        )

    def _call(self, method: str, path: str, body: Any = None, once: bool = False) -> httpx.Response | None:
        """The answer by the retry policy: what leaves the outcome open is asked again, longer pauses between."""
        end, pause_s = time.monotonic() + RETRIED_S, FIRST_PAUSE_S
        while True:
            answer = self._try(method, path, body)
            if once or (answer is not None and answer.status_code not in OPEN):
                return answer
            if time.monotonic() > end or self._ended.is_set():
                self.record.given_up.append(f"{method} {path}: {'no answer' if answer is None else answer.text}")
                return answer
            time.sleep(pause_s * self._jitter.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _try(self, method: str, path: str, body: Any) -> httpx.Response | None:
        self._asked_at = time.monotonic()
        try:
            answer = self.http.request(method, path, json=body)
        except httpx.HTTPError as failure:
            self.record.statuses[0] += 1
            self._note_try(method, path, type(failure).__name__)
            return None
        self.record.statuses[answer.status_code] += 1
        self._note_try(
            method, path, f"{answer.status_code} {'' if answer.is_success else _refusal_text(answer)}".strip()
        )
        if answer.status_code in NEVER:
            self.record.problems.append(f"{self.user}: {method} {path}: {answer.status_code} {answer.text}")
        return answer

    def _note_try(self, method: str, path: str, outcome: str) -> None:
        kind = path.partition("?")[0].partition("/orders/")
        what = f"{kind[0]}{kind[1]}{kind[2].partition(':')[2]}"
        self.tries.append((self._asked_at, time.monotonic(), f"{method} {what} {outcome}"))

    # Following

    def _follow(self) -> None:
        """Keep what the stream tells of trades, from where it broke."""
        after: int | None = None
        while not self._ended.is_set():
            try:
                # By default a stream begins with what is open now.
                parameters = {} if after is None else {"resumeAfterSequence": str(after)}
                with self.http.stream("GET", "/api/trading/orders:stream", params=parameters, timeout=15) as answer:
                    for line in answer.iter_lines() if answer.status_code == 200 else ():
                        message = json.loads(line).get("result", json.loads(line)) if line.strip() else {}
                        if "trade" in message:
                            self.record.trades[message["trade"]["tradeId"]] = message["trade"]["quantity"]
                        if "gap" in message:
                            self.record.problems.append(f"{self.user}'s stream has a gap: {message['gap']}")
                        if "snapshotComplete" in message:
                            self.follows.set()
                        after = int(message["sequence"]) if int(message.get("sequence", 0)) else after
                        if self._ended.is_set():
                            return
            except (httpx.HTTPError, ValueError):
                pass
            time.sleep(0.2)


def _refusal_text(answer: httpx.Response) -> str:
    """The reason and message of an error, without what differs from call to call."""
    try:
        message = str(answer.json().get("message", ""))
    except ValueError:
        message = answer.text
    return f"{reason_of(answer)} {message[:80]}"


def reason_of(answer: httpx.Response) -> str:
    """The reason of an error's ErrorInfo, or the status."""
    try:
        details = answer.json().get("details", [])
    except ValueError:
        return str(answer.status_code)
    return next((detail["reason"] for detail in details if "reason" in detail), str(answer.status_code))
