"""Accounts of addresses that nobody reads, addresses that are taken over, and passwords that are guessed first."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.reasons import Reason
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub
from sqlalchemy import select

from services.kernel.errors import Denied, Invalid
from services.user.admin import user_admin
from services.user.models import EmailTokenRow
from tests.auth.refusal import refused
from tests.harness import PASSWORD, Platform, platform
from tests.heard_events import HeardEvents
from tests.security.late_clock import LateClock
from tests.waiting import until

REQUESTED = "user.email_verification_requested"


@pytest.fixture
def clock() -> LateClock:
    return LateClock()


@pytest_asyncio.fixture
async def p(clock: LateClock) -> AsyncIterator[Platform]:
    async with platform("auth", "user", clock=clock, settings={"user": {"verify_email": True}}) as running:
        yield running


def register(p: Platform, name: str, password: str = PASSWORD) -> Any:
    request = user_pb2.RegisterUserRequest(username=name, email=f"{name}@example.com", password=password)
    return p.stub(UserServiceStub).RegisterUser(request)


def login(p: Platform, name: str) -> Any:
    return p.stub(AuthServiceStub).Login(auth_pb2.LoginRequest(username=name, password=PASSWORD))


def verify(p: Platform, token: str) -> Any:
    return p.stub(UserServiceStub).VerifyEmail(user_pb2.VerifyEmailRequest(token=token))


def send(p: Platform, email: str) -> Any:
    return p.stub(UserServiceStub).SendEmailVerification(user_pb2.SendEmailVerificationRequest(email=email))


@pytest.mark.usefixtures("both_databases")
async def test_nobody_logs_in_with_an_address_that_they_do_not_read(p: Platform, clock: LateClock):
    heard = HeardEvents(p, [REQUESTED])
    await register(p, "alice")
    error = await refused(login(p, "alice"))
    assert isinstance(error, Denied) and error.reason == Reason.EMAIL_NOT_VERIFIED
    assert error.metadata["remedy"] == "POST /api/users/email:sendVerification"
    await until(lambda: len(heard.of(REQUESTED)) == 1)
    first = heard.of(REQUESTED)[0].token
    assert first not in str(await p.rows("user", select(EmailTokenRow.__table__)))
    # At most one a minute, for nobody who does not exist, and the answer tells neither.
    for address in ("alice@example.com", "nobody@example.com", "alice"):
        await (send(p, address) if "@" in address else send(p, "not an address"))
    clock.advance(minutes=2)
    await send(p, "ALICE@example.com")
    await until(lambda: len(heard.of(REQUESTED)) == 2)
    second = heard.of(REQUESTED)[1].token
    for token in (first, "guess", second + "x"):
        assert isinstance(await refused(verify(p, token)), Invalid)
    await verify(p, second)
    assert isinstance(await refused(verify(p, second)), Invalid)
    await login(p, "alice")
    # The first administrator has no address, and is not locked out.
    await p.admin()


async def test_an_address_is_the_users_once_it_is_verified_and_a_new_password_stops_that(p: Platform, clock: LateClock):
    heard = HeardEvents(p, [REQUESTED])
    await register(p, "alice")
    await register(p, "bob")
    await until(lambda: len(heard.of(REQUESTED)) == 2)
    for event in heard.of(REQUESTED):
        await verify(p, event.token)
    token = (await login(p, "alice")).access_token
    users = p.stub(UserServiceStub, token)

    def change(address: str) -> Any:
        request = user_pb2.UpdateUserRequest(user_id="me", user=user_pb2.User(email=address))
        return users.UpdateUser(request)

    assert (await refused(change("bob@example.com"))).reason == Reason.EMAIL_TAKEN
    assert (await change("new@example.com")).user.email == "alice@example.com"
    await until(lambda: len(heard.of(REQUESTED)) == 3)
    assert heard.of(REQUESTED)[2].email == "new@example.com"
    await verify(p, heard.of(REQUESTED)[2].token)
    me = (await users.GetUser(user_pb2.GetUserRequest(user_id="me"))).user
    assert (me.email, me.email_verified) == ("new@example.com", True)
    # A thief's change that is under way ends with the password; and each token ends by itself.
    await change("thief@example.com")
    await until(lambda: len(heard.of(REQUESTED)) == 4)
    changed = user_pb2.ChangePasswordRequest(user_id="me", old_password=PASSWORD, new_password="other-Horse-10")
    await users.ChangePassword(changed)
    assert isinstance(await refused(verify(p, heard.of(REQUESTED)[3].token)), Invalid)
    await change("late@example.com")
    await until(lambda: len(heard.of(REQUESTED)) == 5)
    clock.advance(hours=25)
    assert isinstance(await refused(verify(p, heard.of(REQUESTED)[4].token)), Invalid)


async def test_an_operator_answers_for_an_address(p: Platform):
    await register(p, "alice")
    async with user_admin(p.folder, p.host.settings) as operator:
        assert (await operator.verify_email("alice")).email_verified
        await operator.create_user("carol", "carol@example.com", PASSWORD, role="user")
    await login(p, "alice")
    await login(p, "carol")


async def test_passwords_that_are_guessed_first_are_refused_wherever_they_are_set(p: Platform):
    for password in ("P@ssw0rd2024", "alice1234", "woaini1314", "qwer1234"):
        error = await refused(register(p, "alice", password))
        assert isinstance(error, Invalid) and "guessed" in error.fields["password"]
    admin = await p.admin()
    request = user_pb2.ChangePasswordRequest(user_id="me", old_password=admin.password, new_password="admin@2024")
    error = await refused(admin.stub(UserServiceStub).ChangePassword(request))
    assert isinstance(error, Invalid) and "guessed" in error.fields["new_password"]
    async with user_admin(p.folder, p.host.settings) as operator:
        with pytest.raises(Invalid, match="guessed"):
            await operator.reset_password("admin", "Admin123!")


async def test_the_list_can_be_switched_off():
    async with platform("auth", "user", settings={"user": {"refuse_common_passwords": False}}) as p:
        await register(p, "alice", "password")
