"""Tokens by which services prove themselves to each other, in `x-redfire-service`: signed, for one callee, for minutes.

A token says who calls (`iss`, and `sub`, which for a strategy's worker is `worker:ID`), whom (`aud`), and until when.
It is a JWT of a type of its own, so that nobody's access token is one. Where a mesh gives connections an identity
(SPIFFE), `Origin.peer_identity` will be compared with `iss`.
"""

import time
from typing import Any

import jwt

from services.kernel.cache import TtlCache
from services.kernel.errors import Unauthenticated
from services.kernel.identity.identity import Identity, key_revocation_id
from services.kernel.identity.service_keys import SERVICE_TOKEN_LIFE_S, WORKER_TOKEN_LIFE_S, OwnKeys, TrustedKeys

TYPE = "redfire-service+jwt"
WORKER = "worker:"
"""Of subjects: processes that run strategies, for which strategy alone signs."""
WORKERS_SERVICE = "strategy"
SKEW_S = 30.0
"""Difference of clocks that is borne."""
_HEADERS = {"alg", "kid", "typ"}


class ServiceTokens:
    """Makes tokens of the services of this process, and verifies those of all."""

    def __init__(self, own: OwnKeys, trusted: TrustedKeys) -> None:
        self.own = own
        self.trusted = trusted
        self._changes = 0
        self._made: dict[tuple[str, str], tuple[float, str]] = {}
        # By token and callee.
        self._verified: TtlCache[tuple[str, str], Identity] = TtlCache(5000, SERVICE_TOKEN_LIFE_S)

    def make(self, service: str, callee: str, life_s: float = SERVICE_TOKEN_LIFE_S, subject: str = "") -> str:
        """A token for a service, or for a helper process of it, for calls of `callee`."""
        key = self.own.of(service).signing_key()
        now = time.time()
        claims = {"iss": service, "sub": subject or service, "aud": callee, "iat": int(now), "exp": now + life_s}
        return jwt.encode(claims, key.private, algorithm="EdDSA", headers={"kid": key.kid, "typ": TYPE})

    def make_for_worker(self, worker_id: str) -> str:
        """A token for a process that runs strategies."""
        return self.make(WORKERS_SERVICE, WORKERS_SERVICE, WORKER_TOKEN_LIFE_S, WORKER + worker_id)

    def current(self, service: str, callee: str) -> str:
        """The service's own token for a callee, made again before it ends."""
        made = self._made.get((service, callee))
        if made is None or made[0] < time.time():
            made = (time.time() + SERVICE_TOKEN_LIFE_S / 2, self.make(service, callee))
            self._made[service, callee] = made
        return made[1]

    def verify(self, token: str, callee: str) -> Identity:
        """Verify a token that a callee was given. Raises Unauthenticated."""
        if (known := self._verified.get((token, callee))) and known.expires_at > time.time():
            return known
        try:
            identity = self._verify(token, callee)
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
            raise Unauthenticated("not a service's token") from None
        self._verified.put((token, callee), identity, identity.expires_at - time.time())
        return identity

    def refresh(self) -> set[str]:
        """Read keys that were changed; the ids of those that were removed. Raises as OwnKeys.refresh does."""
        self.trusted.refresh()
        if self.trusted.changes != self._changes:
            self._changes = self.trusted.changes
            self._verified.clear()
        removed = self.trusted.take_removed()
        before = {service: self.own.of(service).signing_key().kid for service in self._services()}
        self.own.refresh()
        for service in self._services():
            if self.own.of(service).signing_key().kid != before[service]:
                self._made = {pair: made for pair, made in self._made.items() if pair[0] != service}
        return removed

    def _services(self) -> set[str]:
        return {service for service, _ in self._made}

    def _verify(self, token: str, callee: str) -> Identity:
        header = jwt.get_unverified_header(token)
        # Keys are ours by their ids alone: a token brings none, and says of none where it is.
        if set(header) != _HEADERS or header["typ"] != TYPE:
            raise jwt.InvalidTokenError
        key = self.trusted.find(header["kid"])
        if key is None:
            raise jwt.InvalidTokenError
        claims = jwt.decode(
            token,
            key.key,
            algorithms=["EdDSA"],
            audience=callee,
            issuer=key.service,
            leeway=0,
            options={"require": ["exp", "iat", "iss", "sub", "aud"], "verify_iat": False, "strict_aud": True},
        )
        _check_times(claims)
        subject = claims["sub"]
        if subject != key.service and not (key.service == WORKERS_SERVICE and subject.startswith(WORKER)):
            raise jwt.InvalidTokenError
        key_id = key_revocation_id(header["kid"])
        return Identity(kind="service", service=subject, expires_at=float(claims["exp"]), key_id=key_id)


def _check_times(claims: dict[str, Any]) -> None:
    """Raise unless a token was made before now, and for no longer than tokens live."""
    if claims["iat"] > time.time() + SKEW_S or claims["exp"] - claims["iat"] > WORKER_TOKEN_LIFE_S + SKEW_S:
        raise jwt.InvalidTokenError
