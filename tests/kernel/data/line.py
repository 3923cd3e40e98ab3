"""A network line to a PostgreSQL server that a test cuts at a chosen moment of a commit."""

import asyncio
import contextlib

COMMIT, STATEMENT = b"COMMIT", b"B"
"""A transaction's end, and a prepared statement with its parameters."""


class Line:
    """Forwards connections; while `cut` is set the next COMMIT, or what `at` says, is where its connection breaks.

    "before": the server never gets it. "after": the server has answered it, and the client does not get the answer.
    "hold": nothing breaks, but it is not sent before `go_on` is set, as by a process that stands still; `held` tells.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.cut, self.at = "", COMMIT
        self.broken = False
        """True once the connection was broken there."""
        self.is_down = False
        self.is_silent = False
        """Nothing passes any more, and nothing breaks."""
        self.held, self.go_on = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> "Line":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hang_up(self) -> None:
        """Break all connections."""
        for writer in self._open:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_down:
            writer.transport.abort()
            return
        with contextlib.suppress(OSError):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._to)
            self._open |= {writer, server_writer}
            state = {"swallow": False}
            for task in (
                asyncio.create_task(self._up(reader, server_writer, state)),
                asyncio.create_task(self._down(server_reader, writer, server_writer, state)),
            ):
                self._tasks.add(task)
            return
        writer.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, state: dict[str, bool]) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.cut and (data.startswith(STATEMENT) if self.at == STATEMENT else self.at in data):
                    where, self.cut = self.cut, ""
                    if where == "before":
                        self.broken = True
                        self.hang_up()
                        return
                    if where == "hold":
                        self.held.set()
                        await self.go_on.wait()
                    state["swallow"] = where == "after"
                if self.is_silent:
                    await self.go_on.wait()
                server.write(data)
                await server.drain()
        server.close()

    async def _down(
        self,
        reader: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        server: asyncio.StreamWriter,
        state: dict[str, bool],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if state["swallow"]:
                    self.broken = True
                    self.hang_up()
                    return
                client.write(data)
                await client.drain()
        client.close()
