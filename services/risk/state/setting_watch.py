"""Watch of limits and trading states that other replicas change: they count here within moments."""

import asyncio
import logging
from collections.abc import Callable

from services.kernel.data.repositories import Repositories
from services.kernel.errors import RedFireError
from services.risk.domain.account_key import AccountKey
from services.risk.domain.limits import AccountLimits
from services.risk.domain.trading_state import AccountStates
from services.risk.repository import RiskRepository
from services.risk.state.setting_store import SettingStore

log = logging.getLogger(__name__)
LOOK_EVERY_S = 0.2


class SettingWatch:
    """Reads limits and states anew when their number of changes has grown."""

    def __init__(
        self,
        repositories: Repositories[RiskRepository],
        limits: SettingStore[AccountKey, AccountLimits],
        states: SettingStore[str, AccountStates],
        on_states: Callable[[], None],
    ) -> None:
        """`on_states()` is called when states may have changed: orders that rest may have to be canceled."""
        self._repositories = repositories
        self._limits = limits
        self._states = states
        self._on_states = on_states
        self._number = -1

    async def run(self) -> None:
        """Look periodically, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except RedFireError as error:
                log.warning("limits and states cannot be read: %s", error.message)

    async def look(self) -> None:
        """Take what others have changed."""
        moments = self._limits.moment, self._states.moment
        async with self._repositories.read_one() as repository:
            if await repository.setting_changes() == self._number:
                return
        async with self._repositories.read() as repository:
            number = await repository.setting_changes()
            limits, states = await repository.list_limits(), await repository.list_states()
        if -1 in moments or moments != (self._limits.moment, self._states.moment):
            return  # what was written here meanwhile may not be in it
        self._number = number
        self._limits.refresh(limits)
        self._states.refresh(states)
        self._on_states()
