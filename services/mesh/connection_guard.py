"""Guards the edge against connections that only take room: tells Envoy how full it is, and which sources to refuse.

Envoy's monitor of connections moves none of its timeouts, and it counts none by source. So the kernel's table of
connections is looked at, seldom while they are few, and what follows is written into files that Envoy watches.
"""

import asyncio
import ipaddress
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from services.kernel.atomic_file import write_atomically

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
ROUNDS = 10  # after which the table is read though hardly a socket came or went
REFUSED_FOR_S = 60.0
MOST_REFUSED = 500
SOCKSTAT = Path("/proc/net/sockstat")
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_MAPPED = b"0000000000000000FFFF0000"
LOOPBACK = ("127.0.0.0/8", "::1/128")


class ConnectionGuard:
    """Counts the connections of one port by source: an address, of IPv6 its /64."""

    def __init__(
        self,
        port: int,
        connections: int,
        per_source: int,
        pressure_file: Path,
        refuse: Callable[[Sequence[str]], None],
        unlimited: Sequence[str] = LOOPBACK,
    ) -> None:
        """`per_source` 0 limits none; `refuse` gets all networks that are refused, whenever they change."""
        self._port = port
        self._connections = connections
        self._per_source = per_source
        self._pressure_file = pressure_file
        self._refuse = refuse
        self._unlimited = [ipaddress.ip_network(network) for network in unlimited]
        self._pressure = ""
        self._refused: dict[str, float] = {}  # until when
        self._seen = 0
        self._rounds = 0

    def open(self) -> None:
        """Write what holds before anything is counted."""
        self._set_pressure(0.0)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.look()
            except OSError as error:
                log.warning("the edge's connections cannot be counted", extra={"fields": {"error": str(error)}})
                return

    async def look(self) -> None:
        """Count, where something may have changed, and write what follows. Raises OSError without a table."""
        sockets = _sockets()
        self._rounds += 1
        few = sockets < self._connections / 8 and not (self._per_source and sockets > self._per_source)
        if few and not self._refused:
            self._set_pressure(0.0)
            return
        # While somebody is refused or room runs out it is looked at each time.
        calm = not self._refused and float(self._pressure) < 0.5
        if calm and abs(sockets - self._seen) < self._connections / 80 and self._rounds < ROUNDS:
            return
        self._seen, self._rounds = sockets, 0
        by_source = await asyncio.to_thread(connections_by_source, self._port)
        self._set_pressure(min(by_source.total() / self._connections, 1.0))
        self._limit(by_source, asyncio.get_running_loop().time())

    def _limit(self, by_source: Counter[str], now: float) -> None:
        if not self._per_source:
            return
        before = set(self._refused)
        for source, count in by_source.most_common(MOST_REFUSED):
            if count <= self._per_source // 2:
                break
            # One that is refused stays so until it has let go of half.
            if (count > self._per_source or source in self._refused) and not self._is_unlimited(source):
                if source not in self._refused:
                    log.warning("refused: too many connections", extra={"fields": {"source": source, "count": count}})
                self._refused[source] = now + REFUSED_FOR_S
        self._refused = {source: until for source, until in self._refused.items() if until > now}
        if set(self._refused) != before:
            self._refuse(sorted(self._refused)[:MOST_REFUSED])

    def _is_unlimited(self, source: str) -> bool:
        network = ipaddress.ip_network(source)
        return any(network.version == one.version and network.overlaps(one) for one in self._unlimited)

    def _set_pressure(self, pressure: float) -> None:
        text = f"{round(pressure * 20) / 20:.2f}"
        if text != self._pressure:
            self._pressure = text
            write_atomically(self._pressure_file, text.encode())


def connections_by_source(port: int, tables: Iterable[Path] = TABLES) -> Counter[str]:
    """Established connections of a local port, by the network that they come from."""
    pattern = re.compile(rb": [0-9A-F]+:%04X ([0-9A-F]+):[0-9A-F]{4} 01 " % port)
    by_source: Counter[str] = Counter()
    for table in tables:
        if table.exists():
            for address, count in Counter(pattern.findall(table.read_bytes())).items():
                by_source[_source(address)] += count
    return by_source


def _source(address: bytes) -> str:
    """A network of an address as the kernel writes it: words of the machine's order."""
    if len(address) == 8 or address.startswith(_MAPPED):
        return f"{ipaddress.IPv4Address(bytes.fromhex(address[-8:].decode())[::-1])}/32"
    words = [bytes.fromhex(address[i : i + 8].decode())[::-1] for i in range(0, 32, 8)]
    whole = b"".join(words)
    if whole == ipaddress.IPv6Address("::1").packed:
        return "::1/128"
    return str(ipaddress.IPv6Network((whole[:8] + bytes(8), 64)))


def _sockets() -> int:
    """TCP sockets in use on this machine: cheap to know. IPv6 has a file of its own."""
    total = 0
    for file in (SOCKSTAT, SOCKSTAT.with_name("sockstat6")):
        if file.exists() and (match := re.search(r"^TCP6?: inuse (\d+)", file.read_text(), re.MULTILINE)):
            total += int(match[1])
    return total
