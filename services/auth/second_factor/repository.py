"""Second factors and recovery codes in the database, each read and written for one user."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.models import RecoveryCodeRow, SecondFactorRow


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """A user's authenticator app; it counts from `confirm_time` on."""

    sealed_secret: str = field(repr=False)
    create_time: datetime
    confirm_time: datetime | None

    @property
    def confirmed(self) -> bool:
        """True when it counts."""
        return self.confirm_time is not None


class SecondFactorRepository:
    """Reads and writes of second factors."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, user_id: str) -> SecondFactor | None:
        """The user's second factor, confirmed or not."""
        row = await self._session.get(SecondFactorRow, user_id)
        return SecondFactor(row.sealed_secret, row.create_time, row.confirm_time) if row else None

    async def begin(self, user_id: str, sealed_secret: str, now: datetime) -> None:
        """Write one that is not confirmed, in the place of another such one."""
        row = SecondFactorRow(
            user_id=user_id, sealed_secret=sealed_secret, create_time=now, confirm_time=None, last_step=0
        )
        await self._session.merge(row)

    async def confirm(self, user_id: str, sealed_secret: str, now: datetime) -> bool:
        """Have it count; False when it is another one by now, or counts already."""
        confirmed = await self._session.execute(
            update(SecondFactorRow)
            .where(SecondFactorRow.user_id == user_id, SecondFactorRow.sealed_secret == sealed_secret)
            .where(SecondFactorRow.confirm_time.is_(None))
            .values(confirm_time=now)
            .returning(SecondFactorRow.user_id)
        )
        return confirmed.first() is not None

    async def use_step(self, user_id: str, step: int) -> bool:
        """Use a time step's code up; False when it, or a later one, was used before."""
        used = await self._session.execute(
            update(SecondFactorRow)
            .where(SecondFactorRow.user_id == user_id, SecondFactorRow.last_step < step)
            .values(last_step=step)
            .returning(SecondFactorRow.user_id)
        )
        return used.first() is not None

    async def use_recovery_code(self, user_id: str, code_hash: str) -> bool:
        """Use a recovery code up; of many who try only one does."""
        used = await self._session.execute(
            delete(RecoveryCodeRow)
            .where(RecoveryCodeRow.user_id == user_id, RecoveryCodeRow.code_hash == code_hash)
            .returning(RecoveryCodeRow.user_id)
        )
        return used.first() is not None

    async def replace_recovery_codes(self, user_id: str, code_hashes: Iterable[str]) -> None:
        """Write new recovery codes in the place of all old ones."""
        await self._session.execute(delete(RecoveryCodeRow).where(RecoveryCodeRow.user_id == user_id))
        rows = [{"user_id": user_id, "code_hash": code_hash} for code_hash in code_hashes]
        await self._session.execute(insert(RecoveryCodeRow), rows)

    async def count_recovery_codes(self, user_id: str) -> int:
        """Number of recovery codes that are not used yet."""
        query = select(func.count()).where(RecoveryCodeRow.user_id == user_id)
        return await self._session.scalar(query) or 0

    async def remove(self, user_id: str) -> None:
        """Delete the second factor and its recovery codes."""
        await self._session.execute(delete(RecoveryCodeRow).where(RecoveryCodeRow.user_id == user_id))
        await self._session.execute(delete(SecondFactorRow).where(SecondFactorRow.user_id == user_id))
