"""Events of the user service: `user.registered`."""

from sqlalchemy.ext.asyncio import AsyncSession

from services.kernel.data.events import Outbox
from services.user.user import User


class UserEvents:
    """Writes events into the outbox, in the transaction of their change."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def registered(self, session: AsyncSession, user: User) -> None:
        """A user registered; trading opens the first account."""
        event = self._outbox.event("user.registered")
        event.user_registered.user_id = user.user_id
        event.user_registered.username = user.username
        event.user_registered.email = user.email
        await self._outbox.add(session, event)

    def wake(self) -> None:
        """The transaction is committed: deliver now."""
        self._outbox.wake()
