"""The network between services: each process calls each replica of another service by a proxy of its own.

So does the edge, as `envoy`; and the replicas of trading call each other by a proxy before each of them.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from tests.chaos.proxy import LoopThread, TcpProxy


@dataclass(frozen=True)
class Link:
    """A direction of calls: from a process, as `trading-1`, to an address of a service.

    From the service itself where its replicas call each other.
    """

    caller: str
    service: str
    address: str

    @property
    def ends(self) -> frozenset[str]:
        """The services at both ends; one where its replicas call each other."""
        return frozenset({self.caller.partition("-")[0], self.service})


class Network:
    """Proxies by link, made when a process asks for its addresses (`inside/sitecustomize.py`), kept over restarts."""

    def __init__(self) -> None:
        self._links: dict[Link, TcpProxy] = {}
        self._loop = LoopThread()
        self.port = self._loop.result(self._listen())

    def between(self, one: str, other: str) -> list[TcpProxy]:
        """The proxies between two services, in either direction of calls."""
        return [proxy for link, proxy in self._in_order() if link.ends == {one, other}]

    def of_process(self, caller: str) -> list[TcpProxy]:
        """The proxies by which one process calls others."""
        return [proxy for link, proxy in self._in_order() if link.caller == caller]

    def behind(self, address: str) -> str:
        """The address that a proxy's address leads to."""
        return next(link.address for link, proxy in self._links.items() if f"127.0.0.1:{proxy.port}" == address)

    def close(self) -> None:
        """Stop."""
        for proxy in list(self._links.values()):
            proxy.close()
        self._loop.result(self._end())
        self._loop.close()

    def _in_order(self) -> Iterator[tuple[Link, TcpProxy]]:
        return iter(sorted(self._links.items(), key=lambda item: (item[0].caller, item[0].service, item[0].address)))

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError):
            asked = json.loads(await reader.readline())
            peers = {
                service: ",".join(
                    [await self._proxy(Link(asked["caller"], service, one)) for one in addresses.split(",")]
                )
                for service, addresses in asked["peers"].items()
            }
            writer.write(json.dumps(peers).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _proxy(self, link: Link) -> str:
        if link not in self._links:
            host, _, port = link.address.rpartition(":")
            # In another thread, since it waits for this loop to listen.
            self._links[link] = await asyncio.to_thread(TcpProxy, lambda: (host, int(port)), self._loop)
        return f"127.0.0.1:{self._links[link].port}"
