"""Events of sessions, written into the outbox in the transaction of their change."""

from collections.abc import Iterable

from services.auth.session import Session
from services.kernel.data.repositories import Transaction
from services.kernel.events.outbox import Outbox

BEGAN, ENDED, NEW_ADDRESS = "auth.session_began", "auth.session_ended", "auth.login_new_address"


class SessionEvents:
    """Writes events of sessions."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def began(self, database_session: Transaction, session: Session) -> None:
        """A user logged in."""
        event = self._outbox.event(BEGAN)
        event.session_began.user_id = session.user_id
        event.session_began.session_id = session.session_id
        event.session_began.client_address = session.client_address[:64]
        event.session_began.user_agent = session.user_agent[:256]
        await self._outbox.add(database_session, event)

    async def from_new_address(self, database_session: Transaction, session: Session) -> None:
        """A user logged in from where they never did."""
        event = self._outbox.event(NEW_ADDRESS)
        event.login_new_address.user_id = session.user_id
        event.login_new_address.session_id = session.session_id
        event.login_new_address.client_address = session.client_address[:64]
        event.login_new_address.user_agent = session.user_agent[:256]
        await self._outbox.add(database_session, event)

    async def ended(self, database_session: Transaction, user_id: str, session_ids: Iterable[str]) -> None:
        """Sessions of a user were ended."""
        for session_id in session_ids:
            event = self._outbox.event(ENDED)
            event.session_ended.user_id = user_id
            event.session_ended.session_id = session_id
            await self._outbox.add(database_session, event)
