"""The quotas of the contract, counted by a real Envoy."""

from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
import pytest_asyncio

from services.mesh.edge.options import RateLimits
from services.mesh.envoy import EnvoyProcess
from tests.edge.answers import grpc_reason_of, reason_of
from tests.edge.backend import Backend
from tests.edge.conftest import options_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = RateLimits(default=5, auth=2, device=3, devices=5, trading=8, total=12, unverified=30)


@pytest_asyncio.fixture(loop_scope="module")
async def edge(running: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnvoyProcess]:
    """A new one for each test: full buckets."""
    options = options_for(running, rate_limits=LIMITS)
    async with EnvoyProcess(running.contract, options, tmp_path_factory.mktemp("edge"), concurrency=1) as envoy:
        yield envoy


async def passed(http: httpx.AsyncClient, verb: str, path: str, times: int, headers: dict[str, str]) -> int:
    """Make so many calls; returns the number that pass. The others must be refused by a limit."""
    count = 0
    for _ in range(times):
        answer = await http.request(verb, path, json={} if verb == "POST" else None, headers=headers)
        if answer.status_code == 200:
            count += 1
        else:
            assert answer.status_code == 429
            assert reason_of(answer) == "RATE_LIMITED"
    return count


async def test_each_caller_has_a_quota_of_each_class(backend: Backend, http: httpx.AsyncClient) -> None:
    alice, bob = backend.bearer("alice"), backend.bearer("bob")
    assert await passed(http, "GET", "/api/trading/orders", 7, alice) == LIMITS.default
    assert await passed(http, "GET", "/api/trading/trades", 1, alice) == 0  # the same class
    assert await passed(http, "POST", "/api/trading/orders", 1, alice) == 1  # another
    assert await passed(http, "GET", "/api/trading/orders", 7, bob) == LIMITS.default


async def test_api_keys_are_callers_too_and_the_rest_go_by_address(backend: Backend, http: httpx.AsyncClient) -> None:
    assert await passed(http, "GET", "/api/trading/orders", 7, {"x-api-key": "one"}) == LIMITS.default
    assert await passed(http, "GET", "/api/trading/orders", 7, {"x-api-key": "two"}) == LIMITS.default
    assert await passed(http, "GET", "/api/trading/orders", 7, {"x-forwarded-for": "1.1.1.1"}) == LIMITS.default
    assert await passed(http, "GET", "/api/trading/orders", 1, {"x-forwarded-for": "2.2.2.2"}) == 0


async def test_made_up_api_keys_do_not_make_up_quotas(backend: Backend, http: httpx.AsyncClient) -> None:
    through = [await passed(http, "GET", "/api/trading/orders", 1, {"x-api-key": f"k{i}"}) for i in range(40)]
    assert LIMITS.unverified <= sum(through) < 40


async def test_logins_go_by_address_whatever_token_is_sent(backend: Backend, http: httpx.AsyncClient) -> None:
    assert await passed(http, "POST", "/api/users/login", 2, backend.bearer("alice")) == LIMITS.auth
    assert await passed(http, "POST", "/api/users/register", 1, backend.bearer("bob")) == 0


async def test_devices_that_logged_in_before_are_counted_apart_from_strangers_at_their_address(
    backend: Backend, http: httpx.AsyncClient
) -> None:
    assert await passed(http, "POST", "/api/users/login", 4, {}) == LIMITS.auth
    assert await passed(http, "POST", "/api/users/login", 4, {"x-device-token": "one"}) == LIMITS.device
    # Nobody knows here whether there is such a device: of made-up ones an address has no more than so many.
    made_up = [await passed(http, "POST", "/api/users/login", 1, {"x-device-token": f"{n}"}) for n in range(5)]
    assert sum(made_up) == LIMITS.devices - LIMITS.device
    assert await passed(http, "POST", "/api/users/login", 1, {}) == 0


async def test_all_classes_together_have_a_total(backend: Backend, http: httpx.AsyncClient) -> None:
    alice = backend.bearer("alice")
    count = await passed(http, "GET", "/api/trading/orders", 5, alice)
    count += await passed(http, "POST", "/api/trading/orders", 8, alice)
    assert count == LIMITS.total


async def test_headers_state_the_quota(backend: Backend, http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/trading/orders", headers=backend.bearer("alice"))
    assert (answer.headers["x-ratelimit-limit"], answer.headers["x-ratelimit-remaining"]) == ("5", "4")
    assert "x-ratelimit-reset" in answer.headers
    assert "x-ratelimit-limit" not in (await http.get("/healthz")).headers


async def test_the_answer_says_when_to_come_back(backend: Backend, http: httpx.AsyncClient) -> None:
    for verb, path, delay in (("GET", "/api/trading/orders", "12s"), ("POST", "/api/users/login", "30s")):
        for _ in range(6):
            answer = await http.request(verb, path, json={}, headers=backend.bearer("alice"))
        details = {detail["@type"].rpartition(".")[2]: detail for detail in answer.json()["details"]}
        assert details["RetryInfo"]["retryDelay"] == delay


async def test_the_callers_name_stays_at_the_edge(backend: Backend, http: httpx.AsyncClient) -> None:
    await http.get("/api/trading/orders", headers={"x-api-key": "secret"})
    assert [key for key, value in backend.arrived[-1].metadata.items() if value == "secret"] == ["x-api-key"]


async def test_grpc_calls_count_as_rest_calls_do(backend: Backend, http: httpx.AsyncClient, edge: EnvoyProcess) -> None:
    assert await passed(http, "GET", "/api/trading/orders", 5, backend.bearer("alice")) == LIMITS.default
    async with grpc.aio.insecure_channel(edge.address) as channel:
        call = channel.unary_unary("/redfire.trading.v1.OrderService/ListOrders")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"", metadata=tuple(backend.bearer("alice").items()), timeout=5)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert grpc_reason_of(refused.value) == "RATE_LIMITED"
