"""Requests that want to be taken for something else: smuggled ones, bombs, detours to internal RPCs, false callers."""

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from services.mesh.envoy import EnvoyProcess
from tests.edge.backend import Backend
from tests.edge.conftest import options_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

INTERNAL = "/redfire.auth.v1.AuthService/ExchangeToken"
LIST = "/redfire.trading.v1.OrderService/ListOrders"
ORDERS = "/api/trading/orders"
EDGE = "the-edge"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(running: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnvoyProcess]:
    folder = tmp_path_factory.mktemp("edge")
    # Connections that are kept end soon, so that a test sees all that was answered.
    options = options_for(running, idle_s=2)
    async with EnvoyProcess(running.contract, options, folder, concurrency=1, edge_token=EDGE) as envoy:
        yield envoy


@pytest_asyncio.fixture(loop_scope="module")
async def http(edge: EnvoyProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{edge.address}", timeout=60) as client:
        yield client


async def send_raw(edge: EnvoyProcess, request: bytes) -> bytes:
    """Everything that is answered on one connection to these bytes, until the edge ends it."""
    host, _, port = edge.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = b""
    try:
        async with asyncio.timeout(60):
            while data := await reader.read(65536):
                answer += data
    finally:
        writer.close()
    return answer


SMUGGLED = b"GET /api/market/instruments HTTP/1.1\r\nhost: x\r\nx-smuggled: yes\r\n\r\n"
START = b"POST /api/trading/orders:preview HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        START + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        START + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
        START + b"content-length: 0\r\ncontent-length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        START + b"content-length: 0, %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        START + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
        START + b"transfer-encoding: xchunked\r\ncontent-length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        START + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        START + b"content-length: +0\r\n\r\n" + SMUGGLED,
        START + b"transfer-encoding: chunked\r\n\r\n0;\n" + SMUGGLED,
    ],
)
async def test_no_second_request_is_smuggled_behind_a_first(
    backend: Backend, edge: EnvoyProcess, request_bytes: bytes
) -> None:
    answer = await send_raw(edge, request_bytes)
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1, "and no second answer"
    assert not [one for one in backend.arrived if "x-smuggled" in one.metadata]


async def test_a_body_is_not_unpacked(backend: Backend, http: httpx.AsyncClient) -> None:
    bomb = gzip.compress(b'{"clientOrderId": "' + bytes(50 << 20) + b'"}')
    headers = {**backend.bearer(), "content-encoding": "gzip", "content-type": "application/json"}
    assert (await http.post(ORDERS, content=bomb, headers=headers)).status_code == 415
    assert not backend.arrived


@pytest.mark.parametrize(
    "body",
    [
        b'{"parameters": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"parameters": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        json.dumps({"parameters": {f"k{n}": 1 for n in range(40_000)}})[:-2].encode() + b', "k39999": 1}}',
        b'{"displayName": "' + b"x" * (2 << 20) + b'"}',
    ],
    ids=["arrays", "objects", "a key given twice", "length"],
)
async def test_a_body_that_costs_more_than_it_says_goes_no_further(
    backend: Backend, http: httpx.AsyncClient, body: bytes
) -> None:
    headers = {**backend.bearer(), "content-type": "application/json"}
    answer = await http.post("/api/strategies", content=body, headers=headers)
    assert answer.status_code in (400, 413)
    assert not backend.arrived
    assert (await http.get(ORDERS, headers=backend.bearer())).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        INTERNAL,
        INTERNAL + "/",
        INTERNAL.lower(),
        "/" + INTERNAL,
        "/api/.." + INTERNAL,
        "/api/%2e%2e" + INTERNAL,
        "/api/..%2f" + INTERNAL[1:],
        "/%72edfire.auth.v1.AuthService/ExchangeToken",
        INTERNAL.replace("/Ex", "%2fEx"),
        INTERNAL.replace("/Ex", "//Ex"),
        INTERNAL.replace("/Ex", "/./Ex"),
        INTERNAL.replace("/Ex", "\\Ex"),
        INTERNAL + "?x=/redfire.trading.v1.OrderService/ListOrders",
        "/redfire.trading.v1.OrderService/.." + INTERNAL,
        "/grpc.reflection.v1/.." + INTERNAL,
        INTERNAL + "%00",
        INTERNAL + ";x",
    ],
)
async def test_no_path_leads_to_an_internal_rpc(backend: Backend, edge: EnvoyProcess, path: str) -> None:
    async def call(path: str, kind: str) -> None:
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\nte: trailers\r\nconnection: close\r\n"
        identity = f"authorization: Bearer {backend.token('alice')}\r\nx-envoy-original-path: {INTERNAL}\r\n"
        assert await send_raw(edge, (head + identity + "content-length: 5\r\n\r\n").encode() + bytes(5))

    await asyncio.gather(*(call(path, kind) for kind in ("application/grpc", "application/grpc-web+proto", "text/x")))
    assert not [one for one in backend.arrived if one.rpc == INTERNAL]
    await call(LIST, "application/grpc")
    assert backend.arrived[-1].rpc == LIST, "what may be called is reached in the same way"


