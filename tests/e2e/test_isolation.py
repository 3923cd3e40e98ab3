"""Two users who try every RPC with each other's ids: another user's is NOT_FOUND, and nothing of theirs changes."""

import json
from uuid import uuid4

import pytest
from google.protobuf import descriptor_pool

from tests.contract.policies import POLICIES
from tests.e2e.jobs import jobs_of
from tests.running import Client, reason, until

# What names somebody's property in a request.
OWNED = {
    "order_id",
    "account_id",
    "session_id",
    "api_key_id",
    "strategy_id",
    "stream_id",
    "user_id",
    "client_order_id",
    "order_group_id",
    "client_order_group_id",
    "backtest_id",
    "optimization_id",
}
SYMBOL = "rb2701.SHFE"


def owned_fields(policy) -> set[str]:
    service, _, method = policy.full_name[1:].partition("/")
    request = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(method).input_type
    return {field.name for field in request.fields if field.name in OWNED}


class Alice:
    """A user with something of everything."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.account_id = client.get("/api/trading/account").json()["account"]["accountId"]
        self.key = f"mine-{uuid4().hex}"
        tick = until(lambda: client.get(f"/api/market/ticks/{SYMBOL}").json().get("tick"))
        self.price = f"{tick['bidPrices'][0] - 30:g}"
        order = client.order(SYMBOL, self.key, kind="LIMIT", price=self.price, timeInForce="TIME_IN_FORCE_GTC")
        assert order.status_code == 200, order.text
        self.order_id = order.json()["order"]["orderId"]
        client.order(SYMBOL, f"filled-{uuid4().hex}")
        bid = {"symbol": SYMBOL, "side": "SIDE_BUY", "type": "ORDER_TYPE_LIMIT", "quantity": "1", "price": self.price}
        group = client.post(
            "/api/trading/orderGroups",
            {
                "clientOrderGroupId": uuid4().hex,
                "kind": "ORDER_GROUP_KIND_OCO",
                "orders": [{**bid, "clientOrderId": uuid4().hex} for _ in range(2)],
            },
        )
        assert group.status_code == 200, group.text
        self.order_group_id = group.json()["orderGroup"]["orderGroupId"]
        self.session_id = client.tokens["sessionId"]
        key = client.post("/api/users/apiKeys", {"displayName": "mine", "scopes": ["trading:read"]})
        assert key.status_code == 200, key.text
        self.api_key_id = key.json()["apiKey"]["apiKeyId"]
        classes = until(lambda: client.get("/api/strategies/classes").json()["classes"], timeout_s=30)
        assert any(c["name"] == "MovingAverageStrategy" for c in classes)
        made = client.post("/api/strategies", {"className": "MovingAverageStrategy", "symbol": SYMBOL})
        assert made.status_code == 200, made.text
        self.strategy_id = made.json()["strategy"]["strategyId"]
        self.backtest_id, self.optimization_id = jobs_of(client)
        until(lambda: client.get("/api/trading/positions").json()["positions"])

    def everything(self) -> str:
        """All that is alice's and does not move by itself."""
        get = self.client.get
        return json.dumps(
            [
                get("/api/users/me").json(),
                get(f"/api/trading/orders/{self.order_id}").json(),
                get("/api/trading/orders").json(),
                get("/api/trading/trades").json(),
                get("/api/trading/ledger").json(),
                [s["sessionId"] for s in get("/api/users/sessions").json()["sessions"]],
                get("/api/users/apiKeys").json(),
                get("/api/strategies").json(),
                get("/api/strategies/backtests").json(),
                get("/api/strategies/optimizations").json(),
                get("/api/risk/limits").json(),
                get("/api/risk/state").json(),
            ]
        )


@pytest.fixture(scope="module")
def alice(up) -> Alice:
    return Alice(up.register("alice" + uuid4().hex[:8]))


@pytest.fixture(scope="module")
def mallory(up) -> Client:
    return up.register("mallory" + uuid4().hex[:8])


