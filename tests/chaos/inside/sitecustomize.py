"""The part of chaos inside the platform's processes: Python imports this where PYTHONPATH names its folder.

The clock of each second replica is two seconds ahead, and what processes and the edge call others by goes through
proxies.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

AHEAD_S = 2
ANSWERED_S = 60
NETWORK = "RF_CHAOS_NETWORK"
PEERS = "REDFIRE_PEERS__ADDRESSES"
PORT = "REDFIRE_SERVER__PORT"
EDGE = "envoy"
FORWARDING = "trading"
"""The service whose replicas forward calls to each other by proxies."""


def _proxied(caller: str, peers: Mapping[str, str]) -> dict[str, str]:
    """Addresses to use instead, from the network (`tests.chaos.network`)."""
    with socket.create_connection(("127.0.0.1", int(os.environ[NETWORK])), ANSWERED_S) as network:
        lines = network.makefile("rw")
        lines.write(json.dumps({"caller": caller, "peers": dict(peers)}) + "\n")
        lines.flush()
        proxied: dict[str, str] = json.loads(lines.readline())
        return proxied


def _call_by_proxies(caller: str) -> None:
    os.environ[PEERS] = json.dumps(_proxied(caller, json.loads(os.environ[PEERS])))


def _be_called_by_proxy() -> None:
    """Give other replicas, which find it in the leases, a proxy's address instead of this process's own."""
    from services.kernel.runtime.resources import Resources

    own = {FORWARDING: f"127.0.0.1:{os.environ[PORT]}"}
    address = _proxied(FORWARDING, own)[FORWARDING]
    Resources.address = property(lambda _: address)  # type: ignore[assignment,method-assign]


def _have_the_edge_call_by_proxies() -> None:
    from services.commands.processes import platform

    edge = platform.edge

    def by_proxies(options: Any, services: Any, *others: Any, streams: Any, **more: Any) -> Any:
        return edge(options, _of_edge(services), *others, streams=_of_edge(streams), **more)

    platform.edge = by_proxies


def _of_edge(services: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    proxied = _proxied(EDGE, {name: ",".join(addresses) for name, addresses in services.items()})
    return {name: tuple(addresses.split(",")) for name, addresses in proxied.items()}


if "serve" in sys.orig_argv and "--log-file" in sys.orig_argv:
    _name = Path(sys.orig_argv[sys.orig_argv.index("--log-file") + 1]).stem
    if _name.endswith("-2"):
        _time, _time_ns = time.time, time.time_ns
        time.time = lambda: _time() + AHEAD_S
        time.time_ns = lambda: _time_ns() + AHEAD_S * 10**9
    if NETWORK in os.environ and PEERS in os.environ:
        _call_by_proxies(_name)
        if _name.partition("-")[0] == FORWARDING and PORT in os.environ:
            _be_called_by_proxy()
elif "--processes" in sys.orig_argv and NETWORK in os.environ:
    _have_the_edge_call_by_proxies()
