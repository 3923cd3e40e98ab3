"""Guessing and registering at a service's own port, past the edge: an address has a limit, whatever it says it is."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.reasons import Reason
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.kernel.identifiers import new_id
from services.kernel.rpc.status import from_rpc_error
from services.kernel.rpc.user_limits import AddressBudget, TooManyAttempts
from services.kernel.runtime.kernel_sections import LimitSettings
from tests.harness import Platform, platform

ATTEMPTS = 12


@pytest_asyncio.fixture
async def p() -> AsyncIterator[Platform]:
    # One more each thirty seconds.
    async with platform("auth", "user", settings={"limits": {"auth_calls_per_minute": 2}}) as running:
        yield running


def login(p: Platform, **metadata: str) -> Any:
    request = auth_pb2.LoginRequest(username=f"u{new_id()[-12:]}", password="guess-Horse-1")
    return p.stub(AuthServiceStub, **metadata).Login(request)


def register(p: Platform, **metadata: str) -> Any:
    name = f"u{new_id()[-12:]}"
    request = user_pb2.RegisterUserRequest(username=name, email=f"{name}@example.com", password="correct-Horse-9")
    return p.stub(UserServiceStub, **metadata).RegisterUser(request)


def refresh(p: Platform, **metadata: str) -> Any:
    request = auth_pb2.RefreshTokenRequest(refresh_token="guess")
    return p.stub(AuthServiceStub, **metadata).RefreshToken(request)


def verify_email(p: Platform, **metadata: str) -> Any:
    return p.stub(UserServiceStub, **metadata).VerifyEmail(user_pb2.VerifyEmailRequest(token="guess"))


async def refusals(call: Any, p: Platform, **metadata: str) -> int:
    """The number of attempts that are refused as too many."""
    refused = 0
    for number in range(ATTEMPTS):
        told = {name: value.format(number) for name, value in metadata.items()}
        try:
            await call(p, **told)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                assert from_rpc_error(error).reason == Reason.RATE_LIMITED
                refused += 1
    return refused


@pytest.mark.parametrize("call", [login, register, refresh, verify_email])
async def test_an_address_has_few_attempts_at_a_services_port(p: Platform, call: Any) -> None:
    assert await refusals(call, p) > 0
    # Not by another address in a header, nor as if another replica had counted it: only the edge is believed.
    forged = {"x_envoy_external_address": "192.0.2.{}", "x_redfire_edge": "guess", "x_forwarded_for": "192.0.2.{}"}
    assert await refusals(call, p, **forged) > 0
    assert await refusals(call, p, x_redfire_hop="guess") > 0


async def test_what_comes_by_the_edge_was_counted_there(p: Platform) -> None:
    by_edge = {"x_envoy_external_address": "192.0.2.{}", "x_redfire_edge": p.host.edge_token.value}
    assert await refusals(refresh, p, **by_edge) == 0


async def test_a_user_with_a_token_is_counted_by_address_too(p: Platform) -> None:
    token = (await p.user()).token

    def confirm(p: Platform, **metadata: str) -> Any:
        request = auth_pb2.ConfirmPasswordRequest(password="guess-Horse-1")
        return p.stub(AuthServiceStub, token, **metadata).ConfirmPassword(request)

    assert await refusals(confirm, p) > 0


def test_an_address_has_the_minutes_number_and_one_of_ipv6_its_network() -> None:
    now = [0.0]
    budget = AddressBudget(LimitSettings(auth_calls_per_minute=6), lambda: now[0])
    for host in range(6):
        budget.take(f"2001:db8::{host}")
    with pytest.raises(TooManyAttempts) as refused:
        budget.take("2001:db8::ffff")
    assert refused.value.retry_after_s == 10
    budget.take("2001:db8:0:1::1")
    budget.take("192.0.2.1")
    now[0] = 10.0
    budget.take("2001:db8::1")
    with pytest.raises(TooManyAttempts):
        budget.take("2001:db8::2")
