"""A client of Redis, connected, as a process has one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.kernel.redis.client import RedisClient
from services.kernel.redis.subscriptions import Subscriptions
from services.kernel.tasks import Tasks
from tests.waiting import until


@asynccontextmanager
async def connected(
    url: str, *, timeout_s: float = 2.0, pool_size: int = 4, environment: str = "test"
) -> AsyncIterator[RedisClient]:
    """A client whose Redis answers; its limit of time is long, so that a busy machine is no fault."""
    client = RedisClient(url, environment, "redfire test", timeout_s=timeout_s, pool_size=pool_size)
    tasks = Tasks()
    tasks.supervise("redis", client.run)
    try:
        await until(lambda: client.available, 20)
        yield client
    finally:
        await tasks.stop()
        await client.close()


@asynccontextmanager
async def listening(client: RedisClient, *channels: str) -> AsyncIterator[tuple[Subscriptions, list[bytes]]]:
    """A process that listens, and what it has heard."""
    messages = Subscriptions(client)
    heard: list[bytes] = []
    for channel in channels:
        messages.subscribe(channel, heard.append)
    tasks = Tasks()
    tasks.supervise("messages", messages.run)
    try:
        await until(lambda: messages.connected, 20)
        yield messages, heard
    finally:
        await tasks.stop()
