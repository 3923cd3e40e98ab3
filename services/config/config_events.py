"""Events of the configuration, written into the outbox in the transaction of their change."""

from services.config.config import Config
from services.kernel.data.repositories import Transaction
from services.kernel.events.outbox import Outbox

CHANGED, ROLLED_BACK = "config.changed", "config.rolled_back"


class ConfigEvents:
    """Writes events of new versions."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def written(self, session: Transaction, config: Config, restored_version: int) -> None:
        """A new version; one that restores another has that one's number."""
        if restored_version:
            event = self._outbox.event(ROLLED_BACK)
            event.config_rolled_back.environment = config.name.environment
            event.config_rolled_back.service_name = config.name.service_name
            event.config_rolled_back.key = config.name.key
            event.config_rolled_back.version = config.version
            event.config_rolled_back.restored_version = restored_version
            event.config_rolled_back.updated_by = config.updated_by
        else:
            event = self._outbox.event(CHANGED)
            event.config_changed.environment = config.name.environment
            event.config_changed.service_name = config.name.service_name
            event.config_changed.key = config.name.key
            event.config_changed.version = config.version
            event.config_changed.deleted = config.deleted
            event.config_changed.updated_by = config.updated_by
        await self._outbox.add(session, event)
