"""Rules of API keys: what they may do, from where, and until when."""

import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta

from redfire.reasons import Reason

from services.auth.api_keys.api_key import ApiKey, NewApiKey, VerifiedKey, is_allowed, is_within, parse_networks
from services.auth.api_keys.repository import ApiKeyRepository
from services.auth.revocations.feed import RevocationFeed
from services.auth.session import Revocation
from services.auth.settings import AuthSettings
from services.auth.step_up import StepUp
from services.auth.tokens import API_KEY_PREFIX, hash_of, new_secret
from services.auth.user_client import UserClient
from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import Denied, FailedPrecondition, Invalid, NotFound, Unauthenticated
from services.kernel.identifiers import new_id
from services.kernel.identity.identity import ADMIN_ALL, PERMISSIONS, ROLE_PERMISSIONS, Identity
from services.kernel.paging import Page, PageResult
from services.kernel.runtime.live_settings import LiveSettings

# Services look a key up again after a minute; streams that it opened are ended by then even after an outage.
REMEMBERED = timedelta(days=1)


class ApiKeyEnded(Denied):
    """The API key was revoked."""


class TooManyApiKeys(FailedPrecondition):
    """The user has as many API keys as one may have: end one first."""

    reason = Reason.TOO_MANY_API_KEYS


class ApiKeyService:
    """Keys for programs."""

    def __init__(
        self,
        keys: Repositories[ApiKeyRepository],
        users: UserClient,
        feed: RevocationFeed,
        step_up: StepUp,
        settings: LiveSettings[AuthSettings],
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._step_up = step_up
        self._settings = settings
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
        """A new key that may do no more than the caller. Raises Invalid, Denied, StepUpRequired, TooManyApiKeys.

        A session needs a recent password. A key needs none, and what it makes ends with it.
        """
        now, settings = self._clock.now(), self._settings.value
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
        longest_s = settings.api_key_max_life_s
        if expire_time is not None and expire_time > now + timedelta(seconds=longest_s):
            raise Invalid(f"a key lives for {longest_s // 86_400} days at most", field="expire_time")
        networks = parse_networks(allowed_cidrs)
        ends = expire_time or now + timedelta(seconds=min(settings.api_key_life_s, longest_s))
        if not caller.api_key_id:
            await self._step_up.require_of(caller)
        key = ApiKey(
            user_id=caller.user_id,
            api_key_id=new_id(),
            display_name=display_name,
            scopes=tuple(scopes),
            allowed_cidrs=networks,
            create_time=now,
            expire_time=ends,
            parent_id=caller.api_key_id,
        )
        secret = new_secret(API_KEY_PREFIX)
        async with self._keys() as keys:
            # Units that write do so one after the other: no parent ends in between, and no count grows.
            if caller.api_key_id:
                _refuse_wider(await keys.find(caller.user_id, caller.api_key_id), ends, networks)
            if await keys.count_open(caller.user_id, now) >= settings.max_api_keys:
                raise TooManyApiKeys(max_api_keys=settings.max_api_keys)
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

    async def _revoke(self, user_id: str, *, only: str | None = None) -> bool:
        now = self._clock.now()
        async with self._keys() as keys:
            ended = await keys.revoke(user_id, now, only=only)
            revocations = [Revocation(api_key_id, now + REMEMBERED) for api_key_id in ended]
            await keys.add_revocations(revocations)
        self._feed.publish(revocations)
        return bool(ended)


def _refuse_wider(own: ApiKey | None, expire_time: datetime, networks: Sequence[str]) -> None:
    """A key that makes keys cannot make one that outlives it or may be used from elsewhere."""
    if own is None or own.revoke_time is not None:
        raise Denied("the key is gone")
    if own.expire_time is not None and expire_time > own.expire_time:
        raise Denied("a key cannot make one that lives longer than itself")
    if not is_within(networks, own.allowed_cidrs):
        raise Denied("a key cannot make one for other networks than its own")
