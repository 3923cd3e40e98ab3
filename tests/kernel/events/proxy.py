"""A TCP proxy in front of a server, which cuts connections, delays them, or lets them hang."""

import asyncio
import contextlib


class Proxy:
    """Forwards to a port of this machine: `async with Proxy(port) as proxy`."""

    def __init__(self, port):
        self._target = port
        self._writers = set()
        self._stalled = set()
        self.connections = 0
        self.away = False  # refuses connections
        self.delay_s = 0.0  # before what comes is passed on, in either direction

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut()

    def url(self, url):
        """The broker's address by way of the proxy."""
        return url.replace(f":{self._target}/", f":{self.port}/")

    def cut(self):
        """Reset all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def stall(self):
        """Forward nothing more on the connections that there are: neither side learns of it."""
        self._stalled |= self._writers

    async def _serve(self, reader, writer):
        self.connections += 1
        if self.away:
            writer.transport.abort()
            return
        try:
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self._pipe(reader, other_writer), self._pipe(other_reader, writer))

    async def _pipe(self, reader, writer):
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if writer in self._stalled:
                    continue
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()
