"""Revocations in the database."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.models import RevocationRow
from services.auth.session import Revocation


class RevocationRepository:
    """Sessions and keys that are revoked before their tokens expire; written in the transaction that ends them."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add_revocations(self, revocations: Iterable[Revocation]) -> None:
        """Add revocations."""
        rows = [{"revoked_id": r.revoked_id, "expire_time": r.expire_time} for r in revocations]
        if rows:
            await self._session.execute(insert(RevocationRow), rows)

    async def list_revocations(self, now: datetime) -> Sequence[Revocation]:
        """Revocations whose tokens have not expired."""
        rows = await self._session.scalars(select(RevocationRow).where(RevocationRow.expire_time > now))
        return [Revocation(row.revoked_id, row.expire_time) for row in rows]
