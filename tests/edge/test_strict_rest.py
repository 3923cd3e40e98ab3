"""REST requests are taken as they are meant, or not at all: nothing in them is dropped or passed over."""

import asyncio
import gzip
import json
from typing import Any

import httpx
import pytest
from google.protobuf import json_format, message_factory

from services.mesh.contract import Contract
from services.mesh.envoy import EnvoyProcess
from tests.edge.answers import error_of, reason_of
from tests.edge.backend import Backend
from tests.edge.strict_requests import routes, sample, wrong_requests

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDERS = "/api/trading/orders"
ORDER = {"clientOrderId": "one", "symbol": "IF2101.CFFEX", "quantity": "1"}
JSON = {"content-type": "application/json"}


def violation_of(answer: httpx.Response) -> tuple[str, str]:
    """(field, description) of the one field violation."""
    (bad,) = [d for d in error_of(answer)["details"] if d["@type"].endswith("BadRequest")]  # type: ignore[attr-defined]
    (violation,) = bad["fieldViolations"]
    return violation["field"], violation["description"]


@pytest.mark.slow
async def test_every_route_names_what_it_does_not_know_and_asks_no_service(
    backend: Backend, http: httpx.AsyncClient, contract: Contract
) -> None:
    wrong: list[str] = []
    count = 0
    headers = backend.bearer() | JSON
    for request in wrong_requests(contract):
        answer = await http.request(request.verb, request.path, content=request.body, headers=headers)
        count += 1
        message = answer.json().get("message", "") if answer.content else ""
        if answer.status_code != 400 or request.field not in message or backend.arrived:
            wrong.append(f"{request.name}: {answer.status_code} {answer.text[:200]}")
            backend.arrived.clear()
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:40])
    assert count > 1000


async def test_every_field_of_every_body_is_taken_by_both_its_names(
    backend: Backend, http: httpx.AsyncClient, contract: Contract
) -> None:
    """And arrives as Python's own reading of the same JSON has it."""
    for rpc, route, path in routes(contract):
        if not route.body:
            continue
        for by_json_name in (True, False):
            body = {
                field.json_name if by_json_name else field.name: sample(field)
                for field in rpc.method.input_type.fields
                if field.name not in route.path_fields
            }
            answer = await http.request(route.verb, path, json=body, headers=backend.bearer())
            assert answer.status_code == 200, (route.path, answer.text)
            expected: Any = message_factory.GetMessageClass(rpc.method.input_type)()
            json_format.ParseDict(body, expected, descriptor_pool=contract.pool)
            for name in route.path_fields:
                setattr(expected, name, "mine")
            assert backend.arrived[-1].request == expected, route.path


@pytest.mark.parametrize(
    ("verb", "path", "body", "field"),
    [
        ("POST", ORDERS, ORDER | {"reduceonly": True}, "reduceonly"),
        ("POST", ORDERS, ORDER | {"positionEfect": "POSITION_EFFECT_CLOSE"}, "positionEfect"),
        ("POST", ORDERS, ORDER | {"timeInforce": "TIME_IN_FORCE_IOC"}, "timeInforce"),
        ("POST", ORDERS, ORDER | {"stopLoss": "3000"}, "stopLoss"),
        ("PUT", "/api/risk/state", {"state": "TRADING_STATE_HALTED", "accountID": "x"}, "accountID"),
        ("POST", ORDERS + ":cancelAll", {"Symbol": "IF2101.CFFEX"}, "Symbol"),
        ("POST", "/api/trading/positions/IF2101.CFFEX:close", {"qty": "1"}, "qty"),
        ("PATCH", ORDERS + "/mine?orderId=theirs", {"quantity": "2"}, "orderId"),
        ("PATCH", ORDERS + "/mine", {"quantity": "2", "orderId": "theirs"}, "orderId"),
        ("POST", ORDERS + "/mine:cancel?orderId=theirs", None, "orderId"),
        ("GET", ORDERS + "/mine?order_id=theirs", None, "order_id"),
        ("DELETE", "/api/strategies/mine?strategyId=theirs", None, "strategyId"),
        ("PUT", "/api/risk/limits", {"limits": {"maxOpenOrder": 5}}, "limits.maxOpenOrder"),
    ],
)
async def test_what_would_have_done_something_else_is_refused(
    backend: Backend, http: httpx.AsyncClient, verb: str, path: str, body: Any, field: str
) -> None:
    answer = await http.request(verb, path, json=body, headers=backend.bearer())
    assert answer.status_code == 400
    assert reason_of(answer) == "INVALID_FIELD"
    assert violation_of(answer)[0] == field
    assert not backend.arrived


