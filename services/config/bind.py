"""Composition of the config service."""

from functools import cache, partial

from services.config import models
from services.config.api import ConfigApi
from services.config.config_cache import CONFIGS
from services.config.config_events import ConfigEvents
from services.config.replica_changes import ReplicaChanges, Watchers
from services.config.repository import ConfigRepository
from services.config.service import ConfigService
from services.config.settings import ConfigSettings
from services.config.transfer import ConfigTransfer
from services.kernel.runtime.service_context import ServiceContext
from services.kernel.streams import Subscriber, Subscribers


def bind(context: ServiceContext) -> None:
    """Configuration in a database, with streams of its changes."""
    settings = context.section(ConfigSettings)
    database = context.database("config", models.Base)
    events = ConfigEvents(context.outbox(database, models.OutboxRow))
    configs = database.repositories(partial(ConfigRepository, events=events))
    watchers: Watchers = Subscribers(lambda: Subscriber(settings.watch_buffer))
    cached = context.read_cache(CONFIGS)
    changes = ReplicaChanges(configs, watchers)
    cached.on_invalidated(changes.look)
    service = ConfigService(configs, watchers, cached, settings, context.clock, cache(context.setting_schemas))
    transfer = ConfigTransfer(configs, service, watchers, cached, settings, context.clock)
    context.serve(ConfigApi(service, transfer, context.run_blocking, context.clock))
    if database.is_shared:
        context.background("replica_changes", changes.run)
    context.on_drain(watchers.drain)
