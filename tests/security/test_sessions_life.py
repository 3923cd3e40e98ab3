"""Sessions that attackers would like never to end, and logins from where their owners never were."""

from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
import pytest_asyncio
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.reasons import Reason

from services.auth import repository
from services.kernel.identifiers import new_id
from tests.auth.refusal import refused
from tests.auth.session import begin, refresh
from tests.harness import PASSWORD, Platform, platform
from tests.heard_events import HeardEvents
from tests.security.late_clock import LateClock
from tests.waiting import until

NEW_ADDRESS, BEGAN = "auth.login_new_address", "auth.session_began"
DAY_S = 86_400


@pytest.fixture
def clock() -> LateClock:
    return LateClock()


@pytest_asyncio.fixture
async def p(clock: LateClock) -> AsyncIterator[Platform]:
    settings = {"auth": {"session_max_s": 60 * DAY_S, "access_token_s": 300}}
    async with platform("auth", "user", clock=clock, settings=settings) as running:
        yield running


@pytest.mark.usefixtures("both_databases")
async def test_a_session_ends_however_often_it_is_refreshed(p: Platform, clock: LateClock):
    tokens: Any = await begin(p)
    claims = jwt.decode(tokens.access_token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == tokens.expires_in == 300
    for day in (25, 50):
        clock.advance(days=25)
        tokens = await refresh(p, tokens.refresh_token)
        # Neither token is good beyond the session's end.
        assert tokens.refresh_expires_in <= (60 - day) * DAY_S or day == 25
    clock.advance(days=9, hours=23, minutes=58)
    tokens = await refresh(p, tokens.refresh_token)
    assert 0 < tokens.expires_in <= 120 and 0 < tokens.refresh_expires_in <= 120
    clock.advance(minutes=3)
    assert (await refused(refresh(p, tokens.refresh_token))).reason == Reason.TOKEN_EXPIRED


def login(p: Platform, address: str, name: str = "alice", password: str = PASSWORD) -> Any:
    edge = {"x_redfire_edge": p.host.edge_token.value, "x_envoy_external_address": address}
    return p.stub(AuthServiceStub, **edge).Login(auth_pb2.LoginRequest(username=name, password=password))


async def test_a_login_from_a_new_address_is_an_event_and_a_failed_or_usual_one_is_not(p: Platform, clock: LateClock):
    heard = HeardEvents(p, [NEW_ADDRESS, BEGAN])
    await p.user("bob")
    await begin(p)  # alice's first, from here
    await login(p, "127.0.0.1")
    await login(p, "2001:db8:1:2::1")
    await login(p, "2001:db8:1:2:ffff::9")  # the same household
    error = await refused(login(p, "203.0.113.9", password="wrong-Horse-9"))
    assert error.reason == Reason.INVALID_CREDENTIALS
    last = await login(p, "198.51.100.7")
    await until(lambda: len(heard.of(BEGAN)) == 6)
    await until(lambda: len(heard.of(NEW_ADDRESS)) == 2)
    assert [event.client_address for event in heard.of(NEW_ADDRESS)] == ["2001:db8:1:2::1", "198.51.100.7"]
    assert heard.of(NEW_ADDRESS)[1].session_id == last.session_id


@pytest.mark.usefixtures("both_databases")
async def test_logins_without_end_leave_so_many_sessions_as_a_user_may_have(clock: LateClock):
    async with platform("auth", "user", clock=clock, settings={"auth": {"max_sessions": 3}}) as p:
        first = await begin(p)
        clock.advance(seconds=1)
        second = await login(p, "127.0.0.1")
        clock.advance(seconds=1)
        first = await refresh(p, first.refresh_token)
        for number in range(3):
            clock.advance(seconds=1)
            last = await login(p, f"198.51.100.{number}")
        stub = p.stub(AuthServiceStub, last.access_token)
        sessions = (await stub.ListSessions(auth_pb2.ListSessionsRequest())).sessions
        assert len(sessions) == 3 and last.session_id in {one.session_id for one in sessions}
        # What was refreshed longest ago ended first, everywhere.
        for ended in (second, first):
            assert ended.session_id not in {one.session_id for one in sessions}
            error = await refused(
                p.stub(AuthServiceStub, ended.access_token).ListSessions(auth_pb2.ListSessionsRequest())
            )
            assert error.reason == Reason.SESSION_REVOKED
            assert (await refused(refresh(p, ended.refresh_token))).reason == Reason.SESSION_REVOKED


async def test_networks_that_a_user_logged_in_from_are_not_kept_without_end(p: Platform, clock: LateClock, monkeypatch):
    monkeypatch.setattr(repository, "MOST_NETWORKS", 3)
    heard = HeardEvents(p, [NEW_ADDRESS, BEGAN])
    await begin(p)
    for number in range(5):
        clock.advance(seconds=1)
        await login(p, f"198.51.100.{number}")
    await login(p, "198.51.100.4")
    clock.advance(seconds=1)
    await login(p, "198.51.100.0")  # forgotten meanwhile
    await until(lambda: len(heard.of(BEGAN)) == 8)
    await until(lambda: len(heard.of(NEW_ADDRESS)) == 6)
    addresses = [event.client_address for event in heard.of(NEW_ADDRESS)]
    assert addresses == [f"198.51.100.{number}" for number in (0, 1, 2, 3, 4, 0)]


async def test_what_is_no_session_is_not_confirmed_and_not_ended(p: Platform):
    alice = await p.user("alice")
    stub = alice.stub(AuthServiceStub)
    error = await refused(stub.RevokeSession(auth_pb2.RevokeSessionRequest(session_id=new_id())))
    assert error.reason == Reason.NOT_FOUND
    await stub.Logout(auth_pb2.LogoutRequest())
    claims = jwt.decode(alice.token, options={"verify_signature": False})
    check = auth_pb2.CheckRecentPasswordRequest(user_id=alice.user_id, session_id=claims["sid"])
    error = await refused(p.service_stub(AuthServiceStub, "user").CheckRecentPassword(check))
    assert error.reason == Reason.STEP_UP_REQUIRED
