"""Callers: identities, the permissions of their roles, and the tokens that prove them.

Users and programs prove themselves with an access token (EdDSA, signed by auth, verified everywhere) or an API key.
Services prove themselves to each other with a token of their own in `x-redfire-service`, signed with a secret that
only services have; the edge removes that header from whatever comes from outside. The edge proves itself in the same
way in `x-redfire-edge`: only from it do services take a caller's address.
"""

import hmac
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
from redfire.reasons import Reason

from services.kernel.cache import TtlCache
from services.kernel.errors import Denied, Unauthenticated
from services.kernel.policy import role_grants

ISSUER = "redfire"
AUDIENCE = "redfire"
INTERNAL_AUDIENCE = "redfire-internal"
SERVICE_KEY = "x-redfire-service"
EDGE_KEY = "x-redfire-edge"
SERVICE_TOKEN_LIFE_S = 300
ADMIN_ALL = "admin:all"

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
    # RPC path prefixes a service token is good for; none: all that the registry lets the service call.
    rpcs: tuple[str, ...] = ()
    expires_at: float = field(default=float("inf"), compare=False)

    def has(self, permission: str) -> bool:
        """Test for a permission. Services may do what the registry says."""
        return self.kind == "service" or permission in self.permissions or ADMIN_ALL in self.permissions

    @property
    def revocable_id(self) -> str:
        """Id that a revocation names: the API key's, or the session's."""
        return self.api_key_id or self.session_id


ANONYMOUS = Identity()


class ServiceTokens:
    """Makes and verifies the tokens with which services call each other (HS256, five minutes)."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        # By which the edge is known, and believed where its callers are.
        self.edge_token = hmac.digest(secret.encode(), b"the edge of redfire", "sha256").hex()
        self._made: dict[str, tuple[float, str]] = {}
        self._verified: TtlCache[str, Identity] = TtlCache(1000, SERVICE_TOKEN_LIFE_S)

    def make(self, service: str, rpcs: Sequence[str] = (), life_s: float = SERVICE_TOKEN_LIFE_S) -> str:
        """A token for a service; with `rpcs` good only for paths with these prefixes."""
        claims: dict[str, Any] = {"sub": service, "aud": INTERNAL_AUDIENCE, "exp": time.time() + life_s}
        if rpcs:
            claims["rpcs"] = list(rpcs)
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def current(self, service: str) -> str:
        """The service's own token, made again before it ends."""
        made = self._made.get(service)
        if made is None or made[0] < time.time():
            made = (time.time() + SERVICE_TOKEN_LIFE_S / 2, self.make(service))
            self._made[service] = made
        return made[1]

    def is_edge(self, token: str) -> bool:
        """Test the value of `x-redfire-edge`: did the call come by the edge?"""
        return hmac.compare_digest(token.encode(), self.edge_token.encode())

    def verify(self, token: str) -> Identity:
        """Verify a service's token. Raises Unauthenticated."""
        if (known := self._verified.get(token)) and known.expires_at > time.time():
            return known
        try:
            claims = jwt.decode(token, self._secret, algorithms=["HS256"], audience=INTERNAL_AUDIENCE)
        except jwt.InvalidTokenError:
            raise Unauthenticated("not a service's token") from None
        identity = Identity(
            kind="service", service=claims["sub"], rpcs=tuple(claims.get("rpcs", ())), expires_at=claims["exp"]
        )
        self._verified.put(token, identity, claims["exp"] - time.time())
        return identity


class AccessTokens:
    """Verifies users' access tokens with auth's public keys; verified ones are remembered until they end."""

    def __init__(self, fetch_keys: Callable[[], Awaitable[Sequence[Any]]]) -> None:
        """`fetch_keys` answers auth's JsonWebKey messages."""
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
            kid = jwt.get_unverified_header(token).get("kid", "")
        except jwt.InvalidTokenError:
            raise Unauthenticated("not a token") from None
        if kid not in self._keys:
            await self._fetch()
        key = self._keys.get(kid)
        if key is None:
            raise Unauthenticated("signed with an unknown key")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=["EdDSA", "ES256"],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=0,
                options={"require": ["exp", "sub", "role"], "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired", reason=Reason.TOKEN_EXPIRED) from None
        except jwt.InvalidTokenError:
            raise Unauthenticated("not a valid token") from None
        identity = identity_of(claims)
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


def identity_of(claims: dict[str, Any]) -> Identity:
    """The identity that an access token's claims describe."""
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
        expires_at=float(claims["exp"]),
    )


def require_caller(identity: Identity, callers: frozenset[str], path: str) -> None:
    """Raise Denied unless it is a service that the registry lets call `path`."""
    if identity.kind != "service":
        raise Denied("only services may call this")
    allowed = any(path.startswith(prefix) for prefix in identity.rpcs) if identity.rpcs else identity.service in callers
    if not allowed:
        raise Denied(f"{identity.service} does not call this service", caller=identity.service)