@pytest.mark.parametrize(
    ("body", "violation"),
    [
        ('{"reduceOnly": "true"}', ("reduceOnly", "must be true or false, without quotes")),
        ('{"type": "1"}', ("type", "must be the name of a value, or its number without quotes")),
        ('{"type": "+1"}', ("type", "must be the name of a value, or its number without quotes")),
        ('{"type": [1]}', ("type", "must be the name of a value, or its number without quotes")),
        ('{"reduceOnly": {}}', ("reduceOnly", "must be true or false, without quotes")),
    ],
)
async def test_a_value_of_another_type_is_refused_and_the_violation_says_what_is_expected(
    backend: Backend, http: httpx.AsyncClient, body: str, violation: tuple[str, str]
) -> None:
    answer = await http.post(ORDERS, content=body, headers=backend.bearer() | JSON)
    assert answer.status_code == 400
    assert reason_of(answer) == "INVALID_FIELD"
    assert violation_of(answer) == violation
    assert not backend.arrived


@pytest.mark.parametrize("value", ["t", "yes", "True", "FALSE", "1", "%74rue"])
async def test_a_bool_in_a_query_is_true_or_false(backend: Backend, http: httpx.AsyncClient, value: str) -> None:
    answer = await http.post(f"{ORDERS}?reduceOnly={value}", content="{}", headers=backend.bearer() | JSON)
    assert answer.status_code == 400
    assert "reduceOnly" in answer.json()["message"]
    assert not backend.arrived


@pytest.mark.parametrize(
    "body",
    [
        '{price: "1"}', "{'price': '1'}", '{"price": "1",}', '{"price": "1"} {}', '{"price": "1"}]', '"one"', "[]",
        '{"price": "1"} // or two', '/* */ {"price": "1"}', '{"price": "1" /* */}', '{"price": 1"}', '{"price": "1""}',
        "null", "true", "[{}]", '{"clientOrderId": "one" "symbol": "two"}', '{"clientOrderId" "one"}', '{"price": 01}',
        '{"price": +1}', '{"price": .5}', '{"price": 1.}', '{"price": 1e}', '{"price": 0x10}', '{"price": NaN}',
        '{"price": -Infinity}', '{"price": 1_000}', '{"price": nul}', '{"price": True}', '{"price": truex}',
        '{"price": "1\n"}', '{"price": "\\x31"}', '{"price": "\\u12"}', '{"price": "\\ud800"}', '{"price": "\\udc00"}',
        '{"price": "\\ud800\\u0031"}', '{"price": "1}', '{"price": ', "{", '{"price"', "{,}",
        '{"price": 1,, "side": 1}',
        '{"price": "1"};', '\ufeff{"price": "1"}', "\u00a0{}", "{}\0", '{"price": "1\0"}', "{}{", "client_order_id: 1",
        "clientOrderId=one&symbol=two", '{"price": ["1"]}', '{"price": {"a": "1"}}', '{"expireTime": {"seconds": 1}}',
    ],
)  # fmt: skip
async def test_only_strict_json_is_a_body(backend: Backend, http: httpx.AsyncClient, body: str) -> None:
    answer = await http.post(ORDERS, content=body.encode(), headers=backend.bearer() | JSON)
    assert answer.status_code == 400, answer.text
    assert reason_of(answer) == "INVALID_FIELD"
    assert not backend.arrived


