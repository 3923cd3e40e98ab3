"""Step-up at auth: e-mail address, password and role are changed only a short while after the password was entered."""

from typing import Any

from redfire.auth.v1 import auth_pb2

from services.kernel.identity.identity import Identity


class StepUp:
    """Asks auth, which knows sessions, when the password was entered."""

    def __init__(self, auth: Any) -> None:
        """`auth` is a stub of AuthService."""
        self._auth = auth

    async def require(self, caller: Identity) -> None:
        """Raises Denied (STEP_UP_REQUIRED) unless the password was entered lately in the caller's session."""
        # What acts for a user, and an API key, has no session of its own.
        session_id = "" if caller.actor or caller.api_key_id else caller.session_id
        request = auth_pb2.CheckRecentPasswordRequest(user_id=caller.user_id, session_id=session_id)
        await self._auth.CheckRecentPassword(request)
