"""Forgeries of a genuine token."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.kernel.identity.key_file import SigningKey


def encoded(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def signed(header: dict[str, Any], claims: Any, sign: Callable[[bytes], bytes]) -> str:
    body = f"{encoded(header)}.{encoded(claims)}"
    return f"{body}.{encoded(sign(body.encode()))}"


def forgeries(token: str, key: SigningKey) -> dict[str, str]:
    """Forgeries of a genuine token, by what is wrong with each; some have a signature of the genuine key.

    What the key's holder alone could make shows that each check stands by itself.
    """
    head, body, signature = token.split(".")
    header, claims = decoded(head), decoded(body)
    public: Ed25519PublicKey = key.private.public_key()
    raw = public.public_bytes_raw()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    other = Ed25519PrivateKey.generate()
    other_x = encoded(other.public_key().public_bytes_raw())
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": other_x, "kid": header["kid"], "alg": "EdDSA"}
    genuine = key.private.sign
    forger = other.sign
    now = time.time()

    def hs256(secret: bytes) -> Callable[[bytes], bytes]:
        return lambda text: hmac.digest(secret, text, hashlib.sha256)

    twice = json.dumps(claims)[:-1].encode() + b', "sub": "admin", "role": "admin"}'
    return {
        "alg none": f"{encoded({**header, 'alg': 'none'})}.{body}.",
        "alg None": f"{encoded({**header, 'alg': 'None'})}.{body}.",
        "alg none with a signature": f"{encoded({**header, 'alg': 'none'})}.{body}.{signature}",
        "HS256 with the public key": signed({**header, "alg": "HS256"}, claims, hs256(raw)),
        "HS256 with the public key as PEM": signed({**header, "alg": "HS256"}, claims, hs256(pem)),
        "HS256 with the public key as JWK": signed({**header, "alg": "HS256"}, claims, hs256(key.x.encode())),
        "HS256 with nothing": signed({**header, "alg": "HS256"}, claims, hs256(b"")),
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "a signature of zeros": f"{head}.{body}.{encoded(bytes(64))}",
        "unknown kid": signed({**header, "kid": "unknown"}, claims, genuine),
        "kid of nobody": signed({k: v for k, v in header.items() if k != "kid"}, claims, genuine),
        "kid that is a number": signed({**header, "kid": 7}, claims, genuine),
        "kid that is a path": signed({**header, "kid": "../../../../dev/null"}, claims, hs256(b"")),
        "kid that is SQL": signed({**header, "kid": "' UNION SELECT 'x"}, claims, forger),
        "another key": signed(header, claims, forger),
        "jwk in the header": signed({**header, "jwk": jwk}, claims, forger),
        "jwk and its kid": signed({"alg": "EdDSA", "typ": header["typ"], "kid": "mine", "jwk": jwk}, claims, forger),
        "jku in the header": signed({**header, "jku": "http://127.0.0.1:9/jwks.json"}, claims, forger),
        "x5u in the header": signed({**header, "x5u": "http://127.0.0.1:9/cert.pem"}, claims, forger),
        "crit in the header": signed({**header, "crit": ["exp"]}, claims, genuine),
        "jku, and a genuine signature": signed({**header, "jku": "http://127.0.0.1:9/jwks.json"}, claims, genuine),
        "wrong aud": signed(header, {**claims, "aud": "another"}, genuine),
        "no aud": signed(header, {k: v for k, v in claims.items() if k != "aud"}, genuine),
        "wrong iss": signed(header, {**claims, "iss": "another"}, genuine),
        "no iss": signed(header, {k: v for k, v in claims.items() if k != "iss"}, genuine),
        "expired": signed(header, {**claims, "iat": now - 100, "exp": now - 1}, genuine),
        "no exp": signed(header, {k: v for k, v in claims.items() if k != "exp"}, genuine),
        "exp that is no number": signed(header, {**claims, "exp": "never"}, genuine),
        "from the future": signed(header, {**claims, "iat": now + 3600, "exp": now + 3700}, genuine),
        "not valid yet": signed(header, {**claims, "nbf": now + 3600}, genuine),
        "no sub": signed(header, {k: v for k, v in claims.items() if k != "sub"}, genuine),
        "other claims, the old signature": f"{head}.{encoded({**claims, 'sub': 'admin', 'role': 'admin'})}.{signature}",
        "claims twice": f"{head}.{encoded(twice)}.{signature}",
        "claims that are a list": signed(header, [claims], genuine),
        "a type of something else": signed({**header, "typ": "logout+jwt"}, claims, genuine),
        "nothing": "",
        "dots": "..",
        "not base64": f"{head}.{body}.%%%%",
    }  # fmt: skip
