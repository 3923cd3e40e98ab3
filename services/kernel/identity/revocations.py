"""Sessions, API keys and signing keys that are revoked before their tokens expire, known everywhere within a second."""

import math
import time
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from redfire.reasons import Reason

from services.kernel.errors import Unauthenticated, Unavailable
from services.kernel.identity.identity import Identity

REVOCATIONS_CHANNEL = "revocations"
"""Of messages between replicas: the contract's Revocation, sent once it is committed."""


class Watcher(Protocol):
    """A stream's guard, which ends it with a revocation."""

    def revoked(self) -> None:
        """The caller's session or key, or the key that signed its token, is revoked."""

    def unsure(self) -> None:
        """Auth has been silent for too long to know of a revocation."""


class Revocations:
    """Revocations by auth, as far as this process knows them.

    Once `require` was called they have to be fresh: while auth is not heard for so long, users are refused.
    """

    def __init__(self) -> None:
        self._revoked: dict[str, float] = {}
        self._watchers: dict[str, set[Watcher]] = {}
        self._swept_at = time.time()
        self._heard_at = 0.0
        self._longest_silence_s = math.inf

    def require(self, longest_silence_s: float) -> None:
        """Refuse users from now on while auth was not heard for so long; until it is heard first, all."""
        self._longest_silence_s, self._heard_at = longest_silence_s, -math.inf

    def hear(self) -> None:
        """Auth was heard, and all that it has revoked is known."""
        self._heard_at = monotonic()

    @property
    def are_known(self) -> bool:
        """False while auth is silent for too long."""
        return monotonic() - self._heard_at <= self._longest_silence_s

    def end_unsure(self) -> None:
        """End all streams of users if auth is silent for too long."""
        if not self.are_known:
            for watcher in {watcher for watchers in self._watchers.values() for watcher in watchers}:
                watcher.unsure()

    def add(self, revoked_id: str, expires_at: float) -> None:
        """Note that a session or key is revoked, and end its streams; after `expires_at` its tokens have expired."""
        self._revoked[revoked_id] = expires_at
        for watcher in list(self._watchers.get(revoked_id, ())):
            watcher.revoked()
        if time.time() - self._swept_at > 60:
            self._swept_at = time.time()
            self._revoked = {key: end for key, end in self._revoked.items() if end > self._swept_at}

    def check(self, identity: Identity) -> None:
        """Raise Unauthenticated when the caller's session or key is revoked, Unavailable while nobody knows."""
        if identity.revocable_id in self._revoked or identity.key_id in self._revoked:
            raise Unauthenticated("the session was ended", reason=Reason.SESSION_REVOKED)
        if not self.are_known:
            raise revocations_unknown()

    def watch(self, identity: Identity, watcher: Watcher) -> Callable[[], None]:
        """Have a watcher learn of the caller's revocation; the answer stops watching."""
        watched = [one for one in (identity.revocable_id, identity.key_id) if one]
        for one in watched:
            self._watchers.setdefault(one, set()).add(watcher)

        def stop() -> None:
            for one in watched:
                watchers = self._watchers.get(one, set())
                watchers.discard(watcher)
                if not watchers:
                    self._watchers.pop(one, None)

        return stop


def revocations_unknown() -> Unavailable:
    """The refusal of users while auth is silent."""
    error = Unavailable("whether this session was ended is not known at the moment: auth does not answer; try again")
    error.retry_after_s = 1.0
    return error
