"""A real RabbitMQ broker for tests, of Debian's package: made in a temporary folder, stopped by its maker."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import aio_pika
import psutil

from services import registry
from services.kernel.identifiers import new_id
from services.kernel.runtime.parent_death import end_with_parent
from tests.machine import free_port, lacks, unprivileged_user

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # what is on the PATH would change to a user of its own
START_S = 200
CONFIG = """
listeners.tcp.1 = 127.0.0.1:{port}
distribution.listener.interface = 127.0.0.1
vm_memory_high_watermark.absolute = 400MB
disk_free_limit.absolute = 10MB
raft.wal_max_size_bytes = 16000000
log.console = false
log.file.level = warning
"""


class RabbitMqServer:
    """One broker on free ports of 127.0.0.1 that its tests may kill, stop and start again."""

    def __init__(self) -> None:
        if not SERVER.exists():
            raise FileNotFoundError(SERVER)
        self._user = unprivileged_user("rabbitmq")
        self.folder = Path(tempfile.mkdtemp(prefix="rf-mq-", dir=None if self._user is None else "/tmp"))
        self.port, self._dist_port, self._epmd_port = (free_port() for _ in range(3))
        node = f"rf-{new_id()[-12:]}@localhost"
        (self.folder / "rabbitmq.conf").write_text(CONFIG.format(port=self.port))
        (self.folder / "plugins").write_text("[].\n")
        if self._user is not None:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, self._user)
        self._environment = {
            "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(self.folder),
            "RABBITMQ_NODENAME": node, "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"), "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"), "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
            # As under systemd the script becomes the broker: a child of its own would outlive the tests.
            "NOTIFY_SOCKET": str(self.folder / "none"),
            "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(self._epmd_port),
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        # Its own, or Erlang would start one that outlives it.
        self._epmd = self._start("epmd")
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The setting's value."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    async def empty(self) -> None:
        """Remove what earlier tests declared."""
        connection = await aio_pika.connect(self.url)
        async with connection:
            channel = await connection.channel()
            for service in registry.SERVICES:
                await channel.queue_delete(f"redfire.{service}")
            await channel.exchange_delete("redfire.events")

    def remembers(self, queue: str) -> bool:
        """Whether the broker finds a quorum queue again when it is killed: 3.10 writes its name down a little later."""
        names = self.folder.glob("data/*/quorum/*/names.dets")
        return any(queue.encode() in file.read_bytes() for file in names)

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        self.launch()
        assert self._process is not None
        end = time.monotonic() + START_S
        while not _answers(self.port):
            assert self._process.poll() is None and time.monotonic() < end, (self.folder / "out").read_text()
            time.sleep(0.05)

    def launch(self) -> None:
        """Start and do not wait. Not from a thread that ends: the broker would end with it."""
        self._process = self._start(str(SERVER))

    def kill(self) -> None:
        """`kill -9` of the broker with all its processes."""
        assert self._process is not None
        main = psutil.Process(self._process.pid)
        processes = [*main.children(recursive=True), main]
        for process in processes:
            process.kill()
        self._process.wait()
        psutil.wait_procs(processes, timeout=START_S)

    def close(self) -> None:
        """Stop, and remove everything."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._epmd.kill()
        self._epmd.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / "out").open("ab") as out:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder, env=self._environment,
                user=self._user, start_new_session=True,
                preexec_fn=partial(end_with_parent, os.getpid()),
            )  # fmt: skip


def installed_broker() -> RabbitMqServer:
    """A running broker. Where RabbitMQ is not installed the test is skipped; under CI it fails."""
    try:
        return RabbitMqServer()
    except FileNotFoundError:
        lacks("RabbitMQ is not installed: apt-get install rabbitmq-server")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.settimeout(2)
            connection.sendall(b"AMQP\0\0\x09\x01")
            return bool(connection.recv(1))
    except OSError:
        return False
