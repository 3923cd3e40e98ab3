"""Through the edge: a trader who was halted opens another account, and orders in the name of a strategy."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.running import Client, Running, reason, until

pytestmark = pytest.mark.slow
SYMBOL = "rb2701.SHFE"


@pytest.fixture(scope="module")
def up() -> Iterator[Running]:
    with Running("--feed", "sim:7") as running:
        yield running


def opened(client: Client) -> str:
    return str(client.post("/api/trading/accounts", {"displayName": "another"}).json()["account"]["accountId"])


def ordered(client: Client, account_id: str, **more: str) -> httpx.Response:
    order = {"symbol": SYMBOL, "side": "SIDE_BUY", "type": "ORDER_TYPE_MARKET", "quantity": "1"}
    return client.post("/api/trading/orders", {"clientOrderId": uuid4().hex, "accountId": account_id, **order, **more})


def is_halted(client: Client, account_id: str) -> bool:
    return reason(ordered(client, account_id)) == "TRADING_HALTED"


@pytest.mark.timeout(300)
def test_a_halted_trader_trades_with_no_other_account(up: Running):
    admin, mallory, bob = up.admin(), up.register("m" + uuid4().hex[:8]), up.register("b" + uuid4().hex[:8])
    first = mallory.get("/api/trading/account").json()["account"]["accountId"]
    before = opened(mallory)
    until(lambda: ordered(mallory, before).status_code == 200, timeout_s=60)
    halt = {"state": "TRADING_STATE_HALTED", "reason": "manipulation"}
    # Of one account: also those that are opened after it.
    until(lambda: admin.put("/api/risk/state", {**halt, "accountId": first}).status_code == 200, timeout_s=60)
    after = opened(mallory)
    until(lambda: is_halted(mallory, first) and is_halted(mallory, after), timeout_s=60)
    assert ordered(mallory, before).status_code == 200
    # Of the trader: all.
    refused = mallory.put("/api/risk/state", {**halt, "userId": bob.user_id})
    assert (refused.status_code, reason(refused)) == (403, "PERMISSION_DENIED")
    until(lambda: admin.put("/api/risk/state", {**halt, "userId": mallory.user_id}).status_code == 200, timeout_s=60)
    for account_id in (first, before, after, opened(mallory)):
        until(lambda account_id=account_id: is_halted(mallory, account_id), timeout_s=60)
        free = {"state": "TRADING_STATE_ACTIVE", "reason": "please", "accountId": account_id}
        answer = mallory.put("/api/risk/state", free)
        assert answer.status_code == 403 or answer.json()["state"] == "TRADING_STATE_HALTED"
        assert is_halted(mallory, account_id)
    assert ordered(bob, "").status_code == 200


def test_no_order_is_given_in_the_name_of_a_strategy(up: Running):
    mallory = up.register("m" + uuid4().hex[:8])
    strategy = {"className": "MovingAverageStrategy", "symbol": SYMBOL, "displayName": "mine"}
    own = mallory.post("/api/strategies", strategy).json()["strategy"]["strategyId"]
    for strategy_id in (own, own.upper(), str(uuid4())):
        answer = ordered(mallory, "", strategyId=strategy_id)
        assert (answer.status_code, reason(answer)) == (403, "PERMISSION_DENIED")
    assert mallory.get("/api/trading/orders").json()["orders"] == []
