"""Texts that read as others: they are no names, no addresses and no values of config."""

import grpc
import pytest
from redfire.config.v1 import config_pb2
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from tests.harness import PASSWORD, platform

INVALID = grpc.StatusCode.INVALID_ARGUMENT
TURNED = {
    "override": "\u202etxt.exe",
    "embedding": "a\u202bb",
    "isolate": "a\u2067b",
    "end of an isolate": "a\u2069",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "C1": "a\x9b31m",
    "escape": "a\x1b[2J",
}


async def code_of(call) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def named(**fields) -> user_pb2.RegisterUserRequest:
    return user_pb2.RegisterUserRequest(username="mallory", password=PASSWORD, **fields)


@pytest.mark.parametrize("text", TURNED.values(), ids=TURNED)
async def test_texts_that_turn_or_break_others_are_refused(text):
    async with platform("user", "config", "auth") as p:
        users = p.stub(UserServiceStub)
        assert await code_of(users.RegisterUser(named(email="m@example.com", display_name=text))) is INVALID
        assert await code_of(users.RegisterUser(named(email=f"{text}@example.com"))) is INVALID
        admin = await p.admin()
        request = config_pb2.SetConfigRequest(environment="development", service_name="shop", key="motto")
        request.value.struct_value.update({"list": [{"text": text}]})
        assert await code_of(admin.stub(ConfigServiceStub).SetConfig(request)) is INVALID
        # What languages need is taken: words from right to left, joined signs, marks of a direction.
        fine = named(email="m@example.com", display_name="שלום \u200f‏(a) 👨‍👩‍👧 螺纹钢")
        assert (await users.RegisterUser(fine)).user.display_name == fine.display_name


@pytest.mark.parametrize(
    "local", ["ａlice", "al\u2170ce", "ﬁsh", "alice\u00aa"], ids=["wide", "numeral", "ligature", "ordinal"]
)
async def test_an_address_has_one_way_to_write_it(local):
    async with platform("user", "auth") as p:
        users = p.stub(UserServiceStub)
        assert await code_of(users.RegisterUser(named(email=f"{local}@example.com"))) is INVALID
        assert await code_of(users.RegisterUser(named(email="a\u0301lice@example.com"))) is grpc.StatusCode.OK
