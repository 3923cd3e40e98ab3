"""A stolen token or key against the account it is of: keys, e-mail, roles, and what ends with what."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.reasons import Reason
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.kernel.errors import Denied, FailedPrecondition, Invalid, NotFound, Unauthenticated
from services.kernel.identifiers import new_id
from services.user.admin import user_admin
from tests.auth.refusal import refused
from tests.harness import PASSWORD, Platform, User, platform
from tests.security.late_clock import LateClock
from tests.waiting import until

ME = user_pb2.GetUserRequest(user_id="me")
MADE = ["user:read", "user:write"]


@pytest.fixture
def clock() -> LateClock:
    return LateClock()


@pytest_asyncio.fixture
async def p(clock: LateClock) -> AsyncIterator[Platform]:
    async with platform("auth", "user", clock=clock, settings={"auth": {"max_api_keys": 4}}) as running:
        yield running


def create(stub: Any, scopes=("user:read",), **fields: Any) -> Any:
    return stub.CreateApiKey(auth_pb2.CreateApiKeyRequest(display_name="k", scopes=scopes, **fields))


def keys_of(stub: Any) -> Any:
    return stub.ListApiKeys(auth_pb2.ListApiKeysRequest())


def by_key(p: Platform, made: auth_pb2.CreateApiKeyResponse, stub: Any = AuthServiceStub) -> Any:
    return p.stub(stub, x_api_key=made.secret)


def change_email(user: Any, address: str = "thief@example.com") -> Any:
    return user.UpdateUser(user_pb2.UpdateUserRequest(user_id="me", user=user_pb2.User(email=address)))


def confirm(user: User, password: str) -> Any:
    return user.stub(AuthServiceStub).ConfirmPassword(auth_pb2.ConfirmPasswordRequest(password=password))


def in_(**parts: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC) + timedelta(**parts))
    return stamp


async def dead(p: Platform, made: auth_pb2.CreateApiKeyResponse) -> bool:
    try:
        await by_key(p, made, UserServiceStub).GetUser(ME)
    except Exception:
        return True
    return False


@pytest.mark.usefixtures("both_databases")
async def test_a_token_that_was_stolen_later_makes_no_key_and_takes_no_account_over(p: Platform, clock: LateClock):
    alice, admin = await p.user("alice"), await p.admin()
    auth, users = alice.stub(AuthServiceStub), alice.stub(UserServiceStub)
    clock.advance(minutes=16)
    role = user_pb2.SetUserRoleRequest(user_id=alice.user_id, role="admin")
    for call in (create(auth), change_email(users), admin.stub(UserServiceStub).SetUserRole(role)):
        error = await refused(call)
        assert isinstance(error, Denied) and error.reason == Reason.STEP_UP_REQUIRED
        assert error.metadata["remedy"] == "POST /api/users/sessions:confirm"
        assert "ConfirmPassword" in error.message
    # What needs no step-up goes on: also the e-mail as it is.
    changed = await users.UpdateUser(
        user_pb2.UpdateUserRequest(user_id="me", user=user_pb2.User(display_name="A", email="alice@example.com"))
    )
    assert changed.user.display_name == "A"
    assert (await refused(confirm(alice, "wrong-Horse-9"))).reason == Reason.INVALID_CREDENTIALS
    assert (await refused(create(auth))).reason == Reason.STEP_UP_REQUIRED
    ends = (await confirm(alice, PASSWORD)).expire_time.ToDatetime(UTC)
    assert clock.now() + timedelta(minutes=14) < ends <= clock.now() + timedelta(minutes=15)
    await create(auth)
    assert (await change_email(users, "a@example.com")).user.email == "a@example.com"
    # Another session of the same user, also a fresher one, is not this one.
    clock.advance(minutes=16)
    await p.stub(AuthServiceStub).Login(auth_pb2.LoginRequest(username="alice", password=PASSWORD))
    assert (await refused(create(auth))).reason == Reason.STEP_UP_REQUIRED


async def test_the_password_cannot_be_guessed_by_confirming(p: Platform):
    alice = await p.user("alice")
    errors = [await refused(confirm(alice, f"guess-{n}")) for n in range(6)]
    assert [error.reason for error in errors[:5]] == [Reason.INVALID_CREDENTIALS] * 5
    assert errors[5].reason == Reason.RATE_LIMITED
    # Nor does another user's right password help.
    bob = await p.user("bob")
    request = auth_pb2.CheckRecentPasswordRequest(user_id=bob.user_id, session_id=new_id())
    check = p.service_stub(AuthServiceStub, "user").CheckRecentPassword(request)
    assert (await refused(check)).reason == Reason.STEP_UP_REQUIRED


async def test_a_key_has_no_password_so_it_takes_no_account_over(p: Platform):
    admin = await p.admin()
    made = await create(admin.stub(AuthServiceStub), ["admin:all"])
    role = user_pb2.SetUserRoleRequest(user_id=admin.user_id, role="user")
    users, auth = by_key(p, made, UserServiceStub), by_key(p, made)
    for call in (
        change_email(users),
        users.SetUserRole(role),
        auth.ConfirmPassword(auth_pb2.ConfirmPasswordRequest(password=admin.password)),
    ):
        assert (await refused(call)).reason == Reason.STEP_UP_REQUIRED
    assert isinstance(await refused(auth.CheckRecentPassword(auth_pb2.CheckRecentPasswordRequest())), Denied)


async def test_a_key_that_a_key_made_dies_with_its_parent_at_any_depth(p: Platform):
    alice = await p.user("alice")
    parent = await create(alice.stub(AuthServiceStub), MADE)
    child = await create(by_key(p, parent), MADE, expire_time=in_(hours=2))
    grandchild = await create(by_key(p, child), MADE, expire_time=in_(hours=1))
    other = await create(alice.stub(AuthServiceStub), MADE)
    assert grandchild.api_key.parent_api_key_id == child.api_key.api_key_id
    assert other.api_key.parent_api_key_id == ""
    full = await refused(create(alice.stub(AuthServiceStub)))
    assert isinstance(full, FailedPrecondition) and full.reason == Reason.TOO_MANY_API_KEYS
    assert (await refused(create(by_key(p, other)))).reason in (Reason.TOO_MANY_API_KEYS, Reason.PERMISSION_DENIED)
    request = auth_pb2.RevokeApiKeyRequest(api_key_id=parent.api_key.api_key_id)
    await alice.stub(AuthServiceStub).RevokeApiKey(request)
    for made in (parent, child, grandchild):
        await until(lambda made=made: dead(p, made), timeout_s=2)
    assert not await dead(p, other)
    assert isinstance(await refused(create(by_key(p, child))), Unauthenticated)


async def test_a_key_ends_by_itself_and_cannot_be_asked_to_live_for_ever(p: Platform, clock: LateClock):
    alice = await p.user("alice")
    auth = alice.stub(AuthServiceStub)
    made = await create(auth)
    life = made.api_key.expire_time.ToDatetime() - made.api_key.create_time.ToDatetime()
    assert life == timedelta(days=90)
    assert isinstance(await refused(create(auth, expire_time=in_(days=500))), Invalid)
    await create(auth, expire_time=in_(days=399))
    clock.advance(days=91)
    verify = auth_pb2.VerifyApiKeyRequest(secret=made.secret)
    assert isinstance(await refused(p.service_stub(AuthServiceStub, "market").VerifyApiKey(verify)), Unauthenticated)


async def test_another_password_and_the_operators_reset_of_it_end_the_keys(p: Platform):
    alice = await p.user("alice")
    made = await create(alice.stub(AuthServiceStub))
    changed = user_pb2.ChangePasswordRequest(user_id="me", old_password=PASSWORD, new_password="other-Horse-10")
    await alice.stub(UserServiceStub).ChangePassword(changed)
    await until(lambda: dead(p, made), timeout_s=2)
    made = await create(alice.stub(AuthServiceStub))
    async with user_admin(p.folder, p.host.settings) as operator:
        await operator.reset_password("alice", "third-Horse-11")
        assert await operator.sessions_ended()
    await until(lambda: dead(p, made), timeout_s=2)


async def test_another_users_key_and_session_are_not_found_and_stay(p: Platform):
    alice, mallory = await p.user("alice"), await p.user("mallory")
    made = await create(alice.stub(AuthServiceStub))
    session = (await alice.stub(AuthServiceStub).ListSessions(auth_pb2.ListSessionsRequest())).sessions[0]
    thief = await create(mallory.stub(AuthServiceStub), MADE)
    for stub in (mallory.stub(AuthServiceStub), by_key(p, thief)):
        for call in (
            stub.RevokeApiKey(auth_pb2.RevokeApiKeyRequest(api_key_id=made.api_key.api_key_id)),
            stub.RevokeSession(auth_pb2.RevokeSessionRequest(session_id=session.session_id)),
        ):
            assert isinstance(await refused(call), NotFound)
        for listed in (await keys_of(stub)).api_keys:
            assert listed.api_key_id != made.api_key.api_key_id
    users = mallory.stub(UserServiceStub)
    foreign = {"user_id": alice.user_id}
    for call in (
        users.GetUser(user_pb2.GetUserRequest(**foreign)),
        users.UpdateUser(user_pb2.UpdateUserRequest(**foreign, user=user_pb2.User(email="x@example.com"))),
        users.ChangePassword(
            user_pb2.ChangePasswordRequest(**foreign, old_password=PASSWORD, new_password="other-Horse-10")
        ),
    ):
        assert isinstance(await refused(call), NotFound)
    for call in (
        users.SetUserRole(user_pb2.SetUserRoleRequest(user_id=mallory.user_id, role="admin")),
        users.SetUserStatus(user_pb2.SetUserStatusRequest(**foreign, status="USER_STATUS_CLOSED")),
    ):
        assert isinstance(await refused(call), Denied)
    assert not await dead(p, made)


async def test_a_forged_address_opens_no_key_that_is_bound_to_networks(p: Platform):
    alice = await p.user("alice")
    made = await create(alice.stub(AuthServiceStub), allowed_cidrs=["10.0.0.0/8"])
    forged = {"x_forwarded_for": "10.1.2.3", "x_envoy_external_address": "10.1.2.3", "x_redfire_edge": "guess"}
    by_forger = p.stub(UserServiceStub, x_api_key=made.secret, **forged)
    assert isinstance(await refused(by_forger.GetUser(ME)), Unauthenticated)
