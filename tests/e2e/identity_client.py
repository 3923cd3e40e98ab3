"""Streams, sign-ins and refusals for tests of identity: everything through the edge."""

import threading
from collections.abc import Callable
from typing import Any

import grpc
import httpx
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from tests.running import Client, Running, reason, until

SYMBOL = "rb2701.SHFE"
TICKS, EVENTS = "/api/market/ticks:stream", "/api/risk/events:stream"
# What ends is refused within a second; a loaded machine gets more.
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


def api_key(client: Client, scopes: list[str], **more: Any) -> str:
    made = client.post("/api/users/apiKeys", {"displayName": "mine", "scopes": scopes, **more})
    assert made.status_code == 200, made.text
    return made.json()["secret"]
