"""Services that call what the contract does not name them for: refused, by the network and within the process."""

from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.message import Message
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub

from services import registry
from services.kernel.errors import Denied, RedFireError
from services.kernel.policy import EVERY_SERVICE, MethodPolicy
from services.kernel.rpc.status import from_rpc_error
from tests.contract.policies import POLICIES
from tests.harness import Platform, platform

CALLERS = (*registry.SERVICES, "verify", "worker:1", "edge", "nobody", "worker", EVERY_SERVICE, "TRADING")
KEYLESS = {EVERY_SERVICE, "TRADING"}
"""No service's names: no key can be made for them."""
GUARDED = [policy for policy in POLICIES if not policy.public]


@pytest.fixture
async def p() -> AsyncIterator[Platform]:
    async with platform(*registry.SERVICES) as running:
        yield running


def strangers(policy: MethodPolicy) -> list[str]:
    """Callers that the contract does not name for an RPC."""
    named = set(registry.SERVICES) if EVERY_SERVICE in policy.callers else set(policy.callers)
    return [who for who in CALLERS if who not in named and (who != "worker:1" or "worker" not in named)]


async def network_answer(p: Platform, policy: MethodPolicy, caller: str) -> RedFireError | None:
    """The error that an empty request meets on the network; None for none within the first message."""
    channel = p.streams.get(policy.service, p.channel) if policy.streams else p.channel
    metadata = p.service_metadata(policy.full_name, caller)
    try:
        if policy.streams:
            call = p.channel.unary_stream(policy.full_name)(b"", timeout=10, metadata=metadata)
            await call.read()
            call.cancel()
        else:
            await channel.unary_unary(policy.full_name)(b"", timeout=10, metadata=metadata)
    except grpc.aio.AioRpcError as failure:
        return from_rpc_error(failure)
    return None


async def local_answer(p: Platform, policy: MethodPolicy, caller: str) -> RedFireError | None:
    """The same of a call within the process."""
    handler = p.host.handlers.by_path[policy.full_name]
    request: Message = handler.request_class()
    channel = p.host.channels.to(policy.service, caller)
    try:
        if policy.streams:
            await anext(channel.unary_stream(policy.full_name)(request))
        else:
            await channel.unary_unary(policy.full_name)(request, timeout=10)
    except RedFireError as error:
        return error
    return None


async def test_every_other_service_is_refused_by_every_rpc(p: Platform) -> None:
    admitted = []
    for policy in GUARDED:
        for caller in strangers(policy):
            for answer in (local_answer,) if caller in KEYLESS else (network_answer, local_answer):
                if not isinstance(await answer(p, policy, caller), Denied):
                    admitted.append((policy.full_name, caller, answer.__name__))
    assert admitted == []


async def test_those_that_are_named_are_not_refused(p: Platform) -> None:
    # With an empty request most of these answer Invalid, or that something is not there: who calls was not the reason.
    refused = []
    for policy in GUARDED:
        for caller in sorted(policy.callers - {EVERY_SERVICE, "worker"}):
            if policy.streams:
                continue
            if isinstance(error := await network_answer(p, policy, caller), Denied):
                refused.append((policy.full_name, caller, error.message))
    assert refused == []


async def test_an_internal_rpc_is_closed_to_users_of_any_role(p: Platform) -> None:
    admin = await p.admin()
    for policy in (policy for policy in POLICIES if policy.internal):
        metadata = [("authorization", f"Bearer {admin.token}")]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            if policy.streams:
                await p.channel.unary_stream(policy.full_name)(b"", timeout=10, metadata=metadata).read()
            else:
                await p.channel.unary_unary(policy.full_name)(b"", timeout=10, metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED, policy.full_name


async def test_strategy_asks_for_no_scope_beyond_its_delegation(p: Platform) -> None:
    """Else a holder of strategy's key would be any user, with all that the user may do."""
    admin = await p.admin()
    for scope in ("admin:all", "user:write", "config:write", "strategy:write", "nonsense"):
        request = auth_pb2.ExchangeTokenRequest(user_id=admin.user_id, scopes=["trading:read", scope])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await p.service_stub(AuthServiceStub, "strategy").ExchangeToken(request)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(Denied):
            await AuthServiceStub(p.host.channels.to("auth", "strategy")).ExchangeToken(request)
    allowed = auth_pb2.ExchangeTokenRequest(user_id=admin.user_id, scopes=["trading:read"])
    assert (await p.service_stub(AuthServiceStub, "strategy").ExchangeToken(allowed)).access_token
