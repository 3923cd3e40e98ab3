"""A small edge: real servicers of market and auth on one server, whose streams say what a test has written down."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from redfire.auth.v1 import auth_pb2, auth_pb2_grpc
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1 import market_pb2_grpc

from services.commands.data_folder import write_addresses
from services.kernel.errors import RedFireError
from services.kernel.rpc.status import DETAILS_KEY, code_of, grpc_code, to_status

HOLD = object()
"""In a script: the stream stays open and says nothing more."""


def started(epoch: str = "") -> pb.StreamTicksResponse:
    return pb.StreamTicksResponse(started={"stream_id": "s", "epoch": epoch})


def batch(*ticks: pb.Tick) -> pb.StreamTicksResponse:
    return pb.StreamTicksResponse(ticks=ticks)


def end(reason: str = "FEED_ENDED", epoch: str = "", **sequences: int) -> pb.StreamTicksResponse:
    return pb.StreamTicksResponse(end={"reason": reason, "epoch": epoch, "resume_after_sequence": sequences})


class FakeEdge(market_pb2_grpc.MarketServiceServicer, auth_pb2_grpc.AuthServiceServicer):
    """Each stream that is opened takes the next script: messages, events to wait for, an error to raise, or HOLD."""

    def __init__(
        self, *scripts: Sequence[Any], pages: Sequence[Any] = (), refusals: Sequence[RedFireError | None] = ()
    ) -> None:
        """`pages` are answers of lists, or errors; `refusals` what RefreshToken says."""
        self.scripts = list(scripts)
        self.pages = list(pages)
        self._refusals = list(refusals)
        self.requests: list[pb.StreamTicksRequest] = []
        self.listed: list[Any] = []
        self.tokens: list[str] = []
        self.auth: list[str] = []
        self.address = ""

    def StreamTicks(self, request: pb.StreamTicksRequest, context: Any) -> Iterator[Any]:
        self.requests.append(request)
        self.tokens.append(dict(context.invocation_metadata()).get("authorization", "").removeprefix("Bearer "))
        for item in self.scripts.pop(0):
            if item is HOLD:
                left = threading.Event()
                if context.add_callback(left.set):
                    left.wait()
                return
            if isinstance(item, threading.Event):
                item.wait()
                continue
            if isinstance(item, RedFireError):
                refuse(context, item)
            yield item

    def ListTicks(self, request: pb.ListTicksRequest, context: Any) -> pb.ListTicksResponse:
        return self._page(request, context)

    def ListBars(self, request: pb.ListBarsRequest, context: Any) -> pb.ListBarsResponse:
        return self._page(request, context)

    def Login(self, request: auth_pb2.LoginRequest, context: Any) -> auth_pb2.LoginResponse:
        self.auth.append(f"login {request.username} {request.password}")
        number = len(self.auth)
        return auth_pb2.LoginResponse(access_token=f"token-{number}", refresh_token=f"refresh-{number}")

    def RefreshToken(self, request: auth_pb2.RefreshTokenRequest, context: Any) -> auth_pb2.RefreshTokenResponse:
        self.auth.append(f"refresh {request.refresh_token}")
        if (refusal := self._refusals.pop(0)) is not None:
            refuse(context, refusal)
        number = len(self.auth)
        return auth_pb2.RefreshTokenResponse(access_token=f"token-{number}", refresh_token=f"refresh-{number}")

    def Logout(self, request: auth_pb2.LogoutRequest, context: Any) -> auth_pb2.LogoutResponse:
        self.auth.append("logout")
        return auth_pb2.LogoutResponse()

    def _page(self, request: Any, context: Any) -> Any:
        self.listed.append(request)
        page = self.pages.pop(0)
        if isinstance(page, RedFireError):
            refuse(context, page)
        return page

    def data_dir(self, folder: Path) -> Path:
        """A data folder that names this edge, with an admin's password."""
        folder.mkdir(exist_ok=True)
        write_addresses(folder, self.address, {}, "", {})
        (folder / "admin-password").write_text("secret\n")
        return folder


def refuse(context: Any, error: RedFireError) -> None:
    status = to_status(error)
    context.set_trailing_metadata(((DETAILS_KEY, status.SerializeToString()),))
    context.abort(grpc_code(code_of(error)), error.message)


@contextmanager
def serving(edge: FakeEdge) -> Iterator[FakeEdge]:
    server = grpc.server(ThreadPoolExecutor(4))
    market_pb2_grpc.add_MarketServiceServicer_to_server(edge, server)
    auth_pb2_grpc.add_AuthServiceServicer_to_server(edge, server)
    edge.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield edge
    finally:
        server.stop(None).wait()
