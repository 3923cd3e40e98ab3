"""RabbitMQ of Debian's package."""

import os
import secrets
import socket
from pathlib import Path

from deploy.production.machine import free_ports
from deploy.production.server import LocalServer, NotInstalled

_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # what is on the PATH would change to a user of its own
START_S = 400
CONFIG = """
listeners.tcp.1 = 127.0.0.1:{port}
distribution.listener.interface = 127.0.0.1
vm_memory_high_watermark.absolute = 400MB
disk_free_limit.absolute = 10MB
raft.wal_max_size_bytes = 16000000
log.console = false
log.file.level = warning
"""


class LocalRabbitMq(LocalServer):
    """One broker; it runs once this is made."""

    def __init__(self) -> None:
        self._server = binary()
        super().__init__("rf-mq-", "rabbitmq")
        dist_port, epmd_port = free_ports(2)
        (self.folder / "rabbitmq.conf").write_text(CONFIG.format(port=self.port))
        (self.folder / "plugins").write_text("[].\n")
        self._give(*self.folder.iterdir())
        self._environment = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"rf-{secrets.token_hex(6)}@localhost",
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
            # As under systemd the script becomes the broker: a child of its own would outlive us.
            "NOTIFY_SOCKET": str(self.folder / "none"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd_port),
        }
        # Its own, or Erlang would start one that outlives it.
        self._epmd = self._spawn(["epmd"], self._environment, self.folder)
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The setting's value."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        self.launch()
        self._wait_until(lambda: _answers(self.port), START_S)

    def launch(self) -> None:
        """Start and do not wait. Not from a thread that ends: the broker would end with it."""
        self._process = self._spawn([str(self._server)], self._environment, self.folder)

    def close(self) -> None:
        """Stop, and remove everything."""
        self.stop()
        self._epmd.kill()
        self._epmd.wait()
        super().close()


def binary() -> Path:
    """The program. Raises NotInstalled."""
    if _SERVER.exists():
        return _SERVER
    raise NotInstalled("RabbitMQ", "rabbitmq-server")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.settimeout(2)
            connection.sendall(b"AMQP\0\0\x09\x01")
            return bool(connection.recv(1))
    except OSError:
        return False
