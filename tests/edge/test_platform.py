"""The real services behind a real Envoy, asked what nobody should ask."""

from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from services.mesh.contract import Contract
from services.mesh.envoy import EnvoyProcess
from services.registry import SERVICES
from tests.edge.answers import error_of, reason_of
from tests.edge.conftest import edge_before
from tests.edge.requests import bad_requests
from tests.harness import Platform, platform

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole() -> AsyncIterator[Platform]:
    async with platform(*SERVICES) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(
    whole: Platform, contract: Contract, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EnvoyProcess]:
    async with edge_before(whole, contract, tmp_path_factory.mktemp("edge")) as envoy:
        yield envoy


async def bearer(whole: Platform) -> dict[str, str]:
    return {"authorization": f"Bearer {(await whole.admin()).token}"}


async def test_a_call_without_credentials_is_401_in_our_shape(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/trading/orders")
    assert answer.status_code == 401
    assert reason_of(answer) == "UNAUTHENTICATED"


async def test_a_user_cannot_take_another_ones_id_into_the_query(whole: Platform, http: httpx.AsyncClient) -> None:
    alice, bob = await whole.user(), await whole.user()
    headers = {"authorization": f"Bearer {alice.token}"}
    assert (await http.get(f"/api/users/{alice.user_id}", headers=headers)).status_code == 200
    answer = await http.get(f"/api/users/{alice.user_id}?userId={bob.user_id}", headers=headers)
    assert answer.status_code == 400


async def test_no_bad_request_is_an_internal_error(
    whole: Platform, http: httpx.AsyncClient, contract: Contract
) -> None:
    """As an administrator, whom no permission stops before the services' own rules."""
    wrong: list[str] = []
    statuses: Counter[int] = Counter()
    headers = await bearer(whole) | {"content-type": "application/json"}
    for request in bad_requests(contract):
        for attempt in (1, 2):
            async with http.stream(request.verb, request.path, content=request.body, headers=headers) as answer:
                status = answer.status_code
                if status >= 400:
                    await answer.aread()
            if status == 401 and attempt == 1:
                # One of them was a logout, after all.
                headers |= await bearer(whole)
                continue
            break
        statuses[status] += 1
        if status >= 500 or (request.refused and status < 400):
            wrong.append(f"{request.name}: {status} {answer.text[:160] if status >= 400 else ''}")
        elif status >= 400:
            error_of(answer)
    assert not wrong, f"{len(wrong)} of {statuses.total()}:\n" + "\n".join(wrong[:40])
