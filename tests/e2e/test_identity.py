"""Identity, from login to the end of a session, and API keys: everything through the edge."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from tests.e2e.identity_client import (
    DEADLINE_S,
    PROMISED_S,
    SYMBOL,
    TICKS,
    Follower,
    api_key,
    assert_all_end,
    bearer,
    follow_everything,
    follow_rest,
    login,
    name_of,
    until_refused,
)
from tests.running import PASSWORD, reason, until

# The end of sessions ------------------------------------------------------------------------------------------------


def test_logout_kills_the_token_everywhere_and_ends_streams(up, trader):
    followers = follow_everything(up, bearer(trader))
    headers = bearer(trader)
    assert trader.post("/api/users/logout").status_code == 200
    assert_all_end(up, headers, followers)
    assert trader.post("/api/users/refresh", {"refreshToken": trader.tokens["refreshToken"]}).status_code == 401


def test_logout_of_one_session_leaves_the_others(up, trader):
    other = up.client()
    other.login(name_of(trader), PASSWORD)
    assert trader.post("/api/users/logout").status_code == 200
    until_refused(lambda: trader.get("/api/users/me"))
    assert other.get("/api/users/me").status_code == 200
    sessions = other.get("/api/users/sessions").json()["sessions"]
    assert [s["sessionId"] for s in sessions] == [other.tokens["sessionId"]]
    third = up.client()
    third.login(name_of(other), PASSWORD)
    assert other.delete(f"/api/users/sessions/{third.tokens['sessionId']}").status_code == 200
    until_refused(lambda: third.get("/api/users/me"))
    assert other.post("/api/users/logout", {"allSessions": True}).status_code == 200


@pytest.mark.parametrize("status", ["USER_STATUS_SUSPENDED", "USER_STATUS_CLOSED"])
def test_suspension_ends_sessions_keys_and_streams(up, trader, admin, status):
    name, headers = name_of(trader), bearer(trader)
    key = {"x-api-key": api_key(trader, ["user:read", "market:read", "trading:read"])}
    followers = [*follow_everything(up, headers), *follow_everything(up, key)]
    assert admin.put(f"/api/users/{trader.user_id}/status", {"status": status}).status_code == 200
    assert_all_end(up, headers, followers[:5])
    assert_all_end(up, key, followers[5:])
    refused = login(up, name, PASSWORD)
    assert (refused.status_code, reason(refused)) == (403, "ACCOUNT_INACTIVE")
    assert trader.post("/api/users/refresh", {"refreshToken": trader.tokens["refreshToken"]}).status_code in (401, 403)


def test_another_role_ends_sessions_and_the_next_login_has_it(up, trader, admin):
    name, headers = name_of(trader), bearer(trader)
    key = {"x-api-key": api_key(trader, ["user:read", "market:read", "trading:write", "trading:read"])}
    followers = follow_everything(up, headers)
    assert admin.put(f"/api/users/{trader.user_id}/role", {"role": "user"}).status_code == 200
    assert_all_end(up, headers, followers)
    until_refused(lambda: httpx.get(f"{up.url}/api/users/me", headers=key))
    trader.login(name, PASSWORD)
    answer = trader.order(SYMBOL, uuid4().hex)
    assert (answer.status_code, reason(answer)) == (403, "PERMISSION_DENIED")


def test_another_password_ends_the_other_sessions_only(up, trader):
    name = name_of(trader)
    other = up.client()
    other.login(name, PASSWORD)
    body = {"oldPassword": PASSWORD, "newPassword": "another-Horse-10"}
    assert trader.post("/api/users/me:changePassword", body).status_code == 200
    until_refused(lambda: other.get("/api/users/me"))
    assert trader.get("/api/users/me").status_code == 200
    assert login(up, name, PASSWORD).status_code == 401
    assert login(up, name, "another-Horse-10").status_code == 200


def test_a_refresh_token_used_again_ends_its_session(up, trader):
    first = trader.tokens["refreshToken"]
    second = trader.post("/api/users/refresh", {"refreshToken": first}).json()
    assert second["sessionId"] == trader.tokens["sessionId"]
    fresh = up.client(second["accessToken"])
    assert fresh.get("/api/users/me").status_code == 200
    again = trader.post("/api/users/refresh", {"refreshToken": first})
    assert (again.status_code, reason(again)) == (401, "REFRESH_TOKEN_REUSED")
    until_refused(lambda: fresh.get("/api/users/me"))
    after = trader.post("/api/users/refresh", {"refreshToken": second["refreshToken"]})
    assert after.status_code == 401


# API keys -----------------------------------------------------------------------------------------------------------


def test_an_api_key_may_do_what_its_scopes_say_and_dies_when_revoked(up, trader):
    secret = api_key(trader, ["market:read", "trading:read", "user:read"])
    key = up.client(**{"x-api-key": secret})
    for path in ("/api/trading/orders", f"/api/market/ticks/{SYMBOL}", "/api/risk/limits", "/api/users/me"):
        assert key.get(path).status_code == 200, path
    for refused in (
        key.order(SYMBOL, uuid4().hex),
        key.post("/api/trading/orders:cancelAll"),
        key.get("/api/users/sessions"),
        key.post("/api/users/apiKeys", {"displayName": "more", "scopes": ["market:read"]}),
        key.get("/api/strategies"),
        key.put(f"/api/users/{trader.user_id}/role", {"role": "admin"}),
        key.get("/api/users"),
    ):
        assert (refused.status_code, reason(refused)) == (403, "PERMISSION_DENIED"), refused.url
    followers = follow_everything(up, {"x-api-key": secret})
    listed = trader.get("/api/users/apiKeys")
    assert secret not in listed.text
    assert listed.json()["apiKeys"][0]["lastUsedTime"]
    assert trader.delete(f"/api/users/apiKeys/{listed.json()['apiKeys'][0]['apiKeyId']}").status_code == 200
    assert_all_end(up, {"x-api-key": secret}, followers)
    assert trader.get("/api/users/me").status_code == 200


def test_an_api_key_has_no_more_than_its_owner(trader):
    for scopes in (["admin:all"], ["config:write"], ["trading:read", "risk:write"]):
        refused = trader.post("/api/users/apiKeys", {"displayName": "more", "scopes": scopes})
        assert (refused.status_code, reason(refused)) == (403, "PERMISSION_DENIED")
    assert trader.post("/api/users/apiKeys", {"displayName": "a", "scopes": ["nonsense"]}).status_code == 400


def test_an_api_key_is_good_only_from_its_networks(up, trader):
    secret = api_key(trader, ["user:read"], allowedCidrs=["127.0.0.2/32"])
    statuses = {}
    for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
        with httpx.Client(transport=httpx.HTTPTransport(local_address=address), base_url=up.url) as http:
            claimed = {"x-api-key": secret, "x-forwarded-for": "127.0.0.2", "x-envoy-external-address": "127.0.0.2"}
            statuses[address] = {
                http.get("/api/users/me", headers={"x-api-key": secret}).status_code,
                http.get("/api/users/me", headers=claimed).status_code,
            }
    assert statuses == {"127.0.0.1": {401}, "127.0.0.2": {200}, "127.0.0.3": {401}}


def test_an_api_key_and_its_streams_end_at_their_time(up, trader):
    ends = datetime.now(UTC) + timedelta(seconds=3)
    secret = api_key(trader, ["user:read", "market:read"], expireTime=ends.isoformat())
    follower = Follower("ticks", follow_rest(up, {"x-api-key": secret}, TICKS))
    key = up.client(**{"x-api-key": secret})
    assert key.get("/api/users/me").status_code == 200
    until(lambda: key.get("/api/users/me").status_code == 401, timeout_s=3 + DEADLINE_S)
    assert datetime.now(UTC) >= ends - timedelta(seconds=PROMISED_S)
    follower.wait_for_end()
    assert follower.end == "TOKEN_EXPIRED"
