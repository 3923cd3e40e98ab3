"""Nonsense on every route and RPC of a running platform: refused in our JSON, never a 5xx, and nothing has changed."""

import base64
import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest

from services.kernel.policy import descriptor_set
from services.mesh.contract import PATH_FIELD, Contract
from tests.contract.policies import POLICIES
from tests.e2e.jobs import BACKTEST, jobs_of
from tests.edge.answers import error_of, reason_of
from tests.edge.requests import bad_requests
from tests.running import Client, Running, until

SYMBOL = "rb2701.SHFE"
CONTRACT = Contract(descriptor_set())
# These take an empty message, and end what the others need.
DOES_MUCH = {"Logout", "CancelAllOrders"}
NO_DECIMALS: list[Any] = [
    "-1.5.", "0.123456789", "1.000000001", "1234567890123456789", "9" * 40, "1e3", "1E3", "+1", " 1", "1 ", "1\n",
    "\n1", "1_000", "1,000", "0x10", "NaN", "Infinity", ".5", "1.", "١", "１", "1" * 5000, "1\0", True, {}, [], "--1",
]  # fmt: skip
NOT_POSITIVE = ["-1", "0", "-0", "0.00000000"]
TIMES = ["9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2262-04-12T00:00:00Z"]
CURSORS: list[list[Any]] = [
    [], [1], [1, 2, 3], ["a", "b"], [{}], [None, None], [1e400, 1], [10**40, 10**40], [[1], [2]], ["\0", "\0"], [True],
]  # fmt: skip


class Fuzzer:
    """A caller who may do everything and owns something of everything."""

    def __init__(self, up: Running, admin: Client) -> None:
        self.up = up
        name = "f" + uuid4().hex[:12]
        self.client = up.register(name)
        assert admin.put(f"/api/users/{self.client.user_id}/role", {"role": "admin"}).status_code == 200
        self.client.login(name, "correct-Horse-9")
        tick = until(lambda: self.client.get(f"/api/market/ticks/{SYMBOL}").json().get("tick"))
        self.price = f"{tick['bidPrices'][0] - 30:g}"
        self.order_id = self.ok(self.client.post("/api/trading/orders", self.order()))["order"]["orderId"]
        for _ in range(2):
            self.ok(self.client.order(SYMBOL, uuid4().hex))
        until(lambda: self.client.get("/api/trading/positions").json()["positions"])
        until(lambda: len(self.client.get("/api/trading/trades").json()["trades"]) == 2)
        self.account_id = self.ok(self.client.get("/api/trading/account"))["account"]["accountId"]
        strategy = {"className": "MovingAverageStrategy", "symbol": SYMBOL}
        self.strategy_id = self.ok(self.client.post("/api/strategies", strategy))["strategy"]["strategyId"]
        self.backtest_id, self.optimization_id = jobs_of(self.client)
        for value in (1, 2):
            self.ok(self.client.put("/api/config/fuzz/trading/key", {"value": value}))
            self.ok(self.client.put("/api/config/fuzz/trading/other", {"value": value}))
        self._local = threading.local()

    @staticmethod
    def ok(answer: httpx.Response) -> dict[str, Any]:
        assert answer.status_code == 200, answer.text
        return answer.json()

    def order(self, **more: Any) -> dict[str, Any]:
        """A limit order that rests."""
        return {
            "clientOrderId": uuid4().hex, "symbol": SYMBOL, "side": "SIDE_BUY", "type": "ORDER_TYPE_LIMIT",
            "price": self.price, "quantity": "1", "timeInForce": "TIME_IN_FORCE_GTC", **more,
        }  # fmt: skip

    def send(self, verb: str, path: str, body: bytes | None = None, **headers: str) -> httpx.Response:
        """Send a request by a connection of the thread's own; of a stream only the head is read."""
        if not hasattr(self._local, "http"):
            own = {"authorization": f"Bearer {self.client.token}", "content-type": "application/json"}
            self._local.http = httpx.Client(base_url=self.up.url, timeout=20, headers=own)
        with self._local.http.stream(verb.upper(), path, content=body, headers=headers) as answer:
            if answer.status_code != 200 or not (":stream" in path or ":watch" in path):
                answer.read()
            return answer

    def world(self) -> list[Any]:
        """All that a request could change and that does not move by itself."""
        get = self.client.get
        orders = get("/api/trading/orders").json()["orders"]
        return [
            [(o["orderId"], o["status"], o["quantity"], o["price"]) for o in orders],
            [t["tradeId"] for t in get("/api/trading/trades").json()["trades"]],
            [(p["symbol"], p["quantity"]) for p in get("/api/trading/positions").json()["positions"]],
            get("/api/trading/ledger", accountId=self.account_id).json(),
            get("/api/users/me").json(),
            get("/api/users/apiKeys").json(),
            get("/api/strategies").json()["strategies"],
            get("/api/strategies/backtests").json(),
            get("/api/strategies/optimizations").json(),
            get("/api/risk/limits").json(),
            get("/api/risk/state").json(),
            get("/api/config/fuzz/trading").json(),
            get("/api/engine/gateways").json(),
        ]


