"""The quotas of the contract on a running platform: by class, by caller, with headers and a readable refusal."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import grpc
import httpx
import pytest
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from tests.edge.answers import error_of, reason_of
from tests.running import PASSWORD, Client, Running

ME, PREVIEW = "/api/users/me", "/api/trading/orders:preview"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(data_dir=tmp_path_factory.mktemp("limited") / "data", limits="on") as running:
        yield running


def user(running: Running, address: str) -> Client:
    """A new user; logins count by address, so each has one of its own."""
    client = running.client()
    client.http = httpx.Client(base_url=running.url, transport=httpx.HTTPTransport(local_address=address), timeout=20)
    name = "u" + uuid4().hex[:12]
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    assert client.post("/api/users/register", body).status_code == 200
    client.login(name, PASSWORD)
    return client


def statuses(client: Client, verb: str, path: str, times: int) -> list[int]:
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda _: client.http.request(verb, path, json={} if verb == "POST" else None), range(times))
        )
    for answer in answers:
        assert answer.headers["x-ratelimit-limit"]
        if answer.status_code == 429:
            assert error_of(answer)["code"] == 8
            assert reason_of(answer) == "RATE_LIMITED"
            assert any(d["@type"].endswith("RetryInfo") for d in answer.json()["details"])
    return [answer.status_code for answer in answers]


def test_classes_are_counted_apart_and_callers_too(limited):
    alice, bob = user(limited, "127.0.1.1"), user(limited, "127.0.1.2")
    first = alice.get(ME)
    assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("100", "99")
    assert 0 <= int(first.headers["x-ratelimit-reset"]) <= 60
    codes = statuses(alice, "GET", ME, 120)
    # Buckets fill all the time, a hundredth of a minute's calls each 0.6 s.
    assert 99 <= codes.count(200) <= 110
    assert codes.count(429) == 120 - codes.count(200)
    assert 429 in statuses(alice, "GET", "/api/market/instruments", 5)
    # Trading is another class: a caller whose reads are refused can still trade.
    codes = statuses(alice, "POST", PREVIEW, 350)
    assert 300 <= codes.count(400) <= 330
    assert codes.count(429) == 350 - codes.count(400)
    assert bob.get(ME).headers["x-ratelimit-remaining"] == "99"
    # By gRPC the same quota counts.
    with limited.channel() as channel, pytest.raises(grpc.RpcError) as refused:
        for _ in range(10):
            metadata = [("authorization", f"Bearer {alice.token}")]
            UserServiceStub(channel).GetUser(user_pb2.GetUserRequest(user_id="me"), metadata=metadata, timeout=5)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_another_session_or_claimed_address_gives_no_new_quota(limited):
    client = user(limited, "127.0.1.3")
    name = client.get(ME).json()["user"]["username"]
    assert 429 in statuses(client, "GET", ME, 110)
    client.login(name, PASSWORD)
    assert 429 in statuses(client, "GET", ME, 5)
    for claimed in (
        "x-forwarded-for",
        "x-redfire-caller",
        "x-redfire-subject",
        "x-api-key",
        "x-envoy-external-address",
    ):
        codes = [client.http.get(ME, headers={claimed: f"9.9.9.{i}"}).status_code for i in range(5)]
        assert 429 in codes, claimed


def test_logins_are_counted_by_address_whatever_the_username(limited):
    def login(address: str, **headers: str) -> int:
        with httpx.Client(transport=httpx.HTTPTransport(local_address=address), base_url=limited.url) as http:
            body = {"username": "n" + uuid4().hex[:12], "password": PASSWORD}
            return http.post("/api/users/login", json=body, headers=headers).status_code

    codes = []
    while 429 not in codes:
        codes.append(login("127.0.1.4"))
        # Buckets fill all the time, by one a second; and who tries a hundred names is slowed by auth.
        assert len(codes) < 100
    assert codes == [401] * (len(codes) - 1) + [429]
    assert len(codes) > 60
    assert 429 in [login("127.0.1.4", **{"x-forwarded-for": f"9.9.9.{n}"}) for n in range(5)]
    assert login("127.0.1.5") == 401


def test_what_operators_ask_is_not_counted(limited):
    for path in ("/healthz", "/openapi.json"):
        for _ in range(3):
            answer = httpx.get(limited.url + path)
            assert answer.status_code == 200
            assert "x-ratelimit-limit" not in answer.headers
