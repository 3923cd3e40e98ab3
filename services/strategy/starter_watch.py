"""The end of those who started strategies: revoked sessions and keys, of which auth tells within a second."""

from collections.abc import Callable

from services.kernel.errors import Unauthenticated, Unavailable
from services.kernel.identity.identity import Identity
from services.kernel.identity.revocations import Revocations
from services.strategy.starter import Starter


class StarterWatch:
    """Answers why a strategy may not go on, from what this process knows: no call of auth."""

    def __init__(self, revocations: Revocations, stops_with_session: Callable[[], bool]) -> None:
        self._revocations = revocations
        self._stops_with_session = stops_with_session

    def reason(self, starter: Starter | None) -> str:
        """The reason; empty where it may go on."""
        if starter is None:
            return ""
        if starter.api_key_id:
            return "the API key that started it was ended" if self._is_revoked(starter.api_key_id) else ""
        if starter.session_id and self._stops_with_session() and self._is_revoked(starter.session_id):
            return "the session that started it was ended"
        return ""

    def _is_revoked(self, revocable_id: str) -> bool:
        try:
            self._revocations.check(Identity(kind="user", session_id=revocable_id))
        except Unauthenticated:
            return True
        except Unavailable:
            # Not known at present: calls of its token are refused meanwhile.
            return False
        return False
