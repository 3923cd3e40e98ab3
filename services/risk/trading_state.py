"""What orders are let through: everybody's state and each account's; the stricter one counts."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

# Stands for all accounts.
EVERYBODY = ""


class TradingState(IntEnum):
    """Numbers are the contract's, and a greater one is stricter."""

    ACTIVE = 1
    REDUCING = 2
    HALTED = 3


@dataclass(frozen=True, slots=True)
class StateSetting:
    """A state that somebody set, of an account or of everybody."""

    account_id: str
    user_id: str  # whose account; empty: everybody's
    state: TradingState
    reason: str
    updated_by: str
    update_time: datetime


class TradingStates:
    """All states that are set, in memory."""

    def __init__(self) -> None:
        self._settings: dict[str, StateSetting] = {}

    def load(self, settings: Iterable[StateSetting]) -> None:
        """Take what was kept."""
        self._settings = {setting.account_id: setting for setting in settings}

    def put(self, setting: StateSetting) -> None:
        """Let a state count from now on."""
        self._settings[setting.account_id] = setting

    def find(self, account_id: str) -> StateSetting | None:
        """What is set for an account itself, or for EVERYBODY."""
        return self._settings.get(account_id)

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

    def halted(self) -> list[StateSetting]:
        """All that are halted."""
        return [setting for setting in self._settings.values() if setting.state is TradingState.HALTED]
