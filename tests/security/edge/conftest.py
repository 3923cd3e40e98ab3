"""A real Envoy before a stand-in for all services, made anew for each test: nobody's quota is used yet."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.kernel.policy import descriptor_set
from services.mesh.contract import Contract
from services.mesh.envoy import EnvoyProcess
from tests.edge.backend import Backend
from tests.edge.conftest import options_for

StartEdge = Callable[..., Awaitable[EnvoyProcess]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Backend]:
    backend = Backend(Contract(descriptor_set()))
    await backend.start()
    yield backend
    await backend.stop()


@pytest.fixture
def backend(running: Backend) -> Backend:
    running.answers.clear()
    running.arrived.clear()
    return running


@pytest_asyncio.fixture(loop_scope="module")
async def start_edge(backend: Backend, tmp_path: Path) -> AsyncIterator[StartEdge]:
    """`await start_edge(option=value, …)` starts an Envoy; `process` has arguments of EnvoyProcess."""
    async with AsyncExitStack() as stack:

        async def start(process: dict[str, Any] | None = None, **options: object) -> EnvoyProcess:
            edge = EnvoyProcess(
                backend.contract, options_for(backend, **options), tmp_path / "edge", concurrency=1, **(process or {})
            )
            return await stack.enter_async_context(edge)

        yield start
