"""API keys: what they may do, from where, until when."""

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.reasons import Reason
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.auth.api_keys.api_key import is_allowed, is_within, parse_networks
from services.kernel.errors import Denied, Invalid, NotFound, Unauthenticated
from tests.auth.refusal import refused
from tests.examples import examples
from tests.harness import Platform, User
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")

ME = user_pb2.GetUserRequest(user_id="me")


def in_(**parts: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC) + timedelta(**parts))
    return stamp


async def make(user: User, scopes=("user:read",), **fields) -> auth_pb2.CreateApiKeyResponse:
    request = auth_pb2.CreateApiKeyRequest(display_name="robot", scopes=scopes, **fields)
    return await user.stub(AuthServiceStub).CreateApiKey(request)


def verify(p: Platform, secret: str, client_address: str = ""):
    request = auth_pb2.VerifyApiKeyRequest(secret=secret, client_address=client_address)
    return p.service_stub(AuthServiceStub, "market").VerifyApiKey(request)


async def test_a_key_acts_for_its_owner_within_its_scopes(p: Platform):
    alice = await p.user("alice")
    made = await make(alice)
    assert made.secret.startswith("rfk_")
    assert len(made.secret) >= 4 + 43
    by_key = p.stub(UserServiceStub, x_api_key=made.secret)
    assert (await by_key.GetUser(ME)).user.user_id == alice.user_id
    change = user_pb2.UpdateUserRequest(user_id="me", user=user_pb2.User(display_name="x"))
    assert isinstance(await refused(by_key.UpdateUser(change)), Denied)


async def test_keys_are_listed_without_secrets_and_with_their_last_use(p: Platform):
    alice, bob = await p.user("alice"), await p.user("bob")
    first, second = await make(alice), await make(alice, expire_time=in_(hours=1), allowed_cidrs=["127.0.0.0/8"])
    await p.stub(UserServiceStub, x_api_key=first.secret).GetUser(ME)
    keys = (await alice.stub(AuthServiceStub).ListApiKeys(auth_pb2.ListApiKeysRequest())).api_keys
    assert [key.api_key_id for key in keys] == [second.api_key.api_key_id, first.api_key.api_key_id]
    assert keys[0].allowed_cidrs == ["127.0.0.0/8"]
    assert not keys[0].HasField("last_used_time")
    assert keys[1].last_used_time.seconds % 60 == 0
    assert first.secret not in str(keys)
    assert not (await bob.stub(AuthServiceStub).ListApiKeys(auth_pb2.ListApiKeysRequest())).api_keys


async def test_a_key_is_ended_by_its_owner_only_and_within_a_second(p: Platform):
    alice, bob = await p.user("alice"), await p.user("bob")
    made = await make(alice)
    by_key = p.stub(UserServiceStub, x_api_key=made.secret)
    await by_key.GetUser(ME)
    request = auth_pb2.RevokeApiKeyRequest(api_key_id=made.api_key.api_key_id)
    assert isinstance(await refused(bob.stub(AuthServiceStub).RevokeApiKey(request)), NotFound)
    await by_key.GetUser(ME)
    await alice.stub(AuthServiceStub).RevokeApiKey(request)

    async def dead() -> bool:
        try:
            await by_key.GetUser(ME)
        except Exception:
            return True
        return False

    await until(dead, timeout_s=1)
    assert isinstance(await refused(alice.stub(AuthServiceStub).RevokeApiKey(request)), NotFound)
    assert isinstance(await refused(verify(p, made.secret)), Unauthenticated)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scopes": ["user:read", "user:fly"]}, "scopes[1]"),
        ({"scopes": ["user:read"], "expire_time": Timestamp(seconds=1)}, "expire_time"),
        ({"scopes": ["user:read"], "allowed_cidrs": ["10.0.0.0/8", "10.0.0.1/8"]}, "allowed_cidrs[1]"),
        ({"scopes": ["user:read"], "allowed_cidrs": ["everywhere"]}, "allowed_cidrs[0]"),
    ],
)
async def test_a_wrong_request_names_its_field(p: Platform, fields, field):
    alice = await p.user("alice")
    error = await refused(make(alice, **fields))
    assert isinstance(error, Invalid)
    assert field in error.fields


async def test_nobody_gives_a_key_more_than_they_have(p: Platform):
    alice = await p.user("alice")
    assert isinstance(await refused(make(alice, ["trading:write"])), Denied)
    assert isinstance(await refused(make(alice, ["admin:all"])), Denied)


async def test_a_key_makes_no_wider_longer_or_more_mobile_key(p: Platform):
    alice = await p.user("alice")
    made = await make(alice, ["user:write"], expire_time=in_(hours=1), allowed_cidrs=["127.0.0.0/8"])
    by_key = p.stub(AuthServiceStub, x_api_key=made.secret)

    async def child(**fields):
        return await by_key.CreateApiKey(auth_pb2.CreateApiKeyRequest(display_name="child", **fields))

    narrow = {"scopes": ["user:write"], "expire_time": in_(minutes=30), "allowed_cidrs": ["127.0.0.1/32"]}
    await child(**narrow)
    for wider in (
        {"scopes": ["user:read"]},
        {"expire_time": in_(hours=2)},
        {"expire_time": None},
        {"allowed_cidrs": []},
        {"allowed_cidrs": ["0.0.0.0/0"]},
    ):
        assert isinstance(await refused(child(**{**narrow, **wider})), Denied)


async def test_a_key_is_bound_to_its_networks(p: Platform):
    alice = await p.user("alice")
    made = await make(alice, allowed_cidrs=["10.0.0.0/8"])
    assert (await verify(p, made.secret, "10.1.2.3")).user_id == alice.user_id
    for address in ("11.1.2.3", "", "unknown"):
        assert isinstance(await refused(verify(p, made.secret, address)), Unauthenticated)
    elsewhere = p.stub(UserServiceStub, x_api_key=made.secret).GetUser(ME)
    assert isinstance(await refused(elsewhere), Unauthenticated)


async def test_a_promoted_owner_keeps_keys_and_a_demoted_one_loses_them(p: Platform):
    alice = await p.user("alice", role="trader")
    made = await make(alice, ["trading:write", "user:read"])
    admin = (await p.admin()).stub(UserServiceStub)
    await admin.SetUserRole(user_pb2.SetUserRoleRequest(user_id=alice.user_id, role="admin"))
    assert sorted((await verify(p, made.secret)).scopes) == ["trading:write", "user:read"]
    await admin.SetUserRole(user_pb2.SetUserRoleRequest(user_id=alice.user_id, role="user"))
    error = await refused(verify(p, made.secret))
    assert error.reason == Reason.UNAUTHENTICATED


addresses = st.ip_addresses().filter(lambda a: a.version == 4 or a.ipv4_mapped is None)


@settings(deadline=None, max_examples=examples(100))
@given(addresses, st.integers(0, 32))
def test_an_address_is_allowed_in_its_own_network_and_not_in_others(address, prefix):
    network = ipaddress.ip_network((address, prefix), strict=False)
    assert is_allowed(str(address), parse_networks([str(network)]))
    other = "203.0.113.0/24" if address.version == 6 else "2001:db8::/32"
    assert not is_allowed(str(address), [other])
    assert is_within([f"{address}"], [str(network)])
    assert not is_within([other], [str(network)])


def test_an_ipv4_address_written_as_ipv6_is_allowed_as_itself():
    assert is_allowed("::ffff:10.0.0.1", ["10.0.0.0/8"])
