"""Keys of services and of access tokens: rotated with overlap, removed at once; and auth that falls silent."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from click.testing import CliRunner, Result
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceServicer, AuthServiceStub
from redfire.config.v1 import config_pb2
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.cli import cli
from services.kernel.identity import revocations
from services.kernel.identity.key_file import PUBLISH_AHEAD_S, KeyFile
from services.kernel.identity.service_keys import PUBLIC, WORKER_TOKEN_LIFE_S, OwnKeys, TrustedKeys
from services.kernel.identity.service_tokens import ServiceTokens
from tests.harness import FakeService, Platform, TokenMint, complete, platform
from tests.waiting import until

SOON_S = 3.0
"""A second, and what a busy machine takes."""


def tokens_in(folder: Path) -> ServiceTokens:
    return ServiceTokens(OwnKeys(folder, folder / PUBLIC), TrustedKeys(folder / PUBLIC))


async def command(arguments: list[str], env: dict[str, str] | None = None) -> Result:
    """The answer of a command of redfire, which has a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=env)


async def code(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as failure:
        return failure.code()
    return grpc.StatusCode.OK


@pytest.fixture
async def p(tmp_path: Path) -> AsyncIterator[Platform]:
    settings = {"identity": {"keys_dir": tmp_path / "identity"}}
    async with platform("auth", "user", "config", settings=settings) as running:
        yield running


def lookup(p: Platform, token: str) -> Any:
    request = user_pb2.LookupUserRequest(user_id="00000000-0000-0000-0000-000000000000")
    return p.stub(UserServiceStub, x_redfire_service=token).LookupUser(request)


def me(p: Platform, token: str) -> Any:
    return p.stub(UserServiceStub, token).GetUser(user_pb2.GetUserRequest(user_id="me"))


async def end_of(stream: Any) -> grpc.StatusCode:
    try:
        while await stream.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as failure:
        return failure.code()
    return grpc.StatusCode.OK


def test_each_service_has_a_key_of_its_own_which_others_read_no_secret_of(tmp_path: Path) -> None:
    tokens = tokens_in(tmp_path)
    made = {name: tokens.own.of(name).signing_key().kid for name in ("trading", "risk")}
    assert len(set(made.values())) == 2
    for name in made:
        assert (tmp_path / f"{name}.json").stat().st_mode & 0o077 == 0
        public = json.loads((tmp_path / PUBLIC / f"{name}.jwks").read_text())["keys"]
        assert made[name] in [key["kid"] for key in public] and all("d" not in key for key in public)
    assert tokens.verify(tokens.make("trading", "risk"), "risk").service == "trading"


def test_a_key_is_whose_file_it_is_in(tmp_path: Path) -> None:
    """A service that may write nothing but its own file becomes no other by what it writes there."""
    tokens = tokens_in(tmp_path)
    token = tokens.make("risk", "trading")
    trading = tmp_path / PUBLIC / "trading.jwks"
    tokens.own.of("trading")
    for text in ("", "{}", "[]", '{"keys": [{"kid": 1}]}', '{"keys": {"a": 1}}', "\x00"):
        trading.write_text(text)
        assert tokens_in(tmp_path).verify(token, "trading").service == "risk"
    (tmp_path / PUBLIC / "..jwks").write_text((tmp_path / PUBLIC / "risk.jwks").read_text())


def test_rotation_overlaps(tmp_path: Path) -> None:
    now = 1_000_000.0
    file = KeyFile(tmp_path / "trading.json", WORKER_TOKEN_LIFE_S, lambda: now)
    file.open()
    first = file.signing_key().kid
    rotation = file.rotate()
    file.refresh()
    assert {first, rotation.kid} <= {key.kid for key in file.public_keys()}
    now += PUBLISH_AHEAD_S
    assert file.signing_key().kid == rotation.kid
    assert first in [key.kid for key in file.public_keys()]
    retires = file.retire_time(file.public_keys()[0])
    assert retires is not None
    now = retires
    assert first not in [key.kid for key in file.public_keys()]


async def test_a_running_platform_takes_rotated_keys_and_goes_on(p: Platform, tmp_path: Path) -> None:
    folder = tmp_path / "identity"
    other = tokens_in(folder)  # another process of auth
    before = other.make("auth", "user")
    assert await code(lookup(p, before)) is grpc.StatusCode.NOT_FOUND
    arguments = ["admin", "rotate-service-keys", "auth", "--json", "--data-dir", str(p.folder)]
    done = await command(arguments, env={"REDFIRE_IDENTITY__KEYS_DIR": str(folder)})
    kid = json.loads(done.output)["auth"]["kid"]
    fresh = tokens_in(folder)
    signer = next(key for key in fresh.own.of("auth").public_keys() if key.kid == kid)
    claims = jwt.decode(before, options={"verify_signature": False})
    header = {"kid": kid, "typ": jwt.get_unverified_header(before)["typ"]}
    after = jwt.encode(claims, signer.private, "EdDSA", headers=header)
    assert await code(lookup(p, after)) is grpc.StatusCode.NOT_FOUND
    assert await code(lookup(p, before)) is grpc.StatusCode.NOT_FOUND


async def test_a_removed_key_of_a_service_is_believed_no_more_within_a_second(p: Platform, tmp_path: Path) -> None:
    folder = tmp_path / "identity"
    stolen = tokens_in(folder).make("auth", "user")
    watch = p.stub(ConfigServiceStub, x_redfire_service=tokens_in(folder).make("auth", "config"))
    stream = watch.WatchConfigs(
        config_pb2.WatchConfigsRequest(environment="development", service_name="auth"), timeout=None
    )
    await stream.read()
    assert await code(lookup(p, stolen)) is grpc.StatusCode.NOT_FOUND
    kid = jwt.get_unverified_header(stolen)["kid"]
    arguments = ["admin", "remove-key", kid, "--data-dir", str(p.folder)]
    environ = {"REDFIRE_IDENTITY__KEYS_DIR": str(folder)}
    done = await command(arguments, env=environ)
    assert done.exit_code == 0, done.output

    async def is_refused() -> bool:
        return await code(lookup(p, stolen)) is grpc.StatusCode.UNAUTHENTICATED

    await until(is_refused, SOON_S)
    assert await asyncio.wait_for(end_of(stream), SOON_S) is grpc.StatusCode.UNAUTHENTICATED
    # The service itself goes on with its next key.
    assert await code(lookup(p, tokens_in(folder).make("auth", "user"))) is grpc.StatusCode.NOT_FOUND


async def test_a_removed_key_of_access_tokens_ends_all_that_it_signed_within_a_second(p: Platform) -> None:
    admin = await p.admin()
    stream = admin.stub(ConfigServiceStub).WatchConfigs(
        config_pb2.WatchConfigsRequest(environment="development", service_name="risk"), timeout=None
    )
    await stream.read()
    assert await code(me(p, admin.token)) is grpc.StatusCode.OK
    kid = jwt.get_unverified_header(admin.token)["kid"]
    done = await command(["admin", "remove-key", kid, "--json", "--data-dir", str(p.folder)])
    assert done.exit_code == 0, done.output

    async def is_refused() -> bool:
        return await code(me(p, admin.token)) is grpc.StatusCode.UNAUTHENTICATED

    await until(is_refused, SOON_S)
    assert await asyncio.wait_for(end_of(stream), SOON_S) is grpc.StatusCode.UNAUTHENTICATED
    keys = (await p.stub(AuthServiceStub).GetJwks(auth_pb2.GetJwksRequest())).keys
    assert kid not in [key.kid for key in keys]
    # Another key signs, and what it signs is believed.
    assert await code(me(p, (await p.admin()).token)) is grpc.StatusCode.OK
    unknown = await command(["admin", "remove-key", kid, "--data-dir", str(p.folder)])
    assert unknown.exit_code != 0


@complete
class SilentAuth(AuthServiceServicer):
    """Auth that sends revocations while it is told to, and hangs."""

    def __init__(self, mint: TokenMint) -> None:
        self.mint, self.speaks = mint, asyncio.Event()

    async def WatchRevocations(self, request: Any, call: Any) -> AsyncIterator[auth_pb2.WatchRevocationsResponse]:
        await self.speaks.wait()
        yield auth_pb2.WatchRevocationsResponse(snapshot_complete=True)
        await asyncio.Event().wait()

    async def GetJwks(self, request: Any, call: Any) -> auth_pb2.GetJwksResponse:
        return auth_pb2.GetJwksResponse(keys=await self.mint.keys())


async def test_users_are_refused_while_nobody_knows_whose_session_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound of five seconds here: then calls are refused and streams end, until auth is heard again."""
    mint = TokenMint()
    auth = SilentAuth(mint)
    monkeypatch.setattr("services.kernel.runtime.host.REVOCATIONS_TIMEOUT_S", 0.1)
    offset = 0.0
    monkeypatch.setattr(revocations, "monotonic", lambda: time.monotonic() + offset)
    settings = {"identity": {"revocations_max_age_s": 5}}
    fakes = {"auth": FakeService(lambda _: [auth])}
    async with platform("config", fakes=fakes, settings=settings, mint=mint) as p:
        user = p.identity(role="admin")
        request = config_pb2.ListConfigsRequest(environment="development")

        async def answer() -> grpc.StatusCode:
            return await code(user.stub(ConfigServiceStub).ListConfigs(request))

        assert await answer() is grpc.StatusCode.UNAVAILABLE  # never heard
        auth.speaks.set()

        async def is_served() -> bool:
            return await answer() is not grpc.StatusCode.UNAVAILABLE

        await until(is_served, 20)
        stream = user.stub(ConfigServiceStub).WatchConfigs(
            config_pb2.WatchConfigsRequest(environment="development", service_name="risk"), timeout=None
        )
        await stream.read()
        auth.speaks.clear()
        offset = 1000.0
        assert await answer() is grpc.StatusCode.UNAVAILABLE
        assert await asyncio.wait_for(end_of(stream), 20) is grpc.StatusCode.UNAVAILABLE
        auth.speaks.set()
        await until(is_served, 20)
