"""Two replicas of config on one PostgreSQL: both read and watch what one writes, with Redis or without."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from redfire.config.v1 import config_pb2 as pb
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub

from services.config import replica_changes
from services.config.convert import value_from_pb, value_to_pb
from tests.harness import TokenMint, platform
from tests.redis_server import installed_redis
from tests.waiting import until

pytestmark = pytest.mark.slow
NAME = {"environment": "development", "service_name": "shop", "key": "size"}


@pytest.fixture(params=["without", "redis", "suspended"])
async def replicas(request: pytest.FixtureRequest, tmp_path, monkeypatch) -> AsyncIterator[list[Any]]:
    """An administrator's stubs of both."""
    monkeypatch.setenv("REDFIRE_TEST_DATABASE", "postgresql")
    redis = None if request.param == "without" else installed_redis()
    settings = {"redis": {"url": redis.url, "timeout_s": 2.0}} if redis is not None else {}
    if request.param == "redis":
        # So that it is Redis that wakes them.
        monkeypatch.setattr(replica_changes, "POLL_S", 600.0)
    mint = TokenMint()
    try:
        async with (
            platform("config", data_dir=tmp_path, settings=settings, mint=mint) as one,
            platform("config", data_dir=tmp_path, settings=settings, mint=mint) as other,
        ):
            if redis is not None:
                await until(lambda: all(p.host.resources.messages.connected for p in (one, other)), 20)
            if request.param == "suspended":
                redis.suspend()
            yield [p.identity(role="admin").stub(ConfigServiceStub) for p in (one, other)]
            if request.param == "suspended":
                redis.resume()
    finally:
        if redis is not None:
            redis.close()


async def put(configs: Any, value: Any, **more: Any) -> pb.Config:
    return (await configs.SetConfig(pb.SetConfigRequest(**{**NAME, **more}, value=value_to_pb(value)))).config


async def get(configs: Any) -> Any:
    return value_from_pb((await configs.GetConfig(pb.GetConfigRequest(**NAME))).config.value)


async def test_a_value_written_at_one_is_read_at_both(replicas: list[Any]):
    one, other = replicas
    await put(one, 1)
    assert [await get(one), await get(other)] == [1, 1]
    await put(other, 2)
    assert await get(other) == 2

    async def one_reads_it() -> bool:
        return await get(one) == 2

    await until(one_reads_it, 5)
    await one.DeleteConfig(pb.DeleteConfigRequest(**NAME))

    async def other_finds_none() -> bool:
        try:
            await get(other)
        except grpc.aio.AioRpcError as failure:
            return failure.code() is grpc.StatusCode.NOT_FOUND
        return False

    await until(other_finds_none, 5)


async def test_an_import_at_one_is_read_at_the_other(replicas: list[Any]):
    one, other = replicas
    await put(one, 1)
    assert await get(other) == 1
    await one.ImportConfigs(pb.ImportConfigsRequest(environment="development", document="shop: {size: 7, b: 1}"))

    async def other_reads_it() -> bool:
        return await get(other) == 7

    await until(other_reads_it, 5)


async def test_watches_at_both_see_each_version_once_and_in_order_whichever_writes(replicas: list[Any]):
    await put(replicas[0], 0)
    watching = asyncio.Event()

    async def watch(configs: Any) -> list[int]:
        versions = []
        request = pb.WatchConfigsRequest(environment="development", service_name="shop")
        async for message in configs.WatchConfigs(request, timeout=60):
            if message.snapshot_complete:
                watching.set()
            if message.WhichOneof("event") == "config" and message.config.key == "size":
                versions.append(message.config.version)
                if message.config.version == 22:
                    break
        return versions

    streams = [asyncio.create_task(watch(configs)) for configs in replicas]
    await watching.wait()
    for value in range(1, 21):
        await put(replicas[value % 2], value)
    await replicas[0].DeleteConfig(pb.DeleteConfigRequest(**NAME))
    for versions in await asyncio.gather(*streams):
        assert versions == sorted(set(versions)) and versions[-1] == 22


async def test_of_two_writes_over_one_etag_at_both_one_wins(replicas: list[Any]):
    before = await put(replicas[0], 0)
    outcomes = await asyncio.gather(
        *(put(replicas[n % 2], n, etag=before.etag) for n in range(10)), return_exceptions=True
    )
    assert len([outcome for outcome in outcomes if isinstance(outcome, pb.Config)]) == 1
    codes = {outcome.code() for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)}
    assert codes == {grpc.StatusCode.ABORTED}
