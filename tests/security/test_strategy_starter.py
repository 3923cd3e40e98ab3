"""A strategy's token: what its starter may do, and no longer than its starter's key or session is good."""

import jwt
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.kernel.errors import RedFireError
from services.kernel.identity.identity import Identity
from services.kernel.identity.revocations import Revocations
from services.kernel.rpc.client import answer
from services.strategy.starter import Starter
from services.strategy.starter_watch import StarterWatch
from tests.harness import Platform, User, platform

SCOPES = ["market:read", "trading:read", "trading:write"]


@pytest.fixture
async def p(both_databases):
    async with platform("auth", "user") as running:
        yield running


async def exchange(p: Platform, user: User, **fields) -> auth_pb2.ExchangeTokenResponse:
    stub = p.service_stub(AuthServiceStub, "strategy")
    return await answer(
        stub.ExchangeToken(auth_pb2.ExchangeTokenRequest(user_id=user.user_id, scopes=SCOPES, **fields))
    )


async def new_key(user: User, *scopes: str, **fields) -> str:
    request = auth_pb2.CreateApiKeyRequest(display_name="bot", scopes=scopes, **fields)
    return (await user.stub(AuthServiceStub).CreateApiKey(request)).api_key.api_key_id


def claims(token: str) -> dict:
    return jwt.decode(token, options={"verify_signature": False})


async def refused(call) -> str:
    with pytest.raises(RedFireError) as caught:
        await call
    return type(caught.value).__name__


async def works(p: Platform, token: str) -> bool:
    try:
        await answer(p.stub(UserServiceStub, token).GetUser(user_pb2.GetUserRequest()))
    except RedFireError as error:
        return type(error).__name__ != "Unauthenticated"
    return True


async def test_a_keys_scopes_stay_with_the_strategy(p):
    user = await p.user(role="trader")
    key = await new_key(user, "trading:read", "user:read")
    made = await exchange(p, user, api_key_id=key)
    assert claims(made.access_token)["scope"] == "trading:read"
    other = await new_key(user, "user:read")
    assert await refused(exchange(p, user, api_key_id=other)) == "Denied"


async def test_a_strategys_token_is_none_from_outside(p):
    user = await p.user(role="trader")
    token = (await exchange(p, user, api_key_id=await new_key(user, *SCOPES, "user:read"))).access_token
    outside = {"x_redfire_edge": p.host.edge_token.value, "x_envoy_external_address": "192.0.2.1"}

    async def reasons(token: str) -> list[str]:
        calls = [p.stub(UserServiceStub, token), p.stub(UserServiceStub, token, **outside)]
        return [await refused(answer(stub.GetUser(user_pb2.GetUserRequest(user_id="me")))) for stub in calls]

    # Inside it is known, and may not read users; from outside it is nobody's.
    assert await reasons(token) == ["Denied", "Unauthenticated"]


async def test_a_keys_expiry_stays_with_the_strategy(p):
    user = await p.user(role="trader")
    end = Timestamp()
    end.GetCurrentTime()
    end.seconds += 120
    key = await new_key(user, *SCOPES, expire_time=end)
    made = await exchange(p, user, api_key_id=key)
    assert made.expires_in <= 120
    assert claims(made.access_token)["exp"] <= end.seconds


async def test_a_revoked_key_gives_no_token_and_ends_those_that_it_gave(p):
    user = await p.user(role="trader")
    key = await new_key(user, *SCOPES)
    token = (await exchange(p, user, api_key_id=key)).access_token
    assert await works(p, token)
    await user.stub(AuthServiceStub).RevokeApiKey(auth_pb2.RevokeApiKeyRequest(api_key_id=key))
    assert await refused(exchange(p, user, api_key_id=key)) == "Denied"
    assert not await works(p, token)


async def test_an_ended_session_gives_no_token_and_ends_those_that_it_gave(p):
    user = await p.user(role="trader")
    session = claims(user.token)["sid"]
    token = (await exchange(p, user, session_id=session)).access_token
    assert await works(p, token)
    await user.stub(AuthServiceStub).Logout(auth_pb2.LogoutRequest())
    assert await refused(exchange(p, user, session_id=session)) == "Unauthenticated"
    assert not await works(p, token)


async def test_keys_and_sessions_of_others_give_nothing(p):
    user, other = await p.user(role="trader"), await p.user(role="trader")
    key, session = await new_key(other, *SCOPES), claims(other.token)["sid"]
    assert await refused(exchange(p, user, api_key_id=key)) == "Denied"
    assert await refused(exchange(p, user, session_id=session)) == "Unauthenticated"


def test_revocations_are_noticed_without_asking_auth():
    revocations = Revocations()
    key, session = Starter(api_key_id="k", session_id="s"), Starter(session_id="s")
    strict, lenient = StarterWatch(revocations, lambda: True), StarterWatch(revocations, lambda: False)
    assert [strict.reason(one) for one in (key, session, None)] == ["", "", ""]
    revocations.add("s", 1e12)
    assert strict.reason(session) == "the session that started it was ended"
    assert lenient.reason(session) == "" and strict.reason(key) == ""
    revocations.add("k", 1e12)
    for watch in (strict, lenient):
        assert watch.reason(key) == "the API key that started it was ended"


def test_a_starter_asks_for_no_more_than_it_has():
    starter = Starter.of(Identity(kind="user", permissions=frozenset({"trading:write", "market:read"}), api_key_id="k"))
    assert starter.scopes(SCOPES) == ["market:read", "trading:write"]
    assert Starter(("admin:all",)).scopes(SCOPES) == SCOPES