@pytest.fixture(scope="module")
def fuzzer(up: Running, admin: Client) -> Iterator[Fuzzer]:
    made = Fuzzer(up, admin)
    before, log = made.world(), len(up.log())
    yield made
    changed = [(was, now) for was, now in zip(before, made.world(), strict=True) if was != now]
    assert changed == []
    failures = [line for line in up.log()[log:].splitlines() if '"level": "ERROR"' in line]
    assert failures == []


def complaints(answers: list[tuple[str, bool, httpx.Response]]) -> list[str]:
    """Complaints about answers: (what was sent, whether it must be refused, the answer)."""
    wrong = []
    for name, refused, answer in answers:
        if answer.status_code >= 500 or (refused and answer.status_code < 400):
            wrong.append(
                f"{name}: {answer.status_code} {'' if answer.is_stream_consumed is False else answer.text[:120]}"
            )
        elif answer.status_code >= 400:
            error_of(answer)
    return wrong


@pytest.mark.timeout(120)
def test_every_route_refuses_what_makes_no_sense(fuzzer):
    # An empty request is a good one there, and does what it says.
    does_much = ("/api/users/logout", "/api/trading/orders:cancelAll")
    requests = [r for r in bad_requests(CONTRACT) if r.refused or not r.path.startswith(does_much)]
    assert len(requests) > 1500
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda r: (r.name, r.refused, fuzzer.send(r.verb, r.path, r.body)), requests))
    assert complaints(answers) == []


def test_ten_megabytes_are_too_much_for_every_route(fuzzer):
    body = json.dumps({"symbol": "x" * 10_000_000}).encode()
    for rpc in CONTRACT.edge_rpcs:
        for route in rpc.routes:
            if route.body:
                answer = fuzzer.send(route.verb, PATH_FIELD.sub("0", route.path), body)
                assert (answer.status_code, reason_of(answer)) == (413, "INVALID_FIELD"), route.path


def test_decimals_that_are_none_are_refused_wherever_one_is_taken(fuzzer):
    close = {"clientOrderId": uuid4().hex}
    limits = ("maxOrderQuantity", "maxOrderNotional", "maxPositionQuantity", "maxGrossNotional", "maxDailyLoss")
    stop = {"type": "ORDER_TYPE_STOP_LIMIT", "stopPrice": fuzzer.price}
    trailing = {
        "type": "ORDER_TYPE_TRAILING_STOP",
        "trailingOffset": "5",
        "price": "",
        "timeInForce": "TIME_IN_FORCE_DAY",
    }
    orders: list[tuple[str, dict[str, Any]]] = [
        ("quantity", {}),
        ("price", {}),
        ("stopPrice", stop),
        ("trailingOffset", trailing),
    ]
    sent: list[tuple[str, str, Any]] = []
    for value in [*NO_DECIMALS, *NOT_POSITIVE]:
        for field, more in orders:
            sent.append(("post", "/api/trading/orders", fuzzer.order(**{**more, field: value})))
        sent.append(("patch", f"/api/trading/orders/{fuzzer.order_id}", {"quantity": value}))
        sent.append(("post", f"/api/trading/positions/{SYMBOL}:close", {**close, "quantity": value}))
    for value in [*NO_DECIMALS, "-1"]:
        amounts = ("capital", "commissionRate", "slippage", "contractSize", "priceTick")
        sent += [("post", "/api/strategies/backtests", {**BACKTEST, field: value}) for field in amounts]
    for value in [*NO_DECIMALS, "-1", -1]:
        sent += [("put", "/api/risk/limits", {"limits": {field: value}}) for field in limits]
        sent.append(("post", "/api/trading/orders:preview", fuzzer.order(quantity=value)))
        sent.append(("post", "/api/trading/orders:preview", fuzzer.order(price="1" if value == "-1" else value)))
    answers = [
        (
            f"{verb} {path} {body}"[:200],
            not path.endswith(":preview"),
            fuzzer.send(verb, path, json.dumps(body).encode()),
        )
        for verb, path, body in sent
    ]
    assert complaints(answers) == []


