"""`redfire admin`: acts on the user database of a data folder, whether the platform runs or not.

Sessions that must end are written beside the change, and the running user service has auth end them within half a
second; with the platform stopped that happens at its next start. So the operator needs no token and no address, only
access to the database: `async with user_admin(data_dir) as admin: await admin.set_role("alice", "trader")`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from services.kernel.clock import Clock
from services.kernel.errors import Invalid
from services.kernel.events.outbox import Outbox
from services.kernel.events.transport import LeftToRelay
from services.kernel.identity.identity import ROLE_PERMISSIONS
from services.kernel.redis.counts import SharedCounts
from services.kernel.redis.read_cache import ReadCache
from services.kernel.redis.shared import NoMessages, NoRedis
from services.kernel.runtime.kernel_sections import PlatformSettings
from services.kernel.runtime.live_settings import LiveSettings
from services.kernel.runtime.resources import open_database
from services.kernel.runtime.settings import Settings, load
from services.kernel.tasks import Tasks
from services.user import models
from services.user.administration import Administration
from services.user.email_verification import EmailVerification
from services.user.password import Passwords
from services.user.profile_cache import PROFILES
from services.user.repository import UserRepository
from services.user.service import FAILURES_WINDOW_S, UserService
from services.user.session_revocations import SessionRevocations
from services.user.settings import UserSettings
from services.user.step_up import StepUp
from services.user.user import User
from services.user.user_events import UserEvents

# Twice as long as a running service takes to look a second time.
DELIVERY_S = 1.0


class UserAdmin:
    """Operations of an operator without an account."""

    def __init__(
        self,
        users: UserService,
        administration: Administration,
        verification: EmailVerification,
        revocations: SessionRevocations,
    ) -> None:
        self._users = users
        self._verification = verification
        self._administration = administration
        self._revocations = revocations

    async def create_user(self, username: str, email: str, password: str, role: str = "") -> User:
        """A new user. Raises Invalid, UsernameTaken, EmailTaken."""
        _check_role(role)
        return await self._users.register_user(username, email, password, role=role)

    async def set_role(self, username: str, role: str) -> User:
        """Another role; the user's sessions end. Raises NotFound, Invalid, LastAdmin."""
        _check_role(role)
        user = await self._users.find_by_name(username)
        changed = await self._administration.set_user_role(user.user_id, role or user.role)
        await self.sessions_ended()
        return changed

    async def reset_password(self, username: str, new_password: str) -> User:
        """Another password; the user's sessions and API keys end. Raises NotFound, Invalid."""
        user = await self._users.reset_password(username, new_password)
        await self.sessions_ended()
        return user

    async def verify_email(self, username: str) -> User:
        """Take the user's e-mail address for verified. Raises NotFound."""
        user = await self._users.find_by_name(username)
        return await self._verification.vouch(user.user_id)

    async def recover(self, username: str, new_password: str) -> User:
        """Another password and no second factor; sessions and API keys end. Raises NotFound, Invalid."""
        user = await self._users.reset_password(username, new_password, second_factor=True)
        await self.sessions_ended()
        return user

    async def sessions_ended(self) -> bool:
        """Return True once a running platform has ended the sessions; False: the next start does.

        Waited for after each change: a login right after the command must not fall to the revocation of the old ones.
        """
        return await self._revocations.delivered(DELIVERY_S)


@asynccontextmanager
async def user_admin(data_dir: Path, settings: Settings | None = None) -> AsyncIterator[UserAdmin]:
    """The operator's hands in a data folder."""
    loaded = (settings or load((UserSettings,), environ={})).replaced(platform=PlatformSettings(data_dir=data_dir))
    chosen = loaded.of(UserSettings)
    database = open_database(loaded, "user", models.Base)
    await database.start(migrate=False)
    passwords = Passwords(chosen.argon2_time_cost, chosen.argon2_memory_kib, max_waiting=1)
    try:
        clock = Clock()
        user_events = UserEvents(Outbox("user", database, models.OutboxRow, LeftToRelay(), clock))
        users = database.repositories(partial(UserRepository, user_events=user_events))
        revocations = SessionRevocations(users, end_sessions=None)
        profiles = ReadCache(PROFILES, NoRedis(), NoMessages(), Tasks(), clock)
        counts = SharedCounts("password", FAILURES_WINDOW_S, NoRedis(), clock)
        step_up = StepUp(auth=None)  # the operator is never asked
        live = LiveSettings(chosen)
        verification = EmailVerification(users, profiles, live, clock)
        service = UserService(users, passwords, revocations, profiles, counts, step_up, verification, live, clock)
        administration = Administration(users, revocations, profiles, step_up, clock)
        yield UserAdmin(service, administration, verification, revocations)
    finally:
        await passwords.close()
        await database.close()


def _check_role(role: str) -> None:
    if role and role not in ROLE_PERMISSIONS:
        raise Invalid(f"a role is one of {', '.join(ROLE_PERMISSIONS)}", field="role")
