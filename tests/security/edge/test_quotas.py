"""Quotas count people, not what these can make up: addresses, keys, headers."""

import socket
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
import pytest_asyncio

from services.mesh.edge.options import RateLimits
from services.mesh.envoy import EnvoyProcess
from tests.edge.answers import reason_of
from tests.edge.backend import Backend
from tests.security.edge.conftest import StartEdge

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = RateLimits(default=3, auth=2, trading=4, total=50, unverified=50)
ORDERS = "/api/trading/orders"


async def answers(edge: EnvoyProcess, times: int, path: str = ORDERS, **headers: str) -> list[int]:
    """HTTP codes of so many calls."""
    async with httpx.AsyncClient(base_url=f"http://{edge.address}", headers=headers, timeout=30) as http:
        return [(await http.get(path)).status_code for _ in range(times)]


@pytest_asyncio.fixture(loop_scope="module")
async def behind_proxy(start_edge: StartEdge) -> AsyncIterator[EnvoyProcess]:
    yield await start_edge(rate_limits=LIMITS, trusted_hops=1)


async def test_clients_behind_a_trusted_proxy_have_quotas_of_their_own(behind_proxy: EnvoyProcess) -> None:
    assert await answers(behind_proxy, 4, **{"x-forwarded-for": "203.0.113.1"}) == [200, 200, 200, 429]
    assert await answers(behind_proxy, 1, **{"x-forwarded-for": "203.0.113.2"}) == [200]


async def test_addresses_that_a_client_puts_before_its_own_are_not_believed(
    backend: Backend, behind_proxy: EnvoyProcess
) -> None:
    for n in range(3):
        assert await answers(behind_proxy, 1, **{"x-forwarded-for": f"198.51.100.{n}, 203.0.113.1"}) == [200]
        assert backend.arrived[-1].metadata["x-envoy-external-address"] == "203.0.113.1"
    assert await answers(behind_proxy, 1, **{"x-forwarded-for": "198.51.100.9, 203.0.113.1"}) == [429]


async def test_without_a_trusted_proxy_no_header_says_who_calls(start_edge: StartEdge, backend: Backend) -> None:
    edge = await start_edge(rate_limits=LIMITS)
    for n in range(3):
        assert await answers(edge, 1, **{"x-forwarded-for": f"203.0.113.{n}"}) == [200]
        assert backend.arrived[-1].metadata["x-envoy-external-address"] == "127.0.0.1"
    assert await answers(edge, 1, **{"x-forwarded-for": "203.0.113.9"}) == [429]


@pytest.mark.parametrize(("verb", "path", "quota"), [("GET", ORDERS, 3), ("POST", "/api/users/login", 2)])
async def test_ipv6_addresses_of_one_household_have_one_quota(
    behind_proxy: EnvoyProcess, verb: str, path: str, quota: int
) -> None:
    async def call(address: str) -> int:
        headers: Mapping[str, str] = {"x-forwarded-for": address}
        async with httpx.AsyncClient(base_url=f"http://{behind_proxy.address}", headers=headers) as http:
            return (await http.request(verb, path, json={} if verb == "POST" else None)).status_code

    codes = [await call(f"2001:db8:1:2:{n:x}::{n:x}") for n in range(1, quota + 3)]
    assert codes == quota * [200] + [429, 429]
    assert await call("2001:db8:1:3::1") == 200


async def test_made_up_keys_use_up_no_users_quota(backend: Backend, start_edge: StartEdge) -> None:
    edge = await start_edge(rate_limits=LIMITS)
    for key in ("alice", "user alice", "127.0.0.1"):
        await answers(edge, 6, **{"x-api-key": key, "x-redfire-subject": "alice"})
    assert await answers(edge, 3, **backend.bearer("alice")) == [200, 200, 200]
    assert await answers(edge, 3) == [200, 200, 200]


async def test_made_up_keys_have_one_quota_of_their_address(start_edge: StartEdge) -> None:
    edge = await start_edge(rate_limits=RateLimits(default=3, unverified=5))
    codes = [(await answers(edge, 1, **{"x-api-key": f"made-up-{n}"}))[0] for n in range(8)]
    assert codes == 5 * [200] + 3 * [429]


async def test_an_ipv6_edge_counts_real_ipv6_clients(start_edge: StartEdge) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    edge = await start_edge(host="::1", rate_limits=LIMITS)
    assert await answers(edge, 4) == [200, 200, 200, 429]


async def test_a_refusal_says_so(start_edge: StartEdge) -> None:
    edge = await start_edge(rate_limits=RateLimits(auth=1))
    async with httpx.AsyncClient(base_url=f"http://{edge.address}") as http:
        for _ in range(2):
            answer = await http.post("/api/users/login", json={})
    assert (answer.status_code, reason_of(answer)) == (429, "RATE_LIMITED")
