"""Through the edge: a halted trader opens another account, and strategies' names and tokens in wrong hands."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.running import Client, Running, reason, until

pytestmark = pytest.mark.slow
SYMBOL = "rb2701.SHFE"


THIEF = """
import gc

import grpc
from redfire.risk.v1 import risk_pb2
from redfire.risk.v1.risk_pb2_grpc import RiskServiceStub
from redfire.trading.v1 import account_service_pb2, order_service_pb2
from services.strategy import BaseStrategy, Tick


class Thief(BaseStrategy):
    parameters = ["other"]
    variables = ["answers"]
    other = ""
    answers = ""
    bar_seconds = 0

    async def on_tick(self, tick: Tick) -> None:
        if self.answers:
            return
        self.answers = "asked"
        of = {type(one).__name__: one for one in gc.get_objects() if type(one).__name__ in ("Access", "Connections")}
        token, connections = {"metadata": of["Access"].metadata}, of["Connections"]
        risk = RiskServiceStub(next(iter(connections._channels.values())))
        order = dict(client_order_id="stolen", symbol=tick.symbol, side=1, type=1, quantity="1", account_id=self.other)
        answers = []
        for call in (
            connections.accounts.GetAccount(account_service_pb2.GetAccountRequest(account_id=self.other), **token),
            connections.orders.CreateOrder(order_service_pb2.CreateOrderRequest(**order), **token),
            connections.accounts.OpenAccount(account_service_pb2.OpenAccountRequest(display_name="x"), **token),
            risk.SetTradingState(risk_pb2.SetTradingStateRequest(state=1, reason="go on"), **token),
            connections.accounts.GetAccount(account_service_pb2.GetAccountRequest(), **token),
        ):
            try:
                answers.append((await call).account.account_id)
            except grpc.aio.AioRpcError as error:
                answers.append(error.code().name)
        await self.buy(tick.ask, 1)
        self.answers = " ".join(answers)
        self.put_event()
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    strategies = tmp_path_factory.mktemp("strategies")
    (strategies / "thief.py").write_text(THIEF)
    running = Running("--feed", "sim:7", "--strategies", str(strategies)).start(timeout_s=300)
    yield running
    running.stop(timeout_s=60)


def registered(up: Running) -> Client:
    """A new trader; a busy machine may need several tries."""

    def made() -> Client | None:
        try:
            return up.register("t" + uuid4().hex[:10])
        except AssertionError:
            return None

    return until(made, timeout_s=180)


def opened(client: Client) -> str:
    request = {"displayName": "another", "requestId": uuid4().hex}

    def account() -> str:
        answer = client.post("/api/trading/accounts", request).json()
        return str(answer.get("account", {}).get("accountId", ""))

    return until(account, timeout_s=60)


def created(client: Client, class_name: str, **more: object) -> str:
    """A strategy's id, once its class is known."""
    until(lambda: class_name in client.get("/api/strategies/classes").text, timeout_s=240, step_s=0.5)
    body = {"className": class_name, "symbol": SYMBOL, "displayName": class_name, **more}
    return str(client.post("/api/strategies", body).json()["strategy"]["strategyId"])


def ordered(client: Client, account_id: str, **more: str) -> httpx.Response:
    order = {"symbol": SYMBOL, "side": "SIDE_BUY", "type": "ORDER_TYPE_MARKET", "quantity": "1"}
    return client.post("/api/trading/orders", {"clientOrderId": uuid4().hex, "accountId": account_id, **order, **more})


def is_halted(client: Client, account_id: str) -> bool:
    return reason(ordered(client, account_id)) == "TRADING_HALTED"


@pytest.mark.timeout(900)
def test_a_halted_trader_trades_with_no_other_account(up: Running):
    admin, mallory, bob = up.admin(), registered(up), registered(up)
    first = mallory.get("/api/trading/account").json()["account"]["accountId"]
    before = opened(mallory)
    until(lambda: ordered(mallory, before).status_code == 200, timeout_s=60)
    halt = {"state": "TRADING_STATE_HALTED", "reason": "manipulation"}
    # Of one account: also those that are opened after it.
    until(lambda: admin.put("/api/risk/state", {**halt, "accountId": first}).status_code == 200, timeout_s=60)
    after = opened(mallory)
    until(lambda: is_halted(mallory, first) and is_halted(mallory, after), timeout_s=60)
    until(lambda: ordered(mallory, before).status_code == 200, timeout_s=60)
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
    until(lambda: ordered(bob, "").status_code == 200, timeout_s=60)


@pytest.mark.timeout(900)
def test_no_order_is_given_in_the_name_of_a_strategy(up: Running):
    mallory = registered(up)
    own = created(mallory, "MovingAverageStrategy")
    for strategy_id in (own, own.upper(), str(uuid4())):
        answer = ordered(mallory, "", strategyId=strategy_id)
        assert (answer.status_code, reason(answer)) == (403, "PERMISSION_DENIED")
    assert mallory.get("/api/trading/orders").json()["orders"] == []


@pytest.mark.timeout(900)
def test_a_strategy_reaches_no_other_account_with_the_token_that_it_finds(up: Running):
    owner = registered(up)
    own, other = owner.get("/api/trading/account").json()["account"]["accountId"], opened(owner)
    strategy_id = created(owner, "Thief", parameters={"other": other}, accountId=own)
    assert owner.post(f"/api/strategies/{strategy_id}:start").status_code == 200

    def orders() -> list[dict]:
        return owner.get("/api/trading/orders").json()["orders"]

    def answers() -> str:
        told = owner.get(f"/api/strategies/{strategy_id}").json()["strategy"]["variables"].get("answers", "")
        return told if " " in told else ""

    until(orders, timeout_s=240, step_s=0.5)
    assert until(answers, timeout_s=60, step_s=0.5) == f"NOT_FOUND NOT_FOUND PERMISSION_DENIED PERMISSION_DENIED {own}"
    assert [(order["accountId"], order["strategyId"]) for order in orders()] == [(own, strategy_id)]
    owner.post(f"/api/strategies/{strategy_id}:stop")
