"""CreateOrder, PreviewOrder and an order of a group have the same fields with the same rules.

They are three messages, since one inside the others would change what clients send: on the wire and in JSON.
"""

import pytest
from google.protobuf.descriptor import Descriptor
from redfire.trading.v1 import order_service_pb2 as pb


def rules(message: type) -> list[bytes]:
    return sorted(
        rule.SerializeToString() for _, value in message.DESCRIPTOR.GetOptions().ListFields() for rule in value.cel
    )


def fields(message: type) -> dict[str, tuple[object, ...]]:
    descriptor: Descriptor = message.DESCRIPTOR
    return {
        field.name: (
            field.type,
            field.is_repeated,
            field.has_presence,
            (field.message_type or field.enum_type).full_name if field.message_type or field.enum_type else "",
            field.GetOptions().SerializeToString(deterministic=True),
        )
        for field in descriptor.fields
    }


@pytest.mark.parametrize(("other", "lacks"), [(pb.PreviewOrderRequest, set()), (pb.GroupOrder, {"account_id"})])
def test_other_messages_of_an_order_have_the_fields_and_rules_of_create_order(other, lacks):
    expected = fields(pb.CreateOrderRequest)
    assert len(expected) >= 15
    assert len(rules(pb.CreateOrderRequest)) >= 8
    assert fields(other) == {name: field for name, field in expected.items() if name not in lacks}
    assert rules(other) == rules(pb.CreateOrderRequest)


def test_a_preview_has_the_numbers_of_create_order_so_that_either_can_be_read_as_the_other():
    numbers = [
        {field.name: field.number for field in m.DESCRIPTOR.fields}
        for m in (pb.CreateOrderRequest, pb.PreviewOrderRequest)
    ]
    assert numbers[0] == numbers[1]
