"""Transports of events: what brings them from the outboxes to whoever consumes them."""

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


class Transport(Protocol):
    """Brings events to their consumers, those of one aggregate in the order in which they were published."""

    def carries(self, routing_key: str) -> bool:
        """Test for somebody who wants these events: what nobody wants need not be written."""
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
    """The transport within this process: an event is through when all its subscribers have taken it."""

    def __init__(self) -> None:
        self._handlers: dict[str, list[Handler]] = {}

    def subscribe(self, routing_key: str, handler: Handler) -> None:
        """Hand every event with this key to `handler`; one for which it raises comes again."""
        self._handlers.setdefault(routing_key, []).append(handler)

    def carries(self, routing_key: str) -> bool:
        """Test for a subscriber of this key."""
        return routing_key in self._handlers

    async def publish(self, messages: Sequence[Message]) -> Sequence[str]:
        """Hand events to all their subscribers, until one is not taken. Raises its subscriber's error when it is the
        first."""
        published: list[str] = []
        for message in messages:
            try:
                for handler in self._handlers.get(message.routing_key, ()):
                    await handler(Event.FromString(message.body))
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
        """Whether somebody wants it is known there."""
        return True

    async def publish(self, messages: Sequence[Message]) -> Sequence[str]:
        """Publish nothing."""
        return ()

    def on_ready(self, listener: Callable[[], None]) -> None:
        """Never ready."""
