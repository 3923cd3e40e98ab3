"""The first administrator, and `redfire admin` beside a running or stopped platform."""

import stat

import jwt
import pytest
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.reasons import Reason

from services.kernel.errors import FailedPrecondition, Invalid, NotFound
from services.user.admin import user_admin
from services.user.repository import UsernameTaken
from tests.auth.refusal import refused
from tests.auth.session import begin, is_dead
from tests.harness import PASSWORD, Platform, platform
from tests.waiting import until


async def test_the_first_start_makes_an_admin_and_the_second_does_not(tmp_path):
    file = tmp_path / "admin-password"
    async with platform("auth", "user", data_dir=tmp_path) as p:
        admin = await p.admin()
        assert jwt.decode(admin.token, options={"verify_signature": False})["role"] == "admin"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        first = file.read_text()
        assert len(first.strip()) >= 20
    async with platform("auth", "user", data_dir=tmp_path) as p:
        assert file.read_text() == first
        await p.admin()
    assert not list(tmp_path.glob("admin-password.*"))


async def test_the_admins_password_is_not_in_the_log(caplog):
    caplog.set_level("DEBUG", logger="services")
    async with platform("auth", "user") as p:
        assert (p.folder / "admin-password").read_text().strip() not in caplog.text


async def test_an_operator_makes_users_beside_a_running_platform(p: Platform):
    async with user_admin(p.folder, p.host.settings) as admin:
        made = await admin.create_user("alice", "alice@example.com", PASSWORD, role="trader")
        assert made.role == "trader"
        with pytest.raises(UsernameTaken):
            await admin.create_user("ALICE", "other@example.com", PASSWORD)
        with pytest.raises(Invalid):
            await admin.create_user("bob", "bob@example.com", PASSWORD, role="king")
    tokens = await begin(p, register=False)
    assert jwt.decode(tokens.access_token, options={"verify_signature": False})["role"] == "trader"


async def test_a_reset_password_and_a_role_end_the_sessions_of_a_running_platform(p: Platform):
    alice = await p.user("alice")
    async with user_admin(p.folder, p.host.settings) as admin:
        await admin.reset_password("ALICE", "new-Horse-10")
        assert await admin.sessions_ended()
    await until(lambda: is_dead(p, alice.token), timeout_s=2)
    stub = p.stub(AuthServiceStub)
    old = await refused(stub.Login(auth_pb2.LoginRequest(username="alice", password=PASSWORD)))
    assert old.reason == Reason.INVALID_CREDENTIALS
    tokens = await stub.Login(auth_pb2.LoginRequest(username="alice", password="new-Horse-10"))
    async with user_admin(p.folder, p.host.settings) as admin:
        await admin.set_role("alice@example.com", "trader")
    await until(lambda: is_dead(p, tokens.access_token), timeout_s=2)


@pytest.mark.slow
async def test_a_reset_while_the_platform_is_stopped_ends_the_sessions_when_it_starts(tmp_path):
    async with platform("auth", "user", data_dir=tmp_path) as p:
        alice = await p.user("alice")
    async with user_admin(tmp_path) as admin:
        await admin.reset_password("alice", "new-Horse-10")
        assert not await admin.sessions_ended()
    async with platform("auth", "user", data_dir=tmp_path) as p:
        await until(lambda: is_dead(p, alice.token), timeout_s=2)


async def test_an_operator_cannot_demote_the_last_admin_or_touch_nobody(p: Platform):
    async with user_admin(p.folder, p.host.settings) as admin:
        with pytest.raises(FailedPrecondition):
            await admin.set_role("admin", "user")
        with pytest.raises(NotFound):
            await admin.reset_password("nobody", "new-Horse-10")
        with pytest.raises(NotFound):
            await admin.set_role("nobody", "user")
