"""Guessing passwords: slowed by account and address, and never so that the owner's own device is locked out."""

from typing import Any

import grpc
import pytest
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub

from services.kernel.clock import ManualClock
from tests.harness import PASSWORD, Platform, platform

ADDRESS = "192.0.2.1"
OK, WRONG, SLOWED = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED


async def login(
    p: Platform, name: str = "alice", password: str = PASSWORD, device: str = "", address: str = ADDRESS
) -> Any:
    metadata = {"x_redfire_edge": p.host.edge_token.value, "x_envoy_external_address": address}
    stub = p.stub(AuthServiceStub, x_device_token=device, **metadata)
    return await stub.Login(auth_pb2.LoginRequest(username=name, password=password))


async def code_of(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return OK


async def guess(p: Platform, times: int, **more: Any) -> list[grpc.StatusCode]:
    return [await code_of(login(p, password=f"wrong-Horse-{n}", **more)) for n in range(times)]


async def test_the_owners_device_is_not_locked_out_by_others_at_its_address() -> None:
    async with platform("auth", "user", clock=ManualClock()) as p:
        await p.user("alice")
        device = (await login(p)).device_token
        assert await guess(p, 7) == 5 * [WRONG] + 2 * [SLOWED]
        assert await code_of(login(p)) is SLOWED, "with the right password, too, but for a known device"
        again = await login(p, device=device)
        assert again.device_token == device
        # Nor by guesses from everywhere, nor does it matter where the owner is now.
        for n in range(40):
            await code_of(login(p, password="wrong-Horse-9", address=f"198.51.100.{n}"))
        assert await code_of(login(p, device=device, address="203.0.113.9")) is OK
        assert await code_of(login(p)) is SLOWED, "the guesses are not forgiven by that"


async def test_a_device_has_no_more_guesses_than_others() -> None:
    async with platform("auth", "user", clock=ManualClock()) as p:
        await p.user("alice")
        device = (await login(p)).device_token
        assert await guess(p, 7, device=device) == 5 * [WRONG] + 2 * [SLOWED]
        assert await code_of(login(p)) is OK, "a stolen token locks its owner out of nothing"


@pytest.mark.parametrize("made", ["of another name", "changed", "made up", "too long"])
async def test_only_a_device_that_logged_in_by_that_name_is_known(made: str) -> None:
    async with platform("auth", "user", clock=ManualClock()) as p:
        await p.user("alice")
        await p.user("mallory")
        own = (await login(p, "alice")).device_token
        device = {
            "of another name": (await login(p, "mallory")).device_token,
            "changed": ("B" if own[0] == "A" else "A") + own[1:],
            "made up": "x" * len(own),
            "too long": own + "AAAA",
        }[made]
        await guess(p, 6)
        assert await code_of(login(p, device=device)) is SLOWED
