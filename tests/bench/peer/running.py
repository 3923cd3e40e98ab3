"""The four services as processes, in a database of their own on servers that are there."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import jwt
import psutil

from deploy.production.machine import free_ports
from deploy.production.postgres import LocalPostgres

ROOT = Path(__file__).parents[3]
SERVICES = ("risk", "engine", "trading", "gateway")
UVICORN = (
    *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"),
    # Longer than httpx keeps a connection that is idle: what it sends on one that is just being closed would fail.
    *("--timeout-keep-alive", "60"),
)
START_S = 60.0
LOG_BYTES = 3000
CASH = "900000000000000"
LIMIT_ORDER = {
    "symbol": "rb2705.SHFE", "side": "SIDE_BUY", "type": "ORDER_TYPE_LIMIT", "quantity": "1", "price": "3400",
    "timeInForce": "TIME_IN_FORCE_GTC",
}  # fmt: skip
"""A limit that rests."""


class Peer:
    """The running peer."""

    def __init__(self, postgres: LocalPostgres, broker_url: str) -> None:
        postgres.sql("CREATE DATABASE peer_db", database="postgres")
        ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        self._urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        self._secret = secrets.token_hex(32)
        variables = {
            "PEER_DATABASE_URL": postgres.url("peer_db"),
            "PEER_BROKER_URL": broker_url,
            "PEER_TRADING_URL": self._urls["trading"],
            "PEER_RISK_URL": self._urls["risk"],
            "PEER_SECRET": self._secret,
        }
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as they do
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "uvicorn", f"tests.bench.peer.{name}:app", "--port", str(port), *UVICORN],
                cwd=ROOT,
                env={**os.environ, **variables},
                stdout=self._log,
                stderr=self._log,
            )
            for name, port in ports.items()
        ]
        self.url = self._urls["gateway"]

    def start(self, timeout_s: float = START_S) -> None:
        """Wait until all of them serve."""
        end = time.monotonic() + timeout_s
        for url in self._urls.values():
            while not _serves(url):
                if time.monotonic() > end or any(process.poll() is not None for process in self._processes):
                    raise RuntimeError(f"the peer does not start:\n{self.log()}")
                time.sleep(0.1)

    def log(self) -> str:
        """The end of what they wrote."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), LOG_BYTES, max(0, size - LOG_BYTES)).decode(errors="replace")

    @property
    def processes(self) -> list[psutil.Process]:
        """Its processes."""
        return [psutil.Process(process.pid) for process in self._processes]

    def users(self, count: int) -> list[str]:
        """Tokens of so many new users, each with an account."""
        names = [f"u{secrets.token_hex(8)}" for _ in range(count)]
        for name in names:
            body = {"userId": name, "balance": CASH}
            httpx.post(f"{self._urls['trading']}/accounts", json=body).raise_for_status()
        return [self._token(name) for name in names]

    def _token(self, user_id: str) -> str:
        claims = {"iss": "peer", "aud": "peer", "sub": user_id, "scope": "trading:read trading:write"}
        return jwt.encode({**claims, "exp": time.time() + 3600}, self._secret, "HS256")

    def stop(self) -> None:
        """Stop all, each after those that call it."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        self._log.close()


def _serves(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=1).status_code == 200
    except httpx.TransportError:
        return False
