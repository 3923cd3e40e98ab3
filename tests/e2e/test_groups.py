"""Order groups and leases as a trader's program meets them: over REST, through Envoy, at the simulated exchange."""

from uuid import uuid4

from tests.running import Client, Running, until

SYMBOL = "rb2701.SHFE"
GROUPS = "/api/trading/orderGroups"


def last_price(client: Client) -> float:
    return float(until(lambda: client.get(f"/api/market/ticks/{SYMBOL}").json().get("tick"), timeout_s=20)["lastPrice"])


def order(side: str, kind: str, **values: str) -> dict[str, str]:
    return {
        "clientOrderId": uuid4().hex, "symbol": SYMBOL, "side": f"SIDE_{side}", "type": f"ORDER_TYPE_{kind}",
        "quantity": "2", **values,
    }  # fmt: skip


def bracket(client: Client, **more: str) -> dict[str, object]:
    price = last_price(client)
    return {
        "clientOrderGroupId": uuid4().hex,
        "kind": "ORDER_GROUP_KIND_BRACKET",
        "orders": [
            order("BUY", "MARKET"),
            order("SELL", "LIMIT", price=f"{price * 1.03:.0f}", timeInForce="TIME_IN_FORCE_GTC"),
            order("SELL", "STOP", stopPrice=f"{price * 0.97:.0f}", timeInForce="TIME_IN_FORCE_GTC"),
        ],
        **more,
    }


def test_a_bracket_protects_what_its_entry_filled_and_is_canceled_as_one(trader: Client) -> None:
    body = bracket(trader)
    preview = trader.post(f"{GROUPS}:preview", body).json()
    assert preview["wouldAccept"] and float(preview["reservedFunds"]) > 0 and preview["closingQuantity"] == "0"
    assert [float(one["margin"]) > 0 for one in preview["orders"]] == [True, False, False]
    group = trader.post(GROUPS, body).json()["orderGroup"]
    path = f"{GROUPS}/{group['orderGroupId']}"
    assert group["status"] == "ORDER_GROUP_STATUS_ACTIVE" and len(group["orders"]) == 3

    def working() -> list[dict[str, str]] | None:
        entry, *exits = trader.get(path).json()["orderGroup"]["orders"]
        filled = entry["status"] == "ORDER_STATUS_FILLED"
        return exits if filled and all(one["status"] == "ORDER_STATUS_NEW" for one in exits) else None

    exits = until(working, timeout_s=20)
    assert [one["quantity"] for one in exits] == ["2", "2"]
    position = trader.get("/api/trading/positions").json()["positions"][0]
    assert (position["quantity"], position["frozenQuantity"]) == ("2", "2")
    assert trader.post(GROUPS, body).json()["orderGroup"]["orderGroupId"] == group["orderGroupId"]
    trader.post(f"{path}:cancel", {})
    until(lambda: trader.get(path).json()["orderGroup"]["status"] == "ORDER_GROUP_STATUS_DONE", timeout_s=20)
    position = trader.get("/api/trading/positions").json()["positions"][0]
    assert position["frozenQuantity"] == "0"


def test_a_group_with_one_bad_order_leaves_nothing_and_names_it(trader: Client) -> None:
    body = bracket(trader)
    body["orders"][2]["stopPrice"] = "0.5"  # type: ignore[index]
    answer = trader.post(GROUPS, body)
    assert answer.status_code == 400 and "orders[2]" in answer.text
    assert not trader.get("/api/trading/orders?openOnly=true").json().get("orders")
    misspelt = {**bracket(trader), "orders": [{**order("BUY", "MARKET"), "reduceonly": True}]}
    assert trader.post(GROUPS, misspelt).status_code == 400


def test_a_stream_that_is_left_takes_its_working_orders_along(trader: Client) -> None:
    price = last_price(trader)
    working = trader.post(
        "/api/trading/orders", order("BUY", "LIMIT", price=f"{price * 0.97:.0f}", timeInForce="TIME_IN_FORCE_GTC")
    ).json()["order"]
    for message in trader.lines("/api/trading/orders:stream", cancelOnDisconnect="1s"):
        if "lease" in message:
            assert message["lease"]["cancelOnDisconnect"] == "1s"
            break

    def ended() -> dict[str, str] | None:
        order = trader.get(f"/api/trading/orders/{working['orderId']}").json()["order"]
        return order if order["status"] == "ORDER_STATUS_CANCELED" else None

    assert until(ended, timeout_s=20)["rejectReason"] == "CANCEL_ON_DISCONNECT"


def test_a_reduce_only_order_without_a_position_is_refused(trader: Client) -> None:
    answer = trader.post("/api/trading/orders", {**order("SELL", "MARKET"), "reduceOnly": True})
    assert answer.status_code == 400 and "REDUCE_ONLY" in answer.text


def test_a_bracket_and_a_lease_outlive_a_kill() -> None:
    with Running("--feed", "sim:7") as running:
        trader = running.register("k" + uuid4().hex[:12])
        group = trader.post(GROUPS, bracket(trader)).json()["orderGroup"]
        path = f"{GROUPS}/{group['orderGroupId']}"

        def covered() -> bool:
            _, *exits = trader.get(path).json()["orderGroup"]["orders"]
            live = [(one["status"], one["quantity"]) for one in exits]
            frozen = [one["frozenQuantity"] for one in trader.get("/api/trading/positions").json()["positions"]]
            return live == [("ORDER_STATUS_NEW", "2")] * 2 and frozen == ["2"]

        until(covered, timeout_s=20)
        messages = trader.lines("/api/trading/orders:stream", cancelOnDisconnect="30s")
        assert any("lease" in message for message in messages)  # and the stream is still open
        running.kill9()
        running.start()
        trader = running.client(trader.token)
        until(covered, timeout_s=20)
        trader.post(f"{path}:cancel", {})
        until(lambda: trader.get(path).json()["orderGroup"]["status"] == "ORDER_GROUP_STATUS_DONE", timeout_s=20)
