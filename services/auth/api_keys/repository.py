"""API keys in the database. What users ask for is scoped by the user."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, or_, select, update

from services.auth.api_keys.api_key import ApiKey
from services.auth.models import ApiKeyRow
from services.auth.revocations.repository import RevocationRepository
from services.kernel.audit.draft import describe


class ApiKeyRepository(RevocationRepository):
    """Reads and writes of API keys."""

    async def add(self, key: ApiKey, secret_hash: str) -> None:
        """A new key."""
        describe(f"users/{key.user_id}/apiKeys/{key.api_key_id}", after={"scopes": key.scopes})
        self._session.add(
            ApiKeyRow(
                user_id=key.user_id,
                api_key_id=key.api_key_id,
                secret_hash=secret_hash,
                display_name=key.display_name,
                scopes=list(key.scopes),
                allowed_cidrs=list(key.allowed_cidrs),
                create_time=key.create_time,
                expire_time=key.expire_time,
                last_used_time=None,
                revoke_time=None,
                parent_id=key.parent_id or None,
            )
        )

    async def find(self, user_id: str, api_key_id: str) -> ApiKey | None:
        """A user's key."""
        row = await self._session.get(ApiKeyRow, (user_id, api_key_id))
        return _api_key(row) if row else None

    async def find_by_hash(self, secret_hash: str) -> ApiKey | None:
        """The key whose secret has this hash; the time of the look-up reveals nothing of any secret."""
        row = await self._session.scalar(select(ApiKeyRow).where(ApiKeyRow.secret_hash == secret_hash))
        return _api_key(row) if row else None

    async def list_open(self, user_id: str, now: datetime, before_id: str | None, limit: int) -> Sequence[ApiKey]:
        """A user's keys that are good, newest first: ids grow with time."""
        query = (
            select(ApiKeyRow)
            .where(ApiKeyRow.user_id == user_id, ApiKeyRow.revoke_time.is_(None))
            .where((ApiKeyRow.expire_time.is_(None)) | (ApiKeyRow.expire_time > now))
            .order_by(ApiKeyRow.api_key_id.desc())
            .limit(limit)
        )
        if before_id is not None:
            query = query.where(ApiKeyRow.api_key_id < before_id)
        return [_api_key(row) for row in await self._session.scalars(query)]

    async def count_open(self, user_id: str, now: datetime) -> int:
        """Number of a user's keys that are good."""
        query = select(func.count()).where(ApiKeyRow.user_id == user_id, ApiKeyRow.revoke_time.is_(None))
        query = query.where(or_(ApiKeyRow.expire_time.is_(None), ApiKeyRow.expire_time > now))
        return await self._session.scalar(query) or 0

    async def revoke(self, user_id: str, now: datetime, *, only: str | None = None) -> list[str]:
        """End a user's keys: all, or one with those that were made with it, and with these, and so on.

        Answers the ids of those that were not ended before; none where `only` is not an open one.
        """
        ending = update(ApiKeyRow).where(ApiKeyRow.user_id == user_id, ApiKeyRow.revoke_time.is_(None))
        if only is not None:
            ending = ending.where(ApiKeyRow.api_key_id.in_(await self._family(user_id, only)))
        ended = await self._session.execute(ending.values(revoke_time=now).returning(ApiKeyRow.api_key_id))
        return list(ended.scalars())

    async def _family(self, user_id: str, api_key_id: str) -> set[str]:
        query = select(ApiKeyRow.api_key_id, ApiKeyRow.parent_id)
        query = query.where(ApiKeyRow.user_id == user_id, ApiKeyRow.revoke_time.is_(None))
        parents = {row.api_key_id: row.parent_id for row in await self._session.execute(query)}
        family = {api_key_id} & parents.keys()
        while more := {key for key, parent in parents.items() if parent in family} - family:
            family |= more
        return family

    async def set_last_used(self, key: ApiKey, minute: datetime) -> None:
        """The key was used in this minute."""
        await self._session.execute(
            update(ApiKeyRow)
            .where(ApiKeyRow.user_id == key.user_id, ApiKeyRow.api_key_id == key.api_key_id)
            .values(last_used_time=minute)
        )


def _api_key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        user_id=row.user_id,
        api_key_id=row.api_key_id,
        display_name=row.display_name,
        scopes=tuple(row.scopes),
        allowed_cidrs=tuple(row.allowed_cidrs),
        create_time=row.create_time,
        expire_time=row.expire_time,
        last_used_time=row.last_used_time,
        revoke_time=row.revoke_time,
        parent_id=row.parent_id or "",
    )
