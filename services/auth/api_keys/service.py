"""Rules of API keys: what they may do, from where, and until when."""

import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta

from services.auth.api_keys.api_key import ApiKey, NewApiKey, VerifiedKey, is_allowed, is_within, parse_networks
from services.auth.api_keys.repository import ApiKeyRepository
from services.auth.revocations.feed import RevocationFeed
from services.auth.session import Revocation
from services.auth.tokens import API_KEY_PREFIX, hash_of, new_secret
from services.auth.user_client import UserClient
from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import Denied, Invalid, NotFound, Unauthenticated
from services.kernel.identifiers import new_id
from services.kernel.identity.identity import ADMIN_ALL, PERMISSIONS, ROLE_PERMISSIONS, Identity
from services.kernel.paging import Page, PageResult

# Services look a key up again after a minute; streams that it opened are ended by then even after an outage.
REMEMBERED = timedelta(days=1)


class ApiKeyEnded(Denied):
    """The API key was revoked."""


class ApiKeyService:
    """Keys for programs."""

    def __init__(
        self,
        keys: Repositories[ApiKeyRepository],
        users: UserClient,
        feed: RevocationFeed,
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._users = users
        self._feed = feed
        self._clock = clock

    async def create_api_key(
        self,
        caller: Identity,
        display_name: str,
        scopes: Sequence[str],
        expire_time: datetime | None,
        allowed_cidrs: Sequence[str],
    ) -> NewApiKey:
        """A new key that may do no more than the caller. Raises Invalid, Denied."""
        now = self._clock.now()
        if any(unicodedata.category(character) == "Cc" for character in display_name):
            raise Invalid("no control characters are expected", field="display_name")
        for index, scope in enumerate(scopes):
            if scope not in PERMISSIONS:
                raise Invalid(f"{scope!r} is not a permission", field=f"scopes[{index}]")
        for scope in scopes:
            if not caller.has(scope):
                raise Denied(f"the permission {scope} is needed to give it to a key", permission=scope)
        if expire_time is not None and expire_time <= now:
            raise Invalid("a time to come is expected", field="expire_time")
        networks = parse_networks(allowed_cidrs)
        if caller.api_key_id:
            await self._refuse_wider(caller, expire_time, networks)
        key = ApiKey(caller.user_id, new_id(), display_name, tuple(scopes), networks, now, expire_time)
        secret = new_secret(API_KEY_PREFIX)
        async with self._keys() as keys:
            await keys.add(key, hash_of(secret))
        return NewApiKey(key, secret)

    async def list_api_keys(self, user_id: str, page: Page) -> PageResult[ApiKey]:
        """A page of the user's keys, newest first."""
        async with self._keys.read() as keys:
            before_id = str(page.after[0]) if page.after else None
            rows = await keys.list_open(user_id, self._clock.now(), before_id, page.size + 1)
        return page.slice(rows, key=lambda key: [key.api_key_id])

    async def revoke_api_key(self, user_id: str, api_key_id: str) -> None:
        """End one of the user's keys. Raises NotFound for others' and ended ones."""
        if not await self._revoke(user_id, only=api_key_id):
            raise NotFound("API key", api_key_id)

    async def revoke_all(self, user_id: str) -> None:
        """End all of the user's keys."""
        await self._revoke(user_id)

    async def get_open_key(self, user_id: str, api_key_id: str) -> ApiKey:
        """A user's key that is good. Raises ApiKeyEnded, also for one that never was."""
        async with self._keys.read() as keys:
            key = await keys.find(user_id, api_key_id)
        if key is None or key.revoke_time is not None:
            raise ApiKeyEnded
        if key.expire_time is not None and key.expire_time <= self._clock.now():
            raise ApiKeyEnded("the API key has expired")
        return key

    async def verify_api_key(self, secret: str, client_address: str) -> VerifiedKey:
        """Return the key, with the scopes that the owner has at present. Raises Unauthenticated, always the same."""
        now = self._clock.now()
        async with self._keys.read() as keys:
            key = await keys.find_by_hash(hash_of(secret))
        if key is None or key.revoke_time is not None or (key.expire_time is not None and key.expire_time <= now):
            raise Unauthenticated("not a valid API key")
        if not is_allowed(client_address, key.allowed_cidrs):
            raise Unauthenticated("not a valid API key")
        user = await self._users.find(key.user_id)
        if user is None or not user.active:
            raise Unauthenticated("not a valid API key")
        permitted = ROLE_PERMISSIONS.get(user.role, frozenset())
        scopes = tuple(scope for scope in key.scopes if scope in permitted or ADMIN_ALL in permitted)
        minute = now.replace(second=0, microsecond=0)
        if key.last_used_time is None or key.last_used_time < minute:
            async with self._keys() as keys:
                await keys.set_last_used(key, minute)
        return VerifiedKey(key, user.role, scopes)

    async def _refuse_wider(self, caller: Identity, expire_time: datetime | None, networks: Sequence[str]) -> None:
        """A key that makes keys cannot make one that outlives it or may be used from elsewhere."""
        async with self._keys.read() as keys:
            own = await keys.find(caller.user_id, caller.api_key_id)
        if own is None:
            raise Denied("the key is gone")
        if own.expire_time is not None and (expire_time is None or expire_time > own.expire_time):
            raise Denied("a key cannot make one that lives longer than itself")
        if not is_within(networks, own.allowed_cidrs):
            raise Denied("a key cannot make one for other networks than its own")

    async def _revoke(self, user_id: str, *, only: str | None = None) -> bool:
        now = self._clock.now()
        async with self._keys() as keys:
            ended = await keys.revoke(user_id, now, only=only)
            revocations = [Revocation(api_key_id, now + REMEMBERED) for api_key_id in ended]
            await keys.add_revocations(revocations)
        self._feed.publish(revocations)
        return bool(ended)
