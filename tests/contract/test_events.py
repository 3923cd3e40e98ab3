"""Events of the contract: each is published by a service, under a documented routing key."""

import re
from pathlib import Path

import pytest
from redfire.events.v1.events_pb2 import DESCRIPTOR, Event

from services import registry
from services.kernel.events.contract import event_types

ROOT = Path(__file__).resolve().parents[2]
PAYLOADS = {field.message_type.name: field for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields}
KINDS = list(event_types().values())


def test_every_message_of_the_package_is_an_event_with_a_routing_key_of_its_own():
    assert {*PAYLOADS, "Event"} == set(DESCRIPTOR.message_types_by_name)
    assert len(KINDS) == len(PAYLOADS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.routing_key)
def test_a_routing_key_is_service_and_event_and_the_payload_names_what_keeps_its_order(kind):
    assert re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", kind.routing_key)
    assert kind.routing_key.partition(".")[0] in registry.SERVICES
    payload = Event.DESCRIPTOR.fields_by_name[kind.field].message_type
    assert payload.fields_by_name[kind.aggregate].cpp_type == payload.fields_by_name[kind.aggregate].CPPTYPE_STRING
    assert set(kind.consumers) <= set(registry.SERVICES)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.routing_key)
def test_an_event_is_published_by_the_service_of_its_key(kind):
    folder = ROOT / "services" / kind.routing_key.partition(".")[0]
    texts = [file.read_text() for file in folder.rglob("*.py")]
    publishers = [text for text in texts if f'"{kind.routing_key}"' in text]
    assert any(re.search(rf"\.{kind.field}\b", text) for text in publishers)


def test_the_table_of_the_readme_has_every_event():
    text = (ROOT / "proto" / "README.md").read_text()
    rows = re.findall(r"^\| `([a-z_.]+)` \| `(\w+)` \| `(\w+)` \|", text, re.MULTILINE)
    stated = [
        (kind.routing_key, Event.DESCRIPTOR.fields_by_name[kind.field].message_type.name, kind.aggregate)
        for kind in KINDS
    ]
    assert rows == sorted(stated)
