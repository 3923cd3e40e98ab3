"""Ending sessions: from one call to everywhere within a second, streams included."""

import asyncio

import grpc
import jwt
import pytest
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.config.v1 import config_pb2
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub
from redfire.reasons import Reason
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.kernel.errors import Denied, NotFound
from services.kernel.rpc.status import from_rpc_error
from tests.auth.refusal import refused
from tests.auth.session import begin, is_dead
from tests.harness import Platform, User, platform
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")


async def suspend(p: Platform, user: User, status: int = user_pb2.USER_STATUS_SUSPENDED) -> None:
    admin = await p.admin()
    await admin.stub(UserServiceStub).SetUserStatus(user_pb2.SetUserStatusRequest(user_id=user.user_id, status=status))


async def test_logout_ends_one_session_within_a_second(p: Platform):
    alice = await p.user("alice")
    other = await begin(p, register=False)
    await alice.stub(AuthServiceStub).Logout(auth_pb2.LogoutRequest())
    await until(lambda: is_dead(p, alice.token), timeout_s=1)
    assert not await is_dead(p, other.access_token)


async def test_logout_of_all_sessions_ends_all_and_nobody_elses(p: Platform):
    alice = await p.user("alice")
    other = await begin(p, register=False)
    bob = await p.user("bob")
    await alice.stub(AuthServiceStub).Logout(auth_pb2.LogoutRequest(all_sessions=True))
    await until(lambda: is_dead(p, alice.token), timeout_s=1)
    await until(lambda: is_dead(p, other.access_token), timeout_s=1)
    assert not await is_dead(p, bob.token)


async def test_sessions_are_listed_newest_first_in_pages_with_the_current_one_marked(p: Platform):
    alice = await p.user("alice")
    bob = await p.user("bob")
    made = [(await begin(p, register=False)).session_id for _ in range(4)]
    stub = alice.stub(AuthServiceStub)
    seen, token = [], ""
    while True:
        answer = await stub.ListSessions(auth_pb2.ListSessionsRequest(page_size=2, page_token=token))
        seen += answer.sessions
        token = answer.next_page_token
        if not token:
            break
        refusal = await refused(
            bob.stub(AuthServiceStub).ListSessions(auth_pb2.ListSessionsRequest(page_size=2, page_token=token))
        )
        assert refusal.reason == Reason.INVALID_PAGE_TOKEN
    assert [s.session_id for s in seen[:4]] == made[::-1]
    assert [s.current for s in seen] == [False] * 4 + [True]
    assert all(s.client_address == "127.0.0.1" and s.user_agent for s in seen)


async def test_a_session_is_ended_by_its_owner_only(p: Platform):
    alice, bob = await p.user("alice"), await p.user("bob")
    mine = (await alice.stub(AuthServiceStub).ListSessions(auth_pb2.ListSessionsRequest())).sessions[0].session_id
    request = auth_pb2.RevokeSessionRequest(session_id=mine)
    assert isinstance(await refused(bob.stub(AuthServiceStub).RevokeSession(request)), NotFound)
    assert not await is_dead(p, alice.token)
    other = await begin(p, register=False)
    await p.stub(AuthServiceStub, other.access_token).RevokeSession(request)
    await until(lambda: is_dead(p, alice.token), timeout_s=1)
    assert isinstance(await refused(p.stub(AuthServiceStub, other.access_token).RevokeSession(request)), NotFound)


async def test_suspension_ends_sessions_keys_and_running_streams_within_a_second():
    async with platform("auth", "user", "config") as p:
        alice = await p.user("alice", role="admin")
        key = await alice.stub(AuthServiceStub).CreateApiKey(
            auth_pb2.CreateApiKeyRequest(display_name="k", scopes=["user:read", "config:read"])
        )
        request = config_pb2.WatchConfigsRequest(environment="development", service_name="trading")
        streams = [
            alice.stub(ConfigServiceStub).WatchConfigs(request, timeout=None),
            p.stub(ConfigServiceStub, x_api_key=key.secret).WatchConfigs(request, timeout=None),
        ]
        for stream in streams:
            await stream.read()
        ends = [asyncio.ensure_future(_to_its_end(stream)) for stream in streams]
        await suspend(p, alice)
        for failure in await asyncio.wait_for(asyncio.gather(*ends), 1):
            assert failure.reason == Reason.SESSION_REVOKED
        await until(lambda: is_dead(p, alice.token), timeout_s=1)
        error = await refused(
            p.stub(UserServiceStub, x_api_key=key.secret).GetUser(user_pb2.GetUserRequest(user_id="me"))
        )
        assert error.reason in (Reason.SESSION_REVOKED, Reason.UNAUTHENTICATED)


