"""Revocations in the database."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.models import RevocationRow
from services.auth.session import Revocation


class RevocationRepository:
    """Sessions and keys that are revoked before their tokens expire; written in the transaction that ends them."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add_revocations(self, revocations: Iterable[Revocation]) -> None:
        """Add revocations, numbered in the order of commits: units of work write one after the other."""
        added = list(revocations)
        if not added:
            return
        last = await self.last_number()
        rows = [
            {"revoked_id": r.revoked_id, "expire_time": r.expire_time, "number": number}
            for number, r in enumerate(added, last + 1)
        ]
        await self._session.execute(insert(RevocationRow), rows)

    async def last_number(self) -> int:
        """The number of the last revocation; 0 where there is none."""
        return await self._session.scalar(select(func.max(RevocationRow.number))) or 0

    async def list_revocations_after(self, number: int, limit: int) -> tuple[Sequence[Revocation], int]:
        """The next revocations after a number, and the number of the last of these."""
        query = select(RevocationRow).where(RevocationRow.number > number).order_by(RevocationRow.number).limit(limit)
        rows = (await self._session.scalars(query)).all()
        return [Revocation(row.revoked_id, row.expire_time) for row in rows], rows[-1].number if rows else number

    async def forget_expired_revocations(self, now: datetime) -> None:
        """Delete those whose tokens have expired, but for the last one: its number is not given again."""
        last = select(func.max(RevocationRow.number)).scalar_subquery()
        await self._session.execute(
            delete(RevocationRow).where(RevocationRow.expire_time <= now, RevocationRow.number < last)
        )

    async def list_revocations(self, now: datetime) -> Sequence[Revocation]:
        """Revocations whose tokens have not expired."""
        rows = await self._session.scalars(select(RevocationRow).where(RevocationRow.expire_time > now))
        return [Revocation(row.revoked_id, row.expire_time) for row in rows]
