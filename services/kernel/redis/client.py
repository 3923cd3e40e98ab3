"""The connection to Redis: bounded in number and time, and given up at once while Redis does not answer.

One command that fails or takes too long opens the breaker: from then on commands fail without being sent, until a ping
in the background is answered in time. So a Redis that hangs costs the calls under way `timeout_s`, and others nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
from prometheus_client import Counter, Gauge
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from services.kernel.redis.shared import RedisUnavailable, Script
from services.kernel.tasks import TimeLimit

log = logging.getLogger(__name__)
PROBE_S = 0.25
CLOSE_S = 1.0
commands = Counter("redis_commands_total", "Commands to Redis, by outcome: ok, failed, timeout, skipped.", ["outcome"])
connected = Gauge("redis_connected", "1 while Redis answers in time.")
_Failure = (RedisError, OSError)


class RedisClient:
    """Commands to Redis; `available` tells whether they are sent."""

    def __init__(self, url: str, environment: str, name: str, *, timeout_s: float, pool_size: int) -> None:
        """`environment` leads all keys, so that two environments may share a Redis; `name` is what Redis shows."""
        self._timeout_s = timeout_s
        self.prefix = f"redfire:{environment}:"
        address = urlsplit(url)
        self.shown = f"{address.hostname}:{address.port or 6379}"
        self.options: dict[str, Any] = {
            # The client's own bounds; a call as a whole has a limit besides, since it may have to connect first.
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "retry": Retry(NoBackoff(), 0),
            # RESP 3 would add notifications of managed servers, which may stretch these bounds.
            "protocol": 2,
            "client_name": "".join(c for c in name if c.isalnum() or c in "-_.") or "redfire",
        }
        self.url = url
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url, max_connections=pool_size, timeout=timeout_s, **self.options
        )
        self._redis = redis.asyncio.Redis(connection_pool=pool)
        self._pool = pool
        self._broken = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self.failure = f"Redis at {self.shown} is not connected yet"
        """The reason for which commands are not sent now; empty while they are."""

    @property
    def available(self) -> bool:
        """Test for a Redis that answers in time."""
        return not self.failure

    def on_available(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever Redis answers again; what it had may be gone, and what it has be old."""
        self._listeners.append(listener)

    async def command(self, *args: Any) -> Any:
        """Send a command; returns the answer. Raises RedisUnavailable, after `timeout_s` at most."""
        return await self._bounded(args)

    async def run_script(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script; returns its answer. Raises RedisUnavailable."""
        try:
            return await self._bounded(("EVALSHA", script.sha, len(keys), *keys, *args))
        except NoScriptError:
            # A Redis that was restarted or emptied does not know it any more.
            return await self._bounded(("EVAL", script.source, len(keys), *keys, *args))

    async def run(self) -> None:
        """Ping a Redis that does not answer until it does, until cancelled."""
        said = ""
        while True:
            self._broken.clear()
            if self.failure:
                await self._probe()
            if self.failure and self.failure != said:
                log.warning("%s; going on without", self.failure)
            elif said and not self.failure:
                log.info("Redis at %s answers", self.shown)
            said = self.failure
            if self.failure:
                await asyncio.sleep(PROBE_S)
            else:
                await self._broken.wait()

    async def close(self) -> None:
        """Close the connections."""
        self.failure = f"Redis at {self.shown} is closed"
        connected.set(0)
        try:
            await within(CLOSE_S, self._pool.aclose())
        except _Failure as error:
            log.debug("a connection to Redis did not close: %s", error)

    async def _bounded(self, args: Sequence[Any]) -> Any:
        if self.failure:
            commands.labels("skipped").inc()
            raise RedisUnavailable(self.failure)
        try:
            answer = await self._send(args)
        except NoScriptError:
            raise
        except ResponseError as error:
            # This command is refused, as for lack of memory; others may not be.
            commands.labels("failed").inc()
            log.warning("Redis refuses %s: %s", args[0], _text(error))
            raise RedisUnavailable(f"Redis refuses {args[0]}") from None
        except _Failure as error:
            self._break(error)
            raise RedisUnavailable(self.failure) from None
        commands.labels("ok").inc()
        return answer

    async def _send(self, args: Sequence[Any]) -> Any:
        # The client closes a connection on which an answer is still to come: nobody else gets it.
        return await within(self._timeout_s, self._redis.execute_command(*args))

    def _break(self, error: Exception) -> None:
        is_timeout = isinstance(error, TimeoutError | redis.exceptions.TimeoutError)
        commands.labels("timeout" if is_timeout else "failed").inc()
        self.failure = f"Redis at {self.shown} does not answer: {_text(error)}"
        connected.set(0)
        self._broken.set()

    async def _probe(self) -> None:
        try:
            # Connections that were lost unnoticed would each fail another command.
            await within(self._timeout_s, self._pool.disconnect(inuse_connections=False))
            await self._send(("PING",))
        except (*_Failure, ResponseError) as error:
            self.failure = f"Redis at {self.shown} does not answer: {_text(error)}"
            connected.set(0)
            return
        self.failure = ""
        connected.set(1)
        for listener in self._listeners:
            listener()


class _NoScript(Exception):
    pass


async def within(seconds: float, doing: Awaitable[Any]) -> Any:
    """Await with a time limit of so many seconds. Raises TimeoutError."""
    limit = TimeLimit(seconds)
    try:
        return await doing
    except asyncio.CancelledError:
        if limit.ends():
            raise TimeoutError(f"no answer within {seconds:g} s") from None
        raise
    finally:
        limit.stop()


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
