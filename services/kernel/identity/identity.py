"""Callers: identities, the permissions of their roles, and the tokens that prove them.

Users and programs prove themselves with an access token (EdDSA, signed by auth, verified everywhere) or an API key.
Services prove themselves to each other with a token of their own in `x-redfire-service` (`service_tokens`); the edge
removes that header from whatever comes from outside. The edge proves itself in `x-redfire-edge` (`edge_token`).
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
from redfire.reasons import Reason

from services.kernel.cache import TtlCache
from services.kernel.errors import Denied, Unauthenticated
from services.kernel.policy import MethodPolicy, role_grants

ISSUER = "redfire"
AUDIENCE = "redfire"
SERVICE_KEY = "x-redfire-service"
EDGE_KEY = "x-redfire-edge"
ADMIN_ALL = "admin:all"
CLOCK_SKEW_S = 30.0
"""Difference of clocks that is borne: a token from further in the future is refused."""
_HEADERS = {"alg", "kid", "typ"}
_TYPES = {"JWT", "at+jwt"}

# Permissions of each role, from the contract; admin:all grants every permission.
ROLE_PERMISSIONS = role_grants()
PERMISSIONS = frozenset[str]().union(*ROLE_PERMISSIONS.values())


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller: `anonymous`, a `user` (by token or API key), or a `service`."""

    kind: str = "anonymous"
    user_id: str = ""
    role: str = ""
    permissions: frozenset[str] = frozenset()
    session_id: str = ""
    api_key_id: str = ""
    service: str = ""
    # The service that acts for the user, by a token exchanged for this.
    actor: str = ""
    # Of the key that signed its token, what a revocation names: see `key_revocation_id`.
    key_id: str = ""
    expires_at: float = field(default=float("inf"), compare=False)
    # Of a strategy's token: the account that it is good for, and the strategy.
    account_id: str = ""
    strategy_id: str = ""

    def has(self, permission: str) -> bool:
        """Test for a permission. Services may do what the contract names them for."""
        return self.kind == "service" or permission in self.permissions or ADMIN_ALL in self.permissions

    @property
    def revocable_id(self) -> str:
        """Id that a revocation names: the API key's, or the session's."""
        return self.api_key_id or self.session_id


ANONYMOUS = Identity()


def key_revocation_id(kid: str) -> str:
    """Id by which a removed signing key is among the revocations: within the 36 characters that these have."""
    return f"key:{kid[:32]}"


class AccessTokens:
    """Verifies users' access tokens with auth's public keys; verified ones are remembered until they end."""

    def __init__(
        self, fetch_keys: Callable[[], Awaitable[Sequence[Any]]], now: Callable[[], float] = time.time
    ) -> None:
        """`fetch_keys` answers auth's JsonWebKey messages."""
        self._now = now
        self._fetch_keys = fetch_keys
        self._keys: dict[str, Any] = {}
        self._fetched_at = -1e9
        self._verified: TtlCache[str, Identity] = TtlCache(50_000, 24 * 3600)

    def known(self, token: str) -> Identity | None:
        """The caller of a token that was verified before and has not ended."""
        identity = self._verified.get(token)
        if identity is not None and identity.expires_at <= time.time():
            raise Unauthenticated("the token has expired", reason=Reason.TOKEN_EXPIRED)
        return identity

    async def verify(self, token: str) -> Identity:
        """Verify a user's token. Raises Unauthenticated."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise Unauthenticated("not a token") from None
        kid = header.get("kid", "")
        # Keys are auth's, by their ids alone: a token brings none, and says of none where it is.
        if not set(header) <= _HEADERS or header.get("typ", "JWT") not in _TYPES:
            raise Unauthenticated("not an access token")
        if kid not in self._keys:
            await self._fetch()
        key = self._keys.get(kid)
        if key is None:
            raise Unauthenticated("signed with an unknown key")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=0,
                options={"require": ["exp", "sub", "role"], "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired", reason=Reason.TOKEN_EXPIRED) from None
        except jwt.InvalidTokenError:
            raise Unauthenticated("not a valid token") from None
        if not isinstance(claims.get("iat", 0), int | float) or claims.get("iat", 0) > self._now() + CLOCK_SKEW_S:
            raise Unauthenticated("a token from the future")
        identity = identity_of(claims, key_revocation_id(kid))
        self._verified.put(token, identity, identity.expires_at - time.time())
        return identity

    async def _fetch(self) -> None:
        # An unknown key id may be nonsense from outside: ask at most twice a second.
        if time.monotonic() - self._fetched_at < 0.5:
            return
        # Where this fails, the next call asks again.
        keys = await self._fetch_keys()
        self._fetched_at = time.monotonic()
        self._keys = {
            key.kid: jwt.PyJWK({"kty": key.kty, "crv": key.crv, "x": key.x, "alg": key.alg, "use": key.use}).key
            for key in keys
        }


def identity_of(claims: dict[str, Any], key_id: str = "") -> Identity:
    """The identity that an access token's claims describe; `key_id` is of the key that signed it."""
    permissions = ROLE_PERMISSIONS.get(claims["role"], frozenset())
    if "scope" in claims:
        scopes = frozenset(claims["scope"].split())
        permissions = scopes if ADMIN_ALL in permissions else scopes & permissions
    return Identity(
        kind="user",
        user_id=claims["sub"],
        role=claims["role"],
        permissions=permissions,
        session_id=claims.get("sid", ""),
        actor=claims.get("act", {}).get("sub", ""),
        key_id=key_id,
        expires_at=float(claims["exp"]),
        account_id=claims.get("account_id", ""),
        strategy_id=claims.get("strategy_id", ""),
    )


def require_caller(identity: Identity, policy: MethodPolicy) -> None:
    """Raise Denied unless it is a service that the contract names among the RPC's callers."""
    if identity.kind != "service":
        raise Denied("only services may call this")
    if not policy.admits(identity.service):
        raise Denied(f"{identity.service} may not call {policy.name}", caller=identity.service)


def require_delegation(identity: Identity, policy: MethodPolicy, scopes: Iterable[str]) -> None:
    """Raise Denied when a caller asks for scopes that the contract does not let it have in a user's name."""
    excess = set(scopes) - policy.delegations.get(identity.service, frozenset())
    if excess:
        raise Denied(
            f"{identity.service} may not ask for {' '.join(sorted(excess))}",
            caller=identity.service,
            permission=" ".join(sorted(excess)),
        )
