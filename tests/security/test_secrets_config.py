"""Secrets that an administrator tries to put into config, and settings that would run code or read files."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from redfire.config.v1 import config_pb2 as pb
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub

from services import registry
from services.config.admin import purge_config_versions
from services.config.config import ConfigName
from services.config.convert import struct_to_pb, value_to_pb
from services.config.models import VersionRow
from services.kernel.errors import Denied, FailedPrecondition, Invalid, NotFound
from services.kernel.runtime.live_settings import LiveSettings
from services.kernel.runtime.secret_rule import raw_secrets
from services.strategy.settings import StrategySettings
from tests.auth.refusal import refused
from tests.harness import Platform, platform

SLIPPED = "hunter2-slipped-in"
NAMED = [
    ("密码", SLIPPED),
    ("密碼", SLIPPED),
    ("授权编码", SLIPPED),
    ("交易密码", SLIPPED),
    ("pwd", SLIPPED),
    ("PWD", SLIPPED),
    ("db_pass", SLIPPED),
    ("dbPass", SLIPPED),
    ("passphrase", SLIPPED),
    ("credentials", SLIPPED),
    ("access_key", SLIPPED),
    ("AccessKeyId", SLIPPED),
    ("signingKey", SLIPPED),
    ("ｐａｓｓｗｏｒｄ", SLIPPED),
    ("auth-code", SLIPPED),
    ("pin", 1234),
    ("password", 12345678),
    ("密码", 123456),
    ("token", 3.5),
]
LOOKING = [
    "postgresql://me:pw@db/x",
    "POSTGRESQL://ME:PW@DB/X",
    "Https://:pw@host",
    "see redis://user:p/w@host:6379/0 for it",
    "amqp://guest:g@e@st@host",
    "https://host/path?Password=x1",
    "host=db dbname=x password=x1",
    "密码：x1",
    "-----begin openssh private key-----",
    "prefix eyJhbGciOi.eyJzdWIiOi.abc suffix",
    "Bearer 0123456789abcdef",
    "AKIAIOSFODNN7EXAMPLE",
    "rfk_0123456789abcdef0123",
    "$argon2id$v=19$m=19456",
]


@pytest_asyncio.fixture
async def p() -> AsyncIterator[Platform]:
    async with platform("config") as running:
        yield running


@pytest.fixture
def configs(p: Platform) -> Any:
    return p.identity(role="admin").stub(ConfigServiceStub)


def put(configs: Any, value: Any, key: str = "k", service: str = "shop") -> Any:
    request = pb.SetConfigRequest(environment="development", service_name=service, key=key, value=value_to_pb(value))
    return configs.SetConfig(request)


async def test_a_secret_by_name_is_refused_at_any_depth(configs: Any) -> None:
    for name, value in NAMED:
        for nested in (
            {name: value},
            {"a": [{"b": {name: value}}]},
            {name: {"deep": [{"er": value}]}},
            {name: [[value]]},
            {"name": name, "value": value},
        ):
            error = await refused(put(configs, nested))
            assert isinstance(error, Invalid) and "references to secrets" in error.message, nested


@pytest.mark.parametrize("text", LOOKING)
def test_a_secret_by_look_is_found_whatever_its_name(text: str) -> None:
    for value in (text, {"a": [text]}, {text: 1}, {"secret": text}):
        assert list(raw_secrets("k", value, "value")), value


async def test_a_secret_by_look_is_refused_in_values_and_documents(configs: Any) -> None:
    text = LOOKING[1]
    assert isinstance(await refused(put(configs, {"a": [text]})), Invalid)
    for kind in (pb.DOCUMENT_FORMAT_YAML, pb.DOCUMENT_FORMAT_JSON):
        document = json.dumps({"shop": {"k": {"a": [text]}}})
        request = pb.ImportConfigsRequest(environment="development", document=document, format=kind, dry_run=True)
        assert isinstance(await refused(configs.ImportConfigs(request)), Invalid)


async def test_a_schema_brings_no_secret_in(configs: Any) -> None:
    for schema in (
        {"default": SLIPPED},
        {"properties": {"x": {"description": "postgres://me:pw@db"}}},
        {"properties": {"a": {"properties": {"密码": {"default": SLIPPED}}}}},
        {"properties": {"password": {"examples": [SLIPPED]}}},
    ):
        request = pb.SetConfigSchemaRequest(
            environment="development", service_name="shop", key="smtp_password", schema=struct_to_pb(schema)
        )
        assert isinstance(await refused(configs.SetConfigSchema(request)), Invalid), schema


def test_measures_names_and_addresses_are_no_secrets() -> None:
    harmless = {
        "token_ttl_s": 3600,
        "max_tokens": 4096,
        "password_rules": {"min_length": 8, "max_length": 128, "upper": True},
        "compass": "north",
        "database": "postgresql://db:5432/x",
        "page": "http://host:8080/users/@me",
        "mail": "mailto:me@example.com",
        "密码长度": 8,
        "smtp": {"user": "me", "password": {"secret": "smtp-password"}},
        "gateways": [{"用户名": "081234", "密码": {"secret": "ctp-password"}}],
    }
    assert list(raw_secrets("", harmless, "value")) == []


def test_no_setting_that_config_may_set_is_taken_for_a_secret() -> None:
    for section in registry.sections():
        for key, field in section.model_fields.items():
            default = field.get_default(call_default_factory=True)
            if not section.is_start_only(key) and isinstance(default, int | float | str):
                assert list(raw_secrets(key, default, key)) == []


START_ONLY = [
    ("strategy", "strategies_dir", "/tmp"),
    ("auth", "keys_dir", "/tmp"),
    ("engine", "gateways", {"X": {"module": "os", "class": "system"}}),
    ("engine", "instruments_file", "/etc/passwd"),
    ("engine", "feed", "replay:/etc/passwd"),
    ("market", "archive_url", "s3://bucket/x"),
    ("platform", "data_dir", "/tmp"),
    ("strategy", "sandbox", "off"),
    ("limits", "calls", False),
    ("telemetry", "otlp_endpoint", "198.51.100.1:4317"),
    ("strategy", "database", {"url": "sqlite:////tmp/x"}),
]


async def test_what_names_files_modules_and_classes_is_never_set_live(configs: Any) -> None:
    for service, key, value in START_ONLY:
        for tried in (value, {"secret": "x"}, None):
            error = await refused(put(configs, tried, key, service))
            assert isinstance(error, Invalid) and "start alone" in error.message, key
        document = f"{service}: {{{key}: x}}"
        request = pb.ImportConfigsRequest(environment="development", document=document)
        assert isinstance(await refused(configs.ImportConfigs(request)), Invalid)


def test_a_value_of_before_that_is_in_the_database_does_nothing() -> None:
    live = LiveSettings(StrategySettings())
    live.overlay({"strategies_dir": "/tmp", "max_strategies": 7})
    assert (live.value.strategies_dir, live.value.max_strategies) == (None, 7)


# Secrets that slipped in before the rule knew them --------------------------------------------------------------


async def slip_in(p: Platform, configs: Any) -> None:
    """Three versions of a value, the first of which has a secret that today's rule would refuse."""
    for value in ("one", "two", "three"):
        await put(configs, value, "greeting")
    database = p.host.resources.database("config", VersionRow.metadata)
    async with database.repositories(lambda session: session)() as session:
        row = await session.get(VersionRow, ("shop", "development", "greeting", 1))
        row.content = {"value": f"mysql://root:{SLIPPED}@db"}


