"""Identity at the edge: callers that may pass, and the headers of theirs that do."""

from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.mesh.contract import Contract
from services.mesh.envoy import EnvoyProcess
from tests.edge.answers import reason_of
from tests.edge.backend import Backend
from tests.edge.conftest import options_for
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/api/trading/orders"


async def test_a_good_token_passes_and_is_forwarded(backend: Backend, http: httpx.AsyncClient) -> None:
    headers = backend.bearer("alice")
    assert (await http.get(PATH, headers=headers)).status_code == 200
    assert backend.arrived[-1].metadata["authorization"] == headers["authorization"]


async def test_a_call_without_a_token_is_left_to_the_service(backend: Backend, http: httpx.AsyncClient) -> None:
    await http.get(PATH)
    await http.get(PATH, headers={"x-api-key": "secret"})
    assert backend.arrived[-1].metadata["x-api-key"] == "secret"
    assert len(backend.arrived) == 2


@pytest.mark.parametrize(
    "claims",
    [{"iss": "somebody"}, {"aud": "others"}, {"exp": 1}, {"exp": None}],
    ids=["issuer", "audience", "old", "endless"],
)
async def test_a_token_with_wrong_claims_is_refused(
    backend: Backend, http: httpx.AsyncClient, claims: dict[str, object]
) -> None:
    if claims == {"exp": None}:
        body = jwt.decode(backend.token(), options={"verify_signature": False})
        del body["exp"]
        headers = {"authorization": "Bearer " + jwt.encode(body, backend.key, "EdDSA", headers={"kid": "one"})}
    else:
        headers = backend.bearer(**claims)
    answer = await http.get(PATH, headers=headers)
    assert answer.status_code in (401, 403)
    assert not backend.arrived


async def test_a_forged_token_is_refused_whatever_else_is_sent(backend: Backend, http: httpx.AsyncClient) -> None:
    token = backend.token(key=Ed25519PrivateKey.generate())
    answer = await http.get(PATH, headers={"authorization": "Bearer " + token, "x-api-key": "secret"})
    assert answer.status_code == 401
    assert reason_of(answer) == "UNAUTHENTICATED"
    assert not backend.arrived


async def test_an_expired_token_is_distinguished_from_a_wrong_one(backend: Backend, http: httpx.AsyncClient) -> None:
    answer = await http.get(PATH, headers=backend.bearer(exp=1_600_000_000))
    assert answer.status_code == 401
    assert reason_of(answer) == "TOKEN_EXPIRED"


async def test_an_expired_token_does_not_keep_from_logging_in(backend: Backend, http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/users/login", json={}, headers=backend.bearer(exp=1_600_000_000))
    assert answer.status_code == 200


async def test_identity_that_a_client_claims_does_not_arrive(backend: Backend, http: httpx.AsyncClient) -> None:
    claimed = {
        "x-redfire-service": "trading",
        "X-RedFire-Subject": "admin",
        "x-redfire-caller": "admin",
        "x-envoy-original-method": "PUT",
        "x-envoy-original-path": "/elsewhere",
        "x-envoy-external-address": "6.6.6.6",
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-forwarded-for": "7.7.7.7",
    }
    await http.get(PATH, headers=backend.bearer("alice") | claimed)
    metadata = backend.arrived[-1].metadata
    assert "x-redfire-service" not in metadata
    assert metadata["x-redfire-subject"] == "alice"
    assert metadata["x-envoy-external-address"] == "127.0.0.1"
    assert metadata["x-envoy-original-path"] == PATH
    assert "x-envoy-upstream-rq-timeout-ms" not in metadata


async def test_internal_rpcs_do_not_exist_outside(
    backend: Backend, http: httpx.AsyncClient, contract: Contract
) -> None:
    """Calls by plain HTTP; those by gRPC are in test_grpc."""
    internal = [rpc.policy.full_name for rpc in contract.rpcs if rpc.policy.internal]
    assert internal
    for path in internal:
        for kind in ("application/json", "application/grpc-web+proto"):
            for way in (path, path.lower(), path + "/", "/" + path, path.replace("/", "//", 1)):
                answer = await http.post(way, content=b"\0\0\0\0\0", headers={"content-type": kind} | backend.bearer())
                assert answer.status_code == 404, (way, kind)
    assert not backend.arrived


async def test_a_new_key_is_known_soon_after_it_is_published(backend: Backend, tmp_path: Path) -> None:
    old = backend.key
    envoy = EnvoyProcess(backend.contract, options_for(backend, jwks_refresh_s=1), tmp_path, concurrency=1)
    async with envoy, httpx.AsyncClient(base_url=f"http://{envoy.address}") as http:
        assert (await http.get(PATH, headers=backend.bearer())).status_code == 200
        backend.key = new = Ed25519PrivateKey.generate()
        headers = backend.bearer()
        backend.key = old

        async def accepted() -> bool:
            return (await http.get(PATH, headers=headers)).status_code == 200

        assert not await accepted()
        backend.key = new
        await until(accepted, timeout_s=5)
    backend.key = old
