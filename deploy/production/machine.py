"""The machine that servers run on: its free ports, and a user without privileges."""

import os
import pwd
import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, each another."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return free_ports(1)[0]


def unprivileged_user(preferred: str) -> str | None:
    """Name of the user whom root starts a server as, the preferred one where there is one; None when not root."""
    if os.geteuid() != 0:
        return None
    return preferred if preferred in {entry.pw_name for entry in pwd.getpwall()} else "nobody"
