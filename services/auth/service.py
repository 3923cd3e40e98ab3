"""Rules of sessions: how they begin, go on and end, and how services act for users."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from redfire.reasons import Reason

from services.auth.api_keys.service import ApiKeyService
from services.auth.devices import Devices
from services.auth.repository import AuthRepository
from services.auth.revocations.feed import RevocationFeed
from services.auth.second_factor.service import SecondFactorService
from services.auth.session import (
    AuthUser,
    Client,
    ExchangedToken,
    RefreshToken,
    Revocation,
    Session,
    SessionWatermark,
    Tokens,
)
from services.auth.settings import AuthSettings
from services.auth.shared_throttle import SharedThrottle
from services.auth.tokens import AccessTokenMint, hash_of, new_secret
from services.auth.user_client import UserClient
from services.kernel.client_network import network_of
from services.kernel.clock import Clock
from services.kernel.data.repositories import Repositories
from services.kernel.errors import Denied, NotFound, Unauthenticated
from services.kernel.identifiers import new_id
from services.kernel.identity.identity import ADMIN_ALL, PERMISSIONS, ROLE_PERMISSIONS
from services.kernel.paging import Page, PageResult
from services.kernel.runtime.live_settings import LiveSettings

EXCHANGED_TOKEN_S = 900
# What a token is good for whose user has yet to set up the second factor that is demanded.
ENROLLING = ("user:read",)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class InvalidCredentials(Unauthenticated):
    """Wrong name or wrong password."""

    reason = Reason.INVALID_CREDENTIALS


class AccountInactive(Denied):
    """The account is suspended or closed."""

    reason = Reason.ACCOUNT_INACTIVE


class EmailNotVerified(Denied):
    """The e-mail address has yet to be verified: open the link that was sent there, or have it sent again."""

    reason = Reason.EMAIL_NOT_VERIFIED


class SessionRevoked(Unauthenticated):
    """The session was ended."""

    reason = Reason.SESSION_REVOKED


class RefreshTokenReused(Unauthenticated):
    """A refresh token that was used before; its session is ended."""

    reason = Reason.REFRESH_TOKEN_REUSED


class RefreshTokenExpired(Unauthenticated):
    """The refresh token has expired."""

    reason = Reason.TOKEN_EXPIRED


class SessionTooOld(Unauthenticated):
    """The session is as old as one may be: log in again."""

    reason = Reason.TOKEN_EXPIRED


class SessionService:
    """Sessions and their tokens."""

    def __init__(
        self,
        auth: Repositories[AuthRepository],
        users: UserClient,
        api_keys: ApiKeyService,
        mint: AccessTokenMint,
        feed: RevocationFeed,
        throttle: SharedThrottle,
        devices: Devices,
        second_factor: SecondFactorService,
        settings: LiveSettings[AuthSettings],
        clock: Clock,
    ) -> None:
        self._auth = auth
        self._users = users
        self._api_keys = api_keys
        self._mint = mint
        self._feed = feed
        self._throttle = throttle
        self._devices = devices
        self._second_factor = second_factor
        self._settings = settings
        self._clock = clock

    async def login(self, username: str, password: str, code: str, client: Client) -> Tokens:
        """A new session; `code` is the second factor's.

        Raises: InvalidCredentials for a wrong name or password alike; where the password was right AccountInactive,
        EmailNotVerified, SecondFactorRequired, WrongCode; TooManyLogins. A device with the token of an earlier
        login by this name is slowed by its own failures alone.
        """
        started = self._clock.now()
        device = self._devices.find(client.device_token, username)
        await self._throttle.admit(username, client.address, device)
        try:
            user = await self._users.verify_password(username, password)
        except Unauthenticated:
            await self._throttle.failed(username, client.address, device)
            raise InvalidCredentials from None
        await self._throttle.succeeded(username, client.address, device)
        if not user.active:
            raise AccountInactive
        if user.must_verify_email:
            raise EmailNotVerified(remedy="POST /api/users/email:sendVerification")
        await self._second_factor.require(user.user_id, code)
        tokens = await self._begin(user, started, client)
        return replace(tokens, device_token=client.device_token if device else self._devices.make(username))

    async def refresh_token(self, token: str) -> Tokens:
        """New tokens for the same session, with the user's present role.

        Of two who use one token at the same time one wins, and the other ends the session for both: one of them may
        be a thief. Raises: RefreshTokenReused, RefreshTokenExpired, SessionRevoked, SessionTooOld,
        AccountInactive, Unauthenticated.
        """
        token_hash = hash_of(token)
        async with self._auth.read() as auth:
            known = await auth.find_refresh_token(token_hash)
        if known is None:
            raise Unauthenticated("not a refresh token")
        if known.used:
            await self._end(known.user_id, only=known.session_id)
            raise RefreshTokenReused
        if known.expire_time <= self._clock.now():
            raise RefreshTokenExpired
        user = await self._users.find(known.user_id)
        if user is None or not user.active:
            await self._end(known.user_id, only=known.session_id)
            raise AccountInactive
        tokens = await self._rotate(token_hash, known, user)
        if tokens is None:
            await self._end(known.user_id, only=known.session_id)
            raise RefreshTokenReused
        return tokens

    async def logout(self, user_id: str, session_id: str, all_sessions: bool) -> None:
        """End the caller's session, or all. API keys and services that act for the user go on."""
        if all_sessions:
            await self._end(user_id)
        elif session_id:
            await self._end(user_id, only=session_id)

    async def list_sessions(self, user_id: str, page: Page) -> PageResult[Session]:
        """A page of the user's open sessions, newest first."""
        async with self._auth.read() as auth:
            before_id = str(page.after[0]) if page.after else None
            rows = await auth.list_open_sessions(user_id, self._clock.now(), before_id, page.size + 1)
        return page.slice(rows, key=lambda session: [session.session_id])

    async def revoke_session(self, user_id: str, session_id: str) -> None:
        """End one of the user's sessions. Raises NotFound for others' and ended ones."""
        if not await self._end(user_id, only=session_id):
            raise NotFound("session", session_id)

    async def end_others(self, user_id: str, session_id: str) -> None:
        """End all of a user's sessions but this one, and refuse logins that are under way."""
        await self.revoke_user_sessions(user_id, session_id, api_keys=False, second_factor=False)

    async def revoke_user_sessions(
        self, user_id: str, except_session_id: str, api_keys: bool, second_factor: bool
    ) -> None:
        """End all of a user's sessions but one, with `api_keys` the keys, and with `second_factor` remove that.

        Without a session to keep also the tokens of services that act for the user end, and a login that is under way
        is refused: both may rest on a status, role or password that is no more.
        """
        now = self._clock.now()
        async with self._auth() as auth:
            watermark = await auth.lock_watermark(user_id, LONG_AGO)
            revocations = await auth.end_sessions(user_id, now, but=except_session_id)
            delegation_id = watermark.delegation_id
            if not except_session_id:
                dead = Revocation(delegation_id, now + timedelta(seconds=EXCHANGED_TOKEN_S))
                await auth.add_revocations([dead])
                revocations.append(dead)
                delegation_id = new_id()
            await auth.set_watermark(user_id, SessionWatermark(now, delegation_id))
        self._feed.publish(revocations)
        if api_keys:
            await self._api_keys.revoke_all(user_id)
        if second_factor:
            await self._second_factor.remove(user_id)

    async def exchange_token(
        self,
        actor: str,
        user_id: str,
        scopes: Sequence[str],
        session_id: str = "",
        api_key_id: str = "",
        account_id: str = "",
        strategy_id: str = "",
    ) -> ExchangedToken:
        """A short-lived token by which a service acts for a user, with the scopes that the user's role has too.

        With a session or a key it is theirs: it ends with them, and permits no more than the key. With an account it is
        good for that one, and for a strategy.
        Raises: NotFound, AccountInactive, SessionRevoked, ApiKeyEnded, Denied when no scope is left.
        """
        # The watermark is read before the user: a user suspended in between has another one, and this token is revoked.
        delegation_id = await self._delegation_id(user_id)
        user = await self._users.find(user_id)
        if user is None:
            raise NotFound("user", user_id)
        if not user.active:
            raise AccountInactive
        permitted = ROLE_PERMISSIONS.get(user.role, frozenset())
        granted = set(scopes) & (PERMISSIONS if ADMIN_ALL in permitted else permitted)
        if not granted:
            raise Denied("the user has none of these permissions", permission=" ".join(scopes))
        life_s = EXCHANGED_TOKEN_S
        if api_key_id:
            key = await self._api_keys.get_open_key(user_id, api_key_id)
            granted &= set(key.scopes)
            delegation_id, life_s = api_key_id, self._life_s(key.expire_time)
        elif session_id:
            delegation_id, life_s = session_id, await self._lend_session(user_id, session_id)
        if not granted:
            raise Denied("the key has none of these permissions", permission=" ".join(scopes))
        now = self._clock.now()
        token, _ = self._mint.make(user, delegation_id, now, life_s, granted, actor, account_id, strategy_id)
        return ExchangedToken(token, life_s)

    async def _lend_session(self, user_id: str, session_id: str) -> int:
        """Seconds for which a service may act in a session, whose revocation is remembered for so long."""
        now = self._clock.now()
        async with self._auth() as auth:
            session = await auth.get_open_session(user_id, session_id)
            if session is None or session.expire_time <= now:
                raise SessionRevoked
            life_s = self._life_s(session.expire_time)
            await auth.extend_session(
                session, session.last_seen_time, session.expire_time, now + timedelta(seconds=life_s)
            )
        return life_s

    def _life_s(self, expire_time: datetime | None) -> int:
        if expire_time is None:
            return EXCHANGED_TOKEN_S
        return max(min(EXCHANGED_TOKEN_S, int((expire_time - self._clock.now()).total_seconds())), 1)

    async def _begin(self, user: AuthUser, started: datetime, client: Client) -> Tokens:
        now = self._clock.now()
        session_id = new_id()
        must_enroll = await self._must_enroll(user)
        tokens, access_ends, ends = self._make_tokens(user, session_id, now, now, must_enroll)
        session = Session(
            user_id=user.user_id,
            session_id=session_id,
            create_time=now,
            last_seen_time=now,
            client_address=client.address,
            user_agent=client.user_agent,
            expire_time=ends,
            access_expire_time=access_ends,
            auth_time=now,
        )
        async with self._auth() as auth:
            if (await auth.lock_watermark(user.user_id, LONG_AGO)).end_time > started:
                # Suspended, or given another password or role, while this login was under way.
                raise InvalidCredentials
            await auth.add_session(session)
            await auth.note_network(session, network_of(client.address))
            refresh = RefreshToken(user.user_id, session_id, ends, used=False)
            await auth.add_refresh_token(hash_of(tokens.refresh_token), refresh)
            ended = await auth.end_oldest_sessions(user.user_id, now, self._settings.value.max_sessions)
        self._feed.publish(ended)
        return tokens

    async def _rotate(self, token_hash: str, known: RefreshToken, user: AuthUser) -> Tokens | None:
        """New tokens for a refresh token, or None when somebody else was faster. Raises SessionRevoked."""
        now = self._clock.now()
        must_enroll = await self._must_enroll(user)
        async with self._auth() as auth:
            session = await auth.get_open_session(known.user_id, known.session_id)
            if not await auth.use_refresh_token(token_hash, now):
                return None
            if session is None:
                raise SessionRevoked
            if session.create_time + timedelta(seconds=self._settings.value.session_max_s) <= now:
                raise SessionTooOld
            tokens, access_ends, ends = self._make_tokens(user, known.session_id, now, session.create_time, must_enroll)
            await auth.extend_session(session, now, ends, access_ends)
            refresh = RefreshToken(known.user_id, known.session_id, ends, used=False)
            await auth.add_refresh_token(hash_of(tokens.refresh_token), refresh)
        return tokens

    def _make_tokens(
        self, user: AuthUser, session_id: str, now: datetime, began: datetime, must_enroll: bool
    ) -> tuple[Tokens, datetime, datetime]:
        """New tokens, and the ends of the access and of the refresh token: neither outlives the session."""
        settings = self._settings.value
        left_s = max(1, int((began + timedelta(seconds=settings.session_max_s) - now).total_seconds()))
        access_s, refresh_s = min(settings.access_token_s, left_s), min(settings.refresh_token_s, left_s)
        scopes = ENROLLING if must_enroll else None
        access, access_ends = self._mint.make(user, session_id, now, access_s, scopes)
        tokens = Tokens(access, new_secret(), access_s, refresh_s, session_id, must_enroll)
        return tokens, access_ends, now + timedelta(seconds=refresh_s)

    async def _must_enroll(self, user: AuthUser) -> bool:
        return self._second_factor.is_demanded(user.role) and not await self._second_factor.is_enabled(user.user_id)

    async def _end(self, user_id: str, *, only: str | None = None) -> bool:
        """End sessions and publish that; False when there was none."""
        async with self._auth() as auth:
            revocations = await auth.end_sessions(user_id, self._clock.now(), only=only)
        self._feed.publish(revocations)
        return bool(revocations)

    async def _delegation_id(self, user_id: str) -> str:
        async with self._auth.read() as auth:
            watermark = await auth.find_watermark(user_id)
        if watermark is None:
            async with self._auth() as auth:
                watermark = await auth.lock_watermark(user_id, LONG_AGO)
        return watermark.delegation_id
