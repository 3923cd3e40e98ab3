"""Refreshing: tokens rotate, and one that is used twice ends its session."""

import asyncio

import grpc
import jwt
import pytest
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.reasons import Reason
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.kernel.errors import Unauthenticated
from services.kernel.rpc.status import from_rpc_error
from tests.auth.refusal import refused
from tests.auth.session import begin, is_dead, refresh
from tests.harness import Platform, platform
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")


async def test_refreshing_gives_new_tokens_of_the_same_session(p: Platform):
    first = await begin(p)
    second = await refresh(p, first.refresh_token)
    assert second.session_id == first.session_id
    assert second.refresh_token != first.refresh_token
    assert second.access_token != first.access_token
    third = await refresh(p, second.refresh_token)
    for token in (first.access_token, second.access_token, third.access_token):
        assert not await is_dead(p, token)


async def test_a_used_refresh_token_ends_its_whole_session_and_no_other(p: Platform):
    first = await begin(p)
    other = await begin(p, register=False)
    second = await refresh(p, first.refresh_token)
    error = await refused(refresh(p, first.refresh_token))
    assert isinstance(error, Unauthenticated)
    assert error.reason == Reason.REFRESH_TOKEN_REUSED
    await until(lambda: is_dead(p, second.access_token), timeout_s=1)
    await until(lambda: is_dead(p, first.access_token), timeout_s=1)
    # The one that was never used is no good either.
    assert (await refused(refresh(p, second.refresh_token))).reason == Reason.SESSION_REVOKED
    assert not await is_dead(p, other.access_token)
    await refresh(p, other.refresh_token)


async def test_of_many_who_refresh_at_once_one_wins_and_the_session_ends(p: Platform):
    first = await begin(p)
    answers = await asyncio.gather(*(refresh(p, first.refresh_token) for _ in range(6)), return_exceptions=True)
    won = [a for a in answers if not isinstance(a, BaseException)]
    assert len(won) == 1
    reasons = {from_rpc_error(a).reason for a in answers if isinstance(a, grpc.aio.AioRpcError)}
    assert reasons == {Reason.REFRESH_TOKEN_REUSED}
    await until(lambda: is_dead(p, won[0].access_token), timeout_s=1)


async def test_nonsense_is_no_refresh_token(p: Platform):
    error = await refused(refresh(p, "nonsense"))
    assert isinstance(error, Unauthenticated)


async def test_a_refreshed_token_has_the_present_role_until_then_the_session_is_ended(p: Platform):
    tokens = await begin(p)
    user_id = jwt.decode(tokens.access_token, options={"verify_signature": False})["sub"]
    admin = await p.admin()
    await admin.stub(UserServiceStub).SetUserRole(user_pb2.SetUserRoleRequest(user_id=user_id, role="trader"))
    assert (await refused(refresh(p, tokens.refresh_token))).reason == Reason.SESSION_REVOKED
    again = await begin(p, register=False)
    assert jwt.decode(again.access_token, options={"verify_signature": False})["role"] == "trader"


async def test_a_suspended_user_refreshes_nothing(p: Platform):
    tokens = await begin(p)
    user_id = jwt.decode(tokens.access_token, options={"verify_signature": False})["sub"]
    admin = await p.admin()
    await admin.stub(UserServiceStub).SetUserStatus(
        user_pb2.SetUserStatusRequest(user_id=user_id, status=user_pb2.USER_STATUS_SUSPENDED)
    )
    error = await refused(refresh(p, tokens.refresh_token))
    assert error.reason in (Reason.SESSION_REVOKED, Reason.ACCOUNT_INACTIVE)


async def test_lives_of_tokens_are_settings():
    async with platform("auth", "user", settings={"auth": {"access_token_s": 60, "refresh_token_s": 120}}) as p:
        tokens = await begin(p)
        assert (tokens.expires_in, tokens.refresh_expires_in) == (60, 120)


async def test_sessions_survive_a_restart(tmp_path):
    async with platform("auth", "user", data_dir=tmp_path) as p:
        first = await begin(p)
        ended = await begin(p, register=False)
        await p.stub(AuthServiceStub, ended.access_token).Logout(auth_pb2.LogoutRequest())
    async with platform("auth", "user", data_dir=tmp_path) as p:
        # Also what was revoked is still known after it.
        await until(lambda: is_dead(p, ended.access_token), timeout_s=1)
        assert not await is_dead(p, first.access_token)
        await refresh(p, first.refresh_token)
