"""A TCP proxy between two parts: it cuts, refuses, delays and keeps back what goes through it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

CHUNK = 65536
RESULT_S = 60
T = TypeVar("T")


class LoopThread:
    """An event loop in a thread, for proxies."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def result(self, running: Coroutine[Any, Any, T]) -> T:
        """Run something in the loop, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(running, self.loop).result(RESULT_S)

    def close(self) -> None:
        """Stop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(RESULT_S)


class TcpProxy:
    """Forwards a free port of 127.0.0.1 to a target, which may move; runs in a thread of its own, or in a given one."""

    def __init__(self, target: Callable[[], tuple[str, int]], thread: LoopThread | None = None) -> None:
        """`target` answers where to connect now."""
        self._target = target
        self.delay_s = 0.0
        """Delay of each piece, either way."""
        self.stands_still = False
        """Nothing goes through, either way, and nothing is lost: as with a process that is suspended."""
        self.refuses = False
        """New connections are closed at once."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._owns_thread = thread is None
        self._thread = LoopThread() if thread is None else thread
        self.port: int = self._thread.result(self._listen())

    def cut(self) -> None:
        """Close all connections, in the middle of whatever they carry."""
        self._thread.loop.call_soon_threadsafe(self._cut)

    def close(self) -> None:
        """Stop."""
        self._thread.result(self._end())
        if self._owns_thread:
            self._thread.close()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        self._server.close()
        self._cut()
        if self._serving:
            await asyncio.wait(self._serving, timeout=5)

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._carry(reader, writer)
        finally:
            self._serving.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        await self._moves()
        try:
            there_reader, there = await asyncio.open_connection(*self._target())
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there}
        try:
            await asyncio.gather(self._pipe(reader, there), self._pipe(there_reader, writer))
        finally:
            self._writers -= {writer, there}
            for one in (writer, there):
                one.transport.abort()

    async def _moves(self) -> None:
        while self.stands_still:
            await asyncio.sleep(0.01)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._moves()
                writer.write(chunk)
                await writer.drain()
        # One side is closed: so is the other, as of a connection that is lost.
        writer.transport.abort()
