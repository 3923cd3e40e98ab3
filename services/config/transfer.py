"""Import and export of a whole environment as a document."""

from collections.abc import Sequence

from services.config.config import Config, ConfigChange, ConfigName
from services.config.document import Document
from services.config.replica_changes import Watchers
from services.config.repository import ConfigRepository
from services.config.service import ConfigService, next_version, publish
from services.config.settings import ConfigSettings
from services.config.values.json_value import require_json, same
from services.kernel.audit.draft import describe
from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.redis.read_cache import ReadCache
from services.kernel.runtime.secret_rule import require_references


class ConfigTransfer:
    """Makes an environment as a document says, all or nothing, and writes the document of an environment."""

    def __init__(
        self,
        configs: Repositories[ConfigRepository],
        service: ConfigService,
        watchers: Watchers,
        cache: ReadCache[Config],
        settings: ConfigSettings,
        clock: Clock,
    ) -> None:
        self._configs = configs
        self._service = service
        self._watchers = watchers
        self._cache = cache
        self._settings = settings
        self._clock = clock

    async def export_configs(self, environment: str) -> Document:
        """All present values of an environment."""
        async with self._configs.read() as configs:
            stored = await configs.list_environment(environment)
        document: Document = {}
        for config in stored:
            if not config.deleted:
                document.setdefault(config.name.service_name, {})[config.name.key] = config.value
        return document

    async def import_configs(
        self, environment: str, document: Document, user_id: str, *, prune: bool, dry_run: bool
    ) -> list[ConfigChange]:
        """Set what the document has, with `prune` delete what it does not have; answer what changed, or would.

        Raises: Invalid and SchemaViolation with the path of the first value that may not be, and changes nothing.
        """
        self._require_allowed(document)
        async with self._service.writing():
            changes = []
            async with self._cache.changing_all(f"{environment}/"), self._configs() as configs:
                schemas = await configs.list_schemas()
                before = {config.name: config for config in await configs.list_environment(environment)}
                for service_name, values in document.items():
                    for key, value in values.items():
                        name, path = ConfigName(environment, service_name, key), f"document.{service_name}.{key}"
                        self._service.require_fits(name, value, schemas.get((service_name, key)), path)
                        old = before.get(name)
                        if old is None or old.deleted or not same(old.value, value):
                            new = next_version(name, old, value, user_id, self._clock.now())
                            changes.append(_change(old, new))
                if prune:
                    for name, old in before.items():
                        if not old.deleted and name.key not in document.get(name.service_name, {}):
                            gone = next_version(name, old, None, user_id, self._clock.now(), deleted=True)
                            changes.append(_change(old, gone))
                written = [change.new for change in changes if change.new]
                if not dry_run:
                    _describe(environment, changes)
                    await configs.add(written)
            if not dry_run:
                publish(self._watchers, written)
        return sorted(changes, key=lambda change: (change.service_name, change.key))

    def _require_allowed(self, document: Document) -> None:
        for service_name, values in document.items():
            for key, value in values.items():
                path = f"document.{service_name}.{key}"
                require_json(value, path, self._settings.max_value_bytes)
                require_references(key, value, path)


def _describe(environment: str, changes: Sequence[ConfigChange]) -> None:
    before = {f"{one.service_name}/{one.key}": one.old.version for one in changes if one.old}
    after = {f"{one.service_name}/{one.key}": one.new.version for one in changes if one.new}
    describe(f"config/{environment}", before=before, after=after)


def _change(old: Config | None, new: Config) -> ConfigChange:
    return ConfigChange(new.name.service_name, new.name.key, None if old is None or old.deleted else old, new)
