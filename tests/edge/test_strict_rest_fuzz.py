"""The edge's check of bodies beside Python's `json` and `json_format`, on bodies that nobody thought of."""

import json
from typing import Any

import httpx
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kernel.policy import descriptor_set
from services.mesh.contract import Contract
from tests.edge.answers import error_of
from tests.edge.backend import Backend
from tests.edge.strict_requests import WELL_KNOWN, routes, sample_of_one
from tests.examples import examples

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

# With what bodies have: scalars, messages, lists of messages, free values.
ROUTES = {
    rpc.policy.name: (rpc.method.input_type, route.verb, path, route.path_fields)
    for rpc, route, path in routes(Contract(descriptor_set()))
    if rpc.policy.name in ("CreateOrder", "UpdateLimits", "SetConfig", "CreateOptimization", "UpdateSubscription")
}
SPACE = st.sampled_from(["", "", "", " ", "\n\t\r "])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def objects(draw: st.DrawFn, message: Descriptor) -> str:
    """A message's JSON, now and then with a name too many or a wrong one."""
    members = []
    for field in draw(st.lists(st.sampled_from(list(message.fields)), max_size=6)):
        inner = field.message_type
        if inner is not None and inner.full_name in ("google.protobuf.Value", "google.protobuf.Struct"):
            value: Any = draw(ANY_JSON if inner.name == "Value" else st.dictionaries(st.text(max_size=3), ANY_JSON))
            text = json.dumps(value, ensure_ascii=draw(st.booleans()))
        elif inner is not None and inner.name not in WELL_KNOWN and not inner.GetOptions().map_entry:
            text = draw(objects(inner))
            text = f"[{text}]" if field.is_repeated else text
        else:
            one = json.dumps(sample_of_one(field))
            text = f"[{one}]" if field.is_repeated else one
        name = draw(st.sampled_from([field.json_name] * 12 + [field.json_name + "x", field.json_name.upper()]))
        members.append(f"{draw(SPACE)}{json.dumps(name)}{draw(SPACE)}:{draw(SPACE)}{text}{draw(SPACE)}")
    return "{" + ",".join(members) + "}"


@st.composite
def bodies(draw: st.DrawFn, message: Descriptor) -> bytes:
    """A message's JSON, now and then with a byte too many, too few or another one."""
    body = bytearray(draw(objects(message)).encode())
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(st.integers(0, len(body)))
        piece = draw(st.sampled_from(b"{}[]\",:\\u0123 \n\x00\xff/'-+.eENnt") | st.integers(0, 255))
        body[at : at + draw(st.sampled_from([0, 1]))] = bytes([piece]) * draw(st.sampled_from([0, 1]))
    return bytes(body)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name twice")
    return dict(pairs)


def no_constant(name: str) -> None:
    raise ValueError(name)


@pytest.mark.parametrize("rpc", ROUTES)
@settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_a_body_is_taken_if_python_takes_it_and_then_says_the_same(
    backend: Backend, http: httpx.AsyncClient, rpc: str, data: st.DataObject
) -> None:
    message, verb, path, path_fields = ROUTES[rpc]
    body = data.draw(bodies(message))
    backend.arrived.clear()
    headers = backend.bearer() | {"content-type": "application/json"}
    answer = await http.request(verb, path, content=body, headers=headers)
    refused = any(detail["@type"].endswith("BadRequest") for detail in answer.json().get("details", []))
    expected: Any = message_factory.GetMessageClass(message)()
    try:
        document = json.loads(body.decode(), object_pairs_hook=once, parse_constant=no_constant)
        if not isinstance(document, dict):
            raise ValueError(document)
    except ValueError:
        assert body == b"" or answer.status_code == 400
        assert body == b"" or not backend.arrived
        return
    try:
        json_format.ParseDict(document, expected)
    except (json_format.ParseError, UnicodeError) as error:
        # Values are the transcoder's: it reads a year of three digits, for instance.
        assert answer.status_code == 400 or "field named" not in str(error), (error, answer.text)
        return
    if not {field.json_name for field in message.fields if field.name in path_fields}.isdisjoint(document):
        assert refused
        return
    assert not refused, (error_of(answer), document)
    assert answer.status_code == 200, answer.text
    for name in path_fields:
        setattr(expected, name, "mine")
    # Of two descriptor pools: their messages are never equal.
    assert backend.arrived[-1].request.SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )
