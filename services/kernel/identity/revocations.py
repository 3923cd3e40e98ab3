"""Sessions and API keys that are revoked before their tokens expire, known everywhere within a second."""

import time
from collections.abc import Callable

from redfire.reasons import Reason

from services.kernel.errors import Unauthenticated
from services.kernel.identity.identity import Identity

REVOCATIONS_CHANNEL = "revocations"
"""Of messages between replicas: the contract's Revocation, sent once it is committed."""


class Revocations:
    """Revocations by auth, as far as this process knows them."""

    def __init__(self) -> None:
        self._revoked: dict[str, float] = {}
        self._watchers: dict[str, set[Callable[[], None]]] = {}
        self._swept_at = time.time()

    def add(self, revoked_id: str, expires_at: float) -> None:
        """Note that a session or key is revoked, and end its streams; after `expires_at` its tokens have expired."""
        self._revoked[revoked_id] = expires_at
        for listener in list(self._watchers.get(revoked_id, ())):
            listener()
        if time.time() - self._swept_at > 60:
            self._swept_at = time.time()
            self._revoked = {key: end for key, end in self._revoked.items() if end > self._swept_at}

    def check(self, identity: Identity) -> None:
        """Raise Unauthenticated when the caller's session or key is revoked."""
        if identity.revocable_id in self._revoked:
            raise Unauthenticated("the session was ended", reason=Reason.SESSION_REVOKED)

    def watch(self, identity: Identity, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when the caller's session or key is revoked; the answer stops watching."""
        watchers = self._watchers.setdefault(identity.revocable_id, set())
        watchers.add(listener)

        def stop() -> None:
            watchers.discard(listener)
            if not watchers:
                self._watchers.pop(identity.revocable_id, None)

        return stop
