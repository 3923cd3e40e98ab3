"""`python -m deploy.production [FLAG…]`: three servers, and `redfire up --processes --replicas 2 --demo` on them."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from deploy.production import postgres, rabbitmq, redis
from deploy.production.server import NotInstalled, ServerFailed
from services.kernel.runtime.parent_death import end_with_parent

CANNOT_START = 2
UP = ("up", "--processes", "--replicas", "2", "--demo")


def main(flags: list[str]) -> int:
    """Start all, wait for the platform's end, and stop the servers; the platform's exit code."""
    if missing := _missing_packages():
        return _refuse(f"servers are not installed: apt-get install {' '.join(missing)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # with what was started so far
    with ExitStack() as stack:
        try:
            database = postgres.LocalPostgres()
            stack.callback(database.close)
            shared = redis.LocalRedis()
            stack.callback(shared.close)
            broker = rabbitmq.LocalRabbitMq()
            stack.callback(broker.close)
        except ServerFailed as error:
            return _refuse(f"a server does not start: {' '.join(str(error).split())[-500:]}")
        variables = {
            "REDFIRE_DATABASE__URL": database.url(),
            "REDFIRE_REDIS__URL": shared.url,
            "REDFIRE_EVENTS__URL": broker.url,
        }
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="redfire-production-"))
        return _run([*UP, "--data-dir", str(Path(folder) / "data"), *flags], variables)


def _missing_packages() -> list[str]:
    missing = []
    for binary in (postgres.binaries, redis.binary, rabbitmq.binary):
        try:
            binary()
        except NotInstalled as error:
            missing.append(error.package)
    return missing


def _run(arguments: list[str], variables: dict[str, str]) -> int:
    """Run `redfire`, pass signals on to it, and wait for its end."""
    process = subprocess.Popen(  # noqa: S603  our own program # nosec B603
        [sys.executable, "-P", "-m", "services.cli", *arguments],
        env={**os.environ, **variables},
        preexec_fn=partial(end_with_parent, os.getpid()),
    )
    # On a terminal Ctrl-C reaches it by itself; the servers outlive it in any case.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    return process.wait()


def _refuse(line: str) -> int:
    sys.stderr.write(f"redfire: {line}\n")
    return CANNOT_START


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
