"""The transport by RabbitMQ: a topic exchange for all events, and a quorum queue for each consuming service.

An event is published when the broker confirms that it has it. Of one aggregate one event is on its way at a time, so
that a refused one is not overtaken. A consumer acknowledges what its inbox has; a queue has one active consumer, so
that two replicas of a service do not mix the order. While the broker is away the outboxes keep what happens.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from prometheus_client import Counter, Gauge

from services.kernel.errors import Unavailable
from services.kernel.events.contract import event_types
from services.kernel.events.transport import Delivery, Message, Take

log = logging.getLogger(__name__)
EXCHANGE = "redfire.events"
CONTENT_TYPE, MESSAGE_TYPE = "application/x-protobuf", "redfire.events.v1.Event"
PREFETCH = 200
CONNECT_S, CONFIRM_S, CLOSE_S = 10.0, 10.0, 2.0
HEARTBEAT_S = 10
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
QUEUE_ARGUMENTS: dict[str, Any] = {
    "x-queue-type": "quorum",
    "x-single-active-consumer": True,
    # Newer brokers would drop what came so often; here a consumer that was killed is no fault of the event.
    "x-delivery-limit": 1_000_000_000,
}
published = Counter("events_published_total", "Events that the broker has confirmed.", ["routing_key"])
connected = Gauge("events_broker_connected", "1 while the broker takes events.")
# The last is aiormq's for a connection that ends before the broker greets.
_Failure = (AMQPError, OSError, TimeoutError, asyncio.InvalidStateError, RuntimeError, StopAsyncIteration)


class RabbitMq:
    """Publishes to the broker and brings what its queues have to the inboxes of this process."""

    def __init__(self, url: str, name: str) -> None:
        """`name` is what the broker shows of this process."""
        # Each attempt would be an error of its own there.
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)
        address = urlsplit(url)
        self._url = url if "heartbeat=" in url else f"{url}{'&' if address.query else '?'}heartbeat={HEARTBEAT_S}"
        self._shown = f"{address.hostname}:{address.port or 5672}"
        self._name = name
        self._takes: dict[str, Take] = {}
        self._keys: dict[str, set[str]] = {}
        for stated in event_types().values():
            for service in stated.consumers:
                self._keys.setdefault(service, set()).add(stated.routing_key)
        self._listeners: list[Callable[[], None]] = []
        self._exchange: AbstractExchange | None = None
        self._broken = asyncio.Event()
        # Set once it is known whether the broker is there.
        self._tried = asyncio.Event()
        self.failure = f"RabbitMQ at {self._shown} is not connected yet"
        """The reason for which events cannot be published now; empty while they can."""

    def carries(self, routing_key: str) -> bool:
        """True: a broker carries every event out of here, to the queues that are bound to it."""
        return True

    def consume(self, service: str, routing_key: str, take: Take) -> None:
        """Bring the events with this key to a service, from its queue `redfire.<service>`."""
        self._takes[service] = take
        self._keys.setdefault(service, set()).add(routing_key)

    def on_ready(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the broker is connected."""
        self._listeners.append(listener)

    async def publish(self, messages: Sequence[Message]) -> Sequence[str]:
        """The ids of those that the broker has confirmed. Raises Unavailable while it is not connected."""
        await self._tried.wait()
        confirmed: list[str] = []
        waiting = list(messages)
        while waiting:
            exchange = self._exchange
            if exchange is None:
                if confirmed:
                    break
                raise Unavailable(self.failure)
            together: dict[str, Message] = {}
            later = []
            for message in waiting:
                if together.setdefault(message.aggregate_id, message) is not message:
                    later.append(message)
            outcomes = await asyncio.gather(*(self._publish(exchange, message) for message in together.values()))
            refused = set()
            for message, error in zip(together.values(), outcomes, strict=True):
                if error is None:
                    confirmed.append(message.event_id)
                    published.labels(message.routing_key).inc()
                else:
                    refused.add(message.aggregate_id)
            waiting = [message for message in later if message.aggregate_id not in refused]
        return confirmed

    async def _publish(self, exchange: AbstractExchange, message: Message) -> Exception | None:
        made = aio_pika.Message(
            message.body,
            message_id=message.event_id,
            content_type=CONTENT_TYPE,
            type=MESSAGE_TYPE,
            app_id="redfire",
            headers={"aggregate_id": message.aggregate_id},
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        try:
            async with asyncio.timeout(CONFIRM_S):
                # Not mandatory: many events have no consumer, and the queues of the platform's own are there.
                await exchange.publish(made, message.routing_key, mandatory=False)
        except aio_pika.exceptions.DeliveryError as error:
            log.warning("RabbitMQ refuses event %s %s", message.routing_key, message.event_id)
            return error
        except _Failure as error:
            # A connection that does not answer, or a broker that takes nothing for lack of room.
            self._lose(f"RabbitMQ at {self._shown} does not take events: {type(error).__name__}", exchange)
            return error
        return None

    def _lose(self, failure: str, exchange: AbstractExchange) -> None:
        if self._exchange is exchange:
            self.failure, self._exchange = failure, None
            self._broken.set()

    async def run(self) -> None:
        """Be connected, again whenever the connection is lost, until cancelled."""
        pause_s, said = FIRST_PAUSE_S, ""
        while True:
            try:
                await self._session()
                pause_s, said = FIRST_PAUSE_S, ""
            except* _Failure as errors:
                self.failure = f"RabbitMQ at {self._shown} is unavailable: {_first_of(errors)}"
            finally:
                self._exchange = None
                connected.set(0)
                self._tried.set()
            if self.failure != said:
                log.warning("%s; events wait in the outboxes", self.failure)
                said = self.failure
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _session(self) -> None:
        """One connection, from its beginning to its end."""
        broken = self._broken = asyncio.Event()
        async with asyncio.timeout(CONNECT_S):
            connection = await aio_pika.connect(
                self._url, timeout=CONNECT_S, client_properties={"connection_name": self._name}
            )
        try:
            async with asyncio.timeout(CONNECT_S):
                exchange = await self._declare(connection, broken)
            async with asyncio.TaskGroup() as consumers:
                tasks = [
                    consumers.create_task(self._consume(connection, service, take, broken))
                    for service, take in self._takes.items()
                ]
                self._exchange, self.failure = exchange, ""
                connected.set(1)
                self._tried.set()
                log.info("events go by RabbitMQ at %s", self._shown)
                for listener in self._listeners:
                    listener()
                await broken.wait()
                for task in tasks:
                    task.cancel()
            self.failure = self.failure or f"RabbitMQ at {self._shown} closed the connection"
        finally:
            self._exchange = None
            await _close(connection)

    async def _declare(self, connection: AbstractConnection, broken: asyncio.Event) -> AbstractExchange:
        """The exchange, with the queues of all services that consume: an event must not come before its queue."""
        connection.close_callbacks.add(lambda *_: broken.set())
        channel = await _channel(connection, broken)
        exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        for service, keys in self._keys.items():
            queue = await channel.declare_queue(f"redfire.{service}", durable=True, arguments=QUEUE_ARGUMENTS)
            for key in sorted(keys):
                await queue.bind(exchange, key)
        return exchange

    async def _consume(self, connection: AbstractConnection, service: str, take: Take, broken: asyncio.Event) -> None:
        # Holds no more than the prefetch count.
        arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        # A queue without its leader does not answer.
        async with asyncio.timeout(CONNECT_S):
            channel = await _channel(connection, broken)
            await channel.set_qos(prefetch_count=PREFETCH)
            queue = await channel.get_queue(f"redfire.{service}", ensure=False)
            await queue.consume(arrived.put)
        while True:
            batch = [await arrived.get()]
            while len(batch) < PREFETCH and not arrived.empty():
                batch.append(arrived.get_nowait())
            deliveries = [Delivery(message.routing_key or "", message.body) for message in batch]
            pause_s = FIRST_PAUSE_S
            while True:
                try:
                    await take(deliveries)
                    break
                except Exception:
                    log.exception("the inbox of %s does not take events", service)
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            await batch[-1].ack(multiple=True)


async def _channel(connection: AbstractConnection, broken: asyncio.Event) -> AbstractChannel:
    """A channel of which an error ends the session."""
    channel = await connection.channel(publisher_confirms=True)
    channel.close_callbacks.add(lambda *_: broken.set())
    return channel


async def _close(connection: AbstractConnection) -> None:
    try:
        async with asyncio.timeout(CLOSE_S):
            await connection.close()
    except _Failure as error:
        log.debug("a connection to RabbitMQ did not close: %s", error)


def _first_of(errors: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(str(error).split()) or type(error).__name__
