"""A real Envoy with the rendered configuration, in front of a real gRPC server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from services.kernel.policy import descriptor_file, descriptor_set
from services.mesh.contract import Contract
from services.mesh.edge.options import EdgeOptions
from services.mesh.envoy import EnvoyProcess
from services.registry import SERVICES
from tests.edge.backend import Backend
from tests.harness import Platform

OPENAPI = Path(__file__).resolve().parents[2] / "gen/openapi/redfire.openapi.json"


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract(descriptor_set())


def options_for(backend: Backend, **changes: object) -> EdgeOptions:
    values: dict[str, object] = {
        "services": dict.fromkeys(backend.contract.services, (backend.address,)),
        "ops": backend.ops,
        "descriptors": str(descriptor_file()),
        "openapi": str(OPENAPI),
        "port": 0,
        "rate_limits": None,
    }
    return EdgeOptions(**(values | changes))  # type: ignore[arg-type]


@asynccontextmanager
async def edge_before(whole: Platform, contract: Contract, folder: Path) -> AsyncIterator[EnvoyProcess]:
    """Envoy in front of a platform of all services, without limits of rates."""
    options = EdgeOptions(
        services=dict.fromkeys(SERVICES, (whole.host.address,)),
        ops=f"127.0.0.1:{whole.host.operations.port}",
        descriptors=str(descriptor_file()),
        openapi=str(OPENAPI),
        port=0,
        rate_limits=None,
    )
    async with EnvoyProcess(contract, options, folder, concurrency=1) as envoy:
        yield envoy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(contract: Contract) -> AsyncIterator[Backend]:
    backend = Backend(contract)
    await backend.start()
    yield backend
    await backend.stop()


@pytest.fixture
def backend(running: Backend) -> Backend:
    running.answers.clear()
    running.arrived.clear()
    return running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(running: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnvoyProcess]:
    async with EnvoyProcess(
        running.contract, options_for(running), tmp_path_factory.mktemp("edge"), concurrency=1
    ) as envoy:
        yield envoy


@pytest_asyncio.fixture(loop_scope="module")
async def http(edge: EnvoyProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{edge.address}", timeout=10) as client:
        yield client
