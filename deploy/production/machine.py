"""The machine that servers run on: its free ports, and a user without privileges."""

import os
import pwd
import random
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

CLIENTS_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _FEWEST = 10_000, 1_000


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, each another.

    Where there are enough, below those that the system gives to clients: no connection of somebody else's takes one
    while its server is not there, before its start or until it is started again.
    """
    ports: list[int] = []
    with ExitStack() as stack:
        for port in [*_below_clients_ports(), *[0] * count]:
            if len(ports) == count:
                break
            probe = stack.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                ports.append(probe.getsockname()[1])
    return ports


def _below_clients_ports() -> list[int]:
    """Some ports at random."""
    first = int(CLIENTS_PORTS.read_text().split()[0]) if CLIENTS_PORTS.exists() else 0
    return random.sample(range(_LOWEST, first), _FEWEST) if first - _LOWEST >= _FEWEST else []  # nosec B311


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return free_ports(1)[0]


def unprivileged_user(preferred: str) -> str | None:
    """Name of the user whom root starts a server as, the preferred one where there is one; None when not root."""
    if os.geteuid() != 0:
        return None
    return preferred if preferred in {entry.pw_name for entry in pwd.getpwall()} else "nobody"
