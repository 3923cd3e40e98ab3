"""Step-up: what a stolen token must not do needs the password, entered a short while ago in the same session."""

from datetime import datetime, timedelta

from redfire.reasons import Reason

from services.auth.repository import AuthRepository
from services.auth.second_factor.service import SecondFactorService
from services.auth.session import Client
from services.auth.settings import AuthSettings
from services.auth.shared_throttle import SharedThrottle
from services.auth.user_client import UserClient
from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import Denied, NotFound, Unauthenticated
from services.kernel.identity.identity import Identity
from services.kernel.runtime.live_settings import LiveSettings

REMEDY = "POST /api/users/sessions:confirm"


class StepUpRequired(Denied):
    """Enter the password again (POST /api/users/sessions:confirm, AuthService.ConfirmPassword) and repeat the call."""

    reason = Reason.STEP_UP_REQUIRED


class WrongPassword(Unauthenticated):
    """Wrong password."""

    reason = Reason.INVALID_CREDENTIALS


class StepUp:
    """Remembers by session when the password was entered, and refuses what needs a recent one."""

    def __init__(
        self,
        auth: Repositories[AuthRepository],
        users: UserClient,
        throttle: SharedThrottle,
        second_factor: SecondFactorService,
        settings: LiveSettings[AuthSettings],
        clock: Clock,
    ) -> None:
        self._auth = auth
        self._users = users
        self._throttle = throttle
        self._second_factor = second_factor
        self._settings = settings
        self._clock = clock

    async def require_of(self, caller: Identity) -> None:
        """Raises StepUpRequired unless the caller is a user in a session in which the password was entered lately."""
        await self.require(caller.user_id, _session_of(caller))

    async def require(self, user_id: str, session_id: str) -> None:
        """Raises StepUpRequired unless the password was entered lately in this session of the user's.

        A password that was entered before the user had a second factor does not count: nobody asked for a code with it.
        API keys and services that act for a user have no session, and no password: they cannot at all.
        """
        life_s = self._settings.value.step_up_s
        async with self._auth.read() as auth:
            session = await auth.find_session(user_id, session_id) if session_id else None
        if session is None:
            raise StepUpRequired("log in with the password: without a session this cannot be done", remedy="login")
        since = await self._second_factor.enabled_since(user_id)
        is_weak = since is not None and session.auth_time <= since
        if is_weak or session.auth_time + timedelta(seconds=life_s) <= self._clock.now():
            raise StepUpRequired(remedy=REMEDY, max_age_s=life_s)

    async def confirm(self, caller: Identity, password: str, code: str, client: Client) -> datetime:
        """Enter the password, and a code where there is a second factor; the time until which that counts.

        Raises: StepUpRequired without a session, WrongPassword, TooManyLogins, SecondFactorRequired, WrongCode.
        """
        user = await self._users.find(caller.user_id)
        if user is None:
            raise NotFound("user", caller.user_id)
        await self._throttle.admit(user.username, client.address)
        try:
            verified = await self._users.verify_password(user.username, password)
        except Unauthenticated:
            await self._throttle.failed(user.username, client.address)
            raise WrongPassword from None
        await self._second_factor.require(user.user_id, code)
        await self._throttle.succeeded(user.username, client.address)
        now = self._clock.now()
        async with self._auth() as auth:
            if verified.user_id != user.user_id or not await auth.confirm_session(
                user.user_id, _session_of(caller), now
            ):
                raise StepUpRequired("log in with the password: without a session this cannot be done", remedy="login")
        return now + timedelta(seconds=self._settings.value.step_up_s)


def _session_of(caller: Identity) -> str:
    """The session that the caller is in; what acts for a user may bear a session's id, and is not its user."""
    return "" if caller.actor or caller.api_key_id else caller.session_id
