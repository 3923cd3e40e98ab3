"""The events of the contract: routing keys, what keeps its order, and who consumes them."""

from dataclasses import dataclass
from functools import cache

from google.protobuf.message import DecodeError
from redfire.events.v1.events_pb2 import Event
from redfire.options.v1 import options_pb2

MOST_OF_ID = 36
MOST_OF_AGGREGATE = 128


@dataclass(frozen=True, slots=True)
class EventType:
    """One payload of redfire.events.v1.Event."""

    routing_key: str
    field: str
    """Its field in Event."""
    aggregate: str
    """The field of the payload with the id of that whose events keep their order."""
    consumers: tuple[str, ...]
    """The services of the platform that consume it."""


class UnreadableEvent(ValueError):
    """Bytes that are no event of the contract."""


@cache
def event_types() -> dict[str, EventType]:
    """All of them by routing key."""
    types = {}
    for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields:
        payload = field.message_type
        assert payload is not None
        stated: options_pb2.EventKind = payload.GetOptions().Extensions[options_pb2.event]  # type: ignore[index]
        types[stated.routing_key] = EventType(stated.routing_key, field.name, stated.aggregate, tuple(stated.consumers))
    return types


def read_event(body: bytes) -> Event:
    """The event in a message's body. Raises UnreadableEvent."""
    try:
        event = Event.FromString(body)
    except DecodeError:
        raise UnreadableEvent("not a redfire.events.v1.Event") from None
    if not 0 < len(event.event_id) <= MOST_OF_ID or "\0" in event.event_id:
        raise UnreadableEvent("its event_id is not an id")
    stated = event_types().get(event.routing_key)
    if stated is None:
        raise UnreadableEvent("its routing key is not of the contract")
    if event.WhichOneof("payload") != stated.field:
        raise UnreadableEvent(f"its payload is not {stated.field}, as its routing key says")
    return event


def aggregate_of(event: Event) -> str:
    """The id by which an event of the contract keeps its order."""
    stated = event_types()[event.routing_key]
    value = str(getattr(getattr(event, stated.field), stated.aggregate))
    return value.replace("\0", "")[:MOST_OF_AGGREGATE]
