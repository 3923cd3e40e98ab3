"""Administration of users: list them, and set their status and role."""

from collections.abc import Callable
from dataclasses import replace

from redfire.reasons import Reason

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import FailedPrecondition
from services.kernel.identifiers import new_id
from services.kernel.identity.identity import ROLE_PERMISSIONS, Identity
from services.kernel.paging import Page, PageResult
from services.kernel.redis.read_cache import ReadCache
from services.user.repository import UserRepository
from services.user.session_revocations import SessionRevocations
from services.user.step_up import StepUp
from services.user.user import SessionRevocation, User, UserFilter, UserStatus


class LastAdmin(FailedPrecondition):
    """The last active administrator stays one."""

    reason = Reason.PERMISSION_DENIED


class UserClosed(FailedPrecondition):
    """A closed user is never opened again."""

    reason = Reason.ACCOUNT_INACTIVE


class Administration:
    """Lists users and sets what they may do."""

    def __init__(
        self,
        users: Repositories[UserRepository],
        revocations: SessionRevocations,
        profiles: ReadCache[User],
        step_up: StepUp,
        clock: Clock,
    ) -> None:
        self._step_up = step_up
        self._users = users
        self._profiles = profiles
        self._revocations = revocations
        self._clock = clock

    async def list_users(self, filter_: UserFilter, page: Page) -> PageResult[User]:
        """A page of users, newest first."""
        async with self._users.read() as users:
            rows = await users.list_page(filter_, str(page.after[0]) if page.after else None, page.size + 1)
        return page.slice(rows, key=lambda user: [user.user_id])

    async def set_user_status(self, user_id: str, status: UserStatus) -> User:
        """Set a user's status; other than ACTIVE it ends the user's sessions and API keys.

        Raises: NotFound, LastAdmin, UserClosed.
        """

        def change(user: User) -> User:
            if user.status is UserStatus.CLOSED and status is not UserStatus.CLOSED:
                raise UserClosed
            return replace(user, status=status)

        return await self._change(user_id, change, ends_api_keys=lambda before: True)

    async def set_user_role(self, user_id: str, role: str, caller: Identity | None = None) -> User:
        """Set a user's role; the sessions end. The API keys end too when the new role may do less.

        A caller needs a recent password; the operator is None. Raises: NotFound, LastAdmin, Denied (STEP_UP_REQUIRED).
        """
        if caller is not None:
            await self._step_up.require(caller)
        now_may = ROLE_PERMISSIONS[role]
        return await self._change(
            user_id,
            lambda user: replace(user, role=role),
            ends_api_keys=lambda before: not ROLE_PERMISSIONS.get(before.role, frozenset()) <= now_may,
        )

    async def _change(
        self, user_id: str, change: Callable[[User], User], ends_api_keys: Callable[[User], bool]
    ) -> User:
        revocation: SessionRevocation | None = None
        async with self._profiles.changing(user_id), self._users() as users:
            # Administrators are locked first and in order, so that two who demote each other wait and do not deadlock.
            admins = await users.count_active_admins()
            user = await users.get_for_change(user_id)
            changed = change(user)
            if changed == user:
                return user
            if _is_active_admin(user) and not _is_active_admin(changed) and admins <= 1:
                raise LastAdmin
            changed = replace(changed, update_time=self._clock.now())
            await users.save(user, changed)
            if changed.role != user.role or changed.status is not UserStatus.ACTIVE:
                revocation = SessionRevocation(new_id(), user_id, api_keys=ends_api_keys(user))
                await users.add_revocation(revocation)
        if revocation is not None:
            await self._revocations.deliver(revocation)
        return changed


def _is_active_admin(user: User) -> bool:
    return user.role == "admin" and user.status is UserStatus.ACTIVE
