"""ConfigService over loopback: every RPC, its errors, and who may call it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf import json_format, struct_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redfire.config.v1 import config_pb2 as pb
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub

from services.config.convert import struct_to_pb, value_from_pb, value_to_pb
from tests.harness import Platform, platform
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")

ENV = "development"


def name(key: str = "fast_window", service: str = "shop", environment: str = ENV) -> dict[str, str]:
    return {"environment": environment, "service_name": service, "key": key}


@pytest_asyncio.fixture
async def p() -> AsyncIterator[Platform]:
    async with platform("config", settings={"config": {"heartbeat_s": 0.2}}) as running:
        yield running


@pytest.fixture
def configs(p: Platform) -> Any:
    return p.identity(role="admin").stub(ConfigServiceStub)


async def put(configs: Any, value: Any, key: str = "fast_window", **more: Any) -> pb.Config:
    target = {**name(key), **more}
    return (await configs.SetConfig(pb.SetConfigRequest(**target, value=value_to_pb(value)))).config


async def get(configs: Any, key: str = "fast_window", **more: Any) -> Any:
    return value_from_pb((await configs.GetConfig(pb.GetConfigRequest(**{**name(key), **more}))).config.value)


async def refused(call: Any) -> tuple[grpc.StatusCode, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    status = rpc_status.from_call(failed.value)
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
    return failed.value.code(), info.reason, [violation.field for violation in bad.field_violations]


@pytest.mark.parametrize("value", [1, -2.5, True, None, "text", [], {}, {"a": [1, {"b": None}]}, 2**53])
async def test_any_json_that_is_set_is_read_again(configs: Any, value: Any) -> None:
    config = await put(configs, value)
    assert (config.version, config.deleted) == (1, False)
    read_back = await get(configs)
    assert read_back == value
    assert type(read_back) is type(value)


async def test_versions_count_up_and_stay(configs: Any) -> None:
    for value in (10, 20, 30):
        await put(configs, value)
    await configs.DeleteConfig(pb.DeleteConfigRequest(**name()))
    assert await refused(configs.GetConfig(pb.GetConfigRequest(**name()))) == (
        grpc.StatusCode.NOT_FOUND,
        "NOT_FOUND",
        [],
    )
    assert (await put(configs, 50)).version == 5
    versions, token = [], ""
    while True:
        request = pb.ListConfigVersionsRequest(**name(), page_size=2, page_token=token)
        answer = await configs.ListConfigVersions(request)
        versions += answer.versions
        if not (token := answer.next_page_token):
            break
    assert [version.version for version in versions] == [5, 4, 3, 2, 1]
    assert [version.deleted for version in versions] == [False, True, False, False, False]
    assert not versions[1].HasField("value")
    assert len({version.etag for version in versions}) == 5


async def test_a_stale_etag_is_aborted(configs: Any) -> None:
    first = await put(configs, 1)
    second = await put(configs, 2, etag=first.etag)
    assert (await refused(put(configs, 3, etag=first.etag)))[:2] == (grpc.StatusCode.ABORTED, "STALE_ETAG")
    assert (await refused(put(configs, 3, key="other", etag=first.etag)))[0] is grpc.StatusCode.ABORTED
    stale = configs.DeleteConfig(pb.DeleteConfigRequest(**name(), etag=first.etag))
    assert (await refused(stale))[0] is grpc.StatusCode.ABORTED
    assert await get(configs) == 2
    await configs.DeleteConfig(pb.DeleteConfigRequest(**name(), etag=second.etag))
    assert (await refused(configs.DeleteConfig(pb.DeleteConfigRequest(**name()))))[0] is grpc.StatusCode.NOT_FOUND


async def test_of_many_writers_with_one_etag_exactly_one_wins(configs: Any) -> None:
    first = await put(configs, 0)
    results = await asyncio.gather(*(put(configs, n, etag=first.etag) for n in range(1, 9)), return_exceptions=True)
    assert sorted(isinstance(result, pb.Config) for result in results) == [False] * 7 + [True]
    assert all(r.code() is grpc.StatusCode.ABORTED for r in results if isinstance(r, grpc.aio.AioRpcError))


async def test_a_rollback_writes_the_earlier_value_again(configs: Any) -> None:
    for value in ("a", "b"):
        await put(configs, value)
    await configs.DeleteConfig(pb.DeleteConfigRequest(**name()))
    config = (await configs.RollbackConfig(pb.RollbackConfigRequest(**name(), version=1))).config
    assert (config.version, value_from_pb(config.value)) == (4, "a")
    deleted = configs.RollbackConfig(pb.RollbackConfigRequest(**name(), version=3))
    assert await refused(deleted) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["version"])
    absent = configs.RollbackConfig(pb.RollbackConfigRequest(**name(), version=9))
    assert (await refused(absent))[0] is grpc.StatusCode.NOT_FOUND


async def set_schema(configs: Any, schema: dict[str, Any], key: str = "fast_window") -> Any:
    return await configs.SetConfigSchema(pb.SetConfigSchemaRequest(**name(key), schema=struct_to_pb(schema)))


async def test_a_schema_counts_in_all_environments_and_names_the_path(configs: Any) -> None:
    schema = {"type": "object", "properties": {"limits": {"type": "array", "items": {"type": "integer"}}}}
    await set_schema(configs, schema)
    answer = await configs.GetConfigSchema(pb.GetConfigSchemaRequest(**name(environment="production")))
    assert json_format.MessageToDict(answer.schema) == schema
    await put(configs, {"limits": [1]}, environment="production")
    wrong = put(configs, {"limits": ["1"]}, environment="production")
    assert await refused(wrong) == (grpc.StatusCode.INVALID_ARGUMENT, "SCHEMA_VIOLATION", ["value.limits[0]"])


async def test_a_schema_that_values_break_is_refused_and_names_them(configs: Any) -> None:
    await put(configs, "text", environment="production")
    with pytest.raises(grpc.aio.AioRpcError, match="production/shop/fast_window") as failed:
        await set_schema(configs, {"type": "integer"})
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    absent = configs.GetConfigSchema(pb.GetConfigSchemaRequest(**name()))
    assert (await refused(absent))[0] is grpc.StatusCode.NOT_FOUND
    wrong = set_schema(configs, {"type": "nonsense"})
    assert await refused(wrong) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["schema.type"])


async def test_a_rollback_to_what_the_schema_refuses_now_is_refused(configs: Any) -> None:
    await put(configs, "text")
    await put(configs, 1)
    await set_schema(configs, {"type": "integer"})
    back = configs.RollbackConfig(pb.RollbackConfigRequest(**name(), version=1))
    assert (await refused(back))[1] == "SCHEMA_VIOLATION"


async def test_nonsense_for_a_setting_of_a_service_is_refused_and_unknown_keys_are_not(configs: Any) -> None:
    wrong = put(configs, "soon", service_name="config", key="heartbeat_s")
    assert (await refused(wrong))[1] == "SCHEMA_VIOLATION"
    await put(configs, 3, service_name="config", key="heartbeat_s")
    await put(configs, "anything", service_name="config", key="not_a_setting")
    schema = await configs.GetConfigSchema(pb.GetConfigSchemaRequest(**name("heartbeat_s", "config")))
    assert schema.schema["type"] == "number"


async def test_a_raw_secret_is_refused_and_a_reference_is_kept(configs: Any) -> None:
    raw = put(configs, "hunter2", key="smtp_password")
    assert await refused(raw) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["value"])
    await put(configs, {"secret": "smtp"}, key="smtp_password")
    assert await get(configs, key="smtp_password") == {"secret": "smtp"}


async def test_a_value_must_be_given_and_not_be_too_big(configs: Any) -> None:
    for request in (pb.SetConfigRequest(**name()), pb.SetConfigRequest(**name(), value=struct_pb2.Value())):
        assert (await refused(configs.SetConfig(request)))[2] == ["value"]
    assert (await refused(put(configs, "x" * 70_000)))[2] == ["value"]


async def test_lists_are_paged_by_key(configs: Any) -> None:
    for key in ("c", "a", "b"):
        await put(configs, key, key=key)
    await put(configs, 1, key="gone")
    await configs.DeleteConfig(pb.DeleteConfigRequest(**name("gone")))
    first = await configs.ListConfigs(pb.ListConfigsRequest(environment=ENV, service_name="shop", page_size=2))
    assert [config.key for config in first.configs] == ["a", "b"]
    token = first.next_page_token
    second = await configs.ListConfigs(
        pb.ListConfigsRequest(environment=ENV, service_name="shop", page_size=2, page_token=token)
    )
    assert [config.key for config in second.configs] == ["c"]
    assert not second.next_page_token
    other = configs.ListConfigs(pb.ListConfigsRequest(environment=ENV, service_name="other", page_token=token))
    assert (await refused(other))[1] == "INVALID_PAGE_TOKEN"


def changes(answer: Any) -> dict[str, tuple[Any, Any]]:
    return {
        f"{c.service_name}.{c.key}": tuple(
            value_from_pb(getattr(c, side)) if c.HasField(side) else "absent" for side in ("old_value", "new_value")
        )
        for c in answer.changes
    }


async def test_a_diff_shows_what_differs_between_environments(configs: Any) -> None:
    for key, here, there in (("same", 1, 1), ("other", 1, True), ("null", None, 0)):
        await put(configs, here, key=key)
        await put(configs, there, key=key, environment="production")
    await put(configs, 5, key="here")
    request = pb.DiffConfigsRequest(environment=ENV, service_name="shop", other_environment="production")
    answer = await configs.DiffConfigs(request)
    assert changes(answer) == {"shop.here": (5, "absent"), "shop.null": (None, 0), "shop.other": (1, True)}
    assert [change.key for change in answer.changes] == ["here", "null", "other"]


DOCUMENT = "risk:\n  max_open_orders: 50\nshop:\n  a:\n  - 1\n  - x: null\n  b: 'no'\n"


@pytest.mark.parametrize("kind", [pb.DOCUMENT_FORMAT_YAML, pb.DOCUMENT_FORMAT_JSON])
async def test_an_import_then_an_export_gives_the_same_document(configs: Any, kind: Any) -> None:
    if kind == pb.DOCUMENT_FORMAT_JSON:
        text = '{\n  "shop": {\n    "a": [\n      1,\n      0.5\n    ]\n  }\n}\n'
    else:
        text = DOCUMENT
    await configs.ImportConfigs(pb.ImportConfigsRequest(environment="staging", document=text, format=kind))
    answer = await configs.ExportConfigs(pb.ExportConfigsRequest(environment="staging", format=kind))
    assert answer.document == text
    again = await configs.ImportConfigs(pb.ImportConfigsRequest(environment="staging", document=text, format=kind))
    assert not again.changes


async def test_a_dry_run_changes_nothing_and_prune_deletes(configs: Any) -> None:
    await put(configs, 1, key="a")
    await put(configs, 2, key="old")
    request = pb.ImportConfigsRequest(environment=ENV, document="shop: {a: 2, b: 3}", dry_run=True, prune=True)
    expected = {"shop.a": (1, 2), "shop.b": ("absent", 3), "shop.old": (2, "absent")}
    assert changes(await configs.ImportConfigs(request)) == expected
    assert await get(configs, key="a") == 1
    request.dry_run = False
    assert changes(await configs.ImportConfigs(request)) == expected
    exported = await configs.ExportConfigs(pb.ExportConfigsRequest(environment=ENV))
    assert exported.document == "shop:\n  a: 2\n  b: 3\n"
    response = await configs.GetConfig(pb.GetConfigRequest(**name("a")))
    assert response.config.version == 2


@pytest.mark.parametrize(
    ("document", "reason", "field"),
    [
        ("shop: {a: 2, fast_window: text}", "SCHEMA_VIOLATION", "document.shop.fast_window"),
        ("shop: {a: 2, db: {password: x}}", "INVALID_FIELD", "document.shop.db.password"),
        ("shop: {a: 2, big: 99999999999999999999}", "INVALID_FIELD", "document.shop.big"),
        ("shop: {a: 2, nan: .nan}", "INVALID_FIELD", "document.shop.nan"),
        ("config: {heartbeat_s: soon}", "SCHEMA_VIOLATION", "document.config.heartbeat_s"),
        ("shop: [", "INVALID_FIELD", "document"),
    ],
)
async def test_an_import_is_all_or_nothing(configs: Any, document: str, reason: str, field: str) -> None:
    await set_schema(configs, {"type": "integer"})
    await put(configs, 1, key="a")
    for dry_run in (True, False):
        request = pb.ImportConfigsRequest(environment=ENV, document=document, dry_run=dry_run)
        assert await refused(configs.ImportConfigs(request)) == (grpc.StatusCode.INVALID_ARGUMENT, reason, [field])
    assert await get(configs, key="a") == 1


async def test_a_watch_shows_the_snapshot_then_each_change(configs: Any) -> None:
    await put(configs, 1)
    await put(configs, 1, key="gone")
    await configs.DeleteConfig(pb.DeleteConfigRequest(**name("gone")))
    stream = configs.WatchConfigs(pb.WatchConfigsRequest(environment=ENV, service_name="shop"), timeout=20)
    assert (await stream.read()).config.version == 1
    assert (await stream.read()).snapshot_complete
    assert (await stream.read()).HasField("heartbeat")
    await put(configs, 2)
    await put(configs, 3, service_name="another")
    await configs.DeleteConfig(pb.DeleteConfigRequest(**name()))
    seen = []
    while len(seen) < 2:
        message = await stream.read()
        if message.WhichOneof("event") == "config":
            seen.append((message.config.version, message.config.deleted))
    assert seen == [(2, False), (3, True)]
    stream.cancel()


async def test_nothing_is_lost_between_snapshot_and_changes(configs: Any) -> None:
    async def write() -> None:
        for value in range(60):
            await put(configs, value)

    async def watch() -> list[int]:
        versions = []
        async for message in configs.WatchConfigs(
            pb.WatchConfigsRequest(environment=ENV, service_name="shop"), timeout=20
        ):
            if message.WhichOneof("event") == "config":
                versions.append(message.config.version)
                if message.config.version == 60:
                    break
        return versions

    writing = asyncio.create_task(write())
    streams = await asyncio.gather(*(watch() for _ in range(4)))
    await writing
    for versions in streams:
        assert versions == list(range(versions[0], 61))


async def test_a_watch_ends_when_the_service_drains() -> None:
    async with platform("config") as p:
        configs = p.identity(role="admin").stub(ConfigServiceStub)
        stream = configs.WatchConfigs(pb.WatchConfigsRequest(environment=ENV, service_name="shop"), timeout=20)
        assert (await stream.read()).snapshot_complete
        stopping = asyncio.create_task(p.host.stop())
        assert (await stream.read()).end == "SHUTTING_DOWN"
        await stopping


async def test_values_survive_a_restart_and_services_follow_them(tmp_path: Any) -> None:
    async with platform("config", data_dir=tmp_path) as p:
        await put(p.identity(role="admin").stub(ConfigServiceStub), 42, service_name="config", key="heartbeat_s")
    async with platform("config", data_dir=tmp_path) as p:
        configs = p.identity(role="admin").stub(ConfigServiceStub)
        assert await get(configs, key="heartbeat_s", service_name="config") == 42

        async def received() -> bool:
            stream = configs.WatchConfigs(pb.WatchConfigsRequest(environment=ENV, service_name="config"), timeout=5)
            return (await stream.read()).config.key == "heartbeat_s"

        await until(received)


@pytest.mark.parametrize("role", ["user", "trader"])
async def test_only_administrators_come_in(p: Platform, role: str) -> None:
    configs = p.identity(role=role).stub(ConfigServiceStub)
    assert (await refused(put(configs, 1)))[0] is grpc.StatusCode.PERMISSION_DENIED
    assert (await refused(configs.GetConfig(pb.GetConfigRequest(**name()))))[0] is grpc.StatusCode.PERMISSION_DENIED
