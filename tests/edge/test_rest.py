"""REST through a real Envoy."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.mesh.envoy import EnvoyProcess
from tests.edge.answers import error_of, reason_of
from tests.edge.backend import Backend

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def three_ticks(request: Any, context: Any, response: Any) -> AsyncIterator[Any]:
    for sequence in range(3):
        yield response(ticks=[{"symbol": request.symbols[0], "sequence": sequence}])


async def refused(request: Any, context: Any, response: Any) -> None:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="ORDER_NOT_OPEN", domain="redfire"))
    status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="the order is finished", details=[detail])
    await context.abort_with_status(rpc_status.to_status(status))


async def test_a_body_and_path_fields_make_the_request(backend: Backend, http: httpx.AsyncClient) -> None:
    answer = await http.patch("/api/trading/orders/o-1", json={"quantity": "2"}, headers=backend.bearer())
    assert answer.status_code == 200
    request: Any = backend.arrived[-1].request
    assert (request.order_id, request.quantity) == ("o-1", "2")


@pytest.mark.parametrize("name", ["pageSize", "page_size"])
async def test_query_fields_go_by_both_of_their_names(backend: Backend, http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get("/api/trading/orders", params={name: 5}, headers=backend.bearer())
    assert answer.json() == {"orders": [], "nextPageToken": ""}
    assert backend.arrived[-1].request.page_size == 5  # type: ignore[attr-defined]


async def test_an_unknown_query_field_is_refused(backend: Backend, http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/trading/orders?nope=1", headers=backend.bearer())
    assert answer.status_code == 400
    assert reason_of(answer) == "INVALID_FIELD"


async def test_verbs_after_a_colon_are_routes_of_their_own(backend: Backend, http: httpx.AsyncClient) -> None:
    for verb, path, rpc in [
        ("POST", "/api/trading/orders:preview", "PreviewOrder"),
        ("POST", "/api/trading/orders/x:cancel", "CancelOrder"),
        ("GET", "/api/trading/orders:lookup?clientOrderId=x", "LookupOrder"),
        ("GET", "/api/trading/orders/x", "GetOrder"),
        ("GET", "/api/config/dev/trading:diff", "DiffConfigs"),
        ("GET", "/api/config/dev:export", "ExportConfigs"),
        ("GET", "/api/config/dev/trading/key", "GetConfig"),
        ("GET", "/api/users/sessions", "ListSessions"),
        ("GET", "/api/users/me", "GetUser"),
    ]:
        answer = await http.request(verb, path, json={} if verb == "POST" else None, headers=backend.bearer())
        assert answer.status_code == 200, (path, answer.text)
        assert backend.arrived[-1].rpc.endswith("/" + rpc), path


async def test_a_stream_is_json_lines(backend: Backend, http: httpx.AsyncClient) -> None:
    backend.answers["StreamTicks"] = three_ticks
    answer = await http.get("/api/market/ticks:stream?symbols=IF.CFFEX", headers=backend.bearer())
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["ticks"][0]["sequence"] for line in lines] == ["0", "1", "2"]


async def test_a_stream_is_server_sent_events_for_who_accepts_them(backend: Backend, http: httpx.AsyncClient) -> None:
    backend.answers["StreamTicks"] = three_ticks
    headers = backend.bearer() | {"accept": "text/event-stream"}
    answer = await http.get("/api/market/ticks:stream?symbols=IF.CFFEX", headers=headers)
    assert answer.headers["content-type"] == "text/event-stream"
    events = [json.loads(event.removeprefix("data: ")) for event in answer.text.strip().split("\n\n")]
    assert [event["ticks"][0]["sequence"] for event in events] == ["0", "1", "2"]


async def test_messages_of_a_stream_arrive_one_by_one(backend: Backend, http: httpx.AsyncClient) -> None:
    """The second is sent only once the first was read."""
    import asyncio

    read = asyncio.Event()

    async def one_by_one(request: Any, context: Any, response: Any) -> AsyncIterator[Any]:
        yield response(ticks=[{"sequence": 1}])
        await asyncio.wait_for(read.wait(), 5)
        yield response(ticks=[{"sequence": 2}])

    backend.answers["StreamTicks"] = one_by_one
    seen = []
    path = "/api/market/ticks:stream?symbols=IF.CFFEX"
    async with http.stream("GET", path, headers=backend.bearer()) as answer:
        async for line in answer.aiter_lines():
            seen.append(json.loads(line)["ticks"][0]["sequence"])
            read.set()
    assert seen == ["1", "2"]


async def test_a_services_error_keeps_its_details(backend: Backend, http: httpx.AsyncClient) -> None:
    backend.answers["CancelOrder"] = refused
    answer = await http.post("/api/trading/orders/x:cancel", json={}, headers=backend.bearer())
    assert answer.status_code == 400
    assert error_of(answer)["code"] == code_pb2.FAILED_PRECONDITION
    assert reason_of(answer) == "ORDER_NOT_OPEN"


async def test_a_call_gets_the_deadline_of_the_contract(backend: Backend, http: httpx.AsyncClient) -> None:
    await http.post("/api/users/register", json={})
    left_s = backend.arrived[-1].time_left_s
    # Ten seconds, which the service keeps, and one in which the edge waits for it to say so.
    assert left_s is not None and 10 < left_s <= 11
    await http.get("/api/market/instruments", headers={"grpc-timeout": "2S"})
    left_s = backend.arrived[-1].time_left_s
    assert left_s is not None and left_s <= 2


async def test_a_stream_has_no_deadline(backend: Backend, http: httpx.AsyncClient) -> None:
    await http.get("/api/market/ticks:stream?symbols=IF.CFFEX", headers=backend.bearer())
    assert backend.arrived[-1].time_left_s is None


@pytest.mark.parametrize("path", ["/nope", "/api/nope", "/api/trading", "/redfire.trading.v1.OrderService/Nope"])
async def test_an_unknown_path_is_404_in_json(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.status_code == 404
    assert reason_of(answer) == "NOT_FOUND"


async def test_another_method_of_a_known_path_is_404(http: httpx.AsyncClient) -> None:
    assert reason_of(await http.put("/api/trading/orders", json={})) == "NOT_FOUND"


@pytest.mark.parametrize("size", [1_100_000, 10_000_000])
async def test_a_body_that_is_too_large_is_413(backend: Backend, http: httpx.AsyncClient, size: int) -> None:
    body = json.dumps({"symbol": "x" * size})
    answer = await http.post("/api/trading/orders", content=body, headers=backend.bearer())
    assert answer.status_code == 413
    assert reason_of(answer) == "INVALID_FIELD"
    assert not backend.arrived


async def test_a_large_answer_comes_whole(backend: Backend, http: httpx.AsyncClient) -> None:
    backend.answers["ListOrders"] = lambda request, context, response: response(
        orders=[{"order_id": "x" * 2000} for _ in range(1000)]
    )
    answer = await http.get("/api/trading/orders?pageSize=1000", headers=backend.bearer())
    assert len(answer.json()["orders"]) == 1000


async def test_headers_that_are_too_large_are_431(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/trading/orders", headers={"x-a": "a" * 40_000})
    assert answer.status_code == 431
    error_of(answer)


async def test_a_request_id_is_echoed_or_made(backend: Backend, http: httpx.AsyncClient) -> None:
    # Of this form Envoy would by default change the 15th digit.
    given = "0191e7a0-5c3b-7def-8123-0123456789ab"
    answer = await http.get("/api/market/instruments", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given
    assert backend.arrived[-1].metadata["x-request-id"] == given
    assert (await http.get("/api/market/instruments")).headers["x-request-id"]
    assert (await http.get("/nope", headers={"x-request-id": "mine"})).headers["x-request-id"] == "mine"


async def test_a_page_on_localhost_may_call_and_others_may_not(http: httpx.AsyncClient) -> None:
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for path in ("/api/trading/orders", "/redfire.trading.v1.OrderService/CreateOrder"):
        answer = await http.options(path, headers=ask | {"origin": "http://localhost:3000"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
        assert "authorization" in answer.headers["access-control-allow-headers"]
        answer = await http.options(path, headers=ask | {"origin": "http://localhost.evil.example"})
        assert "access-control-allow-origin" not in answer.headers


async def test_errors_of_the_edge_can_be_read_by_pages(http: httpx.AsyncClient) -> None:
    headers = {"origin": "http://127.0.0.1:5173", "authorization": "Bearer nonsense"}
    answer = await http.get("/api/trading/orders", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "http://127.0.0.1:5173"


async def test_health_openapi_and_keys_are_for_everybody(http: httpx.AsyncClient, edge: EnvoyProcess) -> None:
    assert (await http.get("/healthz")).json()["status"] == "SERVING"
    answer = await http.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.json()["paths"]) > 40
    assert (await http.get("/.well-known/jwks.json")).json() == {"keys": []}


async def test_the_index_is_a_page_without_scripts_whose_links_answer(http: httpx.AsyncClient) -> None:
    answer = await http.get("/", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text and "<style" not in answer.text
    links = re.findall('href="([^"]+)"', answer.text)
    as_json = await http.get("/", headers={"accept": "application/json"})
    assert as_json.headers["content-type"] == "application/json"
    assert list(as_json.json()["links"]) == links
    assert {"/healthz", "/openapi.json"} <= set(links)
    for link in links:
        assert (await http.get(link)).status_code == 200, link


async def test_the_index_takes_no_posts_and_hides_no_other_path(http: httpx.AsyncClient) -> None:
    assert (await http.post("/")).status_code == 404
    assert (await http.get("/index")).status_code == 404
    assert (await http.get("/", headers={"authorization": "Bearer nonsense"})).status_code == 200


async def test_the_ops_servers_other_paths_are_not_routed(http: httpx.AsyncClient) -> None:
    assert (await http.get("/jwks.json")).status_code == 404
    assert (await http.get("/metrics")).status_code == 404
