"""Bad requests to every route: the edge answers with our JSON, and never with a 5xx."""

from collections import Counter

import httpx
import pytest

from services.mesh.contract import Contract
from tests.edge.answers import error_of
from tests.edge.backend import Backend
from tests.edge.requests import bad_requests

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


async def test_every_route_refuses_what_makes_no_sense(
    backend: Backend, http: httpx.AsyncClient, contract: Contract
) -> None:
    wrong: list[str] = []
    statuses: Counter[int] = Counter()
    headers = backend.bearer() | {"content-type": "application/json"}
    for request in bad_requests(contract):
        answer = await http.request(request.verb, request.path, content=request.body, headers=headers)
        statuses[answer.status_code] += 1
        if answer.status_code >= 500 or (request.refused and answer.status_code < 400):
            wrong.append(f"{request.name}: {answer.status_code} {answer.text[:120]}")
        elif answer.status_code >= 400:
            error_of(answer)
    assert not wrong, "\n".join(wrong[:40])
    assert sum(statuses.values()) > 1000, statuses