def attempts(alice: Alice, mallory: Client) -> dict[str, list]:
    """Requests by RPC that mallory tries with alice's ids."""
    a, m = alice, mallory
    account, order, strategy = f"accountId={a.account_id}", f"/api/trading/orders/{a.order_id}", f"/api/strategies/{a.strategy_id}"  # fmt: skip  # noqa: E501
    backtest = f"/api/strategies/backtests/{a.backtest_id}"
    search = f"/api/strategies/optimizations/{a.optimization_id}"
    new = {"clientOrderId": uuid4().hex, "symbol": SYMBOL, "side": "SIDE_BUY", "type": "ORDER_TYPE_MARKET", "quantity": "1"}  # fmt: skip  # noqa: E501
    return {
        "GetUser": [m.get(f"/api/users/{a.client.user_id}")],
        "UpdateUser": [m.patch(f"/api/users/{a.client.user_id}", {"user": {"displayName": "hacked"}})],
        "ChangePassword": [
            m.post(
                f"/api/users/{a.client.user_id}:changePassword",
                {"oldPassword": "correct-Horse-9", "newPassword": "mine-now-9"},
            )
        ],
        "SetUserStatus": [m.put(f"/api/users/{a.client.user_id}/status", {"status": "USER_STATUS_SUSPENDED"})],
        "SetUserRole": [
            m.put(f"/api/users/{a.client.user_id}/role", {"role": "guest"}),
            m.put(f"/api/users/{m.user_id}/role", {"role": "admin"}),
        ],
        "RevokeSession": [m.delete(f"/api/users/sessions/{a.session_id}")],
        "RevokeApiKey": [m.delete(f"/api/users/apiKeys/{a.api_key_id}")],
        "UpdateSubscription": [m.post(f"/api/market/streams/{uuid4()}:update", {"addSymbols": [SYMBOL]})],
        "CreateOrder": [m.post("/api/trading/orders", {**new, "accountId": a.account_id})],
        "PreviewOrder": [m.post("/api/trading/orders:preview", {**new, "accountId": a.account_id})],
        # The query overrides the path: ownership is checked on the message, so this changes nothing.
        "GetOrder": [m.get(order), m.get(f"/api/trading/orders/{uuid4()}", orderId=a.order_id)],
        "LookupOrder": [
            m.get("/api/trading/orders:lookup", clientOrderId=a.key),
            m.get("/api/trading/orders:lookup", clientOrderId=a.key, accountId=a.account_id),
        ],
        "ListOrders": [m.get(f"/api/trading/orders?{account}")],
        "ReplaceOrder": [m.patch(order, {"quantity": "2"})],
        "CancelOrder": [m.post(f"{order}:cancel")],
        "CancelAllOrders": [m.post("/api/trading/orders:cancelAll", {"accountId": a.account_id})],
        "CreateOrderGroup": [
            m.post(
                "/api/trading/orderGroups",
                {
                    "clientOrderGroupId": uuid4().hex,
                    "kind": "ORDER_GROUP_KIND_OCO",
                    "accountId": a.account_id,
                    "orders": [
                        {**new, "type": "ORDER_TYPE_LIMIT", "price": a.price, "clientOrderId": uuid4().hex}
                        for _ in range(2)
                    ],
                },
            )
        ],
        "PreviewOrderGroup": [
            m.post(
                "/api/trading/orderGroups:preview",
                {
                    "clientOrderGroupId": uuid4().hex,
                    "kind": "ORDER_GROUP_KIND_OCO",
                    "accountId": a.account_id,
                    "orders": [
                        {**new, "type": "ORDER_TYPE_LIMIT", "price": a.price, "clientOrderId": uuid4().hex}
                        for _ in range(2)
                    ],
                },
            )
        ],
        "GetOrderGroup": [m.get(f"/api/trading/orderGroups/{a.order_group_id}")],
        "CancelOrderGroup": [m.post(f"/api/trading/orderGroups/{a.order_group_id}:cancel", {})],
        "StreamOrders": [m.get(f"/api/trading/orders:stream?{account}")],
        "GetAccount": [m.get(f"/api/trading/account?{account}")],
        "ListPositions": [m.get(f"/api/trading/positions?{account}")],
        "ClosePosition": [
            m.post(f"/api/trading/positions/{SYMBOL}:close", {"clientOrderId": uuid4().hex, "accountId": a.account_id})
        ],
        "ListTrades": [
            m.get(f"/api/trading/trades?{account}"),
            m.get("/api/trading/trades", orderId=a.order_id),
        ],
        "ListLedgerEntries": [m.get(f"/api/trading/ledger?{account}")],
        "GetSnapshot": [m.get(f"/api/trading/snapshot?{account}")],
        "GetLimits": [m.get(f"/api/risk/limits?{account}")],
        "UpdateLimits": [m.put("/api/risk/limits", {"accountId": a.account_id, "limits": {"maxOpenOrders": 0}})],
        "GetExposure": [m.get(f"/api/risk/exposure?{account}")],
        "GetTradingState": [m.get(f"/api/risk/state?{account}")],
        "SetTradingState": [
            m.put(
                "/api/risk/state",
                {"accountId": a.account_id, "state": "TRADING_STATE_HALTED", "reason": "because I can"},
            )
        ],
        "ListRiskEvents": [m.get(f"/api/risk/events?{account}")],
        "StreamRiskEvents": [m.get(f"/api/risk/events:stream?{account}")],
        "CreateStrategy": [
            m.post(
                "/api/strategies",
                {"className": "MovingAverageStrategy", "symbol": SYMBOL, "accountId": a.account_id},
            )
        ],
        "AdoptExternalOrder": [m.post(f"/api/trading/externalOrders/{uuid4()}:adopt", {"accountId": a.account_id})],
        "ClosePositionDifference": [m.post("/api/trading/positionDifferences:close", {"accountId": a.account_id})],
        "ResolveUncertainOrder": [m.post(f"/api/trading/uncertainOrders/{a.order_id}:resolve", {})],
        "GetStrategy": [m.get(strategy)],
        "UpdateStrategy": [m.patch(strategy, {"displayName": "hacked"})],
        "DeleteStrategy": [m.delete(strategy)],
        "StartStrategy": [m.post(f"{strategy}:start")],
        "StopStrategy": [m.post(f"{strategy}:stop")],
        "GetPerformance": [m.get(f"{strategy}/performance")],
        "ListStrategyLogs": [m.get(f"{strategy}/logs")],
        "StreamStrategyEvents": [m.get(f"{strategy}/events:stream")],
        "GetBacktest": [m.get(backtest), m.get(f"/api/strategies/backtests/{uuid4()}", backtestId=a.backtest_id)],
        "DeleteBacktest": [m.delete(backtest)],
        "CancelBacktest": [m.post(f"{backtest}:cancel")],
        "WatchBacktest": [m.get(f"{backtest}:watch")],
        "ListBacktestTrades": [m.get(f"{backtest}/trades")],
        "ListBacktestDays": [m.get(f"{backtest}/days")],
        "GetBacktestReport": [m.get(f"{backtest}/report")],
        "GetOptimization": [m.get(search), m.get(f"/api/strategies/optimizations/{a.backtest_id}")],
        "DeleteOptimization": [m.delete(search)],
        "CancelOptimization": [m.post(f"{search}:cancel")],
        "WatchOptimization": [m.get(f"{search}:watch")],
        "ListOptimizationPoints": [m.get(f"{search}/points")],
        "GetOptimizationReport": [m.get(f"{search}/report")],
    }