async def _to_its_end(stream):
    try:
        while await stream.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as failure:
        return from_rpc_error(failure)
    raise AssertionError("the stream ended without an error")


async def test_an_exchanged_token_has_only_the_scopes_that_user_and_request_share(p: Platform):
    alice = await p.user("alice", role="trader")
    auth = p.service_stub(AuthServiceStub, "strategy")
    answer = await auth.ExchangeToken(
        auth_pb2.ExchangeTokenRequest(user_id=alice.user_id, scopes=["trading:read", "trading:write"])
    )
    assert answer.expires_in == 900
    claims = jwt.decode(answer.access_token, options={"verify_signature": False})
    assert claims["scope"] == "trading:read trading:write"
    logout = p.stub(AuthServiceStub, answer.access_token).Logout(auth_pb2.LogoutRequest())
    assert isinstance(await refused(logout), Denied)
    reader = await p.user("reader", role="user")
    nothing = auth.ExchangeToken(auth_pb2.ExchangeTokenRequest(user_id=reader.user_id, scopes=["trading:write"]))
    assert isinstance(await refused(nothing), Denied)


async def test_an_exchanged_token_dies_with_a_suspension_and_is_good_again_after_it(p: Platform):
    alice = await p.user("alice", role="trader")
    auth = p.service_stub(AuthServiceStub, "strategy")
    request = auth_pb2.ExchangeTokenRequest(user_id=alice.user_id, scopes=["trading:read"])
    first = await auth.ExchangeToken(request)
    await suspend(p, alice)
    await until(lambda: is_dead(p, first.access_token), timeout_s=1)
    assert (await refused(auth.ExchangeToken(request))).reason == Reason.ACCOUNT_INACTIVE
    await suspend(p, alice, user_pb2.USER_STATUS_ACTIVE)
    second = await auth.ExchangeToken(request)
    assert not await is_dead(p, second.access_token)
    assert await is_dead(p, first.access_token)


async def test_a_users_logout_leaves_exchanged_tokens_alone(p: Platform):
    alice = await p.user("alice")
    exchanged = await p.service_stub(AuthServiceStub, "strategy").ExchangeToken(
        auth_pb2.ExchangeTokenRequest(user_id=alice.user_id, scopes=["trading:read"])
    )
    await alice.stub(AuthServiceStub).Logout(auth_pb2.LogoutRequest(all_sessions=True))
    await until(lambda: is_dead(p, alice.token), timeout_s=1)
    assert not await is_dead(p, exchanged.access_token)


async def test_revocations_come_as_snapshot_mark_and_as_they_happen_with_heartbeats(p: Platform):
    first, second = await p.user("alice"), await p.user("bob")
    await first.stub(AuthServiceStub).Logout(auth_pb2.LogoutRequest())
    stream = p.service_stub(AuthServiceStub, "trading").WatchRevocations(
        auth_pb2.WatchRevocationsRequest(), timeout=None
    )
    ended = _session_id(first.token)
    before = await stream.read()
    assert before.revocation.id == ended
    claims = jwt.decode(first.token, options={"verify_signature": False})
    assert abs(before.revocation.expire_time.seconds - claims["exp"]) <= 1
    assert (await stream.read()).snapshot_complete
    # What was revoked just before may come twice: replicas read each other's revocations, and their own.
    while not (message := await asyncio.wait_for(stream.read(), 3)).HasField("heartbeat"):
        assert message.revocation.id == ended
    await second.stub(AuthServiceStub).Logout(auth_pb2.LogoutRequest())

    async def next_revocation() -> str:
        while True:
            message = await stream.read()
            if message.HasField("revocation"):
                return message.revocation.id

    assert await asyncio.wait_for(next_revocation(), 1) == _session_id(second.token)
    stream.cancel()


async def test_internal_rpcs_are_for_services_only(p: Platform):
    admin = await p.admin()
    auth = admin.stub(AuthServiceStub)
    for call in (
        auth.ExchangeToken(auth_pb2.ExchangeTokenRequest(user_id=admin.user_id, scopes=["user:read"])),
        auth.VerifyApiKey(auth_pb2.VerifyApiKeyRequest(secret="x")),
        auth.RevokeUserSessions(auth_pb2.RevokeUserSessionsRequest(user_id=admin.user_id)),
    ):
        assert isinstance(await refused(call), Denied)


def _session_id(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["sid"])
