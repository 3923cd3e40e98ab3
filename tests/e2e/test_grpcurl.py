"""An operator with grpcurl: list, describe with comments, health, and calls with a token, through the edge."""

import json
import shutil
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests.machine import lacks
from tests.running import until

SYMBOL = "rb2701.SHFE"


@pytest.fixture(scope="module")
def grpcurl() -> str:
    program = shutil.which("grpcurl") or shutil.which("grpcurl", path=str(Path.home() / "go/bin"))
    if not program:
        lacks("grpcurl is not installed: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4")
    return program


@pytest.fixture
def run(up, grpcurl):
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([grpcurl, "-plaintext", *arguments], capture_output=True, text=True, timeout=30)

    return call


def test_list_and_describe_show_the_contract_with_its_comments(up, run):
    edge = up.addresses["edge"]
    services = run(edge, "list").stdout.split()
    assert {"redfire.trading.v1.OrderService", "redfire.market.v1.MarketService"} <= set(services)
    described = run(edge, "describe", "redfire.trading.v1.OrderService").stdout
    assert "rpc CreateOrder" in described
    assert "// Accepts an order" in described
    assert "client_order_id" in run(edge, "describe", "redfire.trading.v1.CreateOrderRequest").stdout
    assert run(edge, "describe", "redfire.trading.v1.OrderService.CreateOrder").returncode == 0


@pytest.mark.parametrize("service", ["", "redfire.trading.v1.OrderService", "redfire.strategy.v1.StrategyService"])
def test_health(up, run, service):
    answer = run("-d", json.dumps({"service": service}), up.addresses["edge"], "grpc.health.v1.Health/Check")
    assert json.loads(answer.stdout)["status"] == "SERVING"


def test_calls_and_streams_with_a_token_and_readable_refusals(up, run, trader):
    edge, token = up.addresses["edge"], ("-H", f"authorization: Bearer {trader.token}")
    until(lambda: trader.get(f"/api/market/ticks/{SYMBOL}").status_code == 200)
    order = {"client_order_id": uuid4().hex, "symbol": SYMBOL, "side": "SIDE_BUY", "type": "ORDER_TYPE_MARKET"}
    method = "redfire.trading.v1.OrderService/CreateOrder"
    answer = run(*token, "-d", json.dumps({**order, "quantity": "1"}), edge, method)
    assert json.loads(answer.stdout)["order"]["orderId"], answer.stderr
    refused = run(*token, "-d", json.dumps(order), edge, method)
    assert "InvalidArgument" in refused.stderr
    assert "quantity" in refused.stderr
    assert "Unauthenticated" in run("-d", "{}", edge, "redfire.trading.v1.OrderService/ListOrders").stderr
    ticks = run(*token, "-max-time", "3", "-d", json.dumps({"symbols": [SYMBOL]}), edge, "redfire.market.v1.MarketService/StreamTicks")  # fmt: skip  # noqa: E501
    assert ticks.stdout.count('"lastPrice"') > 5
