"""Profiles and passwords: one's own, nobody else's."""

import asyncio

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.reasons import Reason
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub
from sqlalchemy import select

from services.kernel.errors import Invalid, NotFound, ResourceExhausted, Unauthenticated
from services.kernel.rpc.status import from_rpc_error
from services.user import models
from tests.auth.refusal import refused
from tests.auth.session import begin, is_dead
from tests.harness import PASSWORD, Platform, User, platform
from tests.waiting import until

NEW = "new-Horse-10"


def update(user: User, mask: list[str] | None = None, user_id: str = "me", **fields):
    request = user_pb2.UpdateUserRequest(user_id=user_id, user=user_pb2.User(**fields))
    if mask is not None:
        request.update_mask.CopyFrom(FieldMask(paths=mask))
    return user.stub(UserServiceStub).UpdateUser(request)


def change(user: User, old: str = PASSWORD, new: str = NEW, user_id: str = "me"):
    request = user_pb2.ChangePasswordRequest(user_id=user_id, old_password=old, new_password=new)
    return user.stub(UserServiceStub).ChangePassword(request)


def get(user: User, user_id: str):
    return user.stub(UserServiceStub).GetUser(user_pb2.GetUserRequest(user_id=user_id))


async def test_everybody_sees_themselves_and_only_admins_see_others(p: Platform):
    alice, bob, admin = await p.user("alice"), await p.user("bob"), await p.admin()
    for own_id in ("me", alice.user_id):
        assert (await get(alice, own_id)).user.username == "alice"
    for others_id in (bob.user_id, admin.user_id, "nonsense"):
        assert isinstance(await refused(get(alice, others_id)), NotFound)
    assert (await get(admin, bob.user_id)).user.username == "bob"
    assert (await get(admin, "me")).user.username == "admin"
    assert isinstance(await refused(get(admin, "nonsense")), NotFound)


async def test_fields_of_the_mask_change_and_others_do_not(p: Platform):
    alice = await p.user("alice")
    changed = (await update(alice, ["display_name"], display_name="Al", phone="+8613800138000")).user
    assert (changed.display_name, changed.phone) == ("Al", "")
    changed = (await update(alice, ["phone", "email"], phone="+8613800138000", email="New@Example.com")).user
    assert (changed.phone, changed.email, changed.display_name) == ("+8613800138000", "New@example.com", "Al")
    cleared = (await update(alice, ["phone", "display_name"])).user
    assert (cleared.phone, cleared.display_name) == ("", "alice")
    assert cleared.update_time.ToNanoseconds() > cleared.create_time.ToNanoseconds()


async def test_without_a_mask_what_is_set_changes(p: Platform):
    alice = await p.user("alice")
    changed = (await update(alice, display_name="Al")).user
    assert (changed.display_name, changed.email) == ("Al", "alice@example.com")


@pytest.mark.parametrize(
    ("mask", "fields", "field"),
    [
        (["role"], {"role": "admin"}, "update_mask"),
        (["display_name", "status"], {"display_name": "x"}, "update_mask"),
        (["password"], {}, "update_mask"),
        (None, {"role": "admin"}, "user.role"),
        (None, {"display_name": "x", "username": "root"}, "user.username"),
        (["email"], {"email": ""}, "user.email"),
        (None, {"email": "nonsense"}, "user.email"),
        (None, {"phone": "nonsense"}, "user.phone"),
        (None, {"display_name": "x" * 101}, "user.display_name"),
        (None, {"display_name": "a\0b"}, "user.display_name"),
    ],
)
async def test_nothing_else_can_be_changed(p: Platform, mask, fields, field):
    alice = await p.user("alice")
    error = await refused(update(alice, mask, **fields))
    assert isinstance(error, Invalid)
    assert field in error.fields
    assert (await get(alice, "me")).user.role == "user"


async def test_an_address_that_somebody_has_is_taken(p: Platform):
    alice, _ = await p.user("alice"), await p.user("bob")
    error = await refused(update(alice, email="BOB@example.com"))
    assert error.reason == Reason.EMAIL_TAKEN
    assert (await update(alice, email="ALICE@example.com")).user.email == "ALICE@example.com"


async def test_nobody_changes_somebody_else_not_even_an_admin(p: Platform):
    alice, bob, admin = await p.user("alice"), await p.user("bob"), await p.admin()
    for caller in (bob, admin):
        assert isinstance(await refused(update(caller, user_id=alice.user_id, display_name="x")), NotFound)
        assert isinstance(await refused(change(caller, user_id=alice.user_id)), NotFound)


async def test_another_password_ends_the_other_sessions_and_keeps_this_one(p: Platform):
    alice = await p.user("alice")
    other = await begin(p, register=False)
    await change(alice)
    await until(lambda: is_dead(p, other.access_token), timeout_s=1)
    assert not await is_dead(p, alice.token)
    login = p.stub(AuthServiceStub)
    await login.Login(auth_pb2.LoginRequest(username="alice", password=NEW))
    old = await refused(login.Login(auth_pb2.LoginRequest(username="alice", password=PASSWORD)))
    assert old.reason == Reason.INVALID_CREDENTIALS


async def test_a_wrong_old_password_changes_nothing_and_cannot_be_guessed_for_long(p: Platform):
    alice = await p.user("alice")
    for _ in range(10):
        error = await refused(change(alice, old="wrong-Horse-9"))
        assert isinstance(error, Unauthenticated)
        assert error.reason == Reason.INVALID_CREDENTIALS
    assert isinstance(await refused(change(alice)), ResourceExhausted)
    await begin(p, register=False)


async def test_a_new_password_keeps_the_rules(p: Platform):
    alice = await p.user("alicealice")
    for bad in ("short", "AliceAlice"):
        assert "new_password" in (await refused(change(alice, new=bad))).fields


async def test_of_two_changes_at_once_one_wins(p: Platform):
    alice = await p.user("alice")
    answers = await asyncio.gather(*(change(alice, new=f"new-Horse-{n}0") for n in range(4)), return_exceptions=True)
    failures = [from_rpc_error(a).reason for a in answers if isinstance(a, grpc.aio.AioRpcError)]
    assert failures == [Reason.INVALID_CREDENTIALS] * 3


async def test_a_hash_of_other_parameters_is_renewed_at_login(tmp_path):
    async def password_hash(p):
        users = p.host.resources.database("user", models.Base).repositories(lambda session: session)
        async with users.read() as session:
            return await session.scalar(select(models.UserRow.password_hash).filter_by(username="alice"))

    async with platform("auth", "user", data_dir=tmp_path) as p:
        await p.user("alice")
        before = await password_hash(p)
    assert before.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    async with platform("auth", "user", data_dir=tmp_path, settings={"user": {"argon2_time_cost": 3}}) as p:
        await begin(p, register=False)
        await begin(p, register=False)
        after = await password_hash(p)
    assert after.startswith("$argon2id$v=19$m=19456,t=3,p=1$")
