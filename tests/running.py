"""A whole platform as a user starts it: `redfire up` with a real Envoy, driven from outside."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil

from tests import sandbox

REDFIRE = Path(sys.executable).parent / "redfire"
ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "correct-Horse-9"


class Running:
    """`redfire up` on free ports and a folder of its own."""

    def __init__(
        self, *flags: str, data_dir: Path | None = None, env: dict[str, str] | None = None, limits: str = "off"
    ):
        self.data_dir = data_dir or Path(tempfile.mkdtemp(prefix="redfire-up-"))
        self.flags = [*flags, "--rate-limits", limits]
        self.env = env or {}
        self.output = self.data_dir.with_suffix(".out")
        self.process: subprocess.Popen[bytes] | None = None
        self.addresses: dict[str, Any] = {}

    def start(self, timeout_s: float = 60) -> "Running":
        file = self.data_dir / "addresses.json"
        file.unlink(missing_ok=True)
        command = [str(REDFIRE), "up", "--port", "0", "--data-dir", str(self.data_dir), *self.flags]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=self.environment, start_new_session=True
            )
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"redfire up ended with {self.process.returncode}:\n{self.text()[-3000:]}")
            if file.exists():
                self.addresses = json.loads(file.read_text())
                return self
            time.sleep(0.02)
        self.kill9()
        raise AssertionError(f"redfire up is not healthy after {timeout_s} s:\n{self.text()[-3000:]}")

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "REDFIRE_STRATEGY__SANDBOX": sandbox.MODE, **self.env}

    def text(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def log(self) -> str:
        file = self.data_dir / "redfire.log"
        return file.read_text(errors="replace") if file.exists() else ""

    @property
    def url(self) -> str:
        return f"http://{self.addresses['edge']}"

    def stop(self, timeout_s: float = 15) -> None:
        """SIGTERM, and wait."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill9()
                raise AssertionError(f"redfire up does not stop within {timeout_s} s:\n{self.log()[-3000:]}") from None

    def kill9(self, children_too: bool = False) -> None:
        """Kill as a crash does: only redfire itself, whose children must go with it, or all at once."""
        assert self.process is not None
        processes = [psutil.Process(self.process.pid)]
        if children_too:
            processes += processes[0].children(recursive=True)
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait()

    def children(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def __enter__(self) -> "Running":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    # Users -------------------------------------------------------------------------------------------------------

    def client(self, token: str = "", **headers: str) -> "Client":
        return Client(self, token, headers)

    def register(self, name: str) -> "Client":
        """A new user, logged in; a trader, as `redfire up` makes them."""
        client = self.client()
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        made = client.post("/api/users/register", body)
        assert made.status_code == 200, made.text
        client.user_id = made.json()["user"]["userId"]
        client.login(name, PASSWORD)
        until(lambda: client.get("/api/trading/accounts").json().get("accounts"))
        return client

    def admin(self) -> "Client":
        client = self.client()
        client.login("admin", (self.data_dir / "admin-password").read_text().strip())
        client.user_id = client.get("/api/users/me").json()["user"]["userId"]
        return client

    def channel(self) -> grpc.Channel:
        """gRPC through the edge."""
        return grpc.insecure_channel(self.addresses["edge"])


class Client:
    """A REST client of the edge."""

    def __init__(self, running: Running, token: str = "", headers: dict[str, str] | None = None) -> None:
        self.running = running
        self.http = httpx.Client(base_url=running.url, timeout=20, headers=headers or {})
        self.user_id = ""
        self.tokens: dict[str, Any] = {}
        if token:
            self.http.headers["authorization"] = f"Bearer {token}"

    @property
    def token(self) -> str:
        return self.tokens["accessToken"]

    def login(self, name: str, password: str) -> None:
        answer = self.post("/api/users/login", {"username": name, "password": password})
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()
        self.http.headers["authorization"] = f"Bearer {self.tokens['accessToken']}"

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self.http.get(path, params=parameters or None)

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.http.post(path, json={} if body is None else body)

    def put(self, path: str, body: Any) -> httpx.Response:
        return self.http.put(path, json=body)

    def patch(self, path: str, body: Any) -> httpx.Response:
        return self.http.patch(path, json=body)

    def delete(self, path: str) -> httpx.Response:
        return self.http.delete(path)

    def order(self, symbol: str, key: str, side: str = "BUY", quantity: str = "1", kind: str = "MARKET", **more: Any):
        body = {
            "clientOrderId": key, "symbol": symbol, "side": f"SIDE_{side}", "type": f"ORDER_TYPE_{kind}",
            "quantity": quantity, **more,
        }  # fmt: skip
        return self.post("/api/trading/orders", body)

    def lines(self, path: str, sse: bool = False, timeout_s: float = 60, **parameters: Any) -> Iterator[dict[str, Any]]:
        """The messages of a stream, NDJSON or Server-Sent Events."""
        headers = {"accept": "text/event-stream"} if sse else {}
        with self.http.stream("GET", path, params=parameters, headers=headers, timeout=timeout_s) as answer:
            if answer.status_code != 200:
                answer.read()
                raise AssertionError(f"{path}: {answer.status_code} {answer.text}")
            for line in answer.iter_lines():
                if sse:
                    if not line.startswith("data:"):
                        continue
                    line = line[5:]
                if line.strip():
                    yield json.loads(line)


def reason(answer: httpx.Response) -> str:
    """The reason of an error's ErrorInfo."""
    return next((d["reason"] for d in answer.json().get("details", []) if "reason" in d), "")


def until(condition: Any, timeout_s: float = 10, step_s: float = 0.05) -> Any:
    """The condition's first true value."""
    end = time.monotonic() + timeout_s
    while True:
        if value := condition():
            return value
        assert time.monotonic() < end, f"not true within {timeout_s} s"
        time.sleep(step_s)
