"""`redfire compare-versions` on two whole platforms behind their edges, one of which answers otherwise."""

import json
from contextlib import contextmanager

import pytest

from tests.commands.compare_versions.invoke import document
from tests.running import Running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
START_S = 600
KEY = "/api/config/development/shop/fast_window"
# Refused alike: a preview needs no quote for that.
PREVIEW = {
    "clientOrderId": "p",
    "symbol": "none.SHFE",
    "side": "SIDE_BUY",
    "type": "ORDER_TYPE_MARKET",
    "quantity": "1",
}
READS = [
    "GET /api/market/instruments",
    "GET /api/market/instruments?pageSize=3",
    "GET /api/market/instruments/none.SHFE",
    "GET /api/market/calendar/SHFE?startDate=2026-11-02&endDate=2026-11-06",
    "GET /api/strategies/classes",
    "GET /api/config/test/shop",
    "GET /api/risk/state",
    "GET /api/trading/orders?pageSize=5",
    "GET /api/trading/orders?pageSize=-1",
    "GET /api/users/me",
    f"POST /api/trading/orders:preview {json.dumps(PREVIEW)}",
    f"GET {KEY}",
]
OWN = ("createTime", "updateTime", "updatedBy", "userId", "accountId", "etag")


@contextmanager
def started():
    """An embedded platform on a busy machine."""
    running = Running("--feed", "sim:7")
    try:
        yield running.start(START_S)
    finally:
        running.kill9(children_too=True)


@pytest.fixture(scope="module")
def two():
    """Two platforms with tokens of their administrators; a key of config has another value at the second."""
    with started() as old, started() as new:
        tokens = []
        for days, running in enumerate((old, new), 5):
            admin = running.admin()
            value = {"value": {"days": days, "name": "fast"}}
            until(lambda admin=admin, value=value: admin.put(KEY, value).status_code == 200, START_S)
            until(lambda admin=admin: admin.get("/api/trading/accounts").json().get("accounts"), START_S)
            tokens.append(admin.token)
        yield old, new, tokens


async def test_a_platform_answers_by_grpc_as_it_does_by_rest(two, tmp_path):
    old, _, (token, _) = two
    found = await document(tmp_path, old.url, old.addresses["edge"], READS, "--token", token)
    assert found["differences"] == []
    assert found["requests"] == len(READS) and found["left_out"] == {}
    assert found["statuses"]["OK"] >= 8 and {"NOT_FOUND", "INVALID_ARGUMENT"} <= set(found["statuses"])


async def test_the_one_field_in_which_another_platform_differs_is_named(two, tmp_path):
    old, new, (token, other) = two
    ignored = [flag for name in OWN for flag in ("--ignore", name)]
    found = await document(tmp_path, old.url, new.url, READS, "--token", token, "--new-token", other, *ignored)
    assert found["differences"] == [{"request": f"GET {KEY}", "field": "config.value.days", "old": 5, "new": 6}]
