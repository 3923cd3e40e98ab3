"""What the config service is made of."""

from functools import cache

from services.config import models
from services.config.api import ConfigApi
from services.config.repository import ConfigRepository
from services.config.service import ConfigService
from services.config.settings import ConfigSettings
from services.config.transfer import ConfigTransfer
from services.config.watch import Followers
from services.kernel.runtime.service_context import Process


def bind(process: Process) -> None:
    """Configuration in a database, with streams of its changes."""
    settings = process.section(ConfigSettings)
    configs = process.database("config", models.Base).repositories(ConfigRepository)
    followers = Followers(settings.watch_buffer)
    service = ConfigService(configs, followers, settings, process.clock, cache(process.setting_schemas))
    transfer = ConfigTransfer(configs, service, followers, settings, process.clock)
    process.serve(ConfigApi(service, transfer, process.run_blocking, process.clock))
    process.on_drain(followers.drain)
