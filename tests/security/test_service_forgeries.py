"""Forged tokens, of services and of users, straight at the services: each is refused as no token at all."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import jwt
import pytest
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.auth.key_ring import FILE, KeyRing
from services.kernel.identity.service_tokens import TYPE
from services.kernel.policy import descriptor_file, descriptor_set
from services.mesh.contract import Contract
from services.mesh.edge.options import EdgeOptions
from services.mesh.envoy import EnvoyProcess
from tests.harness import PASSWORD, Platform, platform, service_token, service_tokens
from tests.security.forgeries import forgeries


@pytest.fixture
async def p() -> AsyncIterator[Platform]:
    async with platform("auth", "user") as running:
        yield running


async def user_outcome(p: Platform, token: str) -> grpc.StatusCode:
    try:
        await p.stub(UserServiceStub, token or " ").GetUser(user_pb2.GetUserRequest(user_id="me"))
    except grpc.aio.AioRpcError as failure:
        return failure.code()
    return grpc.StatusCode.OK


async def service_outcome(p: Platform, token: str) -> grpc.StatusCode:
    """The answer to LookupUser, which auth alone may call."""
    stub = p.stub(UserServiceStub, x_redfire_service=token)
    try:
        await stub.LookupUser(user_pb2.LookupUserRequest(user_id="00000000-0000-0000-0000-000000000000"))
    except grpc.aio.AioRpcError as failure:
        return failure.code()
    return grpc.StatusCode.OK


REACHED = {grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND}


async def test_a_forged_access_token_is_no_token(p: Platform) -> None:
    alice = await p.user("alice")
    assert await user_outcome(p, alice.token) is grpc.StatusCode.OK
    ring = KeyRing(p.host.data_dir / "auth" / "keys")
    ring.open()
    outcomes = {
        name: await user_outcome(p, forged) for name, forged in forgeries(alice.token, ring.signing_key()).items()
    }
    assert {name: code for name, code in outcomes.items() if code is not grpc.StatusCode.UNAUTHENTICATED} == {}
    assert await user_outcome(p, alice.token) is grpc.StatusCode.OK


async def test_a_forged_service_token_is_no_token(p: Platform) -> None:
    genuine = service_token("auth", "user")
    assert await service_outcome(p, genuine) in REACHED
    key = service_tokens().own.of("auth").signing_key()
    for name, forged in forgeries(genuine, key).items():
        code = await service_outcome(p, forged)
        expected = grpc.StatusCode.UNAUTHENTICATED if forged else grpc.StatusCode.PERMISSION_DENIED
        assert code is expected, name
    assert await service_outcome(p, genuine) in REACHED


async def test_a_token_of_one_kind_is_none_of_another(p: Platform) -> None:
    alice = await p.user("alice")
    login = await p.stub(AuthServiceStub).Login(auth_pb2.LoginRequest(username="alice", password=PASSWORD))
    service = service_token("auth", "user")
    for token in (login.refresh_token, service, service_token("worker:1", "strategy"), p.host.edge_token.value):
        assert await user_outcome(p, token) is grpc.StatusCode.UNAUTHENTICATED
    for token in (alice.token, login.refresh_token, p.host.edge_token.value):
        assert await service_outcome(p, token) is grpc.StatusCode.UNAUTHENTICATED
    key = service_tokens().own.of("auth").signing_key()
    claims = jwt.decode(service, options={"verify_signature": False})
    plain = jwt.encode(claims, key.private, "EdDSA", headers={"kid": key.kid})
    assert await service_outcome(p, plain) is grpc.StatusCode.UNAUTHENTICATED  # of no type
    assert jwt.get_unverified_header(service)["typ"] == TYPE
    with pytest.raises(grpc.aio.AioRpcError):
        await p.stub(AuthServiceStub).RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=alice.token))


async def test_a_service_signs_for_itself_alone_and_for_one_callee(p: Platform) -> None:
    """Each of these has a genuine signature of a service that is trusted."""
    tokens = service_tokens()

    def made(by: str, callee: str = "user", **claims: Any) -> str:
        key = tokens.own.of(by).signing_key()
        now = time.time()
        body = {"iss": by, "sub": by, "aud": callee, "iat": now, "exp": now + 60, **claims}
        return jwt.encode(body, key.private, "EdDSA", headers={"kid": key.kid, "typ": TYPE})

    assert await service_outcome(p, made("auth")) in REACHED
    assert await service_outcome(p, made("market")) is grpc.StatusCode.PERMISSION_DENIED
    for forged in (
        made("market", iss="auth", sub="auth"),
        made("market", sub="auth"),
        made("market", iss="auth"),
        made("strategy", sub="auth"),
        made("market", sub="worker:1"),
        made("auth", callee="trading"),
        made("auth", callee="redfire"),
        made("auth", aud=["user", "trading"]),
        made("auth", exp=time.time() + 86_400),  # longer than any lives
    ):
        assert await service_outcome(p, forged) is grpc.StatusCode.UNAUTHENTICATED
    assert await service_outcome(p, made("strategy", sub="worker:1")) is grpc.StatusCode.PERMISSION_DENIED


async def test_files_that_hold_keys_are_their_owners_alone(p: Platform, tmp_path: Path) -> None:
    folder = service_tokens().own
    folder.of("user")
    private = p.host.service_tokens.own
    assert set(private.names()) >= {"auth", "user"}
    for name in private.names():
        file = Path(str(p.host.settings.sections()["identity"].keys_dir)) / f"{name}.json"  # type: ignore[attr-defined]
        assert file.stat().st_mode & 0o077 == 0
    assert (p.host.data_dir / "auth" / "keys" / FILE).stat().st_mode & 0o077 == 0


async def test_the_edge_lets_no_forgery_pass_and_no_services_token(p: Platform, tmp_path: Path) -> None:
    alice = await p.user("alice")
    ring = KeyRing(p.host.data_dir / "auth" / "keys")
    ring.open()
    descriptors = descriptor_file()
    options = EdgeOptions(
        services={"auth": (p.host.address,), "user": (p.host.address,)},
        ops=f"127.0.0.1:{p.host.operations.port}",
        descriptors=str(descriptors),
        openapi=str(descriptors.parents[1] / "openapi" / "redfire.openapi.json"),
        port=0,
        rate_limits=None,
    )
    edge = EnvoyProcess(Contract(descriptor_set()), options, tmp_path / "edge", concurrency=1)
    async with edge, httpx.AsyncClient(base_url="http://edge", timeout=30) as http:

        async def status(token: str, **headers: str) -> int:
            if token:
                headers["authorization"] = f"Bearer {token}"
            return (await http.get(f"http://{edge.address}/api/users/me", headers=headers)).status_code

        assert await status(alice.token) == 200
        forged = forgeries(alice.token, ring.signing_key())
        passed = {name: code for name, token in forged.items() if (code := await status(token)) not in (401, 403)}
        assert passed == {}
        genuine = service_token("auth", "user")
        assert await status(genuine) == 401
        assert await status("", **{"x-redfire-service": genuine}) == 401
        edge_token = p.host.edge_token.value
        assert await status("", **{"x-redfire-edge": edge_token, "x-redfire-service": genuine}) == 401
        path = f"http://{edge.address}/redfire.user.v1.UserService/LookupUser"
        headers = {"content-type": "application/grpc", "te": "trailers", "x-redfire-service": genuine}
        answer = await http.post(path, headers=headers, content=bytes(5))
        assert answer.headers.get("grpc-status") not in (None, "0", "5") or answer.status_code >= 400
