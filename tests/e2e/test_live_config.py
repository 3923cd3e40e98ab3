"""Configuration that services take while they run: limits, log level, the feed's rate."""

from uuid import uuid4

from tests.running import until

SYMBOL = "rb2701.SHFE"


def test_a_risk_limits_default_changes_for_everybody_without_a_restart(admin, trader):
    path = "/api/config/development/risk/max_order_quantity"
    before = trader.get("/api/risk/limits").json()["limits"]["maxOrderQuantity"]
    assert admin.put(path, {"value": "7"}).status_code == 200
    try:
        until(lambda: trader.get("/api/risk/limits").json()["limits"]["maxOrderQuantity"] == "7", timeout_s=5)
        answer = trader.order(SYMBOL, uuid4().hex, quantity="8")
        assert answer.status_code == 400
        assert "RISK_LIMIT_MAX_ORDER_QUANTITY" in answer.text
    finally:
        assert admin.delete(path).status_code == 200
    until(lambda: trader.get("/api/risk/limits").json()["limits"]["maxOrderQuantity"] == before, timeout_s=5)


def test_the_simulated_feeds_rate_changes_without_a_restart(admin, trader):
    def rate() -> float:
        first = trader.get(f"/api/market/ticks/{SYMBOL}").json()["tick"]
        later = until(lambda: newer(trader, first, 20))
        return (int(later["sequence"]) - int(first["sequence"])) / ((int(later["timeNs"]) - int(first["timeNs"])) / 1e9)

    path = "/api/config/development/engine/sim_ticks_per_second"
    assert admin.put(path, {"value": 100}).status_code == 200
    try:
        until(lambda: rate() > 30, timeout_s=5)
    finally:
        admin.delete(path)
    until(lambda: rate() < 20, timeout_s=10)


def newer(client, first, count):
    tick = client.get(f"/api/market/ticks/{SYMBOL}").json()["tick"]
    return tick if int(tick["sequence"]) - int(first["sequence"]) > count else None


def test_the_log_level_changes_without_a_restart(up, admin, trader):
    path = "/api/config/development/telemetry/log_level"
    assert admin.put(path, {"value": "DEBUG"}).status_code == 200
    try:
        until(lambda: '"level": "DEBUG"' in up.log() or trader.get("/api/users/me") is None, timeout_s=5)
    finally:
        admin.delete(path)


def test_nonsense_for_a_known_key_is_refused(admin):
    answer = admin.put("/api/config/development/engine/sim_ticks_per_second", {"value": "fast"})
    assert answer.status_code == 400
    answer = admin.put("/api/config/development/risk/max_order_quantity", {"value": {"a": 1}})
    assert answer.status_code == 400
