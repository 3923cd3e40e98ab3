"""Time-based one-time passwords (RFC 6238) as authenticator apps make them: SHA-1, six digits, steps of 30 s.

A library for the one line of RFC 4226 that there is would be more to keep than the line.
"""

import base64
import hmac
import secrets
from urllib.parse import quote

STEP_S = 30
DIGITS = 6
# Clocks of phones are off by some seconds, and people type slowly: one step before and after (RFC 6238 §5.2).
WINDOW = 1
SECRET_BYTES = 20
ISSUER = "RedFire"


def new_secret() -> bytes:
    """A secret of the length that RFC 4226 §4 recommends."""
    return secrets.token_bytes(SECRET_BYTES)


def code_at(secret: bytes, step: int, digits: int = DIGITS) -> str:
    """The code of a time step (RFC 4226 §5.3)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**digits:0{digits}d}"


def matching_step(secret: bytes, code: str, now_s: float) -> int | None:
    """The step whose code it is, near to now; None where it is none's. All are compared, in the same time."""
    present, found = int(now_s // STEP_S), None
    for step in range(present - WINDOW, present + WINDOW + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()):
            found = step
    return found


def to_base32(secret: bytes) -> str:
    """The secret as people type it."""
    return base64.b32encode(secret).decode().rstrip("=")


def uri(secret: bytes, username: str) -> str:
    """The secret as apps read it from a QR code."""
    label = f"{ISSUER}:{quote(username)}"
    return f"otpauth://totp/{label}?secret={to_base32(secret)}&issuer={ISSUER}&digits={DIGITS}&period={STEP_S}"
