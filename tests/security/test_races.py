"""Many at once with one thing of which there is one: a token, a code, a name, a place below a cap; by the edge and
straight at the services.
"""

import base64
import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.auth.second_factor import totp
from services.kernel.rpc.status import from_rpc_error
from tests.running import PASSWORD, REDFIRE, Client, Running, reason, until

pytestmark = pytest.mark.slow
AT_ONCE, MOST_KEYS = 12, 5
KEY = {"displayName": "k", "scopes": ["trading:read"]}


@pytest.fixture(scope="module")
def up() -> Iterator[Running]:
    environment = {"REDFIRE_AUTH__STEP_UP_S": "86400", "REDFIRE_AUTH__MAX_API_KEYS": str(MOST_KEYS)}
    with Running("--feed", "sim:7", env=environment) as running:
        yield running


@pytest.fixture
def alice(up: Running) -> Client:
    client = up.register("alice" + uuid4().hex[:8])
    client.name = client.get("/api/users/me").json()["user"]["username"]  # type: ignore[attr-defined]
    return client


def at_once(client: Client, path: str, bodies: list[dict[str, Any]]) -> Counter[str]:
    """Outcomes of requests on connections of their own, sent at the same time: `OK`, or the reason."""
    headers = {"authorization": client.http.headers["authorization"]}
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = pool.map(
            lambda body: httpx.post(client.running.url + path, json=body, headers=headers, timeout=60), bodies
        )
        return Counter("OK" if answer.status_code == 200 else reason(answer) for answer in answers)


def at_the_service(up: Running, stub_class: Any, method: str, requests: list[Any]) -> Counter[str]:
    """The same past the edge."""
    with closing(grpc.insecure_channel(up.addresses["services"]["auth"])) as channel:
        calls = [getattr(stub_class(channel), method).future(request, timeout=60) for request in requests]
        outcomes = []
        for call in calls:
            try:
                call.result()
                outcomes.append("OK")
            except grpc.RpcError as error:
                outcomes.append(from_rpc_error(error).reason.name)
        return Counter(outcomes)


def login_of(client: Client, **more: str) -> dict[str, str]:
    return {"username": client.name, "password": PASSWORD, **more}  # type: ignore[attr-defined]


@pytest.mark.parametrize("by_edge", [True, False], ids=["by the edge", "at the service"])
def test_of_many_refreshes_one_wins_and_the_session_ends(up: Running, alice: Client, by_edge: bool) -> None:
    token = alice.tokens["refreshToken"]
    if by_edge:
        outcomes = at_once(alice, "/api/users/refresh", [{"refreshToken": token}] * AT_ONCE)
    else:
        request = auth_pb2.RefreshTokenRequest(refresh_token=token)
        outcomes = at_the_service(up, AuthServiceStub, "RefreshToken", [request] * AT_ONCE)
    assert outcomes["OK"] <= 1 and set(outcomes) <= {"OK", "REFRESH_TOKEN_REUSED", "SESSION_REVOKED"}
    until(lambda: reason(alice.get("/api/users/me")) == "SESSION_REVOKED")


@pytest.mark.parametrize("by_edge", [True, False], ids=["by the edge", "at the service"])
def test_a_name_and_an_address_are_one_users_in_any_case(up: Running, alice: Client, by_edge: bool) -> None:
    name = "dup" + uuid4().hex[:8]
    spellings = [name.upper() if number % 2 else name for number in range(AT_ONCE)]
    names = [{"username": one, "email": f"{uuid4().hex}@example.com", "password": PASSWORD} for one in spellings]
    addresses = [{"username": uuid4().hex, "email": f"{one}@example.com", "password": PASSWORD} for one in spellings]
    for bodies, taken in ((names, "USERNAME_TAKEN"), (addresses, "EMAIL_TAKEN")):
        if by_edge:
            outcomes = at_once(alice, "/api/users/register", bodies)
        else:
            requests = [user_pb2.RegisterUserRequest(**body) for body in bodies]
            outcomes = at_the_service(up, UserServiceStub, "RegisterUser", requests)
        assert outcomes == {"OK": 1, taken: AT_ONCE - 1}


def test_keys_and_accounts_are_no_more_than_a_user_may_have(alice: Client) -> None:
    assert at_once(alice, "/api/users/apiKeys", [KEY] * AT_ONCE)["OK"] == MOST_KEYS
    assert len(alice.get("/api/users/apiKeys").json()["apiKeys"]) == MOST_KEYS


@pytest.mark.timeout(200)
def test_a_code_and_a_recovery_code_are_good_once(up: Running, alice: Client) -> None:
    secret = alice.post("/api/users/totp:enroll").json()["secret"]
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))

    def code() -> str:
        return totp.code_at(key, int(time.time() // totp.STEP_S))

    used = code()
    confirmed = alice.post("/api/users/totp:confirm", {"code": used})
    assert confirmed.status_code == 200, confirmed.text
    first, second, third = confirmed.json()["recoveryCodes"][:3]
    until(lambda: code() != used, timeout_s=60, step_s=0.5)
    outcomes = at_once(alice, "/api/users/login", [login_of(alice, code=code())] * AT_ONCE)
    # Wrong codes are slowed as wrong passwords are, whichever came first.
    assert outcomes["OK"] == 1 and set(outcomes) <= {"OK", "INVALID_CREDENTIALS", "RATE_LIMITED"}
    assert at_once(alice, "/api/users/login", [login_of(alice, code=first)] * AT_ONCE)["OK"] <= 1
    requests = [auth_pb2.LoginRequest(**login_of(alice, code=second))] * AT_ONCE
    assert at_the_service(up, AuthServiceStub, "Login", requests)["OK"] <= 1
    assert at_once(alice, "/api/users/sessions:confirm", [{"password": PASSWORD, "code": third}] * AT_ONCE)["OK"] <= 1


def test_who_leaves_before_the_answer_leaves_a_record_of_what_was_done(up: Running, alice: Client) -> None:
    """Neither a deadline of milliseconds nor a connection that is reset does something unseen."""
    host, _, port = up.addresses["edge"].partition(":")
    sent: dict[str, str] = {}
    for number in range(40):
        name, request_id = uuid4().hex, str(uuid4())
        body = json.dumps({"displayName": name, "kind": "ACCOUNT_KIND_PAPER"}).encode()
        head = (
            f"POST /api/trading/accounts HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
            f"authorization: {alice.http.headers['authorization']}\r\nx-request-id: {request_id}\r\n"
            f"content-length: {len(body)}\r\n"
        )
        if number % 2:
            head += f"grpc-timeout: {number}m\r\n"
        with socket.create_connection((host, int(port)), 20) as connection:
            connection.sendall(head.encode() + b"\r\n" + body)
            if number % 2:
                connection.settimeout(20)
                connection.recv(100)
            else:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sent[name] = request_id
    command = [str(REDFIRE), "audit", "list", "--json", "--page-size", "1000", "--method", "OpenAccount"]
    command += ["--outcome", "OK", "--data-dir", str(up.data_dir)]

    def unseen() -> set[str]:
        done = {one["displayName"] for one in alice.get("/api/trading/accounts?pageSize=1000").json()["accounts"]}
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120, env=up.environment, check=True)
        recorded = {one["request_id"] for one in json.loads(shown.stdout)["records"]}
        return {name for name in done & sent.keys() if sent[name] not in recorded}

    assert unseen() == set()
