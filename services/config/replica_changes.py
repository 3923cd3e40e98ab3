"""Changes that other replicas of config wrote, for those who watch at this one.

They are read from the database, which alone knows what was committed: at once when a message says that something was
written, and else every POLL_S.
"""

import asyncio
import logging

from services.config.config import Config, ConfigName
from services.config.repository import ConfigRepository
from services.kernel.data.repositories import Repositories
from services.kernel.errors import RedFireError
from services.kernel.streams import Subscribers
from services.kernel.tasks import wait_for_event

log = logging.getLogger(__name__)
POLL_S = 0.3
# So that a file of a thousand values that is imported is read a few times, and not for each value.
TOGETHER_S = 0.02
Watchers = Subscribers[tuple[str, str], Config]
"""Open streams by (environment, service)."""


class ReplicaChanges:
    """Finds what was written elsewhere by the versions of what is followed here."""

    def __init__(self, configs: Repositories[ConfigRepository], watchers: Watchers) -> None:
        self._configs = configs
        self._watchers = watchers
        self._written = asyncio.Event()
        # Last versions by followed (environment, service).
        self._versions: dict[tuple[str, str], dict[ConfigName, int]] = {}

    def look(self) -> None:
        """Something was written, perhaps: look soon."""
        self._written.set()

    async def run(self) -> None:
        """Publish what other replicas write, until cancelled; what this one wrote comes twice, as the same version."""
        while True:
            if await wait_for_event(self._written, POLL_S):
                await asyncio.sleep(TOGETHER_S)
            self._written.clear()
            try:
                await self._publish_new()
            except RedFireError as error:
                log.debug("changes of other replicas cannot be read: %s", error.message)

    async def _publish_new(self) -> None:
        followed = set(self._watchers.keys)
        for key in self._versions.keys() - followed:
            del self._versions[key]
        if not followed:
            return
        present: dict[tuple[str, str], list[Config]] = {key: [] for key in followed}
        async with self._configs.read_one() as configs:
            for config in await configs.list_last_versions(followed):
                present[config.name.environment, config.name.service_name].append(config)
        for key, configs_now in present.items():
            newer = await self._newer(self._versions.get(key), configs_now)
            self._versions[key] = {config.name: config.version for config in configs_now}
            self._watchers.publish(key, newer)

    async def _newer(self, known: dict[ConfigName, int] | None, present: list[Config]) -> list[Config]:
        """The versions that are not known, in order; of those that were written over, where they are still kept."""
        newer: list[Config] = []
        for config in present:
            # At the first look nothing is known: each stream leaves out what its snapshot had.
            before = config.version - 1 if known is None else known.get(config.name, 0)
            for version in range(before + 1, config.version):
                async with self._configs.read_one() as configs:
                    if between := await configs.find_version(config.name, version):
                        newer.append(between)
            if config.version > before:
                newer.append(config)
        return newer
