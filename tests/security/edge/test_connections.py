"""Connections that only take room: they end soon, sooner where room runs out, and no source takes all of it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import grpc
import httpx
import pytest

from services.mesh.connection_guard import connections_by_source
from services.mesh.envoy import EnvoyProcess
from tests.edge.backend import Backend
from tests.security.edge.conftest import StartEdge
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Silent:
    """A connection that says nothing, or less than a request."""

    def __init__(self, edge: EnvoyProcess, source: str = "127.0.0.1", says: bytes = b"") -> None:
        host, _, port = edge.address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10, source_address=(source, 0))
        self._socket.sendall(says)
        self._socket.setblocking(False)

    def ended(self) -> bool:
        """Test for the edge's having closed it."""
        try:
            while self._socket.recv(4096):
                pass
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        self._socket.close()


@contextlib.asynccontextmanager
async def silent(
    edge: EnvoyProcess, count: int, source: str = "127.0.0.1", says: bytes = b""
) -> AsyncIterator[list[Silent]]:
    connections = [Silent(edge, source, says) for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


async def is_served(edge: EnvoyProcess) -> bool:
    try:
        async with httpx.AsyncClient(base_url=f"http://{edge.address}") as http:
            return (await http.get("/healthz")).status_code == 200
    except httpx.HTTPError:
        return False


async def test_silent_connections_end_by_themselves(start_edge: StartEdge) -> None:
    edge = await start_edge(idle_s=1)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
    async with silent(edge, 3) as nothing, silent(edge, 3, says=preface) as settings_alone:
        await until(lambda: all(one.ended() for one in [*nothing, *settings_alone]), 30)


async def test_half_a_request_is_not_waited_for_as_long_as_a_whole_one(start_edge: StartEdge) -> None:
    edge = await start_edge(idle_s=600, headers_s=1)
    async with silent(edge, 3, says=b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ") as half:
        await until(lambda: all(one.ended() for one in half), 30)


async def test_a_call_that_is_open_for_longer_is_no_silence(backend: Backend, start_edge: StartEdge) -> None:
    edge = await start_edge(idle_s=1)
    go_on = asyncio.Event()

    async def wait(_: object, __: object, response: type) -> object:
        await go_on.wait()
        return response()

    backend.answers["ListOrders"] = wait
    async with silent(edge, 1) as (other,), httpx.AsyncClient(base_url=f"http://{edge.address}", timeout=30) as http:
        call = asyncio.create_task(http.get("/api/trading/orders", headers=backend.bearer()))
        await until(other.ended, 30)
        go_on.set()
        assert (await call).status_code == 200


async def test_silent_connections_that_take_all_room_do_not_shut_the_edge(start_edge: StartEdge) -> None:
    edge = await start_edge(connections=60, source_connections=0, idle_s=600, hurried_s=1)
    async with silent(edge, 80) as connections:
        await until(lambda: sum(one.ended() for one in connections) >= 20, 30)  # those that found no room
        await until(lambda: is_served(edge), 60)
        await until(lambda: all(one.ended() for one in connections), 60)


async def test_a_source_with_too_many_connections_is_refused_and_others_are_served(start_edge: StartEdge) -> None:
    edge = await start_edge(
        connections=400, source_connections=20, idle_s=600, process={"unlimited_sources": ["127.0.0.1/32"]}
    )
    async with silent(edge, 60, source="127.0.0.2"):

        async def is_refused() -> bool:
            async with silent(edge, 1, source="127.0.0.2") as (one,):
                with contextlib.suppress(TimeoutError, AssertionError):
                    await until(one.ended, 1)
                    return True
            return False

        await until(is_refused, 60)
        assert await is_served(edge)
        async with silent(edge, 1, source="127.0.0.3") as (other,), silent(edge, 1, source="127.0.0.2") as (refused,):
            await until(refused.ended, 30)
            assert not other.ended()


async def test_connections_are_counted_by_source(start_edge: StartEdge) -> None:
    edge = await start_edge()
    async with silent(edge, 3, source="127.0.0.2"), silent(edge, 2, source="127.0.0.3"):
        by_source = connections_by_source(edge.options.port)
    assert (by_source["127.0.0.2/32"], by_source["127.0.0.3/32"]) == (3, 2)


async def test_a_grpc_client_that_was_idle_calls_again(backend: Backend, start_edge: StartEdge) -> None:
    edge = await start_edge(idle_s=1)
    async with grpc.aio.insecure_channel(edge.address) as channel, silent(edge, 1) as (other,):
        call = channel.unary_unary("/redfire.trading.v1.OrderService/ListOrders")
        metadata = tuple(backend.bearer().items())
        await call(b"", metadata=metadata, timeout=10)
        await until(other.ended, 30)
        await call(b"", metadata=metadata, timeout=10, wait_for_ready=True)
