"""The record of calls: each change with who, what before and after, and each refusal; never a secret."""

import asyncio
import contextlib
import json

import grpc
import pytest
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.config.v1 import config_pb2
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.kernel.audit_trail import recorder
from services.kernel.audit_trail.listing import Filter, list_page
from services.kernel.audit_trail.verification import verify
from tests.harness import PASSWORD, platform

NAME = {"environment": "development", "service_name": "shop", "key": "max"}


@pytest.fixture
async def served(both_databases):
    async with platform("config", "auth", "user") as p:
        yield p


async def entries(served, **wanted):
    databases = list(served.host.resources.databases_by_name().items())
    return (await list_page(databases, Filter(**wanted), 1000))[0]


async def recorded(served, method, **wanted):
    """The one record of a method."""
    (entry,) = await entries(served, method=method, **wanted)
    return entry


async def refused(call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name


def set_config(value, key="max"):
    request = config_pb2.SetConfigRequest(**{**NAME, "key": key})
    if isinstance(value, str):
        request.value.string_value = value
    else:
        request.value.number_value = value
    return request


async def test_a_change_has_a_record_with_who_what_before_and_after(served):
    admin = await served.admin()
    configs = served.stub(ConfigServiceStub, admin.token, x_request_id="my-request")
    await configs.SetConfig(set_config(3))
    await configs.SetConfig(set_config(4))
    second, first = await entries(served, method="SetConfig")
    assert first.details["changes"] == {"before": None, "after": {"version": 1, "deleted": False}}
    assert second.details["changes"] == {"before": {"version": 1}, "after": {"version": 2, "deleted": False}}
    assert (second.user_id, second.outcome) == (admin.user_id, "OK")
    assert second.details["resource"] == "config/development/shop/max"
    assert second.details["request_id"] == "my-request"
    assert second.details["client_address"] == "127.0.0.1"
    assert second.details["session_id"]


async def test_a_role_a_password_and_a_profile_are_recorded_without_the_password(served):
    admin = await served.admin()
    ann = await served.user("ann")
    await ann.stub(UserServiceStub).ChangePassword(
        user_pb2.ChangePasswordRequest(user_id="me", old_password=PASSWORD, new_password="another-Horse-7")
    )
    users = admin.stub(UserServiceStub)
    await users.SetUserRole(user_pb2.SetUserRoleRequest(user_id=ann.user_id, role="admin"))
    role = await recorded(served, "SetUserRole")
    assert role.details["changes"] == {"before": {"role": "user"}, "after": {"role": "admin"}}
    assert role.details["resource"] == f"users/{ann.user_id}"
    changed = await recorded(served, "ChangePassword")
    assert changed.details["resource"] == f"users/{ann.user_id}"
    assert changed.details["request"]["new_password"] == "[redacted]"
    everything = json.dumps([entry.details for entry in await entries(served)])
    assert PASSWORD not in everything and "another-Horse-7" not in everything and "eyJ" not in everything


async def test_every_refusal_has_a_record_with_its_reason(served):
    ann = await served.user("ann")
    configs = ann.stub(ConfigServiceStub)
    assert await refused(configs.SetConfig(set_config(3))) == "PERMISSION_DENIED"
    assert await refused(configs.GetConfig(config_pb2.GetConfigRequest(**NAME))) == "PERMISSION_DENIED"
    assert await refused(served.stub(ConfigServiceStub, "a.b.c").GetConfig(config_pb2.GetConfigRequest(**NAME)))
    auth = served.stub(AuthServiceStub)
    assert (
        await refused(auth.Login(auth_pb2.LoginRequest(username="ann", password="wrong-Horse-1"))) == "UNAUTHENTICATED"
    )
    for method, outcome, reason in (
        ("SetConfig", "PERMISSION_DENIED", "PERMISSION_DENIED: the permission config:write is needed"),
        ("Login", "UNAUTHENTICATED", "INVALID_CREDENTIALS"),
    ):
        entry = await recorded(served, method, outcome=outcome)
        assert entry.details["reason"].startswith(reason)
    denied, unknown = sorted(await entries(served, method="GetConfig"), key=lambda entry: entry.outcome)
    assert (denied.user_id, denied.outcome) == (ann.user_id, "PERMISSION_DENIED")
    assert (unknown.user_id, unknown.outcome) == ("", "UNAUTHENTICATED")


async def test_a_value_that_config_refuses_as_a_secret_is_in_no_record(served):
    admin = await served.admin()
    configs = admin.stub(ConfigServiceStub)
    assert await refused(configs.SetConfig(set_config("hunter2secret", key="ctp.password"))) == "INVALID_ARGUMENT"
    document = config_pb2.ImportConfigsRequest(environment="development", document="shop:\n  password: hunter2secret\n")
    document.format = config_pb2.DOCUMENT_FORMAT_YAML
    assert await refused(configs.ImportConfigs(document)) == "INVALID_ARGUMENT"
    records = await entries(served, outcome="INVALID_ARGUMENT")
    assert {entry.method.rpartition("/")[2] for entry in records} == {"SetConfig", "ImportConfigs"}
    assert "hunter2secret" not in json.dumps([entry.details for entry in await entries(served)])


@pytest.fixture
def few(monkeypatch):
    """Few refusals are recorded, and none comes back with time."""
    monkeypatch.setattr(recorder, "REFUSALS_A_SECOND", 0)
    monkeypatch.setattr(recorder, "OF_A_NETWORK_A_SECOND", 0)
    monkeypatch.setattr(recorder, "REFUSALS_AT_ONCE", 8)
    monkeypatch.setattr(recorder, "OF_A_NETWORK_AT_ONCE", 5)


def by_edge(served, address, token="a.b.c"):
    edge = {"x_redfire_edge": served.host.edge_token.value, "x_envoy_external_address": address}
    return served.stub(ConfigServiceStub, token, **edge)


async def test_strangers_cannot_fill_the_disk_with_refusals(few, monkeypatch):
    async with platform("config", "auth", "user") as served:
        for _ in range(30):
            await refused(by_edge(served, "192.0.2.1").GetConfig(config_pb2.GetConfigRequest(**NAME)))
        assert len(await entries(served, outcome="UNAUTHENTICATED")) == 5
        monkeypatch.setattr(recorder, "OF_A_NETWORK_A_SECOND", 1e9)
        await refused(by_edge(served, "192.0.2.1").GetConfig(config_pb2.GetConfigRequest(**NAME)))
        newest = (await entries(served, outcome="UNAUTHENTICATED"))[0]
        assert newest.details["changes"]["after"] == {"refusals_not_recorded_before": 25}
        for number in range(2, 30):
            address = f"2001:db8::{number}:0:0:0:1"
            await refused(by_edge(served, address).GetConfig(config_pb2.GetConfigRequest(**NAME)))
        assert len(await entries(served, outcome="UNAUTHENTICATED")) == 8


async def test_a_flood_of_strangers_hides_nobodys_refusal(few):
    async with platform("config", "auth", "user") as served:
        ann, bob = await served.user("ann"), await served.user("bob")
        ask = config_pb2.GetConfigRequest(**NAME)
        for _ in range(30):
            await refused(by_edge(served, "192.0.2.1").GetConfig(ask))
        # One address alone does not hide another stranger, all together do not hide a user, nor one user another.
        await refused(by_edge(served, "198.51.100.7").GetConfig(ask))
        assert "198.51.100.7" in {e.details["client_address"] for e in await entries(served, outcome="UNAUTHENTICATED")}
        for number in range(30):
            await refused(by_edge(served, f"203.0.113.{number}").GetConfig(ask))
            await refused(by_edge(served, "192.0.2.1", bob.token).GetConfig(ask))
        await refused(by_edge(served, "192.0.2.1", ann.token).GetConfig(ask))
        assert len(await entries(served, user_id=ann.user_id, outcome="PERMISSION_DENIED")) == 1
        assert len(await entries(served, user_id=bob.user_id, outcome="PERMISSION_DENIED")) == 8


async def test_a_call_whose_record_cannot_be_written_is_not_answered_as_done(served, monkeypatch):
    ann = await served.user("ann")
    chain = served.host.resources.databases_by_name()["auth"].chain
    monkeypatch.setattr(chain, "extend", lambda records: [(None, {})])
    # No session of that name: nothing is changed, so that the record alone is to be written.
    with contextlib.suppress(grpc.aio.AioRpcError):
        await ann.stub(AuthServiceStub).RevokeSession(auth_pb2.RevokeSessionRequest(session_id="0" * 36))
    assert not await entries(served, method="RevokeSession")


async def test_many_at_once_are_recorded_each_and_the_chains_verify(served):
    await asyncio.gather(*(served.user(f"user{n}") for n in range(3)))
    assert len(await entries(served, method="RegisterUser")) == 3
    assert len(await entries(served, method="Login", outcome="OK")) == 3
    for database in served.host.resources.databases:
        assert (await verify(database, {}, [])).broken == []
