"""Administration of users, and that one administrator always remains."""

import asyncio

import grpc
import pytest
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.reasons import Reason
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.kernel.errors import Denied, FailedPrecondition, NotFound
from services.kernel.identifiers import new_id
from services.kernel.rpc.status import from_rpc_error
from tests.auth.refusal import refused
from tests.auth.session import begin, is_dead
from tests.harness import Platform, User, platform
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")

ACTIVE, SUSPENDED, CLOSED = (
    user_pb2.USER_STATUS_ACTIVE,
    user_pb2.USER_STATUS_SUSPENDED,
    user_pb2.USER_STATUS_CLOSED,
)


def set_status(admin: User, user: User, status: int):
    request = user_pb2.SetUserStatusRequest(user_id=user.user_id, status=status)
    return admin.stub(UserServiceStub).SetUserStatus(request)


def set_role(admin: User, user: User, role: str):
    return admin.stub(UserServiceStub).SetUserRole(user_pb2.SetUserRoleRequest(user_id=user.user_id, role=role))


async def list_users(admin: User, **fields) -> list[str]:
    names, token = [], ""
    while True:
        answer = await admin.stub(UserServiceStub).ListUsers(user_pb2.ListUsersRequest(page_token=token, **fields))
        names += [user.username for user in answer.users]
        token = answer.next_page_token
        if not token:
            return names


async def test_users_are_listed_newest_first_in_pages_and_by_filters(p: Platform):
    for name in ("alice", "bob", "carol_x"):
        await p.user(name)
    await p.user("dave", role="trader")
    admin = await p.admin()
    assert await list_users(admin, page_size=2) == ["dave", "carol_x", "bob", "alice", "admin"]
    assert await list_users(admin, query="ALICE@ex") == ["alice"]
    assert await list_users(admin, query="_") == ["carol_x"]
    assert await list_users(admin, query="%") == []
    assert await list_users(admin, role="trader") == ["dave"]
    assert await list_users(admin, status=SUSPENDED) == []


async def test_only_admins_administrate(p: Platform):
    alice, trader = await p.user("alice"), await p.user("bob", role="trader")
    for caller in (alice, trader):
        assert isinstance(await refused(set_role(caller, caller, "admin")), Denied)
        assert isinstance(await refused(set_status(caller, alice, CLOSED)), Denied)
        assert isinstance(await refused(caller.stub(UserServiceStub).ListUsers(user_pb2.ListUsersRequest())), Denied)


async def test_a_suspended_user_is_out_within_a_second_and_back_after_it(p: Platform):
    alice, admin = await p.user("alice"), await p.admin()
    assert (await set_status(admin, alice, SUSPENDED)).user.status == SUSPENDED
    await until(lambda: is_dead(p, alice.token), timeout_s=1)
    await set_status(admin, alice, ACTIVE)
    assert not await is_dead(p, (await begin(p, register=False)).access_token)
    assert await is_dead(p, alice.token)


async def test_a_closed_user_stays_closed(p: Platform):
    alice, admin = await p.user("alice"), await p.admin()
    await set_status(admin, alice, CLOSED)
    await set_status(admin, alice, CLOSED)
    assert (await refused(set_status(admin, alice, ACTIVE))).reason == Reason.ACCOUNT_INACTIVE


async def test_another_role_ends_the_sessions_with_the_old_one(p: Platform):
    alice, admin = await p.user("alice"), await p.admin()
    assert (await set_role(admin, alice, "trader")).user.role == "trader"
    await until(lambda: is_dead(p, alice.token), timeout_s=1)
    again = await begin(p, register=False)
    await set_role(admin, alice, "trader")
    assert not await is_dead(p, again.access_token)


async def test_the_last_active_admin_stays_one(p: Platform):
    admin = await p.admin()
    for refusal in (
        await refused(set_role(admin, admin, "user")),
        await refused(set_status(admin, admin, SUSPENDED)),
        await refused(set_status(admin, admin, CLOSED)),
    ):
        assert isinstance(refusal, FailedPrecondition)
    second = await p.user("second", role="admin")
    await set_status(admin, second, SUSPENDED)
    assert isinstance(await refused(set_role(admin, admin, "user")), FailedPrecondition)
    await set_status(admin, second, ACTIVE)
    await set_role(admin, admin, "user")


async def test_admins_who_demote_each_other_at_once_leave_one(p: Platform):
    first, second = await p.admin(), await p.user("second", role="admin")
    answers = await asyncio.gather(
        set_role(first, second, "user"), set_role(second, first, "user"), return_exceptions=True
    )
    assert sum(isinstance(a, user_pb2.SetUserRoleResponse) for a in answers) == 1
    failure = next(a for a in answers if isinstance(a, grpc.aio.AioRpcError))
    assert isinstance(from_rpc_error(failure), FailedPrecondition)


async def test_nobody_is_not_found(p: Platform):
    admin = await p.admin()
    nobody = User(p, new_id(), "")
    assert isinstance(await refused(set_role(admin, nobody, "user")), NotFound)
    assert isinstance(await refused(set_status(admin, nobody, SUSPENDED)), NotFound)


async def test_sessions_end_though_auth_did_not_answer_at_first(monkeypatch):
    from services.auth.service import SessionService
    from services.kernel.errors import Unavailable

    revoke = SessionService.revoke_user_sessions
    calls = []

    async def unreachable_twice(self: SessionService, *args):
        calls.append(args)
        if len(calls) < 3:
            raise Unavailable("auth is away")
        await revoke(self, *args)

    async with platform("auth", "user") as p:
        alice, admin = await p.user("alice"), await p.admin()
        monkeypatch.setattr(SessionService, "revoke_user_sessions", unreachable_twice)
        await set_status(admin, alice, SUSPENDED)
        await until(lambda: is_dead(p, alice.token), timeout_s=3)
        assert len(calls) == 3


async def test_verify_and_lookup_are_for_services_only(p: Platform):
    admin = await p.admin()
    stub = admin.stub(UserServiceStub)
    for call in (
        stub.VerifyPassword(user_pb2.VerifyPasswordRequest(username="admin", password=admin.password)),
        stub.LookupUser(user_pb2.LookupUserRequest(user_id=admin.user_id)),
    ):
        assert isinstance(await refused(call), Denied)
    looked_up = await p.service_stub(UserServiceStub, "auth").LookupUser(
        user_pb2.LookupUserRequest(user_id=admin.user_id)
    )
    assert looked_up.user.username == "admin"


@pytest.mark.parametrize("role", ["guest", "user", "trader"])
async def test_a_token_permits_what_its_role_permits(p: Platform, role):
    alice = await p.user("alice", role=role)
    await alice.stub(UserServiceStub).GetUser(user_pb2.GetUserRequest(user_id="me"))
    logout = alice.stub(AuthServiceStub).Logout(auth_pb2.LogoutRequest())
    if role == "guest":
        assert isinstance(await refused(logout), Denied)
    else:
        await logout
