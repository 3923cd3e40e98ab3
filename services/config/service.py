"""Rules of configuration: what may be written over what, and what every value must fulfil."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from functools import partial

from services.config.config import Config, ConfigChange, ConfigName
from services.config.replica_changes import Watchers
from services.config.repository import ConfigRepository
from services.config.settings import ConfigSettings
from services.config.values.json_schema import SchemaViolation, require_schema, require_valid
from services.config.values.json_value import Json, require_json, same
from services.kernel.audit.draft import describe
from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import Aborted, FailedPrecondition, Invalid, NotFound
from services.kernel.paging import Page, PageResult
from services.kernel.redis.read_cache import ReadCache
from services.kernel.rpc.silence import HEARTBEAT_S
from services.kernel.runtime.secret_files import is_reference
from services.kernel.runtime.secret_rule import require_references, schema_secrets
from services.kernel.runtime.sections import START_ONLY_KEY
from services.kernel.streams import End

log = logging.getLogger(__name__)
# {service: {key: JSON schema}} of the settings that services declare themselves.
SettingSchemas = dict[str, dict[str, dict[str, Json]]]


class StaleEtag(Aborted):
    """The etag is not that of the value as it is now."""


class PresentVersion(FailedPrecondition):
    """The present version is in use: set or delete the value first, then its earlier versions can be purged."""


class SchemaBreaksValues(FailedPrecondition):
    """Values that are there now break the schema."""

    reason = SchemaViolation.reason


class ConfigService:
    """Values per environment, service and key."""

    def __init__(
        self,
        configs: Repositories[ConfigRepository],
        watchers: Watchers,
        cache: ReadCache[Config],
        settings: ConfigSettings,
        clock: Clock,
        setting_schemas: Callable[[], SettingSchemas],
    ) -> None:
        self._configs = configs
        self._watchers = watchers
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._setting_schemas = setting_schemas
        self._writing = asyncio.Lock()

    async def get_config(self, name: ConfigName) -> Config:
        """Raises NotFound, also when it was deleted."""
        return await self._cache.get(str(name), partial(self._get, name))

    async def set_config(self, name: ConfigName, value: Json, etag: str, user_id: str) -> Config:
        """Write a value as a new version. Raises StaleEtag, SchemaViolation, Invalid."""
        require_json(value, "value", self._settings.max_value_bytes)
        require_references(name.key, value, "value")
        async with self._writing:
            async with self._cache.changing(str(name)), self._configs() as configs:
                before = await configs.find(name)
                _require_etag(before, etag)
                self.require_fits(name, value, await configs.find_schema(name.service_name, name.key))
                config = next_version(name, before, value, user_id, self._clock.now())
                _describe(name, before, config)
                await configs.add([config])
            publish(self._watchers, [config])
        return config

    async def delete_config(self, name: ConfigName, etag: str, user_id: str) -> None:
        """Delete a value, which is a new version too. Raises NotFound, StaleEtag."""
        async with self._writing:
            async with self._cache.changing(str(name)), self._configs() as configs:
                before = _present(await configs.find(name), name)
                _require_etag(before, etag)
                config = next_version(name, before, None, user_id, self._clock.now(), deleted=True)
                _describe(name, before, config)
                await configs.add([config])
            publish(self._watchers, [config])

    async def rollback_config(self, name: ConfigName, version: int, user_id: str) -> Config:
        """Write an earlier version's value again. Raises NotFound, Invalid for one that deleted, SchemaViolation."""
        async with self._writing:
            async with self._cache.changing(str(name)), self._configs() as configs:
                earlier = await configs.find_version(name, version)
                if earlier is None:
                    raise NotFound("config version", f"{name} {version}")
                if earlier.deleted:
                    raise Invalid(f"version: {version} deleted the value; there is none to write", field="version")
                if earlier.purged:
                    raise Invalid(f"version: the value of {version} was purged", field="version")
                # Rules grow: what was let through once may be a secret by today's.
                require_references(name.key, earlier.value, "value")
                self.require_fits(name, earlier.value, await configs.find_schema(name.service_name, name.key))
                before = await configs.find(name)
                config = next_version(name, before, earlier.value, user_id, self._clock.now())
                _describe(name, before, config)
                await configs.add([config], restored_version=version)
            publish(self._watchers, [config])
        return config

    async def purge_config_versions(self, name: ConfigName, versions: Sequence[int]) -> int:
        """Erase the values of earlier versions for good, of all without `versions`; the number of those erased.

        Raises: NotFound, PresentVersion.
        """
        async with self._writing, self._configs() as configs:
            present = await configs.find(name)
            if present is None:
                raise NotFound("config", str(name))
            if present.version in versions:
                raise PresentVersion(version=present.version)
            purged = await configs.purge(name, versions, present.version)
            if versions and len(purged) < len(set(versions)):
                missing = min(set(versions) - set(purged))
                raise NotFound("config version", f"{name} {missing}")
        log.warning("values of %s versions of %s were purged", len(purged), name)
        return len(purged)

    async def list_configs(self, environment: str, service_name: str, page: Page) -> PageResult[Config]:
        """A service's values by key."""
        after = str(page.after[0]) if page.after else ""
        async with self._configs.read() as configs:
            rows = await configs.list_service(environment, service_name, after_key=after, limit=page.size + 1)
        return page.slice(rows, lambda config: [config.name.key])

    async def list_config_versions(self, name: ConfigName, page: Page) -> PageResult[Config]:
        """A value's versions, newest first. Raises NotFound when there never was one."""
        before = int(page.after[0]) if page.after else None
        async with self._configs.read() as configs:
            versions = await configs.list_versions(name, before=before, limit=page.size + 1)
        if not versions and before is None:
            raise NotFound("config", str(name))
        return page.slice(versions, lambda config: [config.version])

    async def diff_configs(self, service_name: str, environment: str, other: str) -> Sequence[ConfigChange]:
        """List differences between two environments, by key."""
        async with self._configs.read() as configs:
            here = {config.name.key: config for config in await configs.list_service(environment, service_name)}
            there = {config.name.key: config for config in await configs.list_service(other, service_name)}
        return [
            ConfigChange(service_name, key, old, new)
            for key in sorted(here.keys() | there.keys())
            if not _equal(old := here.get(key), new := there.get(key))
        ]

    async def set_config_schema(
        self, service_name: str, key: str, schema: dict[str, Json], user_id: str
    ) -> dict[str, Json]:
        """Set a key's JSON schema. Raises Invalid, and SchemaBreaksValues naming those there are now."""
        require_json(schema, "schema", self._settings.max_value_bytes)
        require_schema(schema)
        if where := next(schema_secrets(key, schema), ""):
            raise Invalid(f"{where}: looks like a secret; a schema has none", field=where)
        async with self._writing, self._configs() as configs:
            broken = []
            for config in await configs.list_everywhere(service_name, key):
                try:
                    require_valid(schema, config.value)
                except SchemaViolation as error:
                    broken.append((str(config.name), error.message))
            if broken:
                names = ", ".join(name for name, _ in broken)
                raise SchemaBreaksValues(f"these values break the schema: {names} ({broken[0][1]})", values=names)
            await configs.put_schema(service_name, key, schema, user_id, self._clock.now())
        return schema

    async def get_config_schema(self, service_name: str, key: str) -> dict[str, Json]:
        """The JSON schema that was set for a key, or that the service declares for it. Raises NotFound."""
        async with self._configs.read() as configs:
            schema = await configs.find_schema(service_name, key)
        schema = schema or self._declared(service_name, key)
        if schema is None:
            raise NotFound("schema", f"{service_name}/{key}")
        return schema

    async def watch_configs(self, environment: str, service_name: str) -> AsyncIterator[Config | bool | End | None]:
        """All present values, then True, then each change; None where nothing happened for a while; End at last."""
        with self._watchers.follow((environment, service_name)) as watcher:
            # Following begins before the snapshot is read: what is committed in between comes twice, never not at all.
            async with self._configs.read() as configs:
                snapshot = await configs.list_last_versions([(environment, service_name)])
            sent = {config.name.key: config.version for config in snapshot}
            for config in snapshot:
                if not config.deleted:
                    yield config
            yield True
            async for item in watcher.items(min(self._settings.heartbeat_s, HEARTBEAT_S)):
                if isinstance(item, Config):
                    if item.version <= sent.get(item.name.key, 0):
                        continue
                    sent[item.name.key] = item.version
                yield item

    async def _get(self, name: ConfigName) -> Config:
        async with self._configs.read() as configs:
            return _present(await configs.find(name), name)

    def writing(self) -> asyncio.Lock:
        """Held from a write's first read until it is published: watchers see versions in the order of commits."""
        return self._writing

    def require_fits(self, name: ConfigName, value: Json, schema: dict[str, Json] | None, path: str = "value") -> None:
        """Raises SchemaViolation unless `schema` and what the service declares for the key accept the value."""
        if schema is not None:
            require_valid(schema, value, path)
        declared = self._declared(name.service_name, name.key)
        if declared is not None and declared.get(START_ONLY_KEY):
            text = "is read at start alone: set it in the file of settings or in the environment"
            raise Invalid(f"{path}: {text}", field=path)
        # What a reference stands for is checked by the service, which alone reads the secret.
        if declared is not None and not is_reference(value):
            require_valid(declared, value, path)

    def _declared(self, service_name: str, key: str) -> dict[str, Json] | None:
        return self._setting_schemas().get(service_name, {}).get(key)


def publish(watchers: Watchers, configs: Iterable[Config]) -> None:
    """Send changes to those who watch; after the commit and in the order of commits."""
    for config in configs:
        watchers.publish((config.name.environment, config.name.service_name), [config])


def next_version(
    name: ConfigName, before: Config | None, value: Json, user_id: str, now: datetime, *, deleted: bool = False
) -> Config:
    """The version that comes after `before`."""
    return Config(name, value, before.version + 1 if before else 1, user_id, now, deleted)


def _describe(name: ConfigName, before: Config | None, after: Config) -> None:
    # Not the values: those of versions can be purged, a record cannot.
    old = None if before is None or before.deleted else {"version": before.version}
    describe(f"config/{name}", before=old, after={"version": after.version, "deleted": after.deleted})


def _present(config: Config | None, name: ConfigName) -> Config:
    if config is None or config.deleted:
        raise NotFound("config", str(name))
    return config


def _require_etag(config: Config | None, etag: str) -> None:
    if etag and (config is None or config.etag != etag):
        raise StaleEtag(version=config.version if config else 0)


def _equal(one: Config | None, other: Config | None) -> bool:
    return one is not None and other is not None and same(one.value, other.value)
