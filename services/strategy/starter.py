"""The caller who started a strategy or a job: it may do what that caller may do, as long as that caller may."""

from collections.abc import Collection
from dataclasses import dataclass

from services.kernel.identity.identity import ADMIN_ALL, Identity


@dataclass(frozen=True, slots=True)
class Starter:
    """Permissions of the caller, and the session or the API key by which it called."""

    permissions: tuple[str, ...] = ()
    session_id: str = ""
    api_key_id: str = ""

    @classmethod
    def of(cls, identity: Identity) -> "Starter":
        """The starter that a caller is."""
        return cls(tuple(sorted(identity.permissions)), identity.session_id, identity.api_key_id)

    @property
    def is_admin(self) -> bool:
        """True for an administrator: the machine's owner."""
        return ADMIN_ALL in self.permissions

    def has(self, permission: str) -> bool:
        """Test for a permission."""
        return permission in self.permissions or self.is_admin

    def scopes(self, wanted: Collection[str]) -> list[str]:
        """Those of the wanted permissions that the starter has."""
        return [permission for permission in wanted if self.has(permission)]
