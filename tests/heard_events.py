"""Events that the services of a running platform publish, as a test hears them."""

from collections.abc import Iterable
from typing import Any

from redfire.events.v1.events_pb2 import Event

from services.kernel.events.contract import event_types
from tests.harness import Platform


class HeardEvents:
    """All events from now on, with these routing keys or with any, in the order they came."""

    def __init__(self, platform: Platform, keys: Iterable[str] = ()) -> None:
        self.events: list[Event] = []
        for key in keys or event_types():
            platform.host.events.subscribe(key, self._hear)

    async def _hear(self, event: Event) -> None:
        self.events.append(event)

    @property
    def keys(self) -> list[str]:
        return [event.routing_key for event in self.events]

    def of(self, key: str) -> list[Any]:
        """The payloads of the events with a key."""
        field = event_types()[key].field
        return [getattr(event, field) for event in self.events if event.routing_key == key]
