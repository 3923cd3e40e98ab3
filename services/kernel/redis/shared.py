"""Redis as services use it, and its stand-in where there is none: each caller can do without it at any moment."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from services.kernel.errors import Unavailable

Listener = Callable[[bytes], None]


class RedisUnavailable(Unavailable):
    """Redis does not answer in time, or refuses the command; the caller goes on without."""


class Script:
    """A Lua script, which Redis runs as one step."""

    def __init__(self, source: str) -> None:
        self.source = source.encode()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()


class Redis(Protocol):
    """Commands to Redis. Keys begin with `prefix`, and each has a time to live."""

    prefix: str

    @property
    def available(self) -> bool:
        """Test for a Redis that answers in time."""
        ...

    def on_available(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever Redis answers again; what it had may be gone, and what it has be old."""
        ...

    async def command(self, *args: Any) -> Any:
        """Send a command; returns the answer. Raises RedisUnavailable, soon."""
        ...

    async def run_script(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script; returns its answer. Raises RedisUnavailable, soon."""
        ...


class Messages(Protocol):
    """Messages between replicas: quick, and lost where nobody is connected at that moment."""

    @property
    def connected(self) -> bool:
        """Test for messages that come: that they do not is noticed within seconds."""
        ...

    def subscribe(self, channel: str, listener: Listener) -> None:
        """Call `listener` with each message of a channel; asked for before the process has started."""
        ...

    def on_connected(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever messages begin to come: some may have been missed before."""
        ...

    async def publish(self, channel: str, message: bytes) -> None:
        """Send a message to all subscribers. Raises RedisUnavailable."""
        ...


class NoRedis:
    """No Redis: none is configured."""

    prefix = ""
    available = False

    def on_available(self, listener: Callable[[], None]) -> None:
        """Never."""

    async def command(self, *args: Any) -> Any:
        """Raises RedisUnavailable."""
        raise RedisUnavailable("there is no Redis")

    async def run_script(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Raises RedisUnavailable."""
        raise RedisUnavailable("there is no Redis")


class NoMessages:
    """No messages: this process is the only one, or hears of the same in another way."""

    connected = False

    def subscribe(self, channel: str, listener: Listener) -> None:
        """Nothing comes."""

    def on_connected(self, listener: Callable[[], None]) -> None:
        """Never."""

    async def publish(self, channel: str, message: bytes) -> None:
        """Raises RedisUnavailable."""
        raise RedisUnavailable("there is no Redis")


def key_part(text: str) -> str:
    """Hash of text that a user chose, as a part of a key: of fixed length, and neither a pattern nor readable."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