@pytest.mark.parametrize("text", ["\0", "a\0b"])
def test_no_text_holds_nul(fuzzer, text):
    bodies = [
        ("post", "/api/trading/orders", fuzzer.order(strategyId=text)),
        ("post", "/api/trading/accounts", {"displayName": text}),
        ("post", "/api/trading/accounts", {"displayName": "a", "requestId": text}),
        ("post", "/api/strategies", {"className": "MovingAverageStrategy", "symbol": SYMBOL, "displayName": text}),
        ("post", "/api/strategies/backtests", {**BACKTEST, "displayName": text}),
        ("post", "/api/strategies/backtests", {**BACKTEST, "parameters": {text: 1}}),
        ("post", "/api/strategies/backtests", {**BACKTEST, "dataset": text}),
        ("put", "/api/risk/state", {"state": "TRADING_STATE_ACTIVE", "reason": text, "accountId": fuzzer.account_id}),
        ("put", "/api/config/fuzz/trading/nul", {"value": {"a": [text]}}),
        ("put", "/api/config/fuzz/trading/nul", {"value": {text: 1}}),
        ("post", "/api/users/apiKeys", {"displayName": text, "scopes": ["trading:read"]}),
        ("patch", "/api/users/me", {"user": {"displayName": text}}),
    ]
    answers = [
        (f"{verb} {path}", True, fuzzer.send(verb, path, json.dumps(body).encode())) for verb, path, body in bodies
    ]
    assert complaints(answers) == []


def lists(fuzzer: Fuzzer) -> list[str]:
    routes = [
        "/api/trading/orders", "/api/trading/trades", "/api/trading/ledger", "/api/trading/positions",
        "/api/trading/accounts", "/api/users", "/api/users/sessions", "/api/users/apiKeys", "/api/market/instruments",
        f"/api/market/ticks/{SYMBOL}/history", f"/api/market/bars/{SYMBOL}", "/api/strategies",
        "/api/strategies/classes", f"/api/strategies/{fuzzer.strategy_id}/logs", "/api/risk/events",
        "/api/strategies/backtests", f"/api/strategies/backtests/{fuzzer.backtest_id}/trades",
        f"/api/strategies/backtests/{fuzzer.backtest_id}/days", "/api/strategies/optimizations",
        f"/api/strategies/optimizations/{fuzzer.optimization_id}/points",
        "/api/engine/gateways", "/api/config/fuzz/trading", "/api/config/fuzz/trading/key/versions",
        "/api/market/calendar/SHFE", "/api/trading/externalOrders", "/api/trading/externalTrades",
        "/api/trading/positionDifferences", "/api/trading/uncertainOrders",
    ]  # fmt: skip
    takes_pages = [r for r in CONTRACT.edge_rpcs if "page_token" in r.method.input_type.fields_by_name]
    assert len(routes) == len(takes_pages)
    return routes


def test_tokens_of_pages_that_a_client_made_up_are_refused_by_every_list(fuzzer):
    forged, answers = 0, []
    for path in lists(fuzzer):
        first = fuzzer.ok(fuzzer.client.get(path, pageSize=1))
        tokens = ["nonsense", "e30", "[" * 700, "\0"]
        if first["nextPageToken"]:
            query, _ = json.loads(base64.urlsafe_b64decode(first["nextPageToken"] + "=="))
            tokens += [base64.urlsafe_b64encode(json.dumps([query, c]).encode()).decode() for c in CURSORS]
            forged += 1
        answers += [
            (f"{path} {token[:60]}", len(token) == 700, fuzzer.client.get(path, pageSize=1, pageToken=token))
            for token in tokens
        ]
    assert complaints(answers) == []
    assert forged >= 8


def test_times_beyond_what_a_clock_shows_fail_nowhere(fuzzer):
    answers = []
    for path in (*lists(fuzzer), f"/api/market/indicators/{SYMBOL}?names=sma(5)"):
        sign = "&" if "?" in path else "?"
        for field in ("startTime", "endTime"):
            for time in TIMES:
                name = f"{path}{sign}{field}={time}"
                answers.append((name, False, fuzzer.client.http.get(name)))
    for time in TIMES[1:3]:
        body = fuzzer.order(timeInForce="TIME_IN_FORCE_GTD", expireTime=time)
        answers.append((f"GTD {time}", True, fuzzer.client.post("/api/trading/orders", body)))
    assert complaints(answers) == []


