"""Who one is to the platform, from login to the end of a session: everything through the edge."""

import base64
import json
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import httpx
import jwt
import pytest
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from tests.running import PASSWORD, REDFIRE, Client, Running, reason, until

SYMBOL = "rb2701.SHFE"
TICKS, EVENTS = "/api/market/ticks:stream", "/api/risk/events:stream"
# What ends is refused within a second. A loaded machine gets more, and pytest's summary says what it took.
PROMISED_S = 1.0
DEADLINE_S = 10.0


class Follower:
    """A stream that somebody follows: how it began and how it ended."""

    def __init__(self, name: str, follow: Callable[["Follower"], None]) -> None:
        self.name = name
        self.began = threading.Event()
        self.end = ""
        self.failure = ""
        self._thread = threading.Thread(target=self._run, args=(follow,), daemon=True)
        self._thread.start()
        assert self.began.wait(10), f"{name} does not begin: {self.failure}"

    def _run(self, follow: Callable[["Follower"], None]) -> None:
        try:
            follow(self)
        except (httpx.HTTPError, grpc.RpcError, AssertionError) as failure:
            self.failure = failure.code().name if isinstance(failure, grpc.RpcError) else repr(failure)

    def saw(self, message: dict[str, Any]) -> None:
        """A message arrived."""
        self.began.set()
        if end := message.get("end"):
            self.end = end if isinstance(end, str) else end["reason"]

    def wait_for_end(self) -> None:
        """Wait until the stream has ended."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), f"{self.name} goes on"


def follow_rest(up: Running, headers: dict[str, str], path: str, sse: bool = False) -> Callable[[Follower], None]:
    def follow(follower: Follower) -> None:
        asked = {TICKS: {"symbols": SYMBOL}, EVENTS: {"heartbeatInterval": "0.2s"}}.get(path, {})
        for message in up.client(**headers).lines(path, sse=sse, **asked):
            follower.saw(message)

    return follow


def follow_grpc(up: Running, headers: dict[str, str]) -> Callable[[Follower], None]:
    def follow(follower: Follower) -> None:
        with up.channel() as channel:
            request = market_pb2.StreamTicksRequest(symbols=[SYMBOL])
            for message in MarketServiceStub(channel).StreamTicks(request, metadata=list(headers.items())):
                follower.saw({"end": {"reason": message.end.reason}} if message.HasField("end") else {})

    return follow


def follow_everything(up: Running, headers: dict[str, str]) -> list[Follower]:
    """Streams of several services, by all three ways."""
    return [
        Follower("ticks by NDJSON", follow_rest(up, headers, TICKS)),
        Follower("ticks by SSE", follow_rest(up, headers, TICKS, sse=True)),
        Follower("ticks by gRPC", follow_grpc(up, headers)),
        Follower("orders by NDJSON", follow_rest(up, headers, "/api/trading/orders:stream")),
        Follower("risk events by SSE", follow_rest(up, headers, EVENTS, sse=True)),
    ]


def grpc_code(up: Running, headers: dict[str, str]) -> grpc.StatusCode:
    with up.channel() as channel:
        try:
            UserServiceStub(channel).GetUser(
                user_pb2.GetUserRequest(user_id="me"), metadata=list(headers.items()), timeout=5
            )
        except grpc.RpcError as failure:
            return failure.code()
    return grpc.StatusCode.OK


def until_refused(ask: Callable[[], httpx.Response]) -> None:
    """Wait until the answer is 401: promised within a second, waited for longer on a slow machine."""
    until(lambda: ask().status_code == 401, timeout_s=DEADLINE_S, step_s=0.02)


def assert_all_end(up: Running, headers: dict[str, str], followers: list[Follower]) -> None:
    """REST and gRPC refuse the caller within a second, and the streams end with the reason."""
    http = httpx.Client(base_url=up.url, headers=headers)
    for path in ("/api/users/me", "/api/trading/orders", f"/api/market/ticks/{SYMBOL}", "/api/risk/limits"):
        until_refused(lambda path=path: http.get(path))
    assert grpc_code(up, headers) is grpc.StatusCode.UNAUTHENTICATED
    for follower in followers:
        follower.wait_for_end()
        assert follower.end == "SESSION_REVOKED", follower.name
        assert follower.failure in ("", "UNAUTHENTICATED"), follower.name
    assert reason(http.get("/api/users/me")) in ("SESSION_REVOKED", "UNAUTHENTICATED")


def bearer(client: Client) -> dict[str, str]:
    return {"authorization": f"Bearer {client.token}"}


def login(up: Running, name: str, password: str, address: str = "", **headers: str) -> httpx.Response:
    transport = httpx.HTTPTransport(local_address=address or "127.0.0.1")
    with httpx.Client(base_url=up.url, transport=transport, timeout=20, headers=headers) as http:
        return http.post("/api/users/login", json={"username": name, "password": password})


def name_of(client: Client) -> str:
    return client.get("/api/users/me").json()["user"]["username"]


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


def api_key(client: Client, scopes: list[str], **more: Any) -> str:
    made = client.post("/api/users/apiKeys", {"displayName": "mine", "scopes": scopes, **more})
    assert made.status_code == 200, made.text
    return made.json()["secret"]


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


# Logins -------------------------------------------------------------------------------------------------------------


def test_wrong_name_and_wrong_password_answer_the_same(up, trader):
    name = name_of(trader)
    wrong = [login(up, name, "not-the-Password-1"), login(up, "n" + uuid4().hex[:12], PASSWORD)]
    bodies = [
        {**a.json(), "details": [d for d in a.json()["details"] if not d["@type"].endswith("RequestInfo")]}
        for a in wrong
    ]
    assert [a.status_code for a in wrong] == [401, 401]
    assert bodies[0] == bodies[1]
    assert reason(wrong[0]) == "INVALID_CREDENTIALS"
    assert set(wrong[0].headers) == set(wrong[1].headers)


def test_failed_logins_are_slowed_and_lock_nobody_out_elsewhere(up, trader):
    name = name_of(trader)

    def attempt(password: str, address: str, **headers: str) -> int:
        return login(up, name, password, address, **headers).status_code

    assert attempt(PASSWORD, "127.0.0.9") == 200
    answers = [attempt("wrong-Password-1", "127.0.0.8") for _ in range(12)]
    assert answers[:5] == [401] * 5
    assert 429 in answers
    slowed = login(up, name, PASSWORD, "127.0.0.8")
    assert slowed.status_code == 429
    details = {d["@type"].rpartition(".")[2]: d for d in slowed.json()["details"]}
    assert float(details["RetryInfo"]["retryDelay"][:-1]) > 0
    # Neither another case of the name nor a made-up address helps.
    for spoof in (
        {"x-forwarded-for": "9.9.9.9"},
        {"x-envoy-external-address": "9.9.9.9"},
        {"forwarded": "for=9.9.9.9"},
    ):
        assert attempt(PASSWORD, "127.0.0.8", **spoof) == 429, spoof
    assert login(up, name.upper(), PASSWORD, "127.0.0.8").status_code == 429
    # The owner, elsewhere, is not kept out, and others at the same address are not either.
    assert attempt(PASSWORD, "127.0.0.9") == 200
    assert attempt(PASSWORD, "127.0.0.7") == 200
    assert login(up, "n" + uuid4().hex[:12], PASSWORD, "127.0.0.8").status_code == 401


# What a client may claim --------------------------------------------------------------------------------------------


def test_headers_that_claim_an_identity_change_nothing(up, trader, admin):
    claims = {
        "x-redfire-service": "trading",
        "x-redfire-subject": admin.user_id,
        "x-redfire-caller": admin.user_id,
        "X-RedFire-Role": "admin",
        "x-envoy-original-path": "/api/users",
        "x-envoy-original-method": "GET",
        "x-envoy-external-address": "6.6.6.6",
        "x-envoy-internal": "true",
        "x-forwarded-for": "6.6.6.6",
        "x-real-ip": "6.6.6.6",
        "x-user-id": admin.user_id,
    }
    http = httpx.Client(base_url=up.url, headers=claims)
    assert http.get("/api/users/me").status_code == 401
    own = http.get("/api/users/me", headers=bearer(trader))
    assert own.json()["user"]["userId"] == trader.user_id
    assert http.get("/api/users", headers=bearer(trader)).status_code == 403
    name = name_of(trader)
    made = http.post("/api/users/login", json={"username": name, "password": PASSWORD}).json()
    sessions = trader.get("/api/users/sessions").json()["sessions"]
    assert {s["clientAddress"] for s in sessions if s["sessionId"] == made["sessionId"]} == {"127.0.0.1"}
    lower = {key.lower(): value for key, value in claims.items()}
    assert grpc_code(up, lower) is grpc.StatusCode.UNAUTHENTICATED
    assert grpc_code(up, {**lower, **bearer(trader)}) is grpc.StatusCode.OK


def forged(token: str, up: Running) -> dict[str, str]:
    """Tokens made out of a good one by somebody without the key."""
    head, body, signature = token.split(".")
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(token, options={"verify_signature": False})
    jwks = httpx.get(f"{up.url}/.well-known/jwks.json").json()["keys"]
    x = next(key["x"] for key in jwks if key["kid"] == header["kid"])
    public = base64.urlsafe_b64decode(x + "==")

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    def hs256(key: bytes, **more: Any) -> str:
        return jwt.encode({**claims, **more}, key, "HS256", headers={"kid": header["kid"]})

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    stranger = Ed25519PrivateKey.generate()
    return {
        "alg none": f"{part({'alg': 'none', 'typ': 'JWT', 'kid': header['kid']})}.{body}.",
        "alg None with a signature": f"{part({'alg': 'None', 'kid': header['kid']})}.{body}.{signature}",
        "HS256 by the public key": hs256(public),
        "HS256 by the public key's text": hs256(x.encode()),
        "another key": jwt.encode(claims, stranger, "EdDSA", headers={"kid": header["kid"]}),
        "another key, its own id": jwt.encode(claims, stranger, "EdDSA", headers={"kid": "mine"}),
        "a key of its own in the header": jwt.encode(
            claims, stranger, "EdDSA", headers={"kid": header["kid"], "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}}
        ),
        "another role": f"{head}.{part({**claims, 'role': 'admin'})}.{signature}",
        "no signature": f"{head}.{body}.",
        "cut": token[:-5],
        "kid of a path": f"{part({**header, 'kid': '../../etc/passwd'})}.{body}.{signature}",
        "not a token": "nonsense",
        "huge": "a" * 20_000,
    }


def test_forged_tokens_are_refused(up, trader):
    for name, token in forged(trader.token, up).items():
        headers = {"authorization": f"Bearer {token}"}
        answer = httpx.get(f"{up.url}/api/users/me", headers=headers)
        assert answer.status_code == 401, name
        assert answer.json()["code"] == 16, name
        assert grpc_code(up, headers) is grpc.StatusCode.UNAUTHENTICATED, name
    for scheme in ("Basic", "bearer2", "Token"):
        headers = {"authorization": f"{scheme} {trader.token}"}
        assert httpx.get(f"{up.url}/api/users/me", headers=headers).status_code == 401, scheme


def test_tokens_for_others_are_refused_though_well_signed(up, trader):
    """Signed with the platform's own key, which nobody outside has: issuer, audience and time still count."""
    from services.auth.keys import KeyRing

    ring = KeyRing(up.data_dir / "auth" / "keys", time.time)
    ring.open()
    key = ring.signing_key()
    claims = jwt.decode(trader.token, options={"verify_signature": False})
    direct = grpc.insecure_channel(up.addresses["services"]["user"])
    for change in ({"iss": "somebody"}, {"aud": "others"}, {"aud": "redfire-internal"}, {"exp": int(time.time()) - 10}):
        token = jwt.encode({**claims, **change}, key.private, "EdDSA", headers={"kid": key.kid})
        headers = {"authorization": f"Bearer {token}"}
        assert httpx.get(f"{up.url}/api/users/me", headers=headers).status_code in (401, 403), change
        # A service asked past the edge verifies by itself.
        with pytest.raises(grpc.RpcError) as refused:
            UserServiceStub(direct).GetUser(
                user_pb2.GetUserRequest(user_id="me"), metadata=list(headers.items()), timeout=5
            )
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED, change
    direct.close()


