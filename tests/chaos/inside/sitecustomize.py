"""The part of chaos inside the platform's processes: Python imports this where PYTHONPATH names its folder.

The clock of each second replica is two seconds ahead, and what a process calls others by goes through proxies.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

AHEAD_S = 2
ANSWERED_S = 60
NETWORK = "RF_CHAOS_NETWORK"
PEERS = "REDFIRE_PEERS__ADDRESSES"


def _by_proxies(caller: str) -> None:
    """Ask the network (`tests.chaos.network`) for addresses to use instead of those of the settings."""
    with socket.create_connection(("127.0.0.1", int(os.environ[NETWORK])), ANSWERED_S) as network:
        lines = network.makefile("rw")
        lines.write(json.dumps({"caller": caller, "peers": json.loads(os.environ[PEERS])}) + "\n")
        lines.flush()
        os.environ[PEERS] = json.dumps(json.loads(lines.readline()))


if "serve" in sys.orig_argv and "--log-file" in sys.orig_argv:
    _name = Path(sys.orig_argv[sys.orig_argv.index("--log-file") + 1]).stem
    if _name.endswith("-2"):
        _time, _time_ns = time.time, time.time_ns
        time.time = lambda: _time() + AHEAD_S
        time.time_ns = lambda: _time_ns() + AHEAD_S * 10**9
    if NETWORK in os.environ and PEERS in os.environ:
        _by_proxies(_name)
