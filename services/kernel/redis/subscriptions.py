"""Messages between replicas, by Redis: quick, and lost where nobody is connected at that moment.

So who listens can do without: it also hears of the same in another way, or keeps what it has for a short time only.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import redis.asyncio
from redis.exceptions import RedisError

from services.kernel.redis.client import RedisClient, within
from services.kernel.redis.shared import Listener

log = logging.getLogger(__name__)
PING_S, SILENCE_S = 1.0, 2.5
CONNECT_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0
_Failure = (RedisError, OSError, TimeoutError)


class Subscriptions:
    """The channels that this process listens to, by one connection."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._listeners: dict[str, list[Listener]] = {}
        self._on_connected: list[Callable[[], None]] = []
        self.connected = False
        """While this is true messages come; it notices within SILENCE_S that they do not."""

    def subscribe(self, channel: str, listener: Listener) -> None:
        """Call `listener` with each message of a channel; asked for before `run`."""
        self._listeners.setdefault(self._client.prefix + channel, []).append(listener)

    def on_connected(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever messages begin to come: some may have been missed before."""
        self._on_connected.append(listener)

    async def publish(self, channel: str, message: bytes) -> None:
        """Send a message to all subscribers. Raises RedisUnavailable when that cannot be."""
        await self._client.command("PUBLISH", self._client.prefix + channel, message)

    async def run(self) -> None:
        """Listen, again whenever the connection is lost, until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            # Without a limit of time: most of the time nobody says anything. Silence is noticed by pings.
            options = {**self._client.options, "socket_timeout": None, "socket_connect_timeout": CONNECT_S}
            connection = redis.asyncio.Redis.from_url(self._client.url, **options)
            channels = connection.pubsub()
            try:
                await self._listen(channels)
            except _Failure as error:
                log.debug("messages by Redis do not come: %s", error)
            finally:
                if self.connected:
                    self.connected, pause_s = False, FIRST_PAUSE_S
                with contextlib.suppress(*_Failure):
                    await channels.aclose()
                    await connection.aclose()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _listen(self, channels: redis.asyncio.client.PubSub) -> None:
        await within(CONNECT_S, channels.subscribe(*self._listeners))
        waiting = set(self._listeners)
        loop = asyncio.get_running_loop()
        heard_at = loop.time()
        while True:
            message = await within(SILENCE_S, channels.get_message(timeout=PING_S))
            if message is None:
                if loop.time() - heard_at > SILENCE_S:
                    raise TimeoutError(f"silent for {SILENCE_S:g} s")
                await within(CONNECT_S, channels.ping())
                continue
            heard_at = loop.time()
            if message["type"] == "subscribe":
                waiting.discard(message["channel"].decode())
                if not waiting and not self.connected:
                    self.connected = True
                    for begin in self._on_connected:
                        begin()
            elif message["type"] == "message":
                self._deliver(message["channel"].decode(), message["data"])

    def _deliver(self, channel: str, data: bytes) -> None:
        for listener in self._listeners.get(channel, ()):
            try:
                listener(data)
            except Exception:
                log.exception("a message of %s cannot be applied", channel)
