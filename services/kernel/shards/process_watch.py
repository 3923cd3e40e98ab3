"""Watch of the processes that hold leases on this machine: an end is noticed at once, not when the leases end.

A connection to where a holder serves breaks with its process, and then loopback, which has no network in between,
refuses another one: nothing listens there. A process that stands still, or is cut off, goes on listening; so does one
on another machine as far as can be seen from here, which is why only loopback is asked. Were an owner succeeded though
it lives, its writes would still be refused, by the fence.
"""

import asyncio
from collections.abc import Callable, Mapping

from services.kernel.loopback import is_loopback

AGAIN_S = 0.01
"""A pause before it is asked again, which an ending process needs to close all that it has."""
UNREACHABLE_S = 1.0
READ_BYTES = 4096


class ProcessWatch:
    """Watches processes by the leases' holders; tells once of each that has ended."""

    def __init__(self, on_ended: Callable[[str], None]) -> None:
        """`on_ended` is called with the holder whose process has ended."""
        self._on_ended = on_ended
        self._watches: dict[str, asyncio.Task[None]] = {}

    def watch(self, addresses: Mapping[str, str]) -> None:
        """Watch these holders, by the addresses at which they serve, and no others any more."""
        for holder in self._watches.keys() - addresses.keys():
            self._watches.pop(holder).cancel()
        for holder in addresses.keys() - self._watches.keys():
            if (at := _on_loopback(addresses[holder])) is not None:
                self._watches[holder] = asyncio.create_task(self._follow(holder, *at), name=f"process of {holder}")

    async def close(self) -> None:
        """Watch none."""
        watches = list(self._watches.values())
        self.watch({})
        await asyncio.gather(*watches, return_exceptions=True)

    async def _follow(self, holder: str, host: str, port: int) -> None:
        while True:
            try:
                await _connected(host, port)
                await asyncio.sleep(AGAIN_S)
            except ConnectionRefusedError:
                self._on_ended(holder)
                return
            except OSError:
                await asyncio.sleep(UNREACHABLE_S)


async def _connected(host: str, port: int) -> None:
    """Stay connected for as long as the other side does. Raises OSError where nobody can be connected to."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        while await reader.read(READ_BYTES):
            pass
    except OSError:
        return  # it was there, which is all that counts
    finally:
        writer.transport.abort()


def _on_loopback(address: str) -> tuple[str, int] | None:
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if is_loopback(host) and port.isdigit() and int(port) else None
