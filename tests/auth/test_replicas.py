"""Two replicas of auth and user on one PostgreSQL know what the other does: with Redis, without, or while it hangs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.config.v1 import config_pb2
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub
from redfire.reasons import Reason
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub
from sqlalchemy import select

from services.auth import models
from services.auth.models import RevocationRow
from services.auth.revocations import feed
from services.auth.revocations.repository import RevocationRepository
from services.kernel.rpc.status import from_rpc_error
from services.kernel.runtime import revocation_follower
from services.user import session_revocations
from tests.auth.refusal import refused
from tests.auth.session import begin, is_dead, refresh
from tests.harness import PASSWORD, Platform, platform
from tests.redis_server import RedisServer, installed_redis
from tests.waiting import until

pytestmark = pytest.mark.slow
# For a machine that does much else; what the ways take by themselves is the last test's.
WITHIN_S = 15.0


@dataclass
class Replicas:
    """Two replicas, a service that follows the second one, and the Redis that all share."""

    one: Platform
    other: Platform
    config: Platform
    redis: RedisServer | None

    async def config_refuses(self, token: str) -> bool:
        request = config_pb2.GetConfigRequest(environment="development", service_name="x", key="y")
        try:
            await self.config.stub(ConfigServiceStub, token).GetConfig(request)
        except grpc.aio.AioRpcError as failure:
            return from_rpc_error(failure).reason == Reason.SESSION_REVOKED
        return False

    async def dead_everywhere(self, token: str) -> bool:
        """True when every replica of every service refuses the token."""
        places = (is_dead(self.one, token), is_dead(self.other, token), self.config_refuses(token))
        return all(await asyncio.gather(*places))


@pytest.fixture(params=["without", "redis", "suspended", "emptied"])
async def replicas(
    request: pytest.FixtureRequest, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Replicas]:
    monkeypatch.setenv("REDFIRE_TEST_DATABASE", "postgresql")
    redis = None if request.param == "without" else installed_redis()
    settings = {"redis": {"url": redis.url, "timeout_s": 2.0}} if redis is not None else {}
    if redis is not None:
        # So that it is Redis that brings it.
        monkeypatch.setattr(feed, "POLL_S", 600.0 if request.param == "redis" else feed.POLL_S)
    try:
        async with (
            platform("auth", "user", data_dir=tmp_path, settings=settings) as one,
            platform("auth", "user", data_dir=tmp_path, settings=settings) as other,
            platform(
                "config",
                data_dir=tmp_path,
                settings={**settings, "peers": {"addresses": {"auth": other.host.address}}},
                mint=None,
            ) as config,
        ):
            config.host._fetch_keys = config.host._auth_keys
            if redis is not None:
                await until(lambda: all(p.host.resources.messages.connected for p in (one, other, config)), 20)
            if request.param == "suspended":
                redis.suspend()
            if request.param == "emptied":
                redis.empty()
            yield Replicas(one, other, config, redis)
            if request.param == "suspended":
                redis.resume()
    finally:
        if redis is not None:
            redis.close()


async def user_id_of(p: Platform, token: str) -> str:
    return (await p.stub(UserServiceStub, token).GetUser(user_pb2.GetUserRequest(user_id="me"))).user.user_id


async def test_a_session_that_one_replica_ended_is_refused_everywhere_within_a_second(replicas: Replicas):
    first = await begin(replicas.one)
    other = await begin(replicas.one, register=False)
    assert not await replicas.dead_everywhere(first.access_token)
    await replicas.one.stub(AuthServiceStub, first.access_token).Logout(auth_pb2.LogoutRequest())
    await until(lambda: replicas.dead_everywhere(first.access_token), timeout_s=WITHIN_S)
    for p in (replicas.one, replicas.other):
        assert not await is_dead(p, other.access_token)


async def test_another_role_and_another_password_end_sessions_everywhere_within_a_second(replicas: Replicas):
    first = await begin(replicas.one)
    user_id = await user_id_of(replicas.one, first.access_token)
    admin = await replicas.one.admin()
    await admin.stub(UserServiceStub).SetUserRole(user_pb2.SetUserRoleRequest(user_id=user_id, role="trader"))
    await until(lambda: replicas.dead_everywhere(first.access_token), timeout_s=WITHIN_S)
    second, third = [await begin(replicas.other, register=False) for _ in range(2)]
    request = user_pb2.ChangePasswordRequest(user_id="me", old_password=PASSWORD, new_password="another-Horse-10")
    await replicas.other.stub(UserServiceStub, second.access_token).ChangePassword(request)
    await until(lambda: replicas.dead_everywhere(third.access_token), timeout_s=WITHIN_S)
    # The one that changed it goes on.
    assert not await is_dead(replicas.one, second.access_token)


@pytest.mark.parametrize("replicas", ["without", "suspended"], indirect=True)
async def test_of_a_hundred_refreshes_of_one_token_at_two_replicas_one_wins(replicas: Replicas):
    first = await begin(replicas.one)
    both = (replicas.one, replicas.other)
    answers = await asyncio.gather(
        *(refresh(both[n % 2], first.refresh_token) for n in range(100)), return_exceptions=True
    )
    won = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(won) == 1
    reasons = {from_rpc_error(a).reason for a in answers if isinstance(a, grpc.aio.AioRpcError)}
    assert reasons == {Reason.REFRESH_TOKEN_REUSED}
    # Somebody used a token twice: the session is over, wherever it is shown.
    await until(lambda: replicas.dead_everywhere(won[0].access_token), timeout_s=WITHIN_S)
    error = await refused(refresh(replicas.other, won[0].refresh_token))
    assert error.reason == Reason.SESSION_REVOKED


@pytest.mark.parametrize("replicas", ["without"], indirect=True)
async def test_a_token_used_at_one_replica_is_known_to_be_used_at_the_other(replicas: Replicas):
    first = await begin(replicas.one)
    second = await refresh(replicas.one, first.refresh_token)
    error = await refused(refresh(replicas.other, first.refresh_token))
    assert error.reason == Reason.REFRESH_TOKEN_REUSED
    await until(lambda: replicas.dead_everywhere(second.access_token), timeout_s=WITHIN_S)


@pytest.mark.parametrize("replicas", ["without"], indirect=True)
async def test_numbers_of_revocations_go_on_after_the_expired_are_forgotten(replicas: Replicas):
    """A number that were given again would hide a revocation from the replica that has seen it before."""
    numbers = []
    for _ in range(2):
        tokens = await begin(replicas.one, register=not numbers)
        await replicas.one.stub(AuthServiceStub, tokens.access_token).Logout(auth_pb2.LogoutRequest())
        await until(lambda token=tokens.access_token: replicas.dead_everywhere(token), timeout_s=WITHIN_S)
        rows = await replicas.one.rows("auth", select(RevocationRow.number, RevocationRow.expire_time))
        numbers.append(max(number for number, _ in rows))
        database = replicas.one.host.resources.database("auth", models.Base)
        async with database.repositories(RevocationRepository)() as revocations:
            await revocations.forget_expired_revocations(max(time for _, time in rows))
    assert numbers[1] > numbers[0]


def test_the_ways_of_a_revocation_add_up_to_less_than_a_second():
    """A replica of user that died, found by another at the second look; then what another replica of auth reads."""
    assert 2 * session_revocations.POLL_S + feed.POLL_S + revocation_follower.RETRY_S < 1.0
