"""Registering: what is accepted, what is taken, and the event for others."""

import asyncio
import threading

import grpc
import pytest
from argon2 import PasswordHasher
from redfire.events.v1.events_pb2 import Event
from redfire.reasons import Reason
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.kernel.errors import Conflict, Invalid
from services.kernel.rpc.status import from_rpc_error
from tests.auth.refusal import refused
from tests.harness import PASSWORD, Platform, platform
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")


def register(p: Platform, username: str = "alice", **fields):
    body = {"email": f"{username}@example.com", "password": PASSWORD, **fields}
    return p.stub(UserServiceStub).RegisterUser(user_pb2.RegisterUserRequest(username=username, **body))


async def test_a_new_user_is_answered_without_password(p: Platform):
    answer = await register(p, "Alice", email="Alice@Example.COM", phone="+86 138 0013 8000")
    user = answer.user
    assert (user.username, user.email, user.phone) == ("Alice", "Alice@example.com", "+8613800138000")
    assert (user.display_name, user.role, user.status) == ("Alice", "user", user_pb2.USER_STATUS_ACTIVE)
    assert user.create_time.seconds > 0
    assert "password" not in str(answer).lower()


async def test_names_and_addresses_are_unique_whatever_the_case(p: Platform):
    await register(p, "alice")
    name = await refused(register(p, "ALICE", email="other@example.com"))
    address = await refused(register(p, "bob", email="ALICE@EXAMPLE.COM"))
    assert (type(name), name.reason) == (Conflict, Reason.USERNAME_TAKEN)
    assert (type(address), address.reason) == (Conflict, Reason.EMAIL_TAKEN)


async def test_of_many_who_register_one_name_at_once_one_gets_it(p: Platform):
    names = ["alice", "ALICE", "Alice", "aLICE", "alicE"]
    answers = await asyncio.gather(
        *(register(p, name, email=f"a{n}@example.com") for n, name in enumerate(names)),
        *(register(p, f"user{n}", email="Same@example.com") for n in range(5)),
        return_exceptions=True,
    )
    by_name, by_address = answers[:5], answers[5:]
    for group, reason in ((by_name, Reason.USERNAME_TAKEN), (by_address, Reason.EMAIL_TAKEN)):
        assert sum(isinstance(a, user_pb2.RegisterUserResponse) for a in group) == 1
        assert {from_rpc_error(a).reason for a in group if isinstance(a, grpc.aio.AioRpcError)} == {reason}


@pytest.mark.parametrize(
    ("username", "fields", "field"),
    [
        ("ab", {}, "username"),
        ("-alice", {}, "username"),
        ("al ice", {}, "username"),
        ("alice", {"email": "not-an-email"}, "email"),
        ("alice", {"email": "a@localhost"}, "email"),
        ("alice", {"password": "short"}, "password"),
        ("alice", {"password": "x" * 129}, "password"),
        ("alicealice", {"password": "AliceAlice"}, "password"),
        ("alice", {"phone": "12345"}, "phone"),
        ("alice", {"phone": "+861"}, "phone"),
    ],
)
async def test_a_wrong_field_is_named(p: Platform, username, fields, field):
    error = await refused(register(p, username, **fields))
    assert isinstance(error, Invalid)
    assert field in error.fields
    assert fields.get("password", PASSWORD) not in error.message


async def test_the_role_of_new_users_is_a_setting():
    async with platform("auth", "user", settings={"user": {"default_role": "trader"}}) as p:
        assert (await register(p)).user.role == "trader"


async def test_others_hear_of_a_new_user_and_not_of_one_who_was_refused(p: Platform):
    events: list[Event] = []

    async def hear(event: Event) -> None:
        # The first administrator is one too.
        if event.user_registered.username != "admin":
            events.append(event)

    p.host.events.subscribe("user.registered", hear)
    made = (await register(p, "alice")).user
    await refused(register(p, "Alice"))
    await register(p, "bob")
    await until(lambda: len(events) == 2)
    first = events[0].user_registered
    assert (first.user_id, first.username, first.email) == (made.user_id, "alice", "alice@example.com")


@pytest.mark.slow
async def test_too_many_waiting_passwords_are_sent_away(monkeypatch):
    free, hash_ = threading.Event(), PasswordHasher.hash

    def held(*args):
        free.wait(30)
        return hash_(*args)

    async with platform("auth", "user", settings={"user": {"password_queue": 2}}) as p:
        monkeypatch.setattr(PasswordHasher, "hash", held)
        calls = [asyncio.ensure_future(register(p, f"user{n}")) for n in range(6)]
        try:
            await until(lambda: sum(call.done() for call in calls) == 4)
        finally:
            free.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        reasons = [from_rpc_error(a).reason for a in answers if isinstance(a, grpc.aio.AioRpcError)]
        assert reasons == [Reason.OVERLOADED] * 4
