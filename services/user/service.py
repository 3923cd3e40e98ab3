"""Rules of users: registration, profiles, and passwords."""

import re
import unicodedata
from dataclasses import replace
from functools import partial

from redfire.reasons import Reason

from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import Invalid, NotFound, ResourceExhausted, Unauthenticated
from services.kernel.identifiers import new_id
from services.kernel.identity.identity import Identity
from services.kernel.redis.counts import SharedCounts
from services.kernel.redis.read_cache import ReadCache
from services.kernel.runtime.live_settings import LiveSettings
from services.user.contact import parse_email, parse_phone
from services.user.email_verification import EmailVerification
from services.user.password import Passwords, check_password
from services.user.repository import UsernameTaken, UserRepository
from services.user.session_revocations import SessionRevocations
from services.user.settings import UserSettings
from services.user.step_up import StepUp
from services.user.user import ProfileChange, SessionRevocation, User, UserStatus

ME = "me"
USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{2,49}")
FAILURES_WINDOW_S = 900.0
MAX_DISPLAY_NAME = 100


class InvalidCredentials(Unauthenticated):
    """Wrong name or wrong password."""

    reason = Reason.INVALID_CREDENTIALS


class UserService:
    """Users, and the check of their passwords."""

    def __init__(
        self,
        users: Repositories[UserRepository],
        passwords: Passwords,
        revocations: SessionRevocations,
        profiles: ReadCache[User],
        wrong_changes: SharedCounts,
        step_up: StepUp,
        verification: EmailVerification,
        settings: LiveSettings[UserSettings],
        clock: Clock,
    ) -> None:
        self._users = users
        self._step_up = step_up
        self._verification = verification
        self._passwords = passwords
        self._revocations = revocations
        # For who looks at a profile; passwords, roles and status are decided on by the database alone.
        self._profiles = profiles
        self._settings = settings
        self._clock = clock
        self._wrong_changes = wrong_changes

    async def register_user(
        self, username: str, email: str, password: str, phone: str = "", display_name: str = "", role: str = ""
    ) -> User:
        """A new user; the role is the settings' unless an administrator gives one.

        Raises: Invalid, UsernameTaken, EmailTaken, TooManyPasswords.
        """
        if not USERNAME.fullmatch(username):
            raise Invalid("3 to 50 letters, digits, _, . or -, the first a letter or digit", field="username")
        self._check_password(password, username, email)
        now = self._clock.now()
        user = User(
            user_id=new_id(),
            username=username,
            email=parse_email(email),
            phone=parse_phone(phone),
            display_name=_display_name(display_name, "display_name") or username,
            role=role or self._settings.value.default_role,
            status=UserStatus.ACTIVE,
            create_time=now,
            update_time=now,
            # Whoever gives a role is an operator, who answers for the address.
            email_verified=bool(role),
        )
        async with self._users.read() as users:
            await users.refuse_taken(user.username, user.email)
        return await self._add(user, password)

    async def create_first_admin(self, password: str) -> User | None:
        """The user `admin`, without an e-mail address, where there is no administrator yet; None where there is.

        Raises UsernameTaken when somebody else has the name.
        """
        try:
            async with self._users.read() as users:
                if await users.has_admin():
                    return None
                await users.refuse_taken("admin", "")
            now = self._clock.now()
            admin = User(new_id(), "admin", "", "", "Administrator", "admin", UserStatus.ACTIVE, now, now)
            return await self._add(admin, password)
        except UsernameTaken:
            async with self._users.read() as users:
                if await users.has_admin():
                    return None  # another replica made it a moment ago
            raise

    async def get_user(self, caller_id: str, user_id: str, *, any_user: bool = False) -> User:
        """A user: `me`, the caller's own id, or with `any_user` anybody's. Raises NotFound."""
        looked_up = user_id if any_user and user_id != ME else own(caller_id, user_id)
        return await self._profiles.get(looked_up, partial(self.lookup_user, looked_up))

    async def lookup_user(self, user_id: str) -> User:
        """Any user. Raises NotFound."""
        async with self._users.read() as users:
            return await users.get(user_id)

    async def update_user(self, caller: Identity, user_id: str, change: ProfileChange) -> User:
        """Change the caller's own profile; another e-mail address needs a recent password.

        Raises: NotFound for others', Invalid, EmailTaken, Denied (STEP_UP_REQUIRED).
        """
        owner_id = own(caller.user_id, user_id)
        email = None if change.email is None else parse_email(change.email, "user.email")
        phone = None if change.phone is None else parse_phone(change.phone, "user.phone")
        display_name = None if change.display_name is None else _display_name(change.display_name, "user.display_name")
        if email is not None and email != (await self.lookup_user(owner_id)).email:
            await self._step_up.require(caller)
        async with self._profiles.changing(owner_id), self._users() as users:
            user = await users.get_for_change(owner_id)
            if email is not None and email != user.email and self._verification.is_demanded:
                # It is the user's once it is verified.
                await users.refuse_taken("", email)
                await self._verification.begin(users, owner_id, email)
                email = None
            changed = replace(
                user,
                email=user.email if email is None else email,
                email_verified=user.email_verified and email in (None, user.email),
                phone=user.phone if phone is None else phone,
                display_name=user.display_name if display_name is None else display_name or user.username,
            )
            if changed == user:
                return user
            changed = replace(changed, update_time=self._clock.now())
            await users.save(user, changed)
        return changed

    async def change_password(self, caller: Identity, user_id: str, old_password: str, new_password: str) -> None:
        """Set the caller's own password; all sessions but the caller's end, and all API keys.

        One who knew the old password may have made keys; and the old password alone changes nothing where there is a
        second factor. Raises: NotFound for others', Denied (STEP_UP_REQUIRED), Invalid, InvalidCredentials for a wrong
        old one, TooManyPasswords, ResourceExhausted after too many wrong ones.
        """
        owner_id = own(caller.user_id, user_id)
        await self._step_up.require(caller)
        if await self._wrong_changes.get(owner_id) >= self._settings.value.password_change_failures:
            raise ResourceExhausted("too many wrong passwords", retry_after_s=FAILURES_WINDOW_S)
        async with self._users.read() as users:
            credentials = await users.get_credentials(owner_id)
        self._check_password(new_password, credentials.user.username, credentials.user.email, "new_password")
        if not await self._passwords.verify(old_password, credentials.password_hash):
            await self._wrong_changes.add(owner_id)
            raise InvalidCredentials
        await self._wrong_changes.forget(owner_id)
        ends = SessionRevocation(new_id(), owner_id, caller.session_id, api_keys=True)
        await self._set_password(owner_id, credentials.password_hash, new_password, ends)

    async def reset_password(self, username: str, new_password: str, *, second_factor: bool = False) -> User:
        """Set a user's password without the old one, for the operator; all sessions and API keys end.

        Another who had the account may have made keys. With `second_factor` that is removed: its owner has lost it.
        Raises: NotFound, Invalid.
        """
        async with self._users.read() as users:
            credentials = await users.find_credentials(username)
        if credentials is None:
            raise NotFound("user", username)
        self._check_password(new_password, credentials.user.username, credentials.user.email)
        user_id = credentials.user.user_id
        ends = SessionRevocation(new_id(), user_id, api_keys=True, second_factor=second_factor)
        await self._set_password(user_id, credentials.password_hash, new_password, ends)
        return credentials.user

    async def find_by_name(self, username: str) -> User:
        """The user with a name or e-mail address, for the operator. Raises NotFound."""
        async with self._users.read() as users:
            credentials = await users.find_credentials(username)
        if credentials is None:
            raise NotFound("user", username)
        return credentials.user

    async def verify_password(self, username: str, password: str) -> User:
        """The user whose password it is, whatever the status; the same work is done for names that nobody has.

        Raises: InvalidCredentials, TooManyPasswords.
        """
        async with self._users.read() as users:
            credentials = await users.find_credentials(username)
        right = await self._passwords.verify(password, credentials.password_hash if credentials else None)
        if credentials is None or not right:
            raise InvalidCredentials
        if self._passwords.is_outdated(credentials.password_hash):
            # Only now is the password known that the stronger hash is made of.
            fresh = await self._passwords.hash(password)
            async with self._profiles.changing(credentials.user.user_id), self._users() as users:
                await users.replace_password(
                    credentials.user.user_id, credentials.password_hash, fresh, credentials.user.update_time
                )
        return credentials.user

    def _check_password(self, password: str, username: str, email: str, field: str = "password") -> None:
        refuse_common = self._settings.value.refuse_common_passwords
        check_password(password, username, field, email=email, refuse_common=refuse_common)

    async def _add(self, user: User, password: str) -> User:
        password_hash = await self._passwords.hash(password)
        async with self._users() as users:
            await users.add(user, password_hash)
            if self._verification.is_missing(user):
                await self._verification.begin(users, user.user_id, user.email)
        return user

    async def _set_password(
        self, user_id: str, old_hash: str, new_password: str, revocation: SessionRevocation
    ) -> None:
        fresh = await self._passwords.hash(new_password)
        async with self._profiles.changing(user_id), self._users() as users:
            if not await users.replace_password(user_id, old_hash, fresh, self._clock.now()):
                # Somebody changed it a moment ago: what was verified is the old password no more.
                raise InvalidCredentials
            # One who had the old password may have begun to move the account to an address of theirs.
            await users.drop_email_tokens(user_id)
            await users.add_password_change(user_id, revocation.except_session_id)
            await users.add_revocation(revocation)
        await self._revocations.deliver(revocation)


def own(caller_id: str, user_id: str) -> str:
    """The caller's id for `me` or itself; another's is NotFound, whether it exists or not."""
    if user_id not in (ME, caller_id):
        raise NotFound("user", user_id)
    return caller_id


def _display_name(text: str, field: str) -> str:
    if len(text) > MAX_DISPLAY_NAME or any(unicodedata.category(character) == "Cc" for character in text):
        raise Invalid(f"at most {MAX_DISPLAY_NAME} characters, none of them a control character", field=field)
    return text.strip()
