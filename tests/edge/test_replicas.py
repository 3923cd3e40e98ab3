"""Two processes of each service behind the edge, of which one stands still: no call waits for it for long."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from services.mesh.contract import Contract
from services.mesh.envoy import EnvoyProcess
from tests.chaos.proxy import TcpProxy
from tests.edge.answers import reason_of
from tests.edge.backend import Backend
from tests.edge.conftest import options_for
from tests.waiting import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

ORDERS, CONFIG = "/api/trading/orders", "/api/config/development/risk/key"
SERVED_S = 60
"""The machine of a test run may be busy with others."""


class Replica:
    """A stand-in for all services, behind a proxy that can stand still."""

    def __init__(self, contract: Contract, keys: Any) -> None:
        self.backend = Backend(contract, key=keys)

    async def start(self) -> None:
        await self.backend.start()
        host, _, port = self.backend.address.rpartition(":")
        self.proxy = TcpProxy(lambda: (host, int(port)))
        self.address = f"127.0.0.1:{self.proxy.port}"

    async def stop(self) -> None:
        self.proxy.stands_still = False
        await asyncio.to_thread(self.proxy.close)
        await self.backend.stop()

    def calls(self, rpc: str) -> int:
        return sum(one.rpc.endswith(f"/{rpc}") for one in self.backend.arrived)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(contract: Contract, running: Backend) -> AsyncIterator[list[Replica]]:
    replicas = [Replica(contract, running.key) for _ in range(2)]
    for replica in replicas:
        await replica.start()
    yield replicas
    for replica in replicas:
        await replica.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(
    both: list[Replica], running: Backend, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EnvoyProcess]:
    addresses = tuple(replica.address for replica in both)
    options = options_for(
        running, services=dict.fromkeys(running.contract.services, addresses), streams={"market": addresses}
    )
    async with EnvoyProcess(running.contract, options, tmp_path_factory.mktemp("edge"), concurrency=1) as envoy:
        yield envoy


@pytest_asyncio.fixture(loop_scope="module")
async def replicas(both: list[Replica], backend: Backend, http: httpx.AsyncClient) -> AsyncIterator[list[Replica]]:
    """Both serve, and are asked."""

    async def asked() -> bool:
        await http.get(ORDERS, headers=backend.bearer())
        return all(replica.calls("ListOrders") for replica in both)

    await until(asked, SERVED_S)
    for replica in both:
        replica.backend.arrived.clear()
    yield both
    for replica in both:
        replica.proxy.stands_still = False
        replica.backend.answers.clear()
        await replica.backend.set_serving(True)


async def test_a_replica_that_stands_still_costs_no_call_and_is_asked_again(
    backend: Backend, http: httpx.AsyncClient, replicas: list[Replica]
) -> None:
    still, other = replicas
    still.proxy.stands_still = True
    took = []

    async def passed_over() -> bool:
        """Forty calls in a row are answered at once."""
        other.backend.arrived.clear()
        for _ in range(40):
            started = time.perf_counter()
            answer = await http.get(ORDERS, headers=backend.bearer())
            took.append(time.perf_counter() - started)
            assert answer.status_code == 200, answer.text
            if took[-1] > 1:
                return False
        return other.calls("ListOrders") == 40

    await until(passed_over, SERVED_S)
    print(f"the longest of {len(took)} calls took {max(took):.1f} s, all of them {sum(took):.1f} s")
    still.proxy.stands_still = False
    still.backend.arrived.clear()

    async def asked_again() -> bool:
        await http.get(ORDERS, headers=backend.bearer())
        return still.calls("ListOrders") > 0

    await until(asked_again, SERVED_S)


async def test_only_an_idempotent_call_is_asked_of_the_other_replica_beside(
    backend: Backend, http: httpx.AsyncClient, replicas: list[Replica]
) -> None:
    asked: list[str] = []

    async def first_is_slow(request: Any, context: Any, response: Any) -> Any:
        asked.append(context)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return response()

    for replica in replicas:
        replica.backend.answers |= {"ListOrders": first_is_slow, "SetConfig": first_is_slow}
    assert (await http.get(ORDERS, headers=backend.bearer())).status_code == 200
    assert [replica.calls("ListOrders") for replica in replicas] == [1, 1]
    asked.clear()
    body = {"value": 1}
    answer = await http.put(CONFIG, json=body, headers=backend.bearer())
    assert answer.status_code == 504
    assert sum(replica.calls("SetConfig") for replica in replicas) == 1


@pytest.mark.parametrize("is_idempotent", [True, False])
async def test_where_all_stand_still_a_call_ends_by_its_deadline_and_not_by_the_loss_of_its_connection(
    backend: Backend, http: httpx.AsyncClient, replicas: list[Replica], is_idempotent: bool
) -> None:
    """That loss is noticed later than these clients wait, who state no deadline themselves."""
    for replica in replicas:
        replica.proxy.stands_still = True
    if is_idempotent:
        answer = await http.get(ORDERS, headers=backend.bearer())
    else:
        answer = await http.put(CONFIG, json={"value": 1}, headers=backend.bearer())
    assert (answer.status_code, reason_of(answer)) == (504, "DEADLINE_EXCEEDED"), answer.text


async def test_a_replica_that_does_not_serve_is_not_asked_unless_none_does(
    backend: Backend, http: httpx.AsyncClient, replicas: list[Replica]
) -> None:
    first, other = replicas
    await first.backend.set_serving(False)

    async def left_alone() -> bool:
        first.backend.arrived.clear()
        for _ in range(20):
            assert (await http.get(ORDERS, headers=backend.bearer())).status_code == 200
        return not first.backend.arrived

    await until(left_alone, SERVED_S)
    await other.backend.set_serving(False)

    async def asked() -> bool:
        assert (await http.get(ORDERS, headers=backend.bearer())).status_code == 200
        return first.calls("ListOrders") > 0

    await until(asked, SERVED_S)


async def test_streams_at_a_replica_that_stands_still_end_and_open_at_the_other(
    backend: Backend, http: httpx.AsyncClient, replicas: list[Replica]
) -> None:
    async def endless(request: Any, context: Any, response: Any) -> AsyncIterator[Any]:
        yield response(heartbeat={})
        await asyncio.Event().wait()

    for replica in replicas:
        replica.backend.answers |= {"StreamTicks": endless, "StreamOrders": endless}

    async def listen(path: str, heard: asyncio.Event) -> None:
        async with http.stream("GET", path, headers=backend.bearer(), timeout=SERVED_S) as answer:
            assert answer.status_code == 200
            async for _ in answer.aiter_lines():
                heard.set()

    ticks, orders = "/api/market/ticks:stream?symbols=IF.CFFEX", f"{ORDERS}:stream"
    for path, rpc in ((ticks, "StreamTicks"), (orders, "StreamOrders")):
        for replica in replicas:
            replica.backend.arrived.clear()
        heard = asyncio.Event()
        listening = asyncio.create_task(listen(path, heard))
        await asyncio.wait_for(heard.wait(), SERVED_S)
        still, other = replicas if replicas[0].calls(rpc) else reversed(replicas)
        still.proxy.stands_still = True
        with pytest.raises(httpx.HTTPError):
            await asyncio.wait_for(listening, SERVED_S)
        again = asyncio.create_task(listen(path, heard))
        await until(lambda rpc=rpc, other=other: other.calls(rpc) == 1, SERVED_S)
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
        still.proxy.stands_still = False