ODD_HEADERS = [
    {"traceparent": "00-" + "z" * 32 + "-" + "z" * 16 + "-zz"},
    {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-00"},
    {"tracestate": "=,=;" * 100},
    {"x-request-id": "é" + "x" * 3000},
    {"grpc-timeout": "nonsense"},
    {"grpc-timeout": "99999999999H"},
    {"grpc-timeout": "-1S"},
    {"grpc-encoding": "snappy"},
    {"grpc-status": "x"},
    {"grpc-retry-pushback-ms": "x"},
    {"grpc-previous-rpc-attempts": "x"},
    {"grpc-tags-bin": "%%%"},
    {"Grpc-Trace-Bin": "é"},
    {"x-own-bin": "é"},
    {"content-type": "application/xml"},
    {"content-encoding": "gzip"},
    {"te": "chunked"},
    {"accept": "nonsense/" + "x" * 1000},
    {"user-agent": "é" * 2000},
    {"expect": "nonsense"},
]


@pytest.mark.parametrize("headers", ODD_HEADERS, ids=lambda headers: next(iter(headers)))
def test_odd_headers_harm_nobody(fuzzer, trader, headers):
    """Headers of one caller that gRPC cannot read must not spoil the connection that all callers share."""
    encoded = {key: value.encode("latin-1") for key, value in headers.items()}
    for http in (fuzzer.client.http, httpx.Client(base_url=fuzzer.up.url)):
        get = http.get("/api/users/me", headers=encoded)
        post = http.post("/api/trading/orders:preview", json=fuzzer.order(), headers=encoded)
        assert complaints([(f"{headers}"[:100], False, answer) for answer in (get, post)]) == []
    for _ in range(4):
        assert trader.get("/api/users/me").status_code == 200


@pytest.mark.timeout(60)
def test_bytes_that_are_no_message_are_invalid_by_grpc(fuzzer, up):
    chance = random.Random(7)
    garbage = [
        b"\xff" * 8,
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x0a\x02\xff\xfe",
        b"\x0b" * 200,
        b"\x0a\x01\x00",
        b"\x12\x01\0",
    ]
    garbage += [chance.randbytes(chance.randint(1, 200)) for _ in range(8)]
    metadata = [("authorization", f"Bearer {fuzzer.client.token}")]
    policies = [p for p in POLICIES if not p.internal and p.name not in DOES_MUCH]

    def outcome(channel: grpc.Channel, policy: Any, body: bytes) -> str:
        try:
            if policy.streams:
                call = channel.unary_stream(policy.full_name)(body, metadata=metadata, timeout=1)
                next(iter(call), None)
                call.cancel()
            else:
                channel.unary_unary(policy.full_name)(body, metadata=metadata, timeout=10)
        except grpc.RpcError as failure:
            return failure.code().name
        return "OK"

    with up.channel() as channel, ThreadPoolExecutor(4) as pool:
        sent = [(policy, body) for policy in policies for body in garbage]
        codes = list(pool.map(lambda s: outcome(channel, *s), sent))
    harmless = {
        "OK",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "UNAUTHENTICATED",
        "ALREADY_EXISTS",
        "FAILED_PRECONDITION",
        "RESOURCE_EXHAUSTED",
    }
    wrong = [(p.name, body[:20], c) for (p, body), c in zip(sent, codes, strict=True) if c not in harmless]
    assert [w for w in wrong if not (w[2] == "DEADLINE_EXCEEDED" and "Stream" in w[0])] == []
    assert codes.count("INVALID_ARGUMENT") > len(codes) * 0.8


@pytest.mark.timeout(60)
def test_a_schemas_pattern_cannot_stop_the_platform(fuzzer, admin):
    schema = {"type": "string", "pattern": "^(a+)+$"}
    assert admin.put("/api/config/fuzz/user/slow/schema", {"schema": schema}).status_code == 200
    answer = admin.put("/api/config/fuzz/user/slow", {"value": "a" * 40 + "b"})
    assert (answer.status_code, reason_of(answer)) == (400, "SCHEMA_VIOLATION")
