"""Events by RabbitMQ: persistent, confirmed to who publishes them, acknowledged when they are handled."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aio_pika

PREFETCH = 100


class Broker:
    """A connection, and the exchange."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel, exchange: aio_pika.abc.AbstractExchange) -> None:
        self._channel = channel
        self._exchange = exchange

    async def publish(self, routing_key: str, body: str) -> None:
        """Publish an event; done when the broker has it."""
        message = aio_pika.Message(body.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await self._exchange.publish(message, routing_key)

    async def consume(self, routing_key: str, handle: Callable[[bytes], Awaitable[None]]) -> None:
        """Have each event with this key handled, from a queue of its name."""
        queue = await self._channel.declare_queue(f"peer.{routing_key}", durable=True)
        await queue.bind(self._exchange, routing_key)

        async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            async with message.process(requeue=True):
                await handle(message.body)

        await queue.consume(on_message)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Broker]:
    """The broker while the service runs."""
    async with await aio_pika.connect_robust(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.set_qos(prefetch_count=PREFETCH)
        exchange = await channel.declare_exchange("peer.events", aio_pika.ExchangeType.TOPIC, durable=True)
        yield Broker(channel, exchange)
