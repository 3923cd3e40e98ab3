"""Tokens: access tokens that are signed, refresh tokens and API keys that are random and kept as hashes."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

import jwt

from services.auth.key_ring import KeyRing
from services.auth.session import AuthUser
from services.kernel.identifiers import new_id
from services.kernel.identity.identity import AUDIENCE, ISSUER

API_KEY_PREFIX = "rfk_"


class AccessTokenMint:
    """Signs access tokens (JWT, EdDSA) with the key that signs at the time."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def make(
        self,
        user: AuthUser,
        session_id: str,
        now: datetime,
        life_s: int,
        scopes: Iterable[str] | None = None,
        actor: str = "",
        account_id: str = "",
        strategy_id: str = "",
    ) -> tuple[str, datetime]:
        """A token and when it ends; with `scopes` it permits no more than these, and with `account_id` for that account
        alone. `actor` acts for the user with it."""
        issued = int(now.timestamp())
        claims: dict[str, object] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user.user_id,
            "role": user.role,
            "sid": session_id,
            "iat": issued,
            "exp": issued + life_s,
            "jti": new_id(),
        }
        if scopes is not None:
            claims["scope"] = " ".join(sorted(scopes))
        if actor:
            claims["act"] = {"sub": actor}  # RFC 8693 §4.1
        if account_id:
            claims |= {"account_id": account_id, "strategy_id": strategy_id}
        key = self._keys.signing_key(life_s)
        token = jwt.encode(claims, key.private, algorithm="EdDSA", headers={"kid": key.kid, "typ": "at+jwt"})
        return token, now + timedelta(seconds=life_s)


def new_secret(prefix: str = "") -> str:
    """256 random bits, to be shown once."""
    return prefix + secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """Hash of a random secret, as it is kept. Being random it needs no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