@pytest.mark.timeout(120)
def test_mallory_gets_and_changes_nothing_of_alices(alice, mallory):
    until(lambda: alice.client.get("/api/trading/orders", openOnly=True).json()["orders"])
    before = alice.everything()
    tried = attempts(alice, mallory)
    for rpc, answers in tried.items():
        for answer in answers:
            if answer.status_code == 200:
                # A list with a filter of somebody else's may answer, but empty.
                body = answer.json()
                assert all(not value for value in body.values()), (rpc, body)
                continue
            if answer.status_code == 400 and "is given by the path already" in answer.text:
                continue
            assert answer.status_code in (401, 403, 404), (rpc, answer.status_code, answer.text)
            assert answer.status_code != 403 or reason(answer) == "PERMISSION_DENIED", (rpc, answer.text)
            assert answer.status_code != 401 or rpc == "ChangePassword", (rpc, answer.text)
    assert alice.everything() == before


def test_every_rpc_that_takes_an_id_is_among_the_attempts(alice, mallory):
    takes_ids = {p.name for p in POLICIES if not p.internal and owned_fields(p)}
    # Names of one's own choice, not somebody's property.
    takes_ids -= {"ListStrategies"}
    assert takes_ids <= set(attempts(alice, mallory)), takes_ids


def test_lists_show_only_ones_own(alice, mallory):
    for path, noun in (
        ("/api/trading/orders", "orders"),
        ("/api/trading/trades", "trades"),
        ("/api/trading/positions", "positions"),
        ("/api/strategies", "strategies"),
        ("/api/strategies/backtests", "backtests"),
        ("/api/strategies/optimizations", "optimizations"),
        ("/api/users/apiKeys", "apiKeys"),
    ):
        assert mallory.get(path).json()[noun] == [], path
    accounts = {e["accountId"] for e in mallory.get("/api/trading/ledger").json()["entries"]}
    assert accounts == {mallory.get("/api/trading/account").json()["account"]["accountId"]}


def test_somebody_elses_tick_stream_cannot_be_changed(alice, mallory, up):
    stream = alice.client.lines("/api/market/ticks:stream", symbols=SYMBOL)
    stream_id = next(m["started"]["streamId"] for m in stream if m.get("started"))
    answer = mallory.post(f"/api/market/streams/{stream_id}:update", {"removeSymbols": [SYMBOL]})
    assert (answer.status_code, reason(answer)) == (404, "STREAM_NOT_FOUND")
    own = alice.client.running.client(alice.client.token)
    assert own.post(f"/api/market/streams/{stream_id}:update", {"addSymbols": ["cu2701.SHFE"]}).status_code == 200
    stream.close()