async def test_no_header_makes_a_caller_somebody_else(backend: Backend, http: httpx.AsyncClient) -> None:
    false = {
        "x-redfire-service": "trading",
        "x-redfire-edge": "yes",
        "x-redfire-hop": "trading",
        "x-redfire-shard": "1",
        "x-redfire-subject": "admin",
        "X-RedFire-Anything": "admin",
        "x-envoy-external-address": "127.0.0.1",
        "x-envoy-internal": "true",
        "x-envoy-original-path": INTERNAL,
        "x-forwarded-for": "10.0.0.1",
        "x-real-ip": "10.0.0.1",
        "forwarded": "for=10.0.0.1",
        "grpc-status": "0",
        "grpc-internal-encoding-request": "gzip",
    }
    assert (await http.get(ORDERS, headers=backend.bearer("alice") | false)).status_code == 200
    seen = backend.arrived[-1].metadata
    assert seen["x-redfire-subject"] == "alice"
    assert seen["x-envoy-external-address"] == "127.0.0.1"
    believed = {"x-redfire-subject", "x-redfire-edge", "x-envoy-external-address"}
    ours = {key for key in seen if key.startswith(("x-redfire-", "x-envoy-", "grpc-internal"))} - believed
    assert not {key for key in ours if seen[key] in false.values()}
    assert seen["x-redfire-edge"] == EDGE


FORM = re.compile("[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
MALFORMED = [
    "<script>alert(1)</script>",
    "a b",
    "-x",
    "",
    "x;y",
    "a,b",
    "é",
    '{"a":1}',
    "%0d%0aset-cookie:x",
    "../../x y",
]


@pytest.mark.parametrize("given", MALFORMED)
async def test_a_malformed_request_id_is_replaced_before_anybody_sees_it(
    running: Backend, http: httpx.AsyncClient, given: str
) -> None:
    for path in ("/api/market/instruments", "/healthz", "/nope", "/api/nope", "/a%2fb"):
        answer = await http.get(path, headers={"x-request-id": given.encode(), **running.bearer()})
        assert FORM.fullmatch(answer.headers["x-request-id"]), path
        assert not given or given not in answer.text
    seen = running.arrived[-1].metadata["x-request-id"]
    assert FORM.fullmatch(seen) and seen != given


async def test_a_request_id_that_is_given_twice_is_replaced(edge: EnvoyProcess) -> None:
    request = b"GET /nope HTTP/1.1\r\nhost: x\r\nx-request-id: one\r\nx-request-id: two\r\nconnection: close\r\n\r\n"
    ids = re.findall(rb"x-request-id: (.*)\r\n", await send_raw(edge, request))
    assert len(ids) == 1 and FORM.fullmatch(ids[0].decode()) and ids[0] not in (b"one", b"two")


async def test_a_malformed_traceparent_reaches_no_service(running: Backend, http: httpx.AsyncClient) -> None:
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for given in ("nonsense", good.upper(), good[:-1], f"{good} x", good + "-" + "é", good):
        headers = {"traceparent": given.encode(), **running.bearer()}
        assert (await http.get("/api/market/instruments", headers=headers)).status_code == 200
        assert running.arrived[-1].metadata.get("traceparent", "") == (good if given == good else "")
