"""The port of the writer."""

import asyncio
from collections.abc import Mapping
from functools import partial
from ssl import SSLContext

from services.kernel.errors import StartError
from services.kernel.rpc.http2.connection import Connection
from services.kernel.rpc.http2.reads import Reads
from services.kernel.rpc.server import Handler

SWEEP_S = 1.0


class StreamListener:
    """Serves streams, by their paths, at a port of their own: `await start(…)`, later `await stop(…)`."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._connections: set[Connection] = set()
        self._connect = partial(Connection, handlers, self._connections, Reads())

    async def start(self, host: str, port: int, shared: bool = False, tls: SSLContext | None = None) -> int:
        """Listen, at a port that may be shared by processes; the port. Raises StartError when it is in use."""
        self._loop = asyncio.get_running_loop()
        try:
            self._server = await self._loop.create_server(
                self._connect, host, port, backlog=1024, reuse_port=shared, ssl=tls
            )
        except OSError as error:
            raise StartError(f"port {port} on {host} for streams: {error.strerror or error}") from None
        self._sweep()
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, wait until those that run have ended, for so long at most, and close the connections."""
        self._server.close()
        for connection in self._connections:
            connection.drain()
        until = self._loop.time() + grace_s
        while any(connection.streams for connection in self._connections) and self._loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for connection in self._connections:
            connection.transport.close()
        self._sweeps.cancel()

    def _sweep(self) -> None:
        self._sweeps = self._loop.call_later(SWEEP_S, self._sweep)
        for connection in list(self._connections):
            connection.sweep()
