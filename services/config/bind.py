"""What the config service is made of."""

from functools import cache

from services.config import models
from services.config.api import ConfigApi
from services.config.repository import ConfigRepository
from services.config.service import ConfigService
from services.config.settings import ConfigSettings
from services.config.transfer import ConfigTransfer
from services.config.watch import Followers
from services.kernel.runtime.service_context import ServiceContext


def bind(context: ServiceContext) -> None:
    """Configuration in a database, with streams of its changes."""
    settings = context.section(ConfigSettings)
    configs = context.database("config", models.Base).repositories(ConfigRepository)
    followers = Followers(settings.watch_buffer)
    service = ConfigService(configs, followers, settings, context.clock, cache(context.setting_schemas))
    transfer = ConfigTransfer(configs, service, followers, settings, context.clock)
    context.serve(ConfigApi(service, transfer, context.run_blocking, context.clock))
    context.on_drain(followers.drain)
