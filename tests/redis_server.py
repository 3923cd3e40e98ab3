"""A real Redis server for tests, of Debian's package: made in a temporary folder, stopped by its maker."""

import psutil
import redis

from deploy.production.redis import LocalRedis
from tests.machine import lacks


class RedisServer(LocalRedis):
    """One server on a free port of 127.0.0.1 that its tests may kill, suspend, empty and start again; keeps no file."""

    def client(self) -> redis.Redis:
        """A client of a test's own."""
        return redis.Redis(port=self.port, socket_timeout=10)

    def empty(self) -> None:
        """FLUSHALL."""
        with self.client() as client:
            client.flushall()

    def suspend(self) -> None:
        """SIGSTOP: connections stay, nothing is answered."""
        psutil.Process(self.running.pid).suspend()

    def resume(self) -> None:
        """SIGCONT."""
        psutil.Process(self.running.pid).resume()


def installed_redis(*options: str) -> RedisServer:
    """A running server. Where Redis is not installed the test is skipped; under CI it fails."""
    try:
        return RedisServer(*options)
    except FileNotFoundError as error:
        lacks(str(error))
