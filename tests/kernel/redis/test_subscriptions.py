"""Messages between replicas: they come, and what is missed is known to be."""

from services.kernel.redis.subscriptions import Subscriptions
from services.kernel.tasks import Tasks
from tests.kernel.events.proxy import Proxy
from tests.kernel.redis.shared_redis import connected, listening
from tests.redis_server import RedisServer
from tests.waiting import until


async def test_a_message_reaches_every_process_that_listens(redis_server: RedisServer):
    async with (
        connected(redis_server.url) as here,
        connected(redis_server.url) as there,
        listening(here, "a") as (messages, heard),
        listening(there, "a") as (_, heard_there),
    ):
        await messages.publish("a", b"\x00one")
        await messages.publish("b", b"for nobody")
        await messages.publish("a", b"two")
        await until(lambda: len(heard) == len(heard_there) == 2, 20)
        assert heard == heard_there == [b"\x00one", b"two"]


async def test_another_environment_hears_nothing(redis_server: RedisServer):
    async with (
        connected(redis_server.url) as here,
        connected(redis_server.url, environment="other") as there,
        listening(here, "a") as (messages, heard),
        listening(there, "a") as (_, heard_there),
    ):
        await messages.publish("a", b"one")
        await until(lambda: heard == [b"one"], 20)
        assert heard_there == []


async def test_a_listener_that_raises_stops_nobody(redis_server: RedisServer):
    async with connected(redis_server.url) as redis:
        messages = Subscriptions(redis)
        heard: list[bytes] = []

        def broken(_: bytes) -> None:
            raise ValueError

        messages.subscribe("a", broken)
        messages.subscribe("a", heard.append)
        tasks = Tasks()
        tasks.supervise("messages", messages.run)
        await until(lambda: messages.connected, 20)
        await messages.publish("a", b"one")
        await messages.publish("a", b"two")
        await until(lambda: heard == [b"one", b"two"], 20)
        await tasks.stop()


async def test_a_lost_connection_is_noticed_and_told_when_messages_come_again(redis_server: RedisServer):
    async with (
        Proxy(redis_server.port) as proxy,
        connected(redis_server.url) as redis,
        connected(proxy.url(redis_server.url)) as by_proxy,
        listening(by_proxy, "a") as (messages, heard),
    ):
        began: list[bool] = []
        messages.on_connected(lambda: began.append(True))
        # Neither side learns of it: only silence tells.
        proxy.stall()
        await until(lambda: not messages.connected, 20)
        await until(lambda: messages.connected, 20)
        assert began == [True]
        await Subscriptions(redis).publish("a", b"again")
        await until(lambda: heard == [b"again"], 20)


async def test_a_suspended_server_is_noticed(redis_server: RedisServer):
    async with connected(redis_server.url) as redis, listening(redis, "a") as (messages, heard):
        redis_server.suspend()
        await until(lambda: not messages.connected, 20)
        redis_server.resume()
        await until(lambda: messages.connected and redis.available, 20)
        await messages.publish("a", b"again")
        await until(lambda: heard[-1:] == [b"again"], 20)
