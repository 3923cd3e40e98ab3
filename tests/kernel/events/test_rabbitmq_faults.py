"""Faults of a real broker and of those on its sides: nothing is lost, and all is applied once and in order."""

import asyncio
import signal
import socket
import subprocess
import sys

import aio_pika
import pytest
from aiormq.connection import FrameReceiver

from services.kernel.events import rabbitmq as rabbitmq_module
from services.kernel.events.inbox import InboxState
from services.kernel.events.rabbitmq import RabbitMq
from tests.kernel.events.consumer import KEY, Consumer, Producer, running
from tests.kernel.events.proxy import Proxy
from tests.rabbitmq import installed_broker
from tests.waiting import until

pytestmark = pytest.mark.slow
WAIT_S = 120
USERS = 5
QUEUE = "redfire.trading"


@pytest.fixture
async def broker(rabbitmq):
    await rabbitmq.empty()
    return rabbitmq


def databases_in(folder):
    return f"sqlite:///{folder}/{{name}}.sqlite"


class World:
    def __init__(self, url, databases):
        self.transport = RabbitMq(url, "test")
        self.producer, self.consumer = Producer(self.transport, databases), Consumer(self.transport, databases)
        self.added = 0

    async def start(self):
        await self.producer.database.start()
        await self.consumer.database.start()

    async def close(self):
        await self.producer.database.close()
        await self.consumer.database.close()

    def running(self):
        return running(self.transport.run, self.producer.outbox.run, self.consumer.inbox.run)

    async def add(self, count):
        """So many events, of some users in turn."""
        events = [(f"user {n % USERS}", str(n)) for n in range(self.added, self.added + count)]
        self.added += count
        await self.producer.add(*events)

    async def applied(self, least=None):
        return len(await self.consumer.applied()) >= (self.added if least is None else least)

    async def all_applied(self):
        """All that was added was applied, once, and in the order of each user."""
        await until(self.applied, WAIT_S, 0.05)
        for user in range(USERS):
            expected = [str(n) for n in range(self.added) if n % USERS == user]
            assert await self.consumer.applied(f"user {user}") == expected
        await until(self._outbox_empty, WAIT_S)

    async def _outbox_empty(self):
        return not await self.producer.waiting()


@pytest.fixture
async def world(broker, tmp_path):
    async with _world(broker.url, tmp_path) as made:
        yield made


class _world:
    def __init__(self, url, folder):
        self.made = World(url, databases_in(folder))

    async def __aenter__(self):
        await self.made.start()
        return self.made

    async def __aexit__(self, *_):
        await self.made.close()


async def test_a_broker_that_is_killed_under_load_and_comes_back_loses_nothing(tmp_path):
    # Of its own: others would have to wait for it.
    broker = installed_broker()
    try:
        async with _world(broker.url, tmp_path) as world, world.running():
            await world.add(100)
            await until(lambda: world.applied(20) if broker.remembers(QUEUE) else None, WAIT_S)
            await world.add(100)
            await asyncio.to_thread(broker.kill)
            await until(lambda: world.transport.failure, WAIT_S)
            await world.add(50)
            assert "RabbitMQ" in world.transport.failure
            broker.launch()
            await world.all_applied()
            assert not world.transport.failure
    finally:
        broker.close()


async def test_a_connection_that_ends_before_the_broker_greets_is_a_broker_that_is_away(monkeypatch):
    get_frame = FrameReceiver.get_frame

    async def get_frame_late(receiver):
        """As where the client comes to it only when the end is known."""
        await until(receiver.reader.at_eof, WAIT_S)
        return await get_frame(receiver)

    monkeypatch.setattr(FrameReceiver, "get_frame", get_frame_late)
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = RabbitMq(f"amqp://guest:guest@127.0.0.1:{server.getsockname()[1]}/", "test")

        def end_each():
            for _ in range(3):
                with server.accept()[0] as connection:
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(8)  # else it would be reset

        async with running(transport.run):
            await asyncio.to_thread(end_each)
            await until(lambda: "is unavailable" in transport.failure, WAIT_S)


