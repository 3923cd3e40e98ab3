"""Another user's ids, straight at the services, in every RPC that takes one. Through the edge: `tests/e2e/`."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.json_format import MessageToDict, ParseDict

from services.kernel.policy import MethodPolicy
from tests.contract.policies import POLICIES
from tests.running import PASSWORD, Client, Running, until

pytestmark = pytest.mark.slow
SYMBOL = "rb2701.SHFE"
ORDER = {"symbol": SYMBOL, "side": "SIDE_BUY", "type": "ORDER_TYPE_LIMIT", "quantity": "1", "price": "3000"}
# By field: a value that the contract takes. What is another's comes on top.
VALUES: dict[str, Any] = {
    **ORDER,
    "client_order_id": "theirs",
    "client_order_group_id": "theirs",
    "kind": "ORDER_GROUP_KIND_OCO",
    "user": {"displayName": "hacked"},
    "update_mask": "displayName",
    "old_password": PASSWORD,
    "new_password": "hacked-Horse-10",
    "status": "USER_STATUS_SUSPENDED",
    "role": "guest",
    "limits": {"maxOpenOrders": 0},
    "state": "TRADING_STATE_HALTED",
    "reason": "hacked",
    "class_name": "MovingAverageStrategy",
    "display_name": "hacked",
    "add_symbols": [SYMBOL],
    "gateway_name": "SIM",
    "external_order_id": str(uuid4()),
}


def owned(alice: Client) -> dict[str, str]:
    """Ids of alice's by the field that takes them."""
    account_id = alice.get("/api/trading/account").json()["account"]["accountId"]
    tick = until(lambda: alice.get(f"/api/market/ticks/{SYMBOL}").json().get("tick"))
    far = {**ORDER, "price": f"{tick['bidPrices'][0] - 30:g}", "timeInForce": "TIME_IN_FORCE_GTC"}
    order = alice.post("/api/trading/orders", {**far, "clientOrderId": "theirs"}).json()["order"]
    legs = [{**far, "clientOrderId": uuid4().hex} for _ in range(2)]
    group = {"clientOrderGroupId": "theirs", "kind": "ORDER_GROUP_KIND_OCO", "orders": legs}
    made = alice.post("/api/trading/orderGroups", group).json()["orderGroup"]
    key = alice.post("/api/users/apiKeys", {"displayName": "k", "scopes": ["trading:read"]}).json()["apiKey"]
    until(lambda: alice.get("/api/strategies/classes").json()["classes"], timeout_s=60)
    strategy = alice.post("/api/strategies", {"className": "MovingAverageStrategy", "symbol": SYMBOL}).json()[
        "strategy"
    ]
    return {
        "user_id": alice.user_id,
        "account_id": account_id,
        "order_id": order["orderId"],
        "order_group_id": made["orderGroupId"],
        "session_id": alice.tokens["sessionId"],
        "api_key_id": key["apiKeyId"],
        "strategy_id": strategy["strategyId"],
        "backtest_id": str(uuid4()),
        "optimization_id": str(uuid4()),
        "stream_id": str(uuid4()),
    }


@pytest.fixture(scope="module")
def up() -> Iterator[Running]:
    with Running("--feed", "sim:7", env={"REDFIRE_AUTH__STEP_UP_S": "86400"}) as running:
        yield running


def call(running: Running, policy: MethodPolicy, client: Client, ids: dict[str, str]) -> tuple[str, Any]:
    """The outcome of an RPC with these ids in all fields that take them: the code's name, and what was answered."""
    service, _, method = policy.full_name[1:].partition("/")
    described = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(method)
    request_class, response_class = map(message_factory.GetMessageClass, (described.input_type, described.output_type))
    fields = {field.name for field in described.input_type.fields}
    values = {name: value for name, value in {**VALUES, **ids}.items() if name in fields}
    if policy.name == "UpdateStrategy":
        values = {"strategy_id": ids["strategy_id"], "display_name": "hacked"}
    if "limits" not in fields and "state" not in fields and {"account_id", "user_id"} <= fields:
        del values["user_id"]
    if policy.service == "risk" and "user_id" in values:
        del values["user_id"]
    if "orders" in fields:
        values["orders"] = [{**ORDER, "clientOrderId": uuid4().hex} for _ in range(2)]
    request = ParseDict(values, request_class(), ignore_unknown_fields=True)
    with closing(grpc.insecure_channel(running.addresses["services"][policy.service])) as channel:
        kind = channel.unary_stream if policy.streams else channel.unary_unary
        made = kind(policy.full_name, request_class.SerializeToString, response_class.FromString)
        try:
            answer = made(request, metadata=(("authorization", f"Bearer {client.token}"),), timeout=20)
            return "OK", MessageToDict(next(answer) if policy.streams else answer)
        except grpc.RpcError as error:
            return error.code().name, error.details()


@pytest.mark.timeout(300)
def test_nothing_of_anothers_is_found_or_changed(up: Running) -> None:
    alice, mallory = up.register("alice" + uuid4().hex[:8]), up.register("mallory" + uuid4().hex[:8])
    ids = owned(alice)

    def everything() -> list[Any]:
        paths = [f"/api/users/{name}" for name in ("me", "apiKeys")] + ["/api/strategies", "/api/risk/limits"]
        paths += ["/api/risk/state", "/api/trading/orders", "/api/trading/accounts"]
        return [alice.get(path).json() for path in paths] + [len(alice.get("/api/users/sessions").json()["sessions"])]

    def takes_ids(policy: MethodPolicy) -> bool:
        service, _, method = policy.full_name[1:].partition("/")
        fields = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(method).input_type.fields
        return bool({field.name for field in fields} & {*ids, "client_order_id"})

    until(lambda: len(alice.get("/api/trading/orders", openOnly=True).json()["orders"]) == 3)
    before, outcomes = everything(), {}
    for policy in POLICIES:
        if not policy.internal and takes_ids(policy):
            outcomes[policy.name] = call(up, policy, mallory, ids)
    empty = {name for name, (code, answer) in outcomes.items() if code == "OK" and not any(answer.values())}
    refused = {name: code for name, (code, _) in outcomes.items() if code in ("NOT_FOUND", "PERMISSION_DENIED")}
    wrong = {name: outcome for name, outcome in outcomes.items() if name not in empty | refused.keys()}
    assert list(refused.values()).count("NOT_FOUND") > 25
    assert wrong == {}
    assert everything() == before
