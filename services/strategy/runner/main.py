"""`python -m services.strategy.runner.main`: the process in which users' strategies run.

Its configuration comes as one line of JSON on standard input (see `WorkerConfig`): the token in it is seen neither in
the list of processes nor in the environment. When that input ends its parent is gone, and so it ends too.
"""

import asyncio
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.kernel.clock import Clock
from services.kernel.rpc.tls import PeerTls
from services.kernel.runtime.parent_death import end_with_parent
from services.quant.sdk.loading import Loader
from services.quant.sdk.worker_heartbeat import HeartbeatFile
from services.strategy.runner.connections import Connections
from services.strategy.runner.worker import Worker
from services.strategy.sandbox.entry import enter_from

LOOK_S = 0.1
NOT_MINE = 75
"""The exit code of a worker whose strategies may be another's."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """The configuration of a worker, given when it starts. Addresses are host:port. `sandbox`: a Profile's fields, None
    for none."""

    worker_id: str
    token: str
    strategy: str
    market: str
    trading: str
    mode: str = "run"
    strategies_dir: str = ""
    home: str = ""
    heartbeat_file: str = ""
    parent: int = 0
    services_ca: str = ""
    services_name: str = ""
    skip: dict[str, str] = field(default_factory=dict)
    sandbox: dict[str, Any] | None = None


def main() -> None:
    """Run a worker until its service or its parent ends."""
    line = sys.stdin.readline()
    try:
        config = WorkerConfig(**json.loads(line))
    except (ValueError, TypeError) as error:
        print(f"a worker's configuration is one line of JSON on standard input: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    # Opened before: the file is the supervisor's, and the strategies' user id cannot.
    heartbeat = HeartbeatFile(Path(config.heartbeat_file)) if config.heartbeat_file else None
    enter_from(config.sandbox)
    _bind_to_parent(config.parent)
    # No byte code beside users' files, and a changed file is never taken for an old one.
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.basicConfig(level="WARNING", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if config.home:
        # vnpy writes into the working folder when it has this one.
        Path(config.home, ".vntrader").mkdir(parents=True, exist_ok=True)
        os.chdir(config.home)
    try:
        import uvloop
    except ImportError:
        asyncio.run(_run(config, heartbeat))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(config, heartbeat))


async def _run(config: WorkerConfig, heartbeat: HeartbeatFile | None) -> None:
    _stop_calmly()
    tls = PeerTls(config.services_ca.encode(), config.services_name)
    connections = Connections(config.strategy, config.market, config.trading, config.token, tls)
    if heartbeat is not None:
        threading.Thread(target=_end_in_time, args=(heartbeat,), daemon=True).start()
    loader = Loader(Path(config.strategies_dir) if config.strategies_dir else None, config.skip)
    worker = Worker(config.worker_id, connections, loader, Clock(), heartbeat)
    try:
        await (worker.scan() if config.mode == "scan" else worker.run())
    finally:
        await connections.close()


def _stop_calmly() -> None:
    """Ctrl-C at the terminal reaches the whole group: the service alone says when a worker ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _bind_to_parent(parent: int) -> None:
    if not parent:
        return
    end_with_parent(parent)
    threading.Thread(target=_end_with_input, daemon=True).start()


def _end_in_time(heartbeat: HeartbeatFile) -> None:
    """End before another replica runs the same strategies, though the service of this one stands still."""
    while not heartbeat.is_over():
        time.sleep(LOOK_S)
    os._exit(NOT_MINE)


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