# Keys and secrets ---------------------------------------------------------------------------------------------------


@pytest.mark.timeout(90)
def test_rotated_keys_sign_new_tokens_and_old_ones_stay_good(up, trader):
    name = name_of(trader)
    old = jwt.get_unverified_header(trader.token)["kid"]
    rotated = subprocess.run(
        [REDFIRE, "admin", "rotate-keys", "--json", "--data-dir", up.data_dir],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert rotated.returncode == 0, rotated.stderr
    kid = json.loads(rotated.stdout)["kid"]
    fresh = up.client()

    def signed_by_the_new_key() -> bool:
        fresh.login(name, PASSWORD)
        return jwt.get_unverified_header(fresh.token)["kid"] == kid

    until(signed_by_the_new_key, timeout_s=25, step_s=0.25)
    assert kid != old
    for client in (fresh, trader):
        for path in ("/api/users/me", "/api/trading/orders", f"/api/market/ticks/{SYMBOL}"):
            assert client.get(path).status_code == 200, path
        assert grpc_code(up, bearer(client)) is grpc.StatusCode.OK
    assert {old, kid} <= {key["kid"] for key in fresh.get("/.well-known/jwks.json").json()["keys"]}


def test_no_secret_is_in_logs_output_or_errors(up, trader):
    name, wrong = name_of(trader), f"Wrong-{uuid4().hex}"
    secret = api_key(trader, ["user:read"])
    answers = [
        login(up, name, wrong),
        trader.post("/api/users/login", {"username": name, "password": wrong * 10}),
        trader.post("/api/users/login", {"username": name, "password": wrong, "x": 1}),
        trader.post("/api/users/register", {"username": "!", "email": "x", "password": wrong}),
        trader.post("/api/users/me:changePassword", {"oldPassword": wrong, "newPassword": wrong}),
        trader.post("/api/users/refresh", {"refreshToken": wrong}),
        httpx.get(f"{up.url}/api/users/me", headers={"authorization": f"Bearer {wrong}"}),
        httpx.get(f"{up.url}/api/users/me", headers={"x-api-key": wrong}),
    ]
    refreshed = trader.post("/api/users/refresh", {"refreshToken": trader.tokens["refreshToken"]}).json()
    httpx.get(f"{up.url}/api/users/me", headers={"x-api-key": secret})
    assert all(answer.status_code >= 400 for answer in answers)
    assert all(wrong not in answer.text for answer in answers)
    texts = {
        file.name: file.read_text(errors="replace")
        for file in (up.data_dir / "redfire.log", up.output, *(up.data_dir / "envoy").glob("*.log"))
    }
    assert {"redfire.log", "envoy.log"} <= set(texts)
    secrets = [
        wrong, PASSWORD, secret, trader.token, trader.token.split(".")[2], trader.tokens["refreshToken"],
        refreshed["accessToken"], refreshed["refreshToken"], (up.data_dir / "service-secret").read_text().strip(),
    ]  # fmt: skip
    found = [(name, text[:6]) for name, written in texts.items() for text in secrets if text in written]
    assert found == []


def test_only_the_edge_says_where_a_call_comes_from(up, trader):
    """Who reaches a service's own port cannot choose an address: throttles, sessions and keys' networks go by it."""
    name, claim = name_of(trader), (("x-envoy-external-address", "9.9.9.9"),)
    forged = (*claim, ("x-redfire-edge", "-"))
    with grpc.insecure_channel(up.addresses["services"]["auth"]) as channel:
        for metadata in (claim, forged):
            request = auth_pb2.LoginRequest(username=name, password=PASSWORD)
            AuthServiceStub(channel).Login(request, metadata=metadata, timeout=10)
    assert login(up, name, PASSWORD, address="127.0.0.7").status_code == 200
    addresses = [s["clientAddress"] for s in trader.get("/api/users/sessions").json()["sessions"]]
    assert sorted(addresses) == ["127.0.0.1"] * 3 + ["127.0.0.7"]
    secret = api_key(trader, ["user:read"], allowedCidrs=["9.9.9.9/32"])
    with grpc.insecure_channel(up.addresses["services"]["user"]) as channel, pytest.raises(grpc.RpcError) as refused:
        metadata = (*forged, ("x-api-key", secret))
        UserServiceStub(channel).GetUser(user_pb2.GetUserRequest(user_id="me"), metadata=metadata, timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
