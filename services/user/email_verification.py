"""Verification of e-mail addresses: a token goes there, and its reader brings it back."""

import hashlib
import secrets
from dataclasses import replace
from datetime import timedelta

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import Invalid, NotFound
from services.kernel.redis.read_cache import ReadCache
from services.kernel.runtime.live_settings import LiveSettings
from services.user.repository import UserRepository
from services.user.settings import UserSettings
from services.user.user import EmailToken, User

LIFE = timedelta(hours=24)
PAUSE = timedelta(minutes=1)


class EmailVerification:
    """Sends tokens, where the settings demand verified addresses, and takes them back."""

    def __init__(
        self,
        users: Repositories[UserRepository],
        profiles: ReadCache[User],
        settings: LiveSettings[UserSettings],
        clock: Clock,
    ) -> None:
        self._users = users
        self._profiles = profiles
        self._settings = settings
        self._clock = clock

    @property
    def is_demanded(self) -> bool:
        """True while addresses have to be verified."""
        return self._settings.value.verify_email

    def is_missing(self, user: User) -> bool:
        """Test for a user who must verify the address before a login; the first administrator has none."""
        return self.is_demanded and bool(user.email) and not user.email_verified

    async def begin(self, users: UserRepository, user_id: str, email: str) -> None:
        """Send a token to an address, in the transaction of `users`; earlier tokens of the user are dead."""
        now, text = self._clock.now(), secrets.token_urlsafe(32)
        await users.add_email_token(EmailToken(_hash(text), user_id, email, now, now + LIFE), text)

    async def send(self, email: str) -> None:
        """Send another token to an address that somebody has to verify; nothing tells whether there is such a one."""
        async with self._users.read() as users:
            credentials = await users.find_credentials(email) if "@" in email else None
        if credentials is None or not self.is_missing(credentials.user):
            return
        user = credentials.user
        async with self._users() as users:
            last = await users.find_email_token(user.user_id)
            if last is None or last.create_time + PAUSE <= self._clock.now():
                await self.begin(users, user.user_id, user.email)

    async def verify(self, text: str) -> None:
        """Take a token back: its address is verified, and the user's if it was not yet. Raises Invalid, EmailTaken."""
        async with self._users() as users:
            token = await users.take_email_token(_hash(text))
        if token is None or token.expire_time <= self._clock.now():
            raise Invalid("not a token, or used before, or too old", field="token")
        async with self._profiles.changing(token.user_id), self._users() as users:
            try:
                user = await users.get_for_change(token.user_id)
            except NotFound:
                raise Invalid("not a token, or used before, or too old", field="token") from None
            changed = replace(user, email=token.email, email_verified=True, update_time=self._clock.now())
            await users.save(user, changed)

    async def vouch(self, user_id: str) -> User:
        """Take the user's address for verified, for the operator, who answers for it."""
        async with self._profiles.changing(user_id), self._users() as users:
            user = await users.get_for_change(user_id)
            changed = replace(user, email_verified=True)
            await users.save(user, changed)
        return changed


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
