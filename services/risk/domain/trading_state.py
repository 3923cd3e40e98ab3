"""Trading states: everybody's, each user's and each account's; the strictest one counts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from redfire.enums import TradingState

# Stands for all accounts.
EVERYBODY = ""


@dataclass(frozen=True, slots=True)
class StateSetting:
    """A state set for an account, for a user (in the place of the account is the user's id) or of everybody."""

    account_id: str
    user_id: str  # whose account; empty: everybody's, or not known
    state: TradingState
    reason: str
    updated_by: str
    # Of an administrator's restriction the time since when there is one, however often it was changed.
    update_time: datetime

    @property
    def of_user(self) -> bool:
        """Return true when it is of a user: of all accounts that they have and will have."""
        return self.user_id != "" and self.user_id == self.account_id

    @property
    def by_owner(self) -> bool:
        """Return true when the account's owner set it, not an administrator."""
        return self.user_id != "" and self.updated_by == self.user_id and not self.of_user

    @property
    def restricts(self) -> bool:
        """Return true when it lets less through than everything."""
        return self.state is not TradingState.ACTIVE

    @property
    def since_ns(self) -> int:
        """The time since when an administrator restricts the account, nanoseconds since 1970."""
        return int((self.update_time - _EPOCH) / _MICROSECOND) * 1000


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

    def granting(self, setting: StateSetting) -> "AccountStates":
        """States with an administrator's, which counts whatever the owner chose before."""
        before = self.admin
        if before is not None and before.restricts and setting.restricts:
            # It is one restriction: what was opened under it stays under it.
            setting = replace(setting, update_time=min(before.update_time, setting.update_time))
        return AccountStates(admin=setting)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
NO_STATES = AccountStates()


class TradingStates:
    """The states in force, in memory."""

    def __init__(self) -> None:
        self._settings: dict[str, StateSetting] = {}
        # Accounts that an administrator restricts: those that their users open later have this state, too.
        self._inherited: dict[str, StateSetting] = {}

    @property
    def restricts_users(self) -> bool:
        """Return true when an administrator restricts any account or user."""
        return bool(self._inherited)

    def put(self, account_id: str, states: Sequence[AccountStates]) -> None:
        """Let the strictest of these count from now on."""
        settings = [setting for one in states if (setting := one.strictest) is not None]
        if settings:
            self._settings[account_id] = max(settings, key=lambda setting: setting.state)
        granted = [one.admin for one in states if one.admin is not None and one.admin.restricts]
        if granted and account_id != EVERYBODY:
            self._inherited[account_id] = max(granted, key=lambda setting: setting.state)
        else:
            self._inherited.pop(account_id, None)

    def of(self, account_id: str) -> TradingState:
        """A state as it was set: an account's, a user's, or everybody's for EVERYBODY."""
        setting = self._settings.get(account_id)
        return setting.state if setting else TradingState.ACTIVE

    def of_account(
        self, account_id: str, user_id: str, siblings: Iterable[str] = (), opened_ns: int = 0
    ) -> StateSetting | None:
        """The strictest state of an account, of its user, and of the user's other accounts that an administrator had
        restricted before it was opened."""
        strictest = self._settings.get(account_id)
        candidates = [self._settings.get(user_id)] if user_id else []
        candidates += [one for id_ in siblings if (one := self._inherited.get(id_)) and one.since_ns <= opened_ns]
        for setting in candidates:
            if setting is not None and (strictest is None or setting.state > strictest.state):
                strictest = setting
        return strictest

    def in_force(
        self, account_id: str, user_id: str = "", siblings: Iterable[str] = (), opened_ns: int = 0
    ) -> tuple[TradingState, str]:
        """The strictest state, everybody's too, and why; arguments are those of `of_account`."""
        own, all_ = self.of_account(account_id, user_id, siblings, opened_ns), self._settings.get(EVERYBODY)
        if own is None or (all_ is not None and all_.state >= own.state):
            own = all_
        return (own.state, own.reason) if own else (TradingState.ACTIVE, "")

    def restricted(self) -> list[StateSetting]:
        """All that are not ACTIVE."""
        return [setting for setting in self._settings.values() if setting.state is not TradingState.ACTIVE]
