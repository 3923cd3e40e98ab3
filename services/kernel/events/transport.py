"""Transports of events: what brings them from the outboxes to the services that consume them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from redfire.events.v1.events_pb2 import Event

Handler = Callable[[Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Message:
    """An event on its way: `body` is the event in protobuf."""

    event_id: str
    routing_key: str
    aggregate_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message under a routing key, not yet parsed."""

    routing_key: str
    body: bytes


Take = Callable[[Sequence[Delivery]], Awaitable[None]]
"""Takes deliveries; when it returns it has them safely. One for which it raises comes again."""


class Transport(Protocol):
    """Brings events to their consumers, those of one aggregate in the order in which they were published."""

    def carries(self, routing_key: str) -> bool:
        """Test for somebody who wants these events: what nobody wants need not be written."""
        ...

    def consume(self, service: str, routing_key: str, take: Take) -> None:
        """Bring the events with this key to a service of this process; it has one `take` for all of its keys."""
        ...

    async def publish(self, messages: Sequence[Message]) -> Sequence[str]:
        """The ids of those that their consumers, or the broker, have safely now; the others are published again.

        Raises when it has none of them.
        """
        ...

    def on_ready(self, listener: Callable[[], None]) -> None:
        """Call `listener` when what could not be published can be published again."""
        ...


class EventBus:
    """The transport within this process: an event is through when all its consumers have taken it."""

    def __init__(self) -> None:
        self._takes: dict[str, list[Take]] = {}

    def subscribe(self, routing_key: str, handler: Handler) -> None:
        """Hand every event with this key to `handler`; one for which it raises comes again."""

        async def take(deliveries: Sequence[Delivery]) -> None:
            for delivery in deliveries:
                await handler(Event.FromString(delivery.body))

        self._takes.setdefault(routing_key, []).append(take)

    def consume(self, service: str, routing_key: str, take: Take) -> None:
        """Bring the events with this key to a service."""
        self._takes.setdefault(routing_key, []).append(take)

    def carries(self, routing_key: str) -> bool:
        """Test for a consumer of this key."""
        return routing_key in self._takes

    async def publish(self, messages: Sequence[Message]) -> Sequence[str]:
        """Bring events to all their consumers, until one is not taken. Raises its error when that is the first."""
        published: list[str] = []
        for message in messages:
            try:
                for take in self._takes.get(message.routing_key, ()):
                    await take([Delivery(message.routing_key, message.body)])
            except Exception:
                if not published:
                    raise
                break
            published.append(message.event_id)
        return published

    def on_ready(self, listener: Callable[[], None]) -> None:
        """Always ready: nothing to wait for."""


class LeftToRelay:
    """No transport: what a command of the operator writes is published by the platform that runs, or starts next."""

    def carries(self, routing_key: str) -> bool:
        """True: the transport's other side knows the consumers."""
        return True

    def consume(self, service: str, routing_key: str, take: Take) -> None:
        """Nothing comes."""

    async def publish(self, messages: Sequence[Message]) -> Sequence[str]:
        """Publish nothing."""
        return ()

    def on_ready(self, listener: Callable[[], None]) -> None:
        """Never ready."""
