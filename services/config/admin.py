"""`redfire admin purge-config`: erases values in the config database of a data folder, running or stopped.

Only versions that are not in use any more are erased, so a running platform has nothing to forget.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from services.config import models
from services.config.config import ConfigName
from services.config.config_cache import CONFIGS
from services.config.config_events import ConfigEvents
from services.config.replica_changes import Watchers
from services.config.repository import ConfigRepository
from services.config.service import ConfigService
from services.config.settings import ConfigSettings
from services.kernel.clock import Clock
from services.kernel.events.outbox import Outbox
from services.kernel.events.transport import LeftToRelay
from services.kernel.redis.read_cache import ReadCache
from services.kernel.redis.shared import NoMessages, NoRedis
from services.kernel.runtime.kernel_sections import PlatformSettings
from services.kernel.runtime.resources import open_database
from services.kernel.runtime.settings import Settings
from services.kernel.streams import Subscriber, Subscribers
from services.kernel.tasks import Tasks


async def purge_config_versions(data_dir: Path, settings: Settings, name: ConfigName, versions: Sequence[int]) -> int:
    """Erase the values of earlier versions; the number of those erased. Raises NotFound, PresentVersion."""
    loaded = settings.replaced(platform=PlatformSettings(data_dir=data_dir))
    database = open_database(loaded, "config", models.Base)
    await database.start(migrate=False)
    try:
        clock = Clock()
        events = ConfigEvents(Outbox("config", database, models.OutboxRow, LeftToRelay(), clock))
        configs = database.repositories(partial(ConfigRepository, events=events))
        cached = ReadCache(CONFIGS, NoRedis(), NoMessages(), Tasks(), clock)
        watchers: Watchers = Subscribers(lambda: Subscriber(1))
        service = ConfigService(configs, watchers, cached, loaded.of(ConfigSettings), clock, dict)
        return await service.purge_config_versions(name, versions)
    finally:
        await database.close()
