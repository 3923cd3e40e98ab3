"""Sessions, refresh tokens and watermarks of users in the database. What users ask for is scoped by the user."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.models import ApiKeyRow, KnownNetworkRow, RefreshTokenRow, SessionRow, SessionWatermarkRow
from services.auth.revocations.repository import RevocationRepository
from services.auth.session import RefreshToken, Revocation, Session, SessionWatermark
from services.auth.session_events import SessionEvents
from services.kernel.audit.draft import describe
from services.kernel.identifiers import new_id

NETWORKS_KEPT = timedelta(days=400)

MOST_NETWORKS = 100
"""Networks of a user that are remembered, those of the latest logins."""


class AuthRepository(RevocationRepository):
    """Reads and writes of the auth database, API keys aside."""

    def __init__(self, session: AsyncSession, events: SessionEvents) -> None:
        super().__init__(session)
        self._events = events

    # Sessions and their refresh tokens ---------------------------------------------------------------------------

    async def add_session(self, session: Session) -> None:
        """A new session and its event."""
        describe(f"users/{session.user_id}/sessions/{session.session_id}")
        self._session.add(
            SessionRow(
                user_id=session.user_id,
                session_id=session.session_id,
                create_time=session.create_time,
                last_seen_time=session.last_seen_time,
                client_address=session.client_address[:64],
                user_agent=session.user_agent[:256],
                expire_time=session.expire_time,
                access_expire_time=session.access_expire_time,
                auth_time=session.auth_time,
                revoke_time=None,
            )
        )
        await self._events.began(self._session, session)

    async def note_network(self, session: Session, network: str) -> None:
        """Remember where a user logs in from; the event of a new address, unless it is the first one."""
        known = (
            await self._session.scalars(select(KnownNetworkRow).where(KnownNetworkRow.user_id == session.user_id))
        ).all()
        row = next((row for row in known if row.network == network[:64]), None)
        if row is not None:
            row.last_login_time = session.create_time
            return
        if len(known) >= MOST_NETWORKS:
            await self._session.delete(min(known, key=lambda row: row.last_login_time))
        added = KnownNetworkRow(user_id=session.user_id, network=network[:64], last_login_time=session.create_time)
        self._session.add(added)
        if known:
            await self._events.from_new_address(self._session, session)

    async def confirm_session(self, user_id: str, session_id: str, now: datetime) -> bool:
        """Note that the password was entered in an open session; False where there is none."""
        confirmed = await self._session.execute(
            update(SessionRow)
            .where(SessionRow.user_id == user_id, SessionRow.session_id == session_id)
            .where(SessionRow.revoke_time.is_(None), SessionRow.expire_time > now)
            .values(auth_time=now)
            .returning(SessionRow.session_id)
        )
        return confirmed.first() is not None

    async def find_session(self, user_id: str, session_id: str) -> Session | None:
        """A user's session that was not ended, to look at."""
        row = await self._session.get(SessionRow, (user_id, session_id))
        return _session(row) if row is not None and row.revoke_time is None else None

    async def get_open_session(self, user_id: str, session_id: str) -> Session | None:
        """A user's session that was not ended; nobody ends it before this transaction does."""
        row = await self._session.get(SessionRow, (user_id, session_id), with_for_update=True)
        return _session(row) if row is not None and row.revoke_time is None else None

    async def extend_session(self, session: Session, now: datetime, ends: datetime, access_ends: datetime) -> None:
        """The session was refreshed: its new tokens end then."""
        await self._session.execute(
            update(SessionRow)
            .where(SessionRow.user_id == session.user_id, SessionRow.session_id == session.session_id)
            .values(
                last_seen_time=now, expire_time=ends, access_expire_time=max(access_ends, session.access_expire_time)
            )
        )

    async def list_open_sessions(
        self, user_id: str, now: datetime, before_id: str | None, limit: int
    ) -> Sequence[Session]:
        """A user's sessions, newest first: ids grow with time."""
        query = (
            select(SessionRow)
            .where(SessionRow.user_id == user_id, SessionRow.revoke_time.is_(None), SessionRow.expire_time > now)
            .order_by(SessionRow.session_id.desc())
            .limit(limit)
        )
        if before_id is not None:
            query = query.where(SessionRow.session_id < before_id)
        return [_session(row) for row in await self._session.scalars(query)]

    async def end_oldest_sessions(self, user_id: str, now: datetime, most: int) -> list[Revocation]:
        """End the open sessions of a user beyond so many, those that were refreshed longest ago. Answers these."""
        query = (
            select(SessionRow.session_id)
            .where(SessionRow.user_id == user_id, SessionRow.revoke_time.is_(None), SessionRow.expire_time > now)
            .order_by(SessionRow.last_seen_time.desc(), SessionRow.session_id.desc())
            .offset(most)
        )
        excess = (await self._session.scalars(query)).all()
        return [one for session_id in excess for one in await self.end_sessions(user_id, now, only=session_id)]

    async def count_open_sessions(self, now: datetime) -> int:
        """Number of sessions."""
        query = select(func.count()).where(SessionRow.revoke_time.is_(None), SessionRow.expire_time > now)
        return await self._session.scalar(query) or 0

    async def end_sessions(
        self, user_id: str, now: datetime, *, only: str | None = None, but: str | None = None
    ) -> list[Revocation]:
        """End a user's open sessions: all, only one, or all but one. Answers what was open."""
        ending = update(SessionRow).where(SessionRow.user_id == user_id, SessionRow.revoke_time.is_(None))
        if only is not None:
            ending = ending.where(SessionRow.session_id == only)
        if but:
            ending = ending.where(SessionRow.session_id != but)
        ended = await self._session.execute(
            ending.values(revoke_time=now).returning(SessionRow.session_id, SessionRow.access_expire_time)
        )
        revocations = [Revocation(session_id, access_ends) for session_id, access_ends in ended.all()]
        await self.add_revocations(revocations)
        await self._events.ended(self._session, user_id, [revocation.revoked_id for revocation in revocations])
        return revocations

    async def add_refresh_token(self, token_hash: str, token: RefreshToken) -> None:
        """The hash of a new refresh token."""
        self._session.add(
            RefreshTokenRow(
                token_hash=token_hash,
                user_id=token.user_id,
                session_id=token.session_id,
                expire_time=token.expire_time,
                use_time=None,
            )
        )

    async def find_refresh_token(self, token_hash: str) -> RefreshToken | None:
        """A refresh token by its hash."""
        row = await self._session.get(RefreshTokenRow, token_hash)
        return RefreshToken(row.user_id, row.session_id, row.expire_time, row.use_time is not None) if row else None

    async def use_refresh_token(self, token_hash: str, now: datetime) -> bool:
        """Use a refresh token up. Of many who try only one does, the others get False."""
        used = await self._session.execute(
            update(RefreshTokenRow)
            .where(RefreshTokenRow.token_hash == token_hash, RefreshTokenRow.use_time.is_(None))
            .values(use_time=now)
            .returning(RefreshTokenRow.token_hash)
        )
        return used.first() is not None

    # Watermarks, and deletion of what has expired -----------------------------------------------------------------

    async def find_watermark(self, user_id: str) -> SessionWatermark | None:
        """A user's watermark."""
        row = await self._session.get(SessionWatermarkRow, user_id)
        return SessionWatermark(row.end_time, row.delegation_id) if row else None

    async def lock_watermark(self, user_id: str, long_ago: datetime) -> SessionWatermark:
        """A user's watermark, which nobody else changes before this transaction ends; made where there is none."""
        row = await self._session.get(SessionWatermarkRow, user_id, with_for_update=True)
        if row is None:
            try:
                async with self._session.begin_nested():
                    values = {"user_id": user_id, "end_time": long_ago, "delegation_id": new_id()}
                    await self._session.execute(insert(SessionWatermarkRow).values(**values))
            except IntegrityError:
                # Somebody else made it at the same time.
                pass
            row = await self._session.get_one(SessionWatermarkRow, user_id, with_for_update=True)
        return SessionWatermark(row.end_time, row.delegation_id)

    async def set_watermark(self, user_id: str, watermark: SessionWatermark) -> None:
        """Change a user's watermark."""
        await self._session.execute(
            update(SessionWatermarkRow)
            .where(SessionWatermarkRow.user_id == user_id)
            .values(end_time=watermark.end_time, delegation_id=watermark.delegation_id)
        )

    async def forget_expired(self, now: datetime) -> None:
        """Delete what has expired and has no effect any more."""
        await self.forget_expired_revocations(now)
        await self._session.execute(delete(RefreshTokenRow).where(RefreshTokenRow.expire_time <= now))
        await self._session.execute(delete(SessionRow).where(SessionRow.expire_time <= now))
        await self._session.execute(delete(ApiKeyRow).where(ApiKeyRow.expire_time <= now))
        long_ago = now - NETWORKS_KEPT
        await self._session.execute(delete(KnownNetworkRow).where(KnownNetworkRow.last_login_time <= long_ago))


def _session(row: SessionRow) -> Session:
    return Session(
        user_id=row.user_id,
        session_id=row.session_id,
        create_time=row.create_time,
        last_seen_time=row.last_seen_time,
        client_address=row.client_address,
        user_agent=row.user_agent,
        expire_time=row.expire_time,
        access_expire_time=row.access_expire_time,
        auth_time=row.auth_time or row.create_time,
        revoke_time=row.revoke_time,
    )
