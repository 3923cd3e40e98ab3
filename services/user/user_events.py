"""Events of the user service, written into the outbox in the transaction of their change."""

from services.kernel.data.repositories import Transaction
from services.kernel.events.outbox import Outbox
from services.user.user import EmailToken, User

REGISTERED, PROFILE_CHANGED = "user.registered", "user.profile_changed"
STATUS_CHANGED, ROLE_CHANGED, PASSWORD_CHANGED = "user.status_changed", "user.role_changed", "user.password_changed"

VERIFICATION_REQUESTED = "user.email_verification_requested"


class UserEvents:
    """Writes the events of a change."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def registered(self, session: Transaction, user: User) -> None:
        """A user registered; trading opens the first account."""
        event = self._outbox.event(REGISTERED)
        event.user_registered.user_id = user.user_id
        event.user_registered.username = user.username
        event.user_registered.email = user.email
        await self._outbox.add(session, event)

    async def changed(self, session: Transaction, before: User, user: User) -> None:
        """A user's profile, status or role changed."""
        if user.status is not before.status:
            event = self._outbox.event(STATUS_CHANGED)
            event.user_status_changed.user_id = user.user_id
            event.user_status_changed.status = user.status.value
            event.user_status_changed.former_status = before.status.value
            await self._outbox.add(session, event)
        if user.role != before.role:
            event = self._outbox.event(ROLE_CHANGED)
            event.user_role_changed.user_id = user.user_id
            event.user_role_changed.role = user.role
            event.user_role_changed.former_role = before.role
            await self._outbox.add(session, event)
        profile = (user.email, user.phone, user.display_name)
        if profile != (before.email, before.phone, before.display_name):
            event = self._outbox.event(PROFILE_CHANGED)
            event.user_profile_changed.user_id = user.user_id
            event.user_profile_changed.email = user.email
            event.user_profile_changed.phone = user.phone
            event.user_profile_changed.display_name = user.display_name
            await self._outbox.add(session, event)

    async def email_verification_requested(self, session: Transaction, token: EmailToken, text: str) -> None:
        """A user is to prove that they read what is sent to an address."""
        event = self._outbox.event(VERIFICATION_REQUESTED)
        event.email_verification_requested.user_id = token.user_id
        event.email_verification_requested.email = token.email
        event.email_verification_requested.token = text
        event.email_verification_requested.expire_time.FromDatetime(token.expire_time)
        await self._outbox.add(session, event)

    async def password_changed(self, session: Transaction, user_id: str, except_session_id: str) -> None:
        """A user has another password."""
        event = self._outbox.event(PASSWORD_CHANGED)
        event.user_password_changed.user_id = user_id
        event.user_password_changed.except_session_id = except_session_id
        await self._outbox.add(session, event)