@pytest.mark.parametrize(
    "body",
    [
        b'{"symbol": "\xff"}', b'{"symbol": "\xc0\xaf"}', b'{"symbol": "\xed\xa0\x80"}', b'{"symbol": "\x80"}',
        b'{"symbol": "\xf4\x90\x80\x80"}', b'{"symbol": "\xe4\xb8"}', b'{"symbol": "\xe4\xc3\xa9\xb8\xad"}',
        '{"symbol": "x"}'.encode("utf-16"), gzip.compress(b'{"symbol": "x"}'),
    ],
    ids=range(9),
)  # fmt: skip
async def test_only_utf_8_is_a_body(backend: Backend, http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post(ORDERS, content=body, headers=backend.bearer() | JSON)
    assert answer.status_code == 400, answer.text
    assert not backend.arrived


@pytest.mark.parametrize(
    "body",
    [
        "{}", " { } ", '\r\n\t{"clientOrderId"\t:\n"one" ,"price":null}\n',
        "", '{"symbol": "测试 \\u6d4b \\ud83d\\ude00"}',
        '{"symbol": "\\"\\\\\\/\\b\\f\\n\\r\\t"}', '{"client\\u004frderId": "one"}', '{"type": 2, "side": "SIDE_BUY"}',
        '{"type": "\\u004fRDER_TYPE_LIMIT", "reduceOnly": true, "postOnly": null, "side": null}', '{"side": 1e0}',
    ],
)  # fmt: skip
async def test_all_of_json_is_a_body(backend: Backend, http: httpx.AsyncClient, body: str) -> None:
    answer = await http.post(ORDERS, content=body.encode(), headers=backend.bearer() | JSON)
    assert answer.status_code == 200, answer.text
    expected: Any = type(backend.arrived[-1].request)()
    json_format.Parse(body or "{}", expected)
    assert backend.arrived[-1].request == expected


async def test_free_values_may_have_any_names_but_none_twice(backend: Backend, http: httpx.AsyncClient) -> None:
    path = "/api/config/development/risk/key"
    for value in ('{"a": {"a": [null, {"b": 1}]}}', "null", "1e5", '"text"', "[]", '{"a": 1, "A": 2, "": 3}'):
        answer = await http.put(path, content=f'{{"value": {value}}}', headers=backend.bearer() | JSON)
        assert answer.status_code == 200, answer.text
    for value, field in [
        ('{"a": 1, "a": 1}', "value.a"),
        ('{"a": 1, "\\u0061": 1}', "value.a"),
        ('{"x": [0, {"b": 1, "b": 1}]}', "value.x[1].b"),
    ]:
        answer = await http.put(path, content=f'{{"value": {value}}}', headers=backend.bearer() | JSON)
        assert answer.status_code == 400
        assert violation_of(answer) == (field, "is given twice")


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", "*/*",
        "application/json; charset=utf-16", "application/json; charset=gbk", "application/jsonp", "application/xml",
        "application/merge-patch+json", "application/x-protobuf", "application/json, text/plain",
    ],
)  # fmt: skip
async def test_a_body_of_another_type_is_415(backend: Backend, http: httpx.AsyncClient, kind: str) -> None:
    for body in (ORDER, ORDER | {"nope": 1}):
        headers = backend.bearer() | {"content-type": kind}
        answer = await http.post(ORDERS, content=json.dumps(body), headers=headers)
        assert answer.status_code == 415
        assert reason_of(answer) == "INVALID_FIELD"
        assert not backend.arrived


@pytest.mark.parametrize("kind", ["grpc", "grpc+json", "grpc-web", "grpc; a=b", "grpcx", "grpc-web-text", "Grpc"])
async def test_a_grpc_type_on_a_rest_path_reaches_nobody(backend: Backend, http: httpx.AsyncClient, kind: str) -> None:
    for body in (b'{"symbol": "x"}', b"\0\0\0\0\0"):
        await http.post(ORDERS, content=body, headers=backend.bearer() | {"content-type": f"application/{kind}"})
        assert not backend.arrived


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x"])
async def test_an_encoded_body_is_415(backend: Backend, http: httpx.AsyncClient, encoding: str) -> None:
    headers = backend.bearer() | JSON | {"content-encoding": encoding}
    assert (await http.post(ORDERS, content=json.dumps(ORDER), headers=headers)).status_code == 415
    assert not backend.arrived


async def test_nobody_gets_round_the_check_by_how_it_is_sent(
    backend: Backend, http: httpx.AsyncClient, edge: EnvoyProcess
) -> None:
    wrong = json.dumps(ORDER | {"nope": 1}).encode()

    async def in_pieces() -> Any:
        for i in range(len(wrong)):
            yield wrong[i : i + 1]

    for headers in (
        {},
        {"expect": "100-continue"},
        {"x-http-method-override": "GET"},
        {"x-envoy-original-path": ORDERS, "x-envoy-original-method": "GET"},
        {"x-redfire-body": "{}", "redfire.body": "{}"},
        {"te": "trailers", "trailer": "x"},
        {"grpc-timeout": "1S", "grpc-encoding": "identity"},
        {"accept": "text/event-stream"},
        {"x-grpc-web": "1"},
        {"upgrade": "h2c", "connection": "upgrade, http2-settings", "http2-settings": ""},
    ):
        for content in (wrong, in_pieces()):
            for path in (ORDERS, ORDERS + "/", "/api//trading/./orders", "/x/../api/trading/orders"):
                all_headers = backend.bearer() | JSON | headers
                answer = await http.post(path, content=content, headers=all_headers)
                assert 400 <= answer.status_code < 500, (headers, path, answer.text)
                assert not backend.arrived, (headers, path)
                if not isinstance(content, bytes):
                    content = in_pieces()


async def test_a_body_of_a_grpc_path_is_not_read_as_json(backend: Backend, http: httpx.AsyncClient) -> None:
    answer = await http.post("/redfire.trading.v1.OrderService/CreateOrder", json=ORDER, headers=backend.bearer())
    assert answer.status_code != 200
    assert not backend.arrived


async def test_a_body_with_two_lengths_is_refused(edge: EnvoyProcess, backend: Backend) -> None:
    host, port = edge.address.rsplit(":", 1)
    head = b"POST /api/trading/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 15\r\n"
    for second in (b"content-length: 2", b"transfer-encoding: chunked"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head + second + b'\r\n\r\n{"symbol": "x"}')
        assert (await asyncio.wait_for(reader.readline(), 5)).split(b" ")[1] == b"400"
        writer.close()
    assert not backend.arrived


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("order%49d=theirs", "order%49d"), ("orderId.=theirs", "order"), ("orderId", "orderId"), ("=x", ""),
        ("&a", "a"), ("orderId.x=1", "order"), ("clientOrderId=a&orderId=theirs", ""),
        ("orderId%3Dtheirs", "orderId%3Dtheirs"),
        ("ORDERID=theirs", "ORDERID"), ("x=%26orderId%3Dtheirs", "x"), ("a;orderId=theirs", "a;orderId"),
    ],
)  # fmt: skip
async def test_no_spelling_of_a_query_reaches_the_paths_field(
    backend: Backend, http: httpx.AsyncClient, query: str, field: str
) -> None:
    answer = await http.patch(f"{ORDERS}/mine?{query}", json={"quantity": "1"}, headers=backend.bearer())
    assert answer.status_code == 400, answer.text
    assert field in answer.json()["message"]
    assert not backend.arrived


async def test_lists_may_be_given_often_and_parameters_left_empty(backend: Backend, http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/market/ticks:stream?symbols=a&symbols=b&&symbols=c&", headers=backend.bearer())
    assert answer.status_code == 200
    assert list(backend.arrived[-1].request.symbols) == ["a", "b", "c"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/mine:cancell", "/mine:Cancel", "/mine::cancel:x"])
async def test_a_verb_that_is_not_known_is_no_part_of_the_id(
    backend: Backend, http: httpx.AsyncClient, path: str
) -> None:
    for verb in ("GET", "POST", "PATCH", "DELETE"):
        answer = await http.request(verb, ORDERS + path, headers=backend.bearer())
        assert answer.status_code in (400, 404), (verb, answer.text)
        assert not backend.arrived, verb


async def test_deep_and_large_bodies_are_read_or_refused_but_never_pass_unread(
    backend: Backend, http: httpx.AsyncClient
) -> None:
    path, headers = "/api/config/development/risk/key", backend.bearer() | JSON
    for depth, status in ((1, 200), (20, 200), (100, 400), (1000, 400), (100_000, 400)):
        for open_, close in (('{"a":', "}"), ("[", "]")):
            body = '{"value":' + open_ * depth + "1" + close * depth + "}"
            answer = await http.put(path, content=body, headers=headers)
            assert answer.status_code == status, (depth, answer.text[:200])
    many = json.dumps({"value": {f"键{i}": i for i in range(40_000)}}, ensure_ascii=False)
    assert (await http.put(path, content=many, headers=headers)).status_code == 200
    answer = await http.put(path, content=many[:-1] + ', "nope": 1}', headers=headers)
    assert violation_of(answer)[0] == "nope"
