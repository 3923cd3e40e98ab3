"""The record of a running platform, through the edge and by commands, and after a crash."""

import json
import sqlite3
import subprocess
import threading
import time

import pytest

from tests.running import REDFIRE, Running

pytestmark = pytest.mark.slow
LIMIT = {
    "symbol": "rb2701.SHFE", "side": "SIDE_BUY", "type": "ORDER_TYPE_LIMIT", "quantity": "1", "price": "3000",
    "timeInForce": "TIME_IN_FORCE_GTC",
}  # fmt: skip


def redfire(up, *arguments, ok=True):
    command = [str(REDFIRE), *arguments, "--data-dir", str(up.data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=up.environment)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done


def records(up, *arguments):
    return json.loads(redfire(up, "audit", "list", "--json", "--page-size", "1000", *arguments).stdout)["records"]


@pytest.fixture(scope="module")
def up():
    with Running("--feed", "sim:7") as running:
        yield running


def test_an_order_and_what_is_refused_are_recorded_with_the_address_of_the_client(up):
    trader = up.register("audited")
    made = trader.post("/api/trading/orders", LIMIT | {"clientOrderId": "a1"})
    assert made.status_code == 200, made.text
    assert trader.post("/api/trading/orders", LIMIT | {"clientOrderId": "a2", "quantity": "0.5"}).status_code == 400
    assert trader.get("/api/users").status_code == 403
    refused, accepted = records(up, "--method", "CreateOrder", "--user", trader.user_id)
    order_id = made.json()["order"]["orderId"]
    assert (accepted["outcome"], accepted["resource"]) == ("OK", f"orders/{order_id}")
    assert accepted["request"]["client_order_id"] == "a1"
    assert accepted["actor"]["client_address"] == "127.0.0.1" and accepted["actor"]["session_id"]
    assert refused["outcome"] == "INVALID_ARGUMENT" and "quantity" in refused["reason"]
    (denied,) = records(up, "--method", "ListUsers", "--user", trader.user_id)
    assert denied["outcome"] == "PERMISSION_DENIED"


def test_commands_of_the_operator_are_recorded(up):
    up.register("promoted")
    redfire(up, "admin", "set-role", "promoted", "admin")
    redfire(up, "admin", "rotate-keys")
    (role,) = records(up, "--method", "redfire admin set-role")
    assert role["changes"] == {"before": {"role": "trader"}, "after": {"role": "admin"}}
    assert role["actor"]["service"].startswith("operator:")
    (keys,) = records(up, "--method", "redfire admin rotate-keys")
    assert keys["resource"].startswith("keys/")


def test_a_platform_that_was_killed_has_the_record_of_each_order_that_it_acknowledged(tmp_path):
    acknowledged = []
    with Running("--feed", "sim:7", data_dir=tmp_path / "data") as killed:
        trader = killed.register("killed")

        def send():
            for number in range(10_000):
                try:
                    answer = trader.post("/api/trading/orders", LIMIT | {"clientOrderId": f"k{number}"})
                except Exception:
                    return
                if answer.status_code == 200:
                    acknowledged.append(answer.json()["order"]["orderId"])

        sender = threading.Thread(target=send)
        sender.start()
        while len(acknowledged) < 30:
            time.sleep(0.01)
        killed.kill9()
        sender.join()
        assert redfire(killed, "audit", "verify").stdout
        resources = {one["resource"] for one in records(killed, "--method", "CreateOrder", "--outcome", "OK")}
        assert {f"orders/{order_id}" for order_id in acknowledged} <= resources
        head = tmp_path / "head.json"
        head.write_text(redfire(killed, "audit", "head", "--json").stdout)
        redfire(killed, "audit", "verify", "--pin", str(head))
        with sqlite3.connect(killed.data_dir / "trading_db.sqlite") as connection:
            last = "SELECT chain, max(sequence) FROM audit_records WHERE chain <> 'main'"
            chain, sequence = connection.execute(last).fetchone()
            connection.execute("DELETE FROM audit_records WHERE chain = ? AND sequence = ?", (chain, sequence))
        broken = redfire(killed, "audit", "verify", "--pin", str(head), ok=False)
        assert broken.returncode == 1
        assert f"record {sequence} of chain {chain}" in broken.stderr
