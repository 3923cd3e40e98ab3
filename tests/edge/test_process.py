"""The Envoy process: comes up, comes back, ends well, and never stays behind."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from services.mesh.envoy import EnvoyFailed, EnvoyProcess, PortInUse
from tests.edge.backend import Backend
from tests.edge.conftest import options_for
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


def process(backend: Backend, folder: Path, **changes: object) -> EnvoyProcess:
    return EnvoyProcess(backend.contract, options_for(backend, **changes), folder, concurrency=1)


async def test_a_port_in_use_is_reported_before_anything_starts(backend: Backend, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        envoy = process(backend, tmp_path, port=port)
        with pytest.raises(PortInUse, match=str(port)):
            await envoy.start()
    assert envoy.pid is None


async def test_a_configuration_that_envoy_refuses_is_one_error(backend: Backend, tmp_path: Path) -> None:
    envoy = process(backend, tmp_path, descriptors="/nonexistent")
    with pytest.raises(EnvoyFailed):
        await envoy.validate()
    with pytest.raises(EnvoyFailed, match="nonexistent"):
        await envoy.start()
    assert envoy.pid is None


async def test_it_is_started_again_when_it_dies(backend: Backend, tmp_path: Path) -> None:
    async with process(backend, tmp_path) as envoy, httpx.AsyncClient(base_url=f"http://{envoy.address}") as http:
        first = envoy.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: envoy.restarts == 1 and envoy.pid not in (None, first), timeout_s=10)
        assert (await http.get("/api/trading/orders", headers=backend.bearer())).status_code == 200


async def test_stopping_lets_running_calls_end_and_takes_no_new_ones(backend: Backend, tmp_path: Path) -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def slow(request: Any, context: Any, response: Any) -> Any:
        arrived.set()
        await go.wait()
        return response()

    backend.answers["ListOrders"] = slow
    envoy = process(backend, tmp_path)
    await envoy.start()
    async with httpx.AsyncClient(base_url=f"http://{envoy.address}") as http:
        call = asyncio.create_task(http.get("/api/trading/orders", headers=backend.bearer()))
        await asyncio.wait_for(arrived.wait(), 5)
        stop = asyncio.create_task(envoy.stop(grace_s=5))

        def closed() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((envoy.options.host, envoy.options.port)) != 0

        await until(closed)
        go.set()
        assert (await call).status_code == 200
        await stop
    assert envoy.pid is None


async def test_stopping_does_not_wait_for_a_call_that_never_ends(backend: Backend, tmp_path: Path) -> None:
    async def endless(request: Any, context: Any, response: Any) -> AsyncIterator[Any]:
        yield response(ticks=[{"sequence": 1}])
        await asyncio.Event().wait()

    backend.answers["StreamTicks"] = endless
    envoy = process(backend, tmp_path)
    await envoy.start()
    async with httpx.AsyncClient(base_url=f"http://{envoy.address}") as http:
        path = "/api/market/ticks:stream?symbols=IF.CFFEX"
        async with http.stream("GET", path, headers=backend.bearer()) as answer:
            assert answer.status_code == 200
            await envoy.stop(grace_s=0.2)
    assert envoy.pid is None


@pytest.mark.slow
async def test_it_does_not_outlive_a_parent_that_is_killed(backend: Backend, tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
from services.kernel.policy import descriptor_set
from services.mesh.contract import Contract
from services.mesh.edge.options import EdgeOptions
from services.mesh.envoy import EnvoyProcess

async def main():
    envoy = EnvoyProcess(Contract(descriptor_set()), EdgeOptions(**{_values(backend)!r}), Path({str(tmp_path)!r}))
    await envoy.start()
    print(envoy.pid, flush=True)
    await asyncio.to_thread(sys.stdin.read)  # which ends with the test

asyncio.run(main())
"""
    pipe = asyncio.subprocess.PIPE
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=pipe, stdout=pipe)
    assert parent.stdout is not None
    pid = int(await asyncio.wait_for(parent.stdout.readline(), 20))
    assert psutil.Process(pid).name() == "envoy"
    parent.kill()
    await parent.wait()
    await until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def _values(backend: Backend) -> dict[str, object]:
    options = options_for(backend)
    return {name: getattr(options, name) for name in ("services", "ops", "descriptors", "openapi", "port")}


async def test_a_folder_with_a_long_name_has_its_admin_socket_in_a_short_one(backend: Backend, tmp_path: Path) -> None:
    async with process(backend, tmp_path / ("x" * 100)) as envoy:
        socket_file = Path(envoy.options.admin)
        assert socket_file.is_socket()
        assert (socket_file.parent.stat().st_mode & 0o777, socket_file.parent.stat().st_uid) == (0o700, os.getuid())
        assert await envoy.stats("^server.live$") == {"server.live": 1}
        listening = {c.laddr.port for c in psutil.Process(envoy.pid).net_connections("tcp") if c.status == "LISTEN"}
        assert listening == {envoy.options.port}, "and no other port"
    assert not socket_file.parent.exists()


async def test_calls_are_logged_without_their_queries(backend: Backend, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    async with (
        process(backend, tmp_path, access_log=str(log)) as envoy,
        httpx.AsyncClient(base_url=f"http://{envoy.address}") as http,
    ):
        await http.get("/api/trading/orders?pageToken=private", headers=backend.bearer("alice"))
    line = log.read_text()
    assert '"rpc":"/redfire.trading.v1.OrderService/ListOrders"' in line
    assert '"subject":"alice"' in line
    assert "private" not in line
