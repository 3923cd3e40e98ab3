"""A Status is small enough for everybody's trailers, and says what matters whatever else is in it."""

import base64
from urllib.parse import quote

from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from redfire.market.v1 import market_pb2
from redfire.reasons import Reason

from services.kernel.errors import Invalid, ResourceExhausted
from services.kernel.rpc import status
from services.kernel.rpc.validation import MAX_VIOLATIONS, violations_of

# As anything may be in it: lone surrogates too, of which protobuf has none.
ANY = st.characters()
TEXT = st.builds(lambda text, times: text * times, st.text(ANY, max_size=20), st.sampled_from([1, 10, 1000]))


def details_of(message: status_pb2.Status) -> dict[str, object]:
    unpacked = {}
    for detail in message.details:
        for kind in (
            error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RequestInfo,
            error_details_pb2.RetryInfo,
        ):  # fmt: skip
            message = kind()
            if detail.Unpack(message):
                unpacked[kind.__name__] = message
    return unpacked


def sent_bytes(message_status: status_pb2.Status) -> int:
    printable = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
    message = quote(message_status.message, safe=printable)
    return len(message) + len(base64.b64encode(message_status.SerializeToString()).rstrip(b"="))


@given(
    TEXT,
    st.dictionaries(st.text(ANY, max_size=300), TEXT, max_size=30),
    st.dictionaries(TEXT, TEXT, max_size=40),
    TEXT,
    st.one_of(st.none(), st.floats(0, 1e6)),
)
def test_any_error_fits_and_has_its_reason(message, metadata, fields, request_id, retry_after_s):
    error = ResourceExhausted("x", reason=Reason.RATE_LIMITED, retry_after_s=retry_after_s)
    error.message, error.metadata, error.fields = message, metadata, fields
    packed = status.to_status(error, request_id)
    assert sent_bytes(packed) <= status.STATUS_BYTES
    details = details_of(packed)
    assert details["ErrorInfo"].reason == "RATE_LIMITED"
    assert ("RetryInfo" in details) == (retry_after_s is not None)
    named = len(details["BadRequest"].field_violations) if fields else 0
    assert named + int(details["ErrorInfo"].metadata.get(status.OMITTED, 0)) == len(fields)


def test_an_ordinary_error_is_sent_as_it_is():
    error = Invalid("quantity is not a multiple of 0.001", field="quantity", step="0.001")
    packed = status.to_status(error, "request-1")
    details = details_of(packed)
    assert packed.message == "quantity is not a multiple of 0.001"
    assert dict(details["ErrorInfo"].metadata) == {"step": "0.001"}
    assert [(v.field, v.description) for v in details["BadRequest"].field_violations] == [("quantity", packed.message)]
    assert details["RequestInfo"].request_id == "request-1"


def test_violations_that_find_no_room_are_counted():
    error = Invalid("all wrong")
    error.fields = {f"legs[{i}].price": "must be positive" for i in range(300)}
    details = details_of(status.to_status(error))
    named = details["BadRequest"].field_violations
    assert [v.field for v in named] == [f"legs[{i}].price" for i in range(len(named))]
    assert 20 < len(named) < 300
    assert details["ErrorInfo"].metadata[status.OMITTED] == str(300 - len(named))


def test_validation_names_the_first_violations_of_a_long_list():
    violations = violations_of(market_pb2.StreamTicksRequest(symbols=["1"] * 600))
    assert len(violations) == MAX_VIOLATIONS
    assert [field for field, _ in violations] == ["symbols", *(f"symbols[{i}]" for i in range(MAX_VIOLATIONS - 1))]


def test_validation_finds_the_one_violation_at_the_end_of_a_long_list():
    symbols = ["IF2101.CFFEX"] * 400 + ["1"]
    assert [field for field, _ in violations_of(market_pb2.StreamTicksRequest(symbols=symbols))] == ["symbols[400]"]


def test_validation_leaves_the_request_as_it_is():
    request = market_pb2.StreamTicksRequest(symbols=["1"] * 600)
    violations_of(request)
    assert len(request.symbols) == 600
