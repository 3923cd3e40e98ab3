"""The port of the writer."""

import asyncio
from collections.abc import Mapping

from services.kernel.errors import StartError
from services.kernel.rpc.http2.connection import Connection
from services.kernel.rpc.http2.opens import Opens
from services.kernel.rpc.server import Handler

SWEEP_S = 1.0


class StreamListener:
    """Serves streams at a port of their own: `await start(…)`, later `await stop(…)`."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        """`handlers` by path; a call of another one is refused."""
        self._handlers = handlers
        self._connections: dict[Connection, None] = {}
        self._opens = Opens()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, reuse_port: bool = False) -> int:
        """Listen; the port. Raises StartError when it is in use."""
        self._loop = asyncio.get_running_loop()
        try:
            self._server = await self._loop.create_server(
                lambda: Connection(self._handlers, self._connections, self._opens),
                host,
                port,
                backlog=1024,
                reuse_port=reuse_port or None,
            )
        except OSError as error:
            raise StartError(f"port {port} on {host} for streams: {error.strerror or error}") from None
        self._sweeps = self._loop.call_later(SWEEP_S, self._sweep)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, wait until those that run have ended, for so long at most, and close the connections."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.drain()
        until = self._loop.time() + grace_s
        while any(connection.streams for connection in self._connections) and self._loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.transport.close()
        self._sweeps.cancel()

    def _sweep(self) -> None:
        self._sweeps = self._loop.call_later(SWEEP_S, self._sweep)
        for connection in list(self._connections):
            connection.sweep(self._loop.time())