NAME = {"environment": "development", "service_name": "shop", "key": "greeting"}


@pytest.mark.usefixtures("both_databases")
async def test_an_administrator_erases_what_slipped_in(p: Platform, configs: Any) -> None:
    await slip_in(p, configs)
    again = pb.RollbackConfigRequest(**NAME, version=1)
    assert isinstance(await refused(configs.RollbackConfig(again)), Invalid)
    trader = p.identity(role="trader").stub(ConfigServiceStub)
    assert isinstance(await refused(trader.PurgeConfigVersions(pb.PurgeConfigVersionsRequest(**NAME))), Denied)
    present = pb.PurgeConfigVersionsRequest(**NAME, versions=[1, 3])
    assert isinstance(await refused(configs.PurgeConfigVersions(present)), FailedPrecondition)
    absent = pb.PurgeConfigVersionsRequest(**NAME, versions=[1, 9])
    assert isinstance(await refused(configs.PurgeConfigVersions(absent)), (NotFound, FailedPrecondition))
    assert SLIPPED in str(await configs.ListConfigVersions(pb.ListConfigVersionsRequest(**NAME)))

    assert (await configs.PurgeConfigVersions(pb.PurgeConfigVersionsRequest(**NAME, versions=[1]))).count == 1
    versions = (await configs.ListConfigVersions(pb.ListConfigVersionsRequest(**NAME))).versions
    assert [(v.version, v.purged) for v in versions] == [(3, False), (2, False), (1, True)]
    assert SLIPPED not in str(versions)
    assert isinstance(await refused(configs.RollbackConfig(again)), Invalid)
    assert (await configs.PurgeConfigVersions(pb.PurgeConfigVersionsRequest(**NAME))).count == 2
    assert (await configs.GetConfig(pb.GetConfigRequest(**NAME))).config.value.string_value == "three"


async def test_the_operator_erases_it_from_the_file_too(tmp_path: Path) -> None:
    async with platform("config", data_dir=tmp_path) as p:
        await slip_in(p, p.identity(role="admin").stub(ConfigServiceStub))
        settings = p.host.settings
    assert SLIPPED.encode() in contents(tmp_path)
    name = ConfigName("development", "shop", "greeting")
    assert await purge_config_versions(tmp_path, settings, name, [1]) == 1
    with closing(sqlite3.connect(tmp_path / "config_db.sqlite")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert SLIPPED.encode() not in contents(tmp_path)
    with pytest.raises(NotFound):
        await purge_config_versions(tmp_path, settings, ConfigName("development", "shop", "other"), [])


def contents(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("config_db.sqlite*"))


async def test_internal_details_of_a_refusal_do_not_show_the_secret(configs: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await put(configs, {"password": SLIPPED})
    assert SLIPPED not in str(caught.value.details()) + str(caught.value.trailing_metadata())