async def test_what_happens_while_the_broker_is_away_goes_out_when_it_is_there(broker, tmp_path):
    async with Proxy(broker.port) as proxy, _world(proxy.url(broker.url), tmp_path) as world, world.running():
        proxy.away = True
        await world.add(30)
        await until(lambda: "unavailable" in world.transport.failure, WAIT_S)
        await until(lambda: proxy.connections > 3, WAIT_S)
        assert len(await world.producer.waiting()) == 30 and not await world.consumer.applied()
        proxy.away = False
        await world.all_applied()


async def test_connections_that_are_cut_again_and_again_lose_and_repeat_nothing(broker, tmp_path):
    async with Proxy(broker.port) as proxy, _world(proxy.url(broker.url), tmp_path) as world, world.running():
        for cuts in range(1, 6):
            await world.add(40)
            await until(lambda least=20 * cuts: world.applied(least), WAIT_S)
            proxy.cut()
            await until(lambda least=cuts: proxy.connections > least, WAIT_S)
        await world.all_applied()


async def test_a_connection_that_hangs_is_given_up(broker, tmp_path, monkeypatch):
    monkeypatch.setattr(rabbitmq_module, "CONFIRM_S", 0.5)
    async with Proxy(broker.port) as proxy, _world(proxy.url(broker.url), tmp_path) as world, world.running():
        await world.add(10)
        await until(world.applied, WAIT_S)
        proxy.stall()
        await world.add(10)
        await until(lambda: proxy.connections >= 2, WAIT_S)
        await world.all_applied()


@pytest.mark.parametrize("where", ["accepted", "applied"])
async def test_a_consumer_that_is_killed_after_its_commit_applies_once(broker, tmp_path, where):
    folder = tmp_path / "data"
    folder.mkdir()
    async with _world(broker.url, folder) as world:
        async with running(_Publishing(broker.url, world).run, world.producer.outbox.run):
            await world.add(20)
            await until(world._outbox_empty, WAIT_S)
        for _ in range(3):
            command = [
                sys.executable,
                "-m",
                "tests.kernel.events.dying_consumer",
                broker.url,
                databases_in(folder),
                where,
            ]
            done = await asyncio.to_thread(subprocess.run, command, timeout=WAIT_S)
            assert done.returncode == -signal.SIGKILL
        async with world.running():
            await world.all_applied()


class _Publishing:
    """The transport of a process that consumes nothing: what is published waits in the queue."""

    def __init__(self, url, world):
        self._transport = RabbitMq(url, "producer")
        world.producer.outbox._transport = self._transport

    async def run(self):
        await self._transport.run()


async def test_what_an_outsider_sends_is_a_dead_letter_at_once_and_stops_nobody(world, broker):
    junk = [b"", b"\xff\xff", b'{"userId": "alice"}']
    async with world.running():
        await until(lambda: not world.transport.failure, WAIT_S)
        connection = await aio_pika.connect(broker.url)
        async with connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange("redfire.events")
            for body in junk:
                await exchange.publish(aio_pika.Message(body), KEY)
        await world.add(10)
        await world.all_applied()
    letters = await world.consumer.inbox_rows(InboxState.DEAD)
    assert sorted(letter.payload for letter in letters) == sorted(junk)


async def test_others_have_every_event_with_its_id_and_its_key(world, broker):
    connection = await aio_pika.connect(broker.url)
    async with connection, world.running():
        await until(lambda: not world.transport.failure, WAIT_S)
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind("redfire.events", "user.*")
        event = world.producer.event("alice", "a")
        await world.producer.database.writer().submit([world.producer.outbox.write(event)])
        world.producer.outbox.wake()
        message = await until(lambda: queue.get(fail=False), WAIT_S)
        assert message.body == event.SerializeToString() and message.routing_key == KEY
        assert (message.message_id, message.headers) == (event.event_id, {"aggregate_id": "alice"})
        assert (message.content_type, message.type) == ("application/x-protobuf", "redfire.events.v1.Event")
        assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
