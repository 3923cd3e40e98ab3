"""A user's limits hold whatever keys, sessions and replicas the calls come by."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.market.v1 import calendar_service_pb2, calendar_service_pb2_grpc
from redfire.trading.v1 import order_service_pb2, order_service_pb2_grpc
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.kernel.identifiers import new_id
from services.kernel.rpc.user_limits import CallBudget, TooManyCalls
from services.kernel.runtime.kernel_sections import LimitSettings
from tests.edge.answers import grpc_reason_of
from tests.harness import FakeService, Platform, complete, platform
from tests.kernel.redis.shared_redis import connected
from tests.redis_server import RedisServer

TOO_MANY = grpc.StatusCode.RESOURCE_EXHAUSTED
ME = user_pb2.GetUserRequest(user_id="me")


def by_edge(p: Platform, address: str = "192.0.2.1") -> dict[str, str]:
    """Metadata of a call that came by the edge."""
    return {"x_redfire_edge": p.host.edge_token.value, "x_envoy_external_address": address}


async def code_of(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            assert grpc_reason_of(error) == "RATE_LIMITED"
        return error.code()
    return grpc.StatusCode.OK


async def test_twelve_keys_have_one_quota() -> None:
    async with platform("auth", "user", settings={"limits": {"calls_per_minute": 1}}) as p:
        alice, bob = await p.user("alice"), await p.user("bob")
        keys = [
            await alice.stub(AuthServiceStub).CreateApiKey(
                auth_pb2.CreateApiKeyRequest(display_name=f"key {n}", scopes=["user:read"])
            )
            for n in range(12)
        ]
        stubs = [
            p.stub(UserServiceStub, x_api_key=key.secret, **by_edge(p, f"192.0.2.{n}")) for n, key in enumerate(keys)
        ]
        codes = [await code_of(stub.GetUser(ME)) for stub in stubs]
        # One a minute, for as many minutes as this takes.
        assert codes[0] is not TOO_MANY and codes.count(TOO_MANY) >= 8
        # A session has none of its own either, but another user has; and who does not come by the edge needs none.
        assert await code_of(p.stub(UserServiceStub, alice.token, **by_edge(p)).GetUser(ME)) is TOO_MANY
        assert await code_of(p.stub(UserServiceStub, bob.token, **by_edge(p)).GetUser(ME)) is grpc.StatusCode.OK
        assert await code_of(alice.stub(UserServiceStub).GetUser(ME)) is grpc.StatusCode.OK


@complete
class Orders(order_service_pb2_grpc.OrderServiceServicer):
    """Streams that never end."""

    async def StreamOrders(self, request: Any, call: Any) -> AsyncIterator[Any]:
        yield order_service_pb2.StreamOrdersResponse(sequence=1)
        await asyncio.Event().wait()


@complete
class Calendar(calendar_service_pb2_grpc.CalendarServiceServicer):
    """The same, for everybody."""

    async def StreamSessions(self, request: Any, call: Any) -> AsyncIterator[Any]:
        yield calendar_service_pb2.StreamSessionsResponse()
        await asyncio.Event().wait()


LIMITS: dict[str, Any] = {"streams": 3, "streams_by_role": {"trader": 5}, "anonymous_streams": 2}


async def is_open(stream: Any) -> bool:
    """Test that a stream's first message comes; one that is refused says why."""
    try:
        return await stream.read() is not grpc.aio.EOF
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert grpc_reason_of(error) == "OVERLOADED"
        return False


async def test_a_user_has_so_many_streams_as_the_role_may() -> None:
    fakes = {"trading": FakeService(lambda _: [Orders()])}
    async with platform(fakes=fakes, settings={"limits": LIMITS}) as p:
        for role, most in (("trader", 5), ("user", 3)):
            user_id = new_id()

            def stream(session: str, user_id: str = user_id, role: str = role) -> Any:
                token = p.mint.token(user_id, role, session_id=session)
                stub = p.stub(order_service_pb2_grpc.OrderServiceStub, token, **by_edge(p))
                return stub.StreamOrders(order_service_pb2.StreamOrdersRequest(), timeout=None)

            streams = [stream(new_id()) for _ in range(most + 2)]
            are_open = [await is_open(one) for one in streams]
            assert sum(are_open) == most
            streams[are_open.index(True)].cancel()

            async def opens_again(stream: Any = stream) -> bool:
                return await is_open(stream(new_id()))

            async with asyncio.timeout(30):
                while not await opens_again():
                    await asyncio.sleep(0.05)


async def test_an_address_without_a_user_has_few_streams_of_its_network() -> None:
    fakes = {"market": FakeService(lambda _: [Calendar()])}
    async with platform(fakes=fakes, settings={"limits": LIMITS}) as p:

        def stream(address: str) -> Any:
            stub = p.stub(calendar_service_pb2_grpc.CalendarServiceStub, **by_edge(p, address))
            request = calendar_service_pb2.StreamSessionsRequest(symbols=["rb2701.SHFE"])
            return stub.StreamSessions(request, timeout=None)

        household = [stream(f"2001:db8:1:2::{n}") for n in range(1, 5)]
        assert sum([await is_open(one) for one in household]) == 2
        other = stream("2001:db8:1:3::1")
        assert await is_open(other)


async def test_replicas_count_a_users_streams_together(redis_server: RedisServer) -> None:
    # A machine that is busy must not count as a Redis that is away, without which each counts its own.
    settings = {"limits": LIMITS, "redis": {"url": redis_server.url, "timeout_s": 10}}
    user_id = new_id()
    async with AsyncExitStack() as stack:
        fakes = {"trading": FakeService(lambda _: [Orders()])}
        replicas = [await stack.enter_async_context(platform(fakes=fakes, settings=settings)) for _ in range(2)]

        def stream(p: Platform) -> Any:
            token = p.mint.token(user_id, "trader", session_id=new_id())
            stub = p.stub(order_service_pb2_grpc.OrderServiceStub, token, **by_edge(p))
            return stub.StreamOrders(order_service_pb2.StreamOrdersRequest(), timeout=None)

        streams = [stream(replicas[n % 2]) for n in range(8)]
        are_open = [await is_open(one) for one in streams]
        assert sum(are_open) == LIMITS["streams_by_role"]["trader"]
        # What ends at one replica is free at the other one.
        streams[are_open.index(True)].cancel()
        async with asyncio.timeout(30):
            while not await is_open(stream(replicas[1])):
                await asyncio.sleep(0.05)
        # Without Redis each counts its own: nobody is refused for that it is away.
        redis_server.stop()
        assert await is_open(stream(replicas[0]))


async def test_replicas_count_a_users_calls_together(redis_server: RedisServer) -> None:
    limits = LimitSettings(trading_calls_per_minute=20, all_calls_per_minute=1000)
    now = 7.0
    here, there = (CallBudget(limits, lambda: now, lambda: now) for _ in range(2))
    async with connected(redis_server.url) as redis:
        for _ in range(15):
            here.take("alice", "trading")
        for replica in (here, there):
            await replica.sync(redis)
        there.take("alice", "trading")
        await there.sync(redis)
        for _ in range(4):
            there.take("alice", "trading")
        with pytest.raises(TooManyCalls) as refused:
            there.take("alice", "trading")
        assert refused.value.retry_after_s == 3.0
        there.take("bob", "trading")
