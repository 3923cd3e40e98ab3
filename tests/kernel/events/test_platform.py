"""Services apart whose events go by a real RabbitMQ, and a platform whose broker is away."""

import socket

import aio_pika
import pytest
from redfire.events.v1.events_pb2 import Event
from sqlalchemy import select

from services.trading import models
from tests.harness import platform
from tests.trading.conftest import FAST, Client
from tests.trading.fakes import Peers
from tests.waiting import until

pytestmark = pytest.mark.slow
WAIT_S = 60


async def test_trading_opens_the_account_of_a_user_who_registered_in_another_process_and_others_hear_of_all(rabbitmq):
    await rabbitmq.empty()
    settings = {"events": {"url": rabbitmq.url}}
    connection = await aio_pika.connect(rabbitmq.url)
    async with connection:
        async with platform("auth", "user", settings=settings) as users:
            # Trading has never run: its queue is there all the same.
            alice = await users.user("alice")
            await until(lambda: not users.host.lifecycle.failures(), WAIT_S)
            channel = await connection.channel()
            everything = await channel.declare_queue(exclusive=True)
            await everything.bind("redfire.events", "#")
            bob = await users.user("bob")
            trading = platform("trading", fakes=Peers().fakes(), settings={"trading": FAST, **settings})
            async with trading as other:
                opened = await until(lambda: _accounts(other, {alice.user_id, bob.user_id}), WAIT_S)
                keys = {"user.registered", "auth.session_began", "trading.account_opened"}
                heard = []

                async def hears_all():
                    while message := await everything.get(fail=False, no_ack=True):
                        event = Event.FromString(message.body)
                        assert event.routing_key == message.routing_key and event.event_id == message.message_id
                        heard.append(event)
                    return {event.routing_key for event in heard} >= keys

                await until(hears_all, WAIT_S)
        assert len(opened) == 3, "the administrator's too, once each"
        assert any(event.user_registered.username == "bob" for event in heard)


async def _accounts(running, user_ids):
    database = running.host.resources.database("trading", models.Base)
    async with database.repositories(lambda session: session).read() as session:
        rows = (await session.scalars(select(models.AccountRow))).all()
    return rows if {row.user_id for row in rows} >= user_ids else None


async def test_orders_go_on_without_the_broker_and_their_events_wait():
    with socket.socket() as unanswered:
        unanswered.bind(("127.0.0.1", 0))  # nobody listens
        url = f"amqp://guest:guest@127.0.0.1:{unanswered.getsockname()[1]}/"
        settings = {"trading": FAST, "events": {"url": url}}
        peers = Peers()
        async with platform("trading", fakes=peers.fakes(), settings=settings) as running:
            await until(lambda: not running.host.lifecycle.waiting_for("trading"), WAIT_S)
            trader = Client(running, running.identity())
            trader.engine = peers.engine
            for _ in range(5):
                order = await trader.create()
                await trader.becomes(order.order_id, "NEW")
            failure = running.host.lifecycle.failures()["events"]
            assert "RabbitMQ" in failure and "guest" not in failure
            database = running.host.resources.database("trading", models.Base)
            async with database.repositories(lambda session: session).read() as session:
                waiting = (await session.scalars(select(models.OutboxRow))).all()
            keys = [Event.FromString(row.payload).routing_key for row in waiting]
            assert keys.count("trading.order_accepted") == 5
