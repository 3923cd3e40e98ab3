"""The account, or the user, that limits and trading states are of."""

from typing import NamedTuple


class AccountKey(NamedTuple):
    """An account and whose it is; or a user, all of whose accounts are meant, where both ids are the user's."""

    user_id: str
    account_id: str

    @property
    def is_user(self) -> bool:
        """Return true where a user is meant."""
        return self.user_id != "" and self.user_id == self.account_id

    @property
    def only_account_id(self) -> str:
        """The account's id; empty where a user is meant."""
        return "" if self.is_user else self.account_id
