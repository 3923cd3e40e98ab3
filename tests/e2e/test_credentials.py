"""Credentials: logins, forged and foreign tokens, key rotation, secrets that stay secret."""

import base64
import json
import subprocess
import time
from typing import Any
from uuid import uuid4

import grpc
import httpx
import jwt
import pytest
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from tests.e2e.identity_client import SYMBOL, api_key, bearer, grpc_code, login, name_of
from tests.running import PASSWORD, REDFIRE, Running, reason, until

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
    # On a slow machine one pause may be over by the next attempt, which then makes it longer: never five of them.
    slowed = next(a for _ in range(5) if (a := login(up, name, "wrong-Password-1", "127.0.0.8")).status_code == 429)
    details = {d["@type"].rpartition(".")[2]: d for d in slowed.json()["details"]}
    assert float(details["RetryInfo"]["retryDelay"][:-1]) > 0
    # Neither another case of the name nor a made-up address helps.
    for spoof in (
        {"x-forwarded-for": "9.9.9.9"},
        {"x-envoy-external-address": "9.9.9.9"},
        {"forwarded": "for=9.9.9.9"},
    ):
        assert 429 in [attempt("wrong-Password-1", "127.0.0.8", **spoof) for _ in range(5)], spoof
    assert 429 in [login(up, name.upper(), "wrong-Password-1", "127.0.0.8").status_code for _ in range(5)]
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

    foreign_key = Ed25519PrivateKey.generate()
    return {
        "alg none": f"{part({'alg': 'none', 'typ': 'JWT', 'kid': header['kid']})}.{body}.",
        "alg None with a signature": f"{part({'alg': 'None', 'kid': header['kid']})}.{body}.{signature}",
        "HS256 by the public key": hs256(public),
        "HS256 by the public key's text": hs256(x.encode()),
        "another key": jwt.encode(claims, foreign_key, "EdDSA", headers={"kid": header["kid"]}),
        "another key, its own id": jwt.encode(claims, foreign_key, "EdDSA", headers={"kid": "mine"}),
        "a key of its own in the header": jwt.encode(
            claims,
            foreign_key,
            "EdDSA",
            headers={"kid": header["kid"], "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}},
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
    from services.auth.key_ring import KeyRing

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
        refreshed["accessToken"], refreshed["refreshToken"], (up.data_dir / "edge-secret").read_text().strip(),
    ]  # fmt: skip
    leaks = [(name, text[:6]) for name, written in texts.items() for text in secrets if text in written]
    assert leaks == []


def test_only_the_edge_says_where_a_call_comes_from(up, trader):
    """A caller at a service's own port cannot choose an address: throttles, sessions and keys' networks go by it."""
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
