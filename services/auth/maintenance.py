"""Periodic work of auth: notice rotated keys, count sessions, delete what has expired."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from prometheus_client import Gauge

from services.auth.key_ring import KeyRing
from services.auth.repository import AuthRepository
from services.auth.revocations.feed import RevocationFeed
from services.auth.settings import LONGEST_ACCESS_TOKEN_S
from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import RedFireError
from services.kernel.identity.identity import key_revocation_id

log = logging.getLogger(__name__)
open_sessions = Gauge("user_sessions", "Sessions that are open.")
KEYS_S = 0.3
COUNT_S = 15.0
FORGET_S = 600.0


class Maintenance:
    """The two loops of the auth service."""

    def __init__(
        self,
        keys: KeyRing,
        auth: Repositories[AuthRepository],
        feed: RevocationFeed,
        clock: Clock,
        run_blocking: Callable[..., Awaitable[bool]],
    ) -> None:
        self._keys = keys
        self._auth = auth
        self._feed = feed
        self._revoked: set[str] = set()
        self._clock = clock
        self._run_blocking = run_blocking

    async def watch_keys(self) -> None:
        """Read the signing keys again when `redfire admin rotate-keys` has changed them."""
        while True:
            try:
                if await self._run_blocking(self._keys.refresh):
                    log.info("the signing keys were changed")
                await self._revoke_removed()
            except (OSError, ValueError, KeyError, TypeError) as error:
                # The keys in memory stay in use. Only the error's type is logged: its text may quote the file.
                log.error("the signing keys cannot be read: %s", type(error).__name__)
            except RedFireError as error:
                log.error("a signing key was removed, which cannot be written down yet: %s", error.message)
            await asyncio.sleep(KEYS_S)

    async def _revoke_removed(self) -> None:
        """Have no service believe what keys signed that were removed since."""
        if removed := [kid for kid in self._keys.removed if kid not in self._revoked]:
            await self._feed.revoke_keys([key_revocation_id(kid) for kid in removed], LONGEST_ACCESS_TOKEN_S)
            self._revoked.update(removed)

    async def tidy(self) -> None:
        """Count the open sessions, and now and then delete what has expired."""
        forget_at = self._clock.monotonic() + FORGET_S
        while True:
            async with self._auth.read() as auth:
                open_sessions.set(await auth.count_open_sessions(self._clock.now()))
            if self._clock.monotonic() >= forget_at:
                forget_at = self._clock.monotonic() + FORGET_S
                async with self._auth() as auth:
                    await auth.forget_expired(self._clock.now())
            await asyncio.sleep(COUNT_S)
