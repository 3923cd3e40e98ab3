"""Sessions as a client has them: begun, refreshed, and dead."""

import grpc
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.reasons import Reason
from redfire.user.v1 import user_pb2
from redfire.user.v1.user_pb2_grpc import UserServiceStub

from services.kernel.rpc.status import from_rpc_error
from tests.harness import PASSWORD, Platform


async def begin(p: Platform, name: str = "alice", register: bool = True) -> auth_pb2.LoginResponse:
    if register:
        await p.user(name)
    return await p.stub(AuthServiceStub).Login(auth_pb2.LoginRequest(username=name, password=PASSWORD))


def refresh(p: Platform, token: str):
    return p.stub(AuthServiceStub).RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=token))


async def is_dead(p: Platform, token: str) -> bool:
    try:
        await p.stub(UserServiceStub, token).GetUser(user_pb2.GetUserRequest(user_id="me"))
    except grpc.aio.AioRpcError as failure:
        return from_rpc_error(failure).reason == Reason.SESSION_REVOKED
    return False
