"""Login: the users who get in, and the errors of those who do not."""

import jwt
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.reasons import Reason
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.kernel.errors import Denied, ResourceExhausted, Unauthenticated
from services.user.password import Passwords
from tests.auth.refusal import refused
from tests.harness import PASSWORD, Platform


def login(p: Platform, username: str, password: str = PASSWORD):
    return p.stub(AuthServiceStub).Login(auth_pb2.LoginRequest(username=username, password=password))


async def test_a_user_logs_in_by_name_or_address_whatever_the_case(p: Platform):
    alice = await p.user("Alice")
    for name in ("alice", "ALICE", " alice ", "alice@example.com", "ALICE@EXAMPLE.COM"):
        answer = await login(p, name)
        assert answer.token_type == "Bearer"
        assert answer.expires_in == 24 * 3600
        assert answer.refresh_expires_in == 30 * 24 * 3600
        claims = jwt.decode(answer.access_token, options={"verify_signature": False})
        assert claims["sub"] == alice.user_id
        assert claims["sid"] == answer.session_id
        assert claims["role"] == "user"
        assert claims["iss"] == claims["aud"] == "redfire"
        assert claims["exp"] - claims["iat"] == 24 * 3600


async def test_a_wrong_name_and_a_wrong_password_answer_the_same_after_the_same_work(p: Platform, monkeypatch):
    await p.user("alice")
    hashed: list[bool] = []
    verify = Passwords._verify

    def counted(self: Passwords, password: str, password_hash: str | None) -> bool:
        hashed.append(password_hash is not None)
        return verify(self, password, password_hash)

    monkeypatch.setattr(Passwords, "_verify", counted)
    wrong_name = await refused(login(p, "nobody"))
    wrong_password = await refused(login(p, "alice", "wrong-Horse-9"))
    assert hashed == [False, True]
    for error in (wrong_name, wrong_password):
        assert isinstance(error, Unauthenticated)
        assert error.reason == Reason.INVALID_CREDENTIALS
    assert wrong_name.message == wrong_password.message
    assert wrong_name.metadata.keys() == wrong_password.metadata.keys()


async def test_names_that_nobody_can_have_are_wrong_like_others(p: Platform):
    for name in ("@", "a@", "x" * 254, "a@" + "b" * 250):
        assert (await refused(login(p, name))).reason == Reason.INVALID_CREDENTIALS


async def test_a_suspended_user_learns_of_it_only_with_the_right_password(p: Platform):
    alice = await p.user("alice")
    admin = await p.admin()
    await admin.stub(UserServiceStub).SetUserStatus(
        user_pb2.SetUserStatusRequest(user_id=alice.user_id, status=user_pb2.USER_STATUS_SUSPENDED)
    )
    right = await refused(login(p, "alice"))
    assert isinstance(right, Denied)
    assert right.reason == Reason.ACCOUNT_INACTIVE
    wrong = await refused(login(p, "alice", "wrong-Horse-9"))
    assert wrong.reason == Reason.INVALID_CREDENTIALS


async def test_failed_logins_are_slowed_and_say_for_how_long(p: Platform):
    await p.user("alice")
    errors = [await refused(login(p, "alice", f"wrong-Horse-{n}")) for n in range(8)]
    assert [error.reason for error in errors[:5]] == [Reason.INVALID_CREDENTIALS] * 5
    slowed = errors[-1]
    assert isinstance(slowed, ResourceExhausted)
    assert slowed.reason == Reason.RATE_LIMITED
    assert slowed.retry_after_s is not None
    assert 0 < slowed.retry_after_s <= 2
    # Somebody else at the same address is not.
    await p.user("bob")


async def test_a_login_that_began_before_a_suspension_gets_no_session(p: Platform, monkeypatch):
    alice = await p.user("alice")
    admin = await p.admin()
    from services.auth.user_client import UserClient

    verify = UserClient.verify_password

    async def suspended_meanwhile(self: UserClient, username: str, password: str):
        user = await verify(self, username, password)
        await admin.stub(UserServiceStub).SetUserStatus(
            user_pb2.SetUserStatusRequest(user_id=alice.user_id, status=user_pb2.USER_STATUS_SUSPENDED)
        )
        return user

    monkeypatch.setattr(UserClient, "verify_password", suspended_meanwhile)
    assert (await refused(login(p, "alice"))).reason == Reason.INVALID_CREDENTIALS


async def test_no_secret_is_in_the_logs(p: Platform, caplog):
    # As the platform sets it: other libraries stay at WARNING.
    for logger in ("services", "redfire"):
        caplog.set_level("DEBUG", logger=logger)
    alice = await p.user("alice")
    await refused(login(p, "alice", "a-wrong-secret-1"))
    answer = await login(p, "alice")
    await p.stub(AuthServiceStub).RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=answer.refresh_token))
    await refused(p.stub(AuthServiceStub).RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token="x" * 50)))
    for secret in (PASSWORD, "a-wrong-secret-1", answer.refresh_token, answer.access_token, alice.token, "argon2"):
        assert secret not in caplog.text
