"""Input that no request may hold, whatever its rules say."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from redfire.config.v1.config_pb2 import ImportConfigsRequest, SetConfigRequest
from redfire.market.v1.market_pb2 import StreamTicksRequest
from redfire.risk.v1.risk_pb2 import ListRiskEventsRequest
from redfire.user.v1.user_pb2 import UpdateUserRequest

from services.kernel.rpc.input_checks import malformed_of


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (UpdateUserRequest(user_id="a\0"), "user_id"),
        (UpdateUserRequest(user={"display_name": "\0"}), "user.display_name"),
        (StreamTicksRequest(symbols=["a", "\0"]), "symbols"),
        (StreamTicksRequest(resume_after_sequence={"\0": 1}), "resume_after_sequence"),
        (
            SetConfigRequest(value={"struct_value": {"a": {"b\0": 1}}}),
            "value.struct_value.fields.a.struct_value.fields",
        ),
        (SetConfigRequest(value={"list_value": ["x", "\0"]}), "value.list_value.values[1].string_value"),
        (ListRiskEventsRequest(start_time=Timestamp(seconds=253402300800)), "start_time"),
        (ListRiskEventsRequest(end_time=Timestamp(seconds=1, nanos=-1)), "end_time"),
        (StreamTicksRequest(min_interval=Duration(seconds=1, nanos=-1)), "min_interval"),
        (StreamTicksRequest(min_interval=Duration(seconds=1 << 62)), "min_interval"),
    ],
)
def test_control_characters_and_times_that_are_none_are_named(request_, field):
    assert [name for name, _ in malformed_of(request_)] == [field]


TURNING = (*range(0x2028, 0x202F), *range(0x2066, 0x206A))
CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *TURNING) if chr(code) not in "\n\t"]


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_no_text_holds_a_control_character(control):
    text = f"a{control}b"
    assert [name for name, _ in malformed_of(UpdateUserRequest(user_id=text))] == ["user_id"]
    assert [name for name, _ in malformed_of(StreamTicksRequest(symbols=["a", text]))] == ["symbols"]
    request = StreamTicksRequest(resume_after_sequence={text: 1})
    assert [name for name, _ in malformed_of(request)] == ["resume_after_sequence"]


@pytest.mark.parametrize("text", ["a\nb\tc\n", "a\r\nb\r\n", "ä ö\u00a0 €\u3000 🙂 株", ""], ids=ascii)
def test_lines_tabs_and_other_languages_are_text(text):
    assert list(malformed_of(UpdateUserRequest(user={"display_name": text}))) == []
    assert list(malformed_of(ImportConfigsRequest(document=text))) == []


def test_all_else_is_left_to_the_rules():
    request = StreamTicksRequest(symbols=["", "ä\n"], min_interval=Duration(seconds=-1, nanos=-5))
    assert list(malformed_of(request)) == []
    assert list(malformed_of(ListRiskEventsRequest(start_time=Timestamp(seconds=253402300799, nanos=999)))) == []
