"""Attackers with the password alone: codes guessed, seen or used again, and accounts without a second factor."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import grpc
import jwt
import pytest
import pytest_asyncio
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.reasons import Reason
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub
from sqlalchemy import select

from services.auth.models import RecoveryCodeRow, SecondFactorRow
from services.auth.second_factor import totp
from services.kernel.errors import Denied, FailedPrecondition, Unauthenticated
from services.user.admin import user_admin
from tests.auth.refusal import refused
from tests.auth.session import is_dead, refresh
from tests.harness import PASSWORD, Platform, User, platform
from tests.security.late_clock import LateClock
from tests.waiting import until

NEW = "new-Horse-10"


@pytest.fixture
def clock() -> LateClock:
    return LateClock()


@pytest_asyncio.fixture
async def p(clock: LateClock) -> AsyncIterator[Platform]:
    async with platform("auth", "user", clock=clock) as running:
        yield running


class App:
    """An authenticator app with the secret of one user."""

    def __init__(self, secret: str, clock: LateClock) -> None:
        self._secret = base64.b32decode(secret + "=" * (-len(secret) % 8))
        self._clock = clock

    def code(self, steps: int = 0) -> str:
        return totp.code_at(self._secret, int(self._clock.now().timestamp() // 30) + steps)

    def next_code(self) -> str:
        """A code that was not used yet."""
        self._clock.advance(seconds=30)
        return self.code()


def login(p: Platform, name: str, code: str = "", password: str = PASSWORD) -> Any:
    return p.stub(AuthServiceStub).Login(auth_pb2.LoginRequest(username=name, password=password, code=code))


async def enroll(user: User, clock: LateClock) -> tuple[App, list[str]]:
    stub = user.stub(AuthServiceStub)
    enrolled = await stub.EnrollTotp(auth_pb2.EnrollTotpRequest())
    assert parse_qs(urlsplit(enrolled.uri).query)["secret"] == [enrolled.secret]
    app = App(enrolled.secret, clock)
    confirmed = await stub.ConfirmTotp(auth_pb2.ConfirmTotpRequest(code=app.code()))
    return app, list(confirmed.recovery_codes)


def change_password(users: Any, old: str = PASSWORD) -> Any:
    return users.ChangePassword(user_pb2.ChangePasswordRequest(user_id="me", old_password=old, new_password=NEW))


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_codes_are_those_of_rfc_6238_appendix_b(seconds: int, code: str):
    secret = b"12345678901234567890"
    assert totp.code_at(secret, seconds // totp.STEP_S, digits=8) == code
    assert totp.matching_step(secret, code[2:], seconds) == seconds // totp.STEP_S
    assert totp.matching_step(secret, code[2:], seconds + 2 * totp.STEP_S) is None


@pytest.mark.usefixtures("both_databases")
async def test_the_password_alone_is_not_enough_and_no_code_is_good_twice(p: Platform, clock: LateClock):
    alice = await p.user("alice")
    app, codes = await enroll(alice, clock)
    assert len(set(codes)) == 10 and all(len(code) == 19 for code in codes)
    missing = await refused(login(p, "alice"))
    assert isinstance(missing, Unauthenticated) and missing.reason == Reason.SECOND_FACTOR_REQUIRED
    # A wrong password does not tell that there is a second factor.
    assert (await refused(login(p, "alice", password="wrong-Horse-9"))).reason == Reason.INVALID_CREDENTIALS
    # The code that confirmed it was used by that, and one of before it is older.
    for code in (app.code(), app.code(-1), app.code(5)):
        assert (await refused(login(p, "alice", code))).reason == Reason.INVALID_CREDENTIALS
    code = app.next_code()
    answers = await asyncio.gather(*(login(p, "alice", code) for _ in range(4)), return_exceptions=True)
    assert len([a for a in answers if not isinstance(a, BaseException)]) == 1
    recovery = await asyncio.gather(*(login(p, "alice", codes[0]) for _ in range(3)), return_exceptions=True)
    assert len([a for a in recovery if not isinstance(a, BaseException)]) == 1
    await login(p, "alice", codes[1].upper().replace("-", " "))
    state = await alice.stub(AuthServiceStub).GetSecondFactor(auth_pb2.GetSecondFactorRequest())
    assert (state.enabled, state.demanded, state.recovery_codes_left) == (True, False, 8)
    # Neither the secret nor a code is in the database as it is.
    rows = str(await p.rows("auth", select(SecondFactorRow.__table__))) + str(
        await p.rows("auth", select(RecoveryCodeRow.__table__))
    )
    assert not any(text in rows for text in (totp.to_base32(app._secret), *codes, codes[2].replace("-", "")))


async def test_codes_cannot_be_guessed_by_who_knows_the_password(p: Platform, clock: LateClock):
    alice = await p.user("alice")
    app, _ = await enroll(alice, clock)
    errors = [await refused(login(p, "alice", f"{n:06d}")) for n in range(12)]
    assert errors[-1].reason == Reason.RATE_LIMITED
    assert (await refused(login(p, "alice", app.next_code()))).reason == Reason.RATE_LIMITED


async def test_a_stolen_token_neither_sets_a_second_factor_up_nor_takes_it_away(p: Platform, clock: LateClock):
    alice = await p.user("alice")
    app, codes = await enroll(alice, clock)
    stub = alice.stub(AuthServiceStub)
    # In a session that was confirmed a moment ago too it takes a code.
    await stub.ConfirmPassword(auth_pb2.ConfirmPasswordRequest(password=PASSWORD, code=app.next_code()))
    assert isinstance(await refused(stub.EnrollTotp(auth_pb2.EnrollTotpRequest())), FailedPrecondition)
    wrong = stub.DisableTotp(auth_pb2.DisableTotpRequest(code="000000"))
    assert (await refused(wrong)).reason == Reason.INVALID_CREDENTIALS
    clock.advance(minutes=16)
    for call in (
        stub.EnrollTotp(auth_pb2.EnrollTotpRequest()),
        stub.ConfirmTotp(auth_pb2.ConfirmTotpRequest(code=app.next_code())),
        stub.CreateRecoveryCodes(auth_pb2.CreateRecoveryCodesRequest(code=codes[0])),
        stub.DisableTotp(auth_pb2.DisableTotpRequest(code=codes[0])),
    ):
        assert (await refused(call)).reason == Reason.STEP_UP_REQUIRED
    # The step-up itself needs the second factor.
    by_password = stub.ConfirmPassword(auth_pb2.ConfirmPasswordRequest(password=PASSWORD))
    assert (await refused(by_password)).reason == Reason.SECOND_FACTOR_REQUIRED
    await stub.ConfirmPassword(auth_pb2.ConfirmPasswordRequest(password=PASSWORD, code=app.next_code()))
    fresh = await stub.CreateRecoveryCodes(auth_pb2.CreateRecoveryCodesRequest(code=codes[0]))
    assert (await refused(login(p, "alice", codes[1]))).reason == Reason.INVALID_CREDENTIALS
    await login(p, "alice", fresh.recovery_codes[0])
    await stub.DisableTotp(auth_pb2.DisableTotpRequest(code=fresh.recovery_codes[1]))
    await login(p, "alice")


async def test_an_administrator_of_whom_it_is_demanded_can_do_nothing_else_without(clock: LateClock):
    async with platform("auth", "user", clock=clock, settings={"auth": {"second_factor": "admin"}}) as p:
        bob = await p.user("bob")
        password = (p.folder / "admin-password").read_text().strip()
        tokens = await login(p, "admin", password=password)
        assert tokens.must_enroll_second_factor
        admin = User(
            p, jwt.decode(tokens.access_token, options={"verify_signature": False})["sub"], tokens.access_token
        )
        role = user_pb2.SetUserRoleRequest(user_id=bob.user_id, role="admin")
        for call in (
            admin.stub(UserServiceStub).SetUserRole(role),
            admin.stub(UserServiceStub).ListUsers(user_pb2.ListUsersRequest()),
            admin.stub(AuthServiceStub).CreateApiKey(
                auth_pb2.CreateApiKeyRequest(display_name="way round", scopes=["admin:all"])
            ),
        ):
            assert isinstance(await refused(call), Denied)
        # Refreshing is no way round either.
        tokens = await refresh(p, tokens.refresh_token)
        assert tokens.must_enroll_second_factor
        app, codes = await enroll(admin, clock)
        tokens = await refresh(p, tokens.refresh_token)
        assert not tokens.must_enroll_second_factor
        again = auth_pb2.ConfirmPasswordRequest(password=password, code=app.next_code())
        await p.stub(AuthServiceStub, tokens.access_token).ConfirmPassword(again)
        full = p.stub(UserServiceStub, tokens.access_token)
        assert len((await full.ListUsers(user_pb2.ListUsersRequest())).users) == 2
        # What is demanded cannot be taken away again, and bob, of whom it is not, has all that he may.
        disable = auth_pb2.DisableTotpRequest(code=codes[0])
        error = await refused(p.stub(AuthServiceStub, tokens.access_token).DisableTotp(disable))
        assert isinstance(error, FailedPrecondition) and error.reason == Reason.SECOND_FACTOR_REQUIRED
        assert not (await login(p, "bob")).must_enroll_second_factor


@pytest.mark.usefixtures("both_databases")
async def test_what_began_with_the_password_alone_is_not_trusted_once_there_is_a_second_factor(
    p: Platform, clock: LateClock
):
    alice = await p.user("alice")
    thief = await login(p, "alice")  # has the password, and came before
    app, _ = await enroll(alice, clock)
    await until(lambda: is_dead(p, thief.access_token), timeout_s=5)
    assert (await refused(refresh(p, thief.refresh_token))).reason in (
        Reason.SESSION_REVOKED,
        Reason.REFRESH_TOKEN_REUSED,
    )
    # The session that set it up goes on, and is trusted with more once a code was given in it.
    auth, users = alice.stub(AuthServiceStub), alice.stub(UserServiceStub)
    key = auth_pb2.CreateApiKeyRequest(display_name="k", scopes=["user:read"])
    email = user_pb2.UpdateUserRequest(user_id="me", user=user_pb2.User(email="thief@example.com"))
    for call in (auth.CreateApiKey(key), users.UpdateUser(email), change_password(users)):
        assert (await refused(call)).reason == Reason.STEP_UP_REQUIRED
    by_password = auth.ConfirmPassword(auth_pb2.ConfirmPasswordRequest(password=PASSWORD))
    assert (await refused(by_password)).reason == Reason.SECOND_FACTOR_REQUIRED
    await auth.ConfirmPassword(auth_pb2.ConfirmPasswordRequest(password=PASSWORD, code=app.next_code()))
    assert (await auth.CreateApiKey(key)).secret


async def test_a_stolen_token_and_the_password_change_no_password_without_the_second_factor(
    p: Platform, clock: LateClock
):
    alice = await p.user("alice")
    app, _ = await enroll(alice, clock)
    auth, users = alice.stub(AuthServiceStub), alice.stub(UserServiceStub)
    await auth.ConfirmPassword(auth_pb2.ConfirmPasswordRequest(password=PASSWORD, code=app.next_code()))
    request = auth_pb2.CreateApiKeyRequest(display_name="k", scopes=["user:read", "user:write"])
    key = await auth.CreateApiKey(request)
    other = await login(p, "alice", app.next_code())
    clock.advance(minutes=16)
    by_key = p.stub(UserServiceStub, x_api_key=key.secret)
    for stub in (users, p.stub(UserServiceStub, other.access_token), by_key):
        assert (await refused(change_password(stub))).reason == Reason.STEP_UP_REQUIRED
    # The owner does, and what others may have made or begun with the old one ends.
    await auth.ConfirmPassword(auth_pb2.ConfirmPasswordRequest(password=PASSWORD, code=app.next_code()))
    assert (await refused(change_password(users, old="wrong-Horse-9"))).reason == Reason.INVALID_CREDENTIALS
    await change_password(users)
    await until(lambda: is_dead(p, other.access_token), timeout_s=5)

    async def key_is_dead() -> bool:
        try:
            await by_key.GetUser(user_pb2.GetUserRequest(user_id="me"))
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNAUTHENTICATED
        return False

    await until(key_is_dead, timeout_s=5)
    assert not await is_dead(p, alice.token)
    assert (await refused(login(p, "alice", app.next_code()))).reason == Reason.INVALID_CREDENTIALS
    await login(p, "alice", app.next_code(), password=NEW)


async def test_an_operator_recovers_who_lost_it_and_whatever_was_made_with_it_ends(p: Platform, clock: LateClock):
    alice = await p.user("alice")
    app, _ = await enroll(alice, clock)
    again = auth_pb2.ConfirmPasswordRequest(password=PASSWORD, code=app.next_code())
    await alice.stub(AuthServiceStub).ConfirmPassword(again)
    request = auth_pb2.CreateApiKeyRequest(display_name="k", scopes=["user:read"])
    made = await alice.stub(AuthServiceStub).CreateApiKey(request)
    async with user_admin(p.folder, p.host.settings) as operator:
        await operator.reset_password("alice", "new-Horse-10")
        assert await operator.sessions_ended()
    assert (await refused(login(p, "alice", password="new-Horse-10"))).reason == Reason.SECOND_FACTOR_REQUIRED
    async with user_admin(p.folder, p.host.settings) as operator:
        await operator.recover("alice", "third-Horse-11")
        assert await operator.sessions_ended()
    await login(p, "alice", password="third-Horse-11")
    verify = auth_pb2.VerifyApiKeyRequest(secret=made.secret)
    assert isinstance(await refused(p.service_stub(AuthServiceStub, "market").VerifyApiKey(verify)), Unauthenticated)
