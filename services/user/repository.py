"""Users in the database, and the session revocations that auth has not taken yet."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from redfire.reasons import Reason
from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.expression import ColumnElement

from services.kernel.audit.draft import describe
from services.kernel.errors import Conflict, NotFound
from services.user.contact import email_key
from services.user.models import EmailTokenRow, SessionRevocationRow, UserRow
from services.user.user import Credentials, EmailToken, SessionRevocation, User, UserFilter, UserStatus
from services.user.user_events import UserEvents


class UsernameTaken(Conflict):
    """The user name is taken."""

    reason = Reason.USERNAME_TAKEN


class EmailTaken(Conflict):
    """The e-mail address is taken."""

    reason = Reason.EMAIL_TAKEN


class UserRepository:
    """All reads and writes of the user database."""

    def __init__(self, session: AsyncSession, user_events: UserEvents) -> None:
        self._session = session
        self._user_events = user_events

    async def add(self, user: User, password_hash: str) -> None:
        """Write a new user and its event. Raises UsernameTaken, EmailTaken."""
        describe(f"users/{user.user_id}", after={"username": user.username, "role": user.role})
        values = {"password_hash": password_hash, "user_id": user.user_id, "create_time": user.create_time}
        await self._write(insert(UserRow).values(**values, **_values(user)))
        await self._user_events.registered(self._session, user)

    async def save(self, before: User, user: User) -> None:
        """Write a user's changed values and their events. Raises EmailTaken."""
        old, new = _values(before), _values(user)
        changed = [name for name in new if new[name] != old[name] and name != "update_time"]
        values = ({name: each[name] for name in changed} for each in (old, new))
        describe(f"users/{user.user_id}", before=next(values), after=next(values))
        await self._write(update(UserRow).where(UserRow.user_id == user.user_id).values(**_values(user)))
        await self._user_events.changed(self._session, before, user)

    async def refuse_taken(self, username: str, email: str) -> None:
        """Raises UsernameTaken or EmailTaken; somebody may still come in between, which `add` notices."""
        if await self._exists(UserRow.username_key == username.casefold()):
            raise UsernameTaken
        if email and await self._exists(UserRow.email_key == email_key(email)):
            raise EmailTaken

    async def get(self, user_id: str) -> User:
        """A user. Raises NotFound."""
        return (await self.get_credentials(user_id)).user

    async def get_for_change(self, user_id: str) -> User:
        """A user whom nobody else changes before this transaction ends. Raises NotFound."""
        row = await self._session.scalar(select(UserRow).where(UserRow.user_id == user_id).with_for_update())
        if row is None:
            raise NotFound("user", user_id)
        return _user(row)

    async def get_credentials(self, user_id: str) -> Credentials:
        """A user with the hash of the password. Raises NotFound."""
        row = await self._session.get(UserRow, user_id)
        if row is None:
            raise NotFound("user", user_id)
        return Credentials(_user(row), row.password_hash)

    async def find_credentials(self, username: str) -> Credentials | None:
        """The user with this name or e-mail address, whatever its case."""
        if "\0" in username:
            # PostgreSQL refuses such text with an error of its own.
            return None
        # No user name has an @.
        condition = (
            UserRow.email_key == email_key(username)
            if "@" in username
            else UserRow.username_key == username.strip().casefold()
        )
        row = await self._session.scalar(select(UserRow).where(condition))
        return Credentials(_user(row), row.password_hash) if row else None

    async def list_page(self, filter_: UserFilter, before_id: str | None, limit: int) -> Sequence[User]:
        """Users, newest first: ids grow with time."""
        query = select(UserRow).order_by(UserRow.user_id.desc()).limit(limit)
        if before_id is not None:
            query = query.where(UserRow.user_id < before_id)
        if filter_.role:
            query = query.where(UserRow.role == filter_.role)
        if filter_.status:
            query = query.where(UserRow.status == filter_.status.value)
        if text := filter_.query.replace("\0", "").strip().casefold():
            matches = (column.contains(text, autoescape=True) for column in (UserRow.username_key, UserRow.email_key))
            query = query.where(or_(*matches))
        return [_user(row) for row in await self._session.scalars(query)]

    async def count_active_admins(self) -> int:
        """Administrators who may log in; they stay so until this transaction ends."""
        active = (UserRow.role == "admin", UserRow.status == UserStatus.ACTIVE.value)
        query = select(UserRow.user_id).where(*active).order_by(UserRow.user_id).with_for_update()
        return len((await self._session.scalars(query)).all())

    async def has_admin(self) -> bool:
        """Test for any administrator."""
        return await self._exists(UserRow.role == "admin")

    async def replace_password(self, user_id: str, old_hash: str, new_hash: str, now: datetime) -> bool:
        """Set another hash unless somebody else did meanwhile, which is False."""
        changed = await self._session.execute(
            update(UserRow)
            .where(UserRow.user_id == user_id, UserRow.password_hash == old_hash)
            .values(password_hash=new_hash, update_time=now)
            .returning(UserRow.user_id)
        )
        return changed.first() is not None

    async def add_password_change(self, user_id: str, except_session_id: str) -> None:
        """Write the event of another password."""
        await self._user_events.password_changed(self._session, user_id, except_session_id)

    async def add_email_token(self, token: EmailToken, text: str) -> None:
        """Write a token in the place of the user's others, and its event, which alone has its text."""
        query = delete(EmailTokenRow)
        await self._session.execute(
            query.where(or_(EmailTokenRow.user_id == token.user_id, EmailTokenRow.expire_time <= token.create_time))
        )
        self._session.add(
            EmailTokenRow(
                token_hash=token.token_hash,
                user_id=token.user_id,
                email=token.email,
                create_time=token.create_time,
                expire_time=token.expire_time,
            )
        )
        await self._user_events.email_verification_requested(self._session, token, text)

    async def drop_email_tokens(self, user_id: str) -> None:
        """Have a user's tokens be dead."""
        await self._session.execute(delete(EmailTokenRow).where(EmailTokenRow.user_id == user_id))

    async def take_email_token(self, token_hash: str) -> EmailToken | None:
        """Use a token up; of many who try only one gets it."""
        taken = await self._session.scalars(
            delete(EmailTokenRow).where(EmailTokenRow.token_hash == token_hash).returning(EmailTokenRow)
        )
        return _email_token(taken.first())

    async def find_email_token(self, user_id: str) -> EmailToken | None:
        """The token that was sent to a user last."""
        return _email_token(await self._session.scalar(select(EmailTokenRow).where(EmailTokenRow.user_id == user_id)))

    async def add_revocation(self, revocation: SessionRevocation) -> None:
        """Auth has to end these sessions, however long it takes to reach it."""
        self._session.add(
            SessionRevocationRow(
                ending_id=revocation.revocation_id,
                user_id=revocation.user_id,
                except_session_id=revocation.except_session_id,
                api_keys=revocation.api_keys,
                second_factor=revocation.second_factor,
            )
        )

    async def list_revocations(self) -> Sequence[SessionRevocation]:
        """Pending revocations of sessions, oldest first."""
        query = select(SessionRevocationRow).order_by(SessionRevocationRow.ending_id).limit(100)
        rows = await self._session.scalars(query)
        return [
            SessionRevocation(r.ending_id, r.user_id, r.except_session_id, r.api_keys, r.second_factor) for r in rows
        ]

    async def remove_revocation(self, revocation_id: str) -> None:
        """Auth has ended them."""
        await self._session.execute(delete(SessionRevocationRow).where(SessionRevocationRow.ending_id == revocation_id))

    async def _exists(self, condition: ColumnElement[bool]) -> bool:
        return bool(await self._session.scalar(select(func.count()).select_from(UserRow).where(condition)))

    async def _write(self, statement: Any) -> None:
        try:
            await self._session.execute(statement)
        except IntegrityError as error:
            # Both databases name the constraint or its column.
            raise (EmailTaken if "email_key" in str(error.orig) else UsernameTaken) from None


def _values(user: User) -> dict[str, Any]:
    return {
        "username": user.username,
        "username_key": user.username.casefold(),
        "email": user.email,
        "email_key": email_key(user.email) if user.email else None,
        "phone": user.phone,
        "display_name": user.display_name,
        "role": user.role,
        "status": user.status.value,
        "update_time": user.update_time,
        "email_verified": user.email_verified,
    }


def _email_token(row: EmailTokenRow | None) -> EmailToken | None:
    if row is None:
        return None
    return EmailToken(row.token_hash, row.user_id, row.email, row.create_time, row.expire_time)


def _user(row: UserRow) -> User:
    return User(
        user_id=row.user_id,
        username=row.username,
        email=row.email,
        phone=row.phone,
        display_name=row.display_name,
        role=row.role,
        status=UserStatus(row.status),
        create_time=row.create_time,
        update_time=row.update_time,
        email_verified=row.email_verified,
    )
