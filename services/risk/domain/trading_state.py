"""Trading states: everybody's state and each account's; the stricter one counts."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from redfire.enums import TradingState

# Stands for all accounts.
EVERYBODY = ""


@dataclass(frozen=True, slots=True)
class StateSetting:
    """A state set for an account or of everybody."""

    account_id: str
    user_id: str  # whose account; empty: everybody's, or not known
    state: TradingState
    reason: str
    updated_by: str
    update_time: datetime

    @property
    def by_owner(self) -> bool:
        """Return true when the account's owner set it, not an administrator."""
        return self.user_id != "" and self.updated_by == self.user_id


@dataclass(frozen=True, slots=True)
class AccountStates:
    """The states of an account by an administrator and by its owner: an owner who halts and goes on again does not
    undo the administrator's."""

    admin: StateSetting | None = None
    owner: StateSetting | None = None

    @classmethod
    def of(cls, settings: Iterable[StateSetting]) -> "AccountStates":
        """States from stored settings."""
        states = NO_STATES
        for setting in settings:
            states = replace(states, owner=setting) if setting.by_owner else replace(states, admin=setting)
        return states

    @property
    def settings(self) -> list[StateSetting]:
        """The states that are set."""
        return [setting for setting in (self.admin, self.owner) if setting is not None]

    @property
    def strictest(self) -> StateSetting | None:
        """The state that counts; None when none is set."""
        return max(self.settings, key=lambda setting: setting.state, default=None)

    @property
    def state(self) -> TradingState:
        """The state that counts."""
        strictest = self.strictest
        return TradingState.ACTIVE if strictest is None else strictest.state


NO_STATES = AccountStates()


class TradingStates:
    """The states in force, in memory."""

    def __init__(self) -> None:
        self._settings: dict[str, StateSetting] = {}

    def put(self, account_id: str, states: Iterable[AccountStates]) -> None:
        """Let the strictest of these count from now on."""
        settings = [setting for one in states if (setting := one.strictest) is not None]
        if settings:
            self._settings[account_id] = max(settings, key=lambda setting: setting.state)

    def of(self, account_id: str) -> TradingState:
        """An account's own state, or everybody's for EVERYBODY."""
        setting = self._settings.get(account_id)
        return setting.state if setting else TradingState.ACTIVE

    def in_force(self, account_id: str) -> tuple[TradingState, str]:
        """The stricter state, and why."""
        own, all_ = self._settings.get(account_id), self._settings.get(EVERYBODY)
        if own is None or (all_ is not None and all_.state >= own.state):
            own = all_
        return (own.state, own.reason) if own else (TradingState.ACTIVE, "")

    def restricted(self) -> list[StateSetting]:
        """All that are not ACTIVE."""
        return [setting for setting in self._settings.values() if setting.state is not TradingState.ACTIVE]
