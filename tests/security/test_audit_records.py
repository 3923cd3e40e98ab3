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


async def test_strangers_cannot_fill_the_disk_with_refusals(served, monkeypatch):
    monkeypatch.setattr(recorder, "REFUSALS_A_SECOND", 0)
    served.host.handlers.recorder._allowed = 5.0
    stub = served.stub(ConfigServiceStub, "a.b.c")
    for _ in range(30):
        await refused(stub.GetConfig(config_pb2.GetConfigRequest(**NAME)))
    assert len(await entries(served, outcome="UNAUTHENTICATED")) == 5
    served.host.handlers.recorder._allowed = 1.0
    await refused(stub.GetConfig(config_pb2.GetConfigRequest(**NAME)))
    newest = (await entries(served, outcome="UNAUTHENTICATED"))[0]
    assert newest.details["changes"]["after"] == {"refusals_not_recorded_before": 25}


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
