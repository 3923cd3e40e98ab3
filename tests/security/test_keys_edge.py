"""Through the edge: step-up by REST and gRPC, answers that nobody stores, config that runs no code, forged addresses.

The platform's own tests turn the clock; here the time of a step-up is as short as a setting allows.
"""

import json
from collections.abc import Iterator
from uuid import uuid4

import grpc
import pytest
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.reasons import Reason

from services.kernel.rpc.status import from_rpc_error
from tests.running import PASSWORD, Client, Running, reason, until

pytestmark = pytest.mark.slow
STEP_UP_S = 30


@pytest.fixture(scope="module")
def up() -> Iterator[Running]:
    with Running("--feed", "sim:7", env={"REDFIRE_AUTH__STEP_UP_S": str(STEP_UP_S)}) as running:
        yield running


def new_key(client: Client, **more: object) -> object:
    return client.post("/api/users/apiKeys", {"displayName": "k", "scopes": ["user:read", "user:write"], **more})


@pytest.mark.timeout(400)
def test_a_step_up_is_asked_for_and_given_by_rest_and_grpc(up: Running):
    alice, admin = up.register("alice" + uuid4().hex[:8]), up.admin()
    metadata = (("authorization", f"Bearer {alice.token}"),)
    request = auth_pb2.CreateApiKeyRequest(display_name="k", scopes=["user:read"])

    def asked() -> bool:
        return reason(new_key(alice)) == "STEP_UP_REQUIRED"

    until(asked, timeout_s=300, step_s=2)
    answer = new_key(alice)
    details = next(d for d in answer.json()["details"] if "reason" in d)
    assert (answer.status_code, details["metadata"]["remedy"]) == (403, "POST /api/users/sessions:confirm")
    with up.channel() as channel:
        stub = AuthServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.CreateApiKey(request, metadata=metadata, timeout=20)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert from_rpc_error(caught.value).reason == Reason.STEP_UP_REQUIRED
        for path, body in (
            ("/api/users/me", {"user": {"email": "thief@example.com"}}),
            (f"/api/users/{admin.user_id}/role", {"role": "user"}),
            ("/api/users/me:changePassword", {"oldPassword": PASSWORD, "newPassword": "thiefs-Horse-10"}),
        ):
            client = admin if "role" in body else alice
            until(lambda client=client, path=path, body=body: refusal(client, path, body) == "STEP_UP_REQUIRED", 60, 2)
        wrong = alice.post("/api/users/sessions:confirm", {"password": "wrong-Horse-9"})
        assert (wrong.status_code, reason(wrong)) == (401, "INVALID_CREDENTIALS")
        confirmed = alice.post("/api/users/sessions:confirm", {"password": PASSWORD})
        assert confirmed.status_code == 200 and "expireTime" in confirmed.json()
        assert stub.CreateApiKey(request, metadata=metadata, timeout=20).secret
    assert new_key(alice).status_code == 200


def refusal(client: Client, path: str, body: dict) -> str:
    send = client.put if "role" in body else client.post if "newPassword" in body else client.patch
    answer = send(path, body)
    return reason(answer) if answer.status_code != 200 else ""


def test_answers_with_tokens_and_secrets_are_stored_by_nobody(up: Running):
    name = "bob" + uuid4().hex[:8]
    bob = up.register(name)
    login = bob.post("/api/users/login", {"username": name, "password": PASSWORD})
    refreshed = bob.post("/api/users/refresh", {"refreshToken": login.json()["refreshToken"]})
    key = new_key(bob)
    for answer in (login, refreshed, key, bob.get("/api/users/me"), bob.post("/api/users/totp:enroll")):
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
    assert bob.get("/.well-known/jwks.json").headers.get("cache-control") != "no-store"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""])
def test_a_cross_site_form_registers_and_logs_nobody_in(up: Running, content_type: str):
    name = "form" + uuid4().hex[:8]
    body = json.dumps({"username": name, "email": f"{name}@example.com", "password": PASSWORD})
    headers = {"content-type": content_type} if content_type else {}
    for path in ("/api/users/register", "/api/users/login"):
        answer = up.client().http.post(path, content=body, headers=headers)
        assert answer.status_code in (400, 415), answer.text
    answer = up.client().post("/api/users/login", {"username": name, "password": PASSWORD})
    assert reason(answer) == "INVALID_CREDENTIALS"


def test_config_names_no_folder_to_run_code_from_and_keeps_no_secret(up: Running):
    admin = up.admin()
    for path, value in (
        ("strategy/strategies_dir", "/tmp"),
        ("engine/gateways", {"X": {"module": "os", "class": "system"}}),
        ("shop/smtp", {"密码": "hunter2"}),
        ("shop/smtp", {"login": {"pwd": 12345678}}),
        ("shop/url", "HTTPS://me:hunter2@example.com"),
    ):
        answer = admin.put(f"/api/config/development/{path}", {"value": value})
        assert (answer.status_code, reason(answer)) == (400, "INVALID_FIELD"), answer.text
        assert "hunter2" not in answer.text
    for value in ("one", "two"):
        assert admin.put("/api/config/development/shop/greeting", {"value": value}).status_code == 200
    trader = up.register("t" + uuid4().hex[:8])
    purge = "/api/config/development/shop/greeting:purge"
    assert trader.post(purge).status_code == 403
    assert admin.post(purge).json() == {"count": 1}
    versions = admin.get("/api/config/development/shop/greeting/versions").json()["versions"]
    assert [version.get("value") for version in versions] == ["two", None]


def test_a_forged_address_opens_no_key_of_other_networks(up: Running):
    alice = up.register("alice" + uuid4().hex[:8])
    made = new_key(alice, allowedCidrs=["10.0.0.0/8"]).json()
    own = new_key(alice, allowedCidrs=["127.0.0.0/8"]).json()
    for headers in (
        {},
        {"x-forwarded-for": "10.1.2.3"},
        {"x-envoy-external-address": "10.1.2.3", "x-redfire-edge": "guess", "forwarded": "for=10.1.2.3"},
    ):
        assert up.client(**{"x-api-key": made["secret"], **headers}).get("/api/users/me").status_code == 401
        assert up.client(**{"x-api-key": own["secret"], **headers}).get("/api/users/me").status_code == 200
