"""Values, versions and schemas in the database."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, text, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from services.config.config import Config, ConfigName
from services.config.config_events import ConfigEvents
from services.config.models import ConfigRow, SchemaRow, VersionRow
from services.config.values.json_value import Json
from services.kernel.errors import Aborted


class ConfigRepository:
    """All reads and writes of the config database."""

    def __init__(self, session: AsyncSession, events: ConfigEvents) -> None:
        self._session = session
        self._events = events

    async def find(self, name: ConfigName) -> Config | None:
        """The last version of a value, also when it deleted it; None when there never was one."""
        row = await self._session.get(ConfigRow, (name.service_name, name.environment, name.key))
        return _to_domain(row) if row else None

    async def list_service(
        self, environment: str, service_name: str, *, after_key: str = "", limit: int | None = None
    ) -> Sequence[Config]:
        """A service's present values by key."""
        query = (
            select(ConfigRow)
            .where(ConfigRow.service_name == service_name, ConfigRow.environment == environment)
            .where(ConfigRow.deleted.is_(False), ConfigRow.key > after_key)
            .order_by(ConfigRow.key)
            .limit(limit)
        )
        return [_to_domain(row) for row in await self._session.scalars(query)]

    async def list_last_versions(self, services: Collection[tuple[str, str]]) -> Sequence[Config]:
        """The present values of services, each given with its environment, and the last versions of deleted ones."""
        query = select(ConfigRow).where(tuple_(ConfigRow.environment, ConfigRow.service_name).in_(services))
        return [_to_domain(row) for row in await self._session.scalars(query.order_by(ConfigRow.key))]

    async def list_environment(self, environment: str) -> Sequence[Config]:
        """The present values of all services, and the last versions of deleted ones."""
        query = select(ConfigRow).where(ConfigRow.environment == environment)
        return [_to_domain(row) for row in await self._session.scalars(query)]

    async def list_everywhere(self, service_name: str, key: str) -> Sequence[Config]:
        """A key's present values in all environments."""
        query = (
            select(ConfigRow)
            .where(ConfigRow.service_name == service_name, ConfigRow.key == key, ConfigRow.deleted.is_(False))
            .order_by(ConfigRow.environment)
        )
        return [_to_domain(row) for row in await self._session.scalars(query)]

    async def list_versions(self, name: ConfigName, *, before: int | None, limit: int) -> Sequence[Config]:
        """A value's versions, newest first."""
        query = select(VersionRow).where(*_is(name)).order_by(VersionRow.version.desc()).limit(limit)
        if before is not None:
            query = query.where(VersionRow.version < before)
        return [_to_domain(row) for row in await self._session.scalars(query)]

    async def find_version(self, name: ConfigName, version: int) -> Config | None:
        """One version of a value."""
        row = await self._session.scalar(select(VersionRow).where(*_is(name), VersionRow.version == version))
        return _to_domain(row) if row else None

    async def purge(self, name: ConfigName, versions: Sequence[int], before: int) -> Sequence[int]:
        """Erase the values of versions older than `before`, all or some; the numbers of those that there are."""
        if self._session.get_bind().dialect.name == "sqlite":
            # Otherwise what was deleted stays in the file until its page is used again.
            await self._session.execute(text("PRAGMA secure_delete=ON"))
        erased = update(VersionRow).where(*_is(name), VersionRow.version < before)
        if versions:
            erased = erased.where(VersionRow.version.in_(versions))
        rows = await self._session.execute(erased.values(content={}, purged=True).returning(VersionRow.version))
        return list(rows.scalars())

    async def add(self, configs: Iterable[Config], restored_version: int = 0) -> None:
        """Write next versions and their events; `restored_version` is the one whose value it is.

        Raises Aborted when somebody else wrote one of them first.
        """
        for config in configs:
            await self._events.written(self._session, config, restored_version)
            row = _to_row(config)
            self._session.add(VersionRow(**row))
            await self._session.merge(ConfigRow(**row))
        try:
            await self._session.flush()
        except IntegrityError:
            raise Aborted("another caller wrote this value at the same time") from None

    async def find_schema(self, service_name: str, key: str) -> dict[str, Json] | None:
        """The JSON schema that was set for a key."""
        row = await self._session.get(SchemaRow, (service_name, key))
        return row.schema if row else None

    async def list_schemas(self) -> dict[tuple[str, str], dict[str, Json]]:
        """All JSON schemas that were set, by service and key."""
        rows = await self._session.scalars(select(SchemaRow))
        return {(row.service_name, row.key): row.schema for row in rows}

    async def put_schema(
        self, service_name: str, key: str, schema: dict[str, Json], updated_by: str, update_time: datetime
    ) -> None:
        """Set the JSON schema of a key."""
        row = SchemaRow(
            service_name=service_name,
            key=key,
            schema=schema,
            updated_by=updated_by,
            update_time=update_time,
        )
        await self._session.merge(row)


def _is(name: ConfigName) -> tuple[Any, ...]:
    return (
        VersionRow.service_name == name.service_name,
        VersionRow.environment == name.environment,
        VersionRow.key == name.key,
    )


def _to_domain(row: ConfigRow | VersionRow) -> Config:
    return Config(
        name=ConfigName(row.environment, row.service_name, row.key),
        value=row.content.get("value"),
        version=row.version,
        updated_by=row.updated_by,
        update_time=row.update_time,
        deleted=row.deleted,
        purged=isinstance(row, VersionRow) and row.purged,
    )


def _to_row(config: Config) -> dict[str, Any]:
    return {
        "service_name": config.name.service_name,
        "environment": config.name.environment,
        "key": config.name.key,
        "version": config.version,
        "content": {} if config.deleted else {"value": config.value},
        "deleted": config.deleted,
        "updated_by": config.updated_by,
        "update_time": config.update_time,
    }
