"""A gRPC client of the edge: its address, its token, and a new token when the old one is no longer taken."""

import asyncio
import contextlib
import re
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.reasons import Reason

from services.commands.click_command import BadInput
from services.commands.data_folder import read_addresses
from services.kernel.errors import RedFireError, StartError, Unauthenticated
from services.kernel.rpc.client import CHANNEL_OPTIONS
from services.kernel.rpc.status import from_rpc_error

_TIMEOUT_S = 15.0
_LOGOUT_S = 1.0


class EdgeClient:
    """Calls market through the edge with a given token, or as the data folder's admin, whose session ends with it.

    Without an address the edge is the one that runs on the data folder, also after a restart at another port.
    """

    def __init__(self, data_dir: Path, edge: str | None = None, token: str | None = None) -> None:
        """Raises StartError where nothing runs on the folder and no address is given, or where it has no password.

        Raises BadInput for what cannot be a token.
        """
        token = (token or "").strip()
        if not re.fullmatch(r"[!-~]*", token):
            raise BadInput("--token: this is no token: it has blanks, or characters that are not ASCII")
        self._data_dir = data_dir
        self._edge = (edge or "").removeprefix("http://").rstrip("/")
        self._given = bool(token)
        self._token, self._refresh_token = token, ""
        self._address = self._edge or self._running_address()
        self._password = "" if token else _admin_password(data_dir)
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> "EdgeClient":
        self._connect()
        try:
            if not self._given:
                await self._log_in()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._given:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await self._auth.Logout(auth_pb2.LogoutRequest(), metadata=self.metadata, timeout=_LOGOUT_S)
        await self._close()

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of each call."""
        return (("authorization", f"Bearer {self._token}"),)

    @property
    def market(self) -> Any:
        """A stub of MarketService."""
        return MarketServiceStub(self._channel)

    async def call(self, name: str, request: Any, stub: Any = MarketServiceStub) -> Any:
        """Call a unary RPC of a service, by default MarketService, by its name. Raises the kernel's errors."""
        try:
            return await getattr(stub(self._channel), name)(request, metadata=self.metadata, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as failure:
            raise from_rpc_error(failure) from None

    async def renew(self, refusal: Unauthenticated) -> None:
        """Get a new token. Raises the refusal for a token that was given, or a session that somebody ended."""
        if self._given or refusal.reason is Reason.SESSION_REVOKED:
            raise refusal
        request = auth_pb2.RefreshTokenRequest(refresh_token=self._refresh_token)
        try:
            self._take(await self._auth.RefreshToken(request, timeout=_TIMEOUT_S))
        except grpc.aio.AioRpcError as failure:
            error: RedFireError = from_rpc_error(failure)
            if not isinstance(error, Unauthenticated):
                raise error from None
            await self._log_in()

    async def find_again(self) -> None:
        """Look for the edge where the data folder says that it is now."""
        if self._edge:
            return
        try:
            address = self._running_address()
        except StartError:  # not yet up again
            return
        if address != self._address:
            self._address = address
            await self._close()
            self._connect()

    @property
    def _auth(self) -> Any:
        return AuthServiceStub(self._channel)

    async def _log_in(self) -> None:
        try:
            request = auth_pb2.LoginRequest(username="admin", password=self._password)
            self._take(await self._auth.Login(request, timeout=_TIMEOUT_S))
        except grpc.aio.AioRpcError as failure:
            error: RedFireError = from_rpc_error(failure)
            raise error from None

    def _take(self, tokens: Any) -> None:
        self._token, self._refresh_token = tokens.access_token, tokens.refresh_token

    def _running_address(self) -> str:
        return str(read_addresses(self._data_dir)["edge"])

    def _connect(self) -> None:
        self._channel = grpc.aio.insecure_channel(self._address, options=CHANNEL_OPTIONS)

    async def _close(self) -> None:
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await asyncio.shield(channel.close())


def _admin_password(data_dir: Path) -> str:
    try:
        return (data_dir / "admin-password").read_text().strip()
    except OSError as error:
        raise StartError(
            f"{data_dir / 'admin-password'}: {error.strerror}; give a token (--token, or TOKEN in the environment)"
        ) from None
