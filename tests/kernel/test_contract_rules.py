"""The compiled check of the contract's rules agrees with protovalidate."""

import importlib

import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redfire.market.v1.market_pb2 import StreamTicksRequest
from redfire.trading.v1.account_service_pb2 import GetAccountRequest
from redfire.trading.v1.order_service_pb2 import (
    CancelOrderRequest,
    CreateOrderRequest,
    GetOrderRequest,
    ListOrdersRequest,
)

from services.kernel.policy import ROOT, descriptor_set
from services.kernel.rpc.contract_rules import certain_check
from services.kernel.rpc.input_checks import malformed_of
from services.kernel.rpc.validation import violations_of
from tests.examples import examples

UUID = "019b8bc8-a29f-76ba-abb1-bd175428ddaa"
TEXTS = [
    "", "a", "b" * 64, "c" * 65, "d" * 300, "IF2101.CFFEX", "if2101", "1", "0", "-1", "1.5", "1.123456789", "0.0",
    "1e3", ".5", "1\n", "a\n", "\n", "x\0", "é", "\u2028", UUID, UUID + "\n", "a@example.com", "٣",
]  # fmt: skip
NUMBERS = [-1, 0, 1, 2, 3, 4, 5, 6, 10, 100, 1000, 1001, 100_000]
INTEGERS = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}
UNSIGNED = {FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}


def request_classes():
    for file in descriptor_set().file:
        if file.package.startswith(ROOT):
            importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
    pool, names = descriptor_pool.Default(), set()
    for file in descriptor_set().file:
        if file.package.startswith(ROOT):
            names |= {method.input_type[1:] for service in file.service for method in service.method}
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in sorted(names)]


def values_of(field):
    if field.is_repeated and (field.message_type is None or not field.message_type.GetOptions().map_entry):
        return st.lists(single_of(field), max_size=2)
    if field.is_repeated:
        return st.just({})
    return single_of(field)


def single_of(field):
    if field.message_type is not None:
        return st.builds(message_factory.GetMessageClass(field.message_type))
    if field.enum_type is not None:
        return st.sampled_from([*field.enum_type.values_by_number, 99])
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        is_text = field.type == FieldDescriptor.TYPE_STRING
        return st.sampled_from(TEXTS) | st.text(max_size=5) if is_text else st.binary(max_size=2)
    if field.cpp_type in INTEGERS | UNSIGNED:
        return st.sampled_from([n for n in NUMBERS if n >= 0 or field.cpp_type in INTEGERS])
    return st.booleans() if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else st.sampled_from([0.0, 1.0, -1.0])


def messages_of(message_class):
    fields = message_class.DESCRIPTOR.fields
    groups = {oneof.fields[0].name for oneof in message_class.DESCRIPTOR.oneofs if len(oneof.fields) > 1}
    chosen = {
        field.name: values_of(field) for field in fields if field.containing_oneof is None or field.name not in groups
    }
    return st.fixed_dictionaries({}, optional=chosen).map(lambda values: message_class(**values))


def is_fine(message):
    return not list(malformed_of(message)) and not violations_of(message)


@pytest.mark.parametrize("message_class", request_classes(), ids=lambda c: c.DESCRIPTOR.full_name)
def test_what_is_certain_is_so_by_protovalidate(message_class):
    is_certain = certain_check(message_class)
    violations_of(message_class())  # the first time takes long

    @settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(messages_of(message_class))
    def certain_means_fine(message):
        assert not is_certain(message) or is_fine(message)

    certain_means_fine()


ORDER = {
    "client_order_id": ["a", "A-1.b:c_d", "", "a b", "a\n", "x" * 64, "x" * 65],
    "account_id": ["", UUID, "019b8bc8", UUID + "\n"],
    "symbol": ["IF2101.CFFEX", "rb2610.SHFE", "rb2610", "", "IF2101.CFFEX\n"],
    "side": [1, 2, 0, 3],
    "type": [1, 2, 3, 4, 5, 0, 6],
    "quantity": ["1", "0.5", "0", "-1", "", "1\n", "1" * 19],
    "price": ["", "100", "-100.5", "1.123456789", "1\n"],
    "stop_price": ["", "90", "x"],
    "trailing_offset": ["", "5", "0"],
    "time_in_force": [0, 1, 2, 3, 4, 5, 6],
    "position_effect": [0, 1, 2, 3, 4, 5],
    "strategy_id": ["", "s", "x" * 64, "x" * 65, "s\0"],
    "reduce_only": [False, True],
    "post_only": [False, True],
}


@settings(deadline=None)
@given(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in ORDER.items()}))
def test_of_an_order_without_an_end_everything_is_certain_that_protovalidate_takes(values):
    request = CreateOrderRequest(**values)
    assert bool(certain_check(CreateOrderRequest)(request)) == is_fine(request)


# The first values of each field make a good order; the product would be too much, so one differs at a time.
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ORDER.items() for value in values])
def test_an_order_that_is_wrong_in_one_field_is_not_certain(name, value):
    good = {"client_order_id": "a", "symbol": "IF2101.CFFEX", "side": 1, "type": 2, "quantity": "1", "price": "100"}
    request = CreateOrderRequest(**{**good, name: value})
    assert bool(certain_check(CreateOrderRequest)(request)) == is_fine(request)


def test_an_order_with_an_end_goes_the_long_way():
    request = CreateOrderRequest(client_order_id="a", symbol="IF2101.CFFEX", side=1, type=2, quantity="1", price="1")
    assert certain_check(CreateOrderRequest)(request)
    request.time_in_force = 5
    request.expire_time.GetCurrentTime()
    assert not violations_of(request)
    assert not certain_check(CreateOrderRequest)(request)


@pytest.mark.parametrize("message_class", [CreateOrderRequest, CancelOrderRequest, GetOrderRequest])
def test_requests_of_the_order_path_can_be_certain(message_class):
    order = {"client_order_id": "a", "symbol": "IF2101.CFFEX", "side": 1, "type": 2, "quantity": "1", "price": "100"}
    request = message_class(**(order if message_class is CreateOrderRequest else {"order_id": UUID}))
    assert certain_check(message_class)(request)


def test_requests_of_reading_can_be_certain():
    assert certain_check(GetAccountRequest)(GetAccountRequest())
    assert certain_check(ListOrdersRequest)(ListOrdersRequest(page_size=20, open_only=True))
    assert not certain_check(ListOrdersRequest)(ListOrdersRequest(statuses=[1]))


STREAM = {
    "symbols": [["IF2101.CFFEX"], ["IF2101.CFFEX", "rb2105.SHFE"], [], [""], ["x"], ["rb2105.SHFE\n"], ["a.B"] * 501],
    "mode": [0, 1, 2, 3, -1],
    "min_interval": [None, {}, {"seconds": 1}, {"seconds": 3600}, {"seconds": 3600, "nanos": 1}, {"seconds": -1}],
    "heartbeat_interval": [None, {"nanos": 100_000_000}, {"nanos": 99_999_999}, {"seconds": 1, "nanos": -1}],
    "epoch": ["", "e1", "e" * 64, "e" * 65, "e\0"],
    "watermarks": [False, True],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in STREAM.items() for value in values])
def test_a_stream_that_is_wrong_in_one_field_is_not_certain(name, value):
    check = certain_check(StreamTicksRequest)
    request = StreamTicksRequest(**{"symbols": ["IF2101.CFFEX"], "mode": 2, name: value})
    for _ in range(2):  # what was accepted is remembered, what was not is not
        assert bool(check(request)) == is_fine(request)


def test_a_stream_that_resumes_goes_the_long_way():
    request = StreamTicksRequest(symbols=["IF2101.CFFEX"], resume_after_sequence={"IF2101.CFFEX": 1})
    assert not violations_of(request)
    assert not certain_check(StreamTicksRequest)(request)
