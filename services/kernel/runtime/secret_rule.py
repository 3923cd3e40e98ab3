"""Secrets are references (`{"secret": "name"}`), never values: the rule that tells them, by name and by look."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from services.kernel.errors import Invalid
from services.kernel.runtime.secret_files import SECRET_NAME, is_reference

# Parts of names, letters and digits alone.
_NAMES = re.compile(
    r"password|passwd|passphrase|passcode|pswd|pwd|secret|token|credential|mnemonic|seedphrase|authcode|authorization"
    r"|(?:private|api|access|signing|signature|encryption|master|hmac|ssh|session|account|auth|app)key"
    r"|密码|密碼|口令|密钥|密鑰|私钥|私鑰|令牌|授权码|授權碼|授权编码|授權編碼|认证码|認證碼|验证码|助记词|凭证|凭据"
)
# Whole words of names: as parts they are in too many others.
_WORDS = frozenset({"pass", "pw", "psw", "pin", "otp", "cookie", "creds"})
# A number whose name has one of these measures something about secrets, and is none.
_MEASURES = frozenset(
    {"s", "ms", "us", "ns", "sec", "secs", "second", "seconds", "minute", "minutes", "hour", "hours", "day", "days"}
    | {"ttl", "life", "lifetime", "age", "expiry", "expires", "expire", "expiration", "interval", "timeout", "time"}
    | {"count", "number", "max", "min", "maximum", "minimum", "limit", "limits", "size", "length", "bytes", "bits"}
    | {"failures", "attempts", "retries", "queue", "cost", "rounds", "iterations", "kib", "mib", "cap", "rate", "free"}
)
_CHINESE_MEASURES = re.compile(r"有效期|期限|长度|次数|上限|下限|秒|分钟|天数")
_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\dA-Za-z_]+")
_SEPARATORS = re.compile(r"[\W_]")
_CONTENTS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY", re.IGNORECASE),
    re.compile(r"\beyJ[\w-]{5,}\.eyJ[\w-]+\.[\w-]*"),  # a JSON web token
    # An address with a password in it; after a colon that begins a port there is none.
    re.compile(r"[a-z][a-z0-9+.-]*://[^\s/:@]*:(?!\d{1,5}(?:[/?#,\s]|$))[^\s@]+[^\s]*@", re.IGNORECASE),
    # name=value, as in an address's query, a connection string, or a line of a file.
    re.compile(
        r"(?:password|passwd|passphrase|pwd|secret|access_?key|api_?key|_?token|密码|密碼|口令|密钥|授权码|授权编码)"
        r"\s*[=：:]\s*[^\s,;&{}$<*…]",
        re.IGNORECASE,
    ),
    re.compile(r"\b(?:Bearer|Basic)\s+[\w+/=.~-]{12,}", re.IGNORECASE),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"\b(?:gh[opsru]|github_pat|glpat|xox[abprs]|sk_live|rk_live|rfk|whsec)[_-][\w-]{16,}"),
    re.compile(r"\$(?:argon2(?:id|i|d)|2[aby])\$"),  # the hash of a password
)
_PAIR_NAMES, _PAIR_VALUES = ("name", "key", "名称"), ("value", "val", "值")


def names_secret(name: str) -> bool:
    """Test that a name is one of a secret: in English or Chinese, in any case and any way of joining words."""
    plain = unicodedata.normalize("NFKC", name)
    squeezed = _SEPARATORS.sub("", plain.casefold())
    return _NAMES.search(squeezed) is not None or bool(_WORDS & _words(plain))


def looks_secret(text: str) -> bool:
    """Test that a text is a secret, or has one in it, whatever its name."""
    plain = unicodedata.normalize("NFKC", text)
    return any(pattern.search(plain) for pattern in _CONTENTS)


def is_secret(key: str, value: Any) -> bool:
    """Test a text or number under a key: is the key named like a secret, or does the text look like one?"""
    if isinstance(value, str):
        return bool(value) and (names_secret(key) or looks_secret(value))
    return _is_number(value) and names_secret(key) and not _measures(key)


def require_references(key: str, value: Any, path: str) -> None:
    """Raises Invalid where a text or a number, however deep, is named like a secret or looks like one."""
    where = next(raw_secrets(key, value, path), None)
    if where is not None:
        raise Invalid(
            f'{where}: looks like a secret; configuration holds references to secrets, {{"secret": "name"}}',
            field=where,
        )


def raw_secrets(key: str, value: Any, path: str) -> Iterator[str]:
    """Paths of the secrets that are in a value as they are, in the order in which they stand there.

    What is below a name of a secret is one too, at any depth; so is the value of `{"name": "password", "value": …}`.
    """
    waiting = [(path, key, value, False)]
    while waiting:
        where, name, part, below = waiting.pop()
        if is_reference(part):
            if not SECRET_NAME.fullmatch(part["secret"]) or looks_secret(part["secret"]):
                yield f"{where}.secret"
        elif isinstance(part, dict):
            below = below or names_secret(name)
            paired = _paired(part)
            inner = [
                (f"{where}.{n}", str(n), item, below or (paired and n in _PAIR_VALUES)) for n, item in part.items()
            ]
            if any(looks_secret(str(n)) for n in part):
                yield where
            waiting.extend(reversed(inner))
        elif isinstance(part, list):
            waiting.extend((f"{where}[{index}]", name, part[index], below) for index in range(len(part) - 1, -1, -1))
        elif is_secret(name, part) or (below and _is_secret_below(name, part)):
            yield where


def schema_secrets(key: str, schema: Any, path: str = "schema") -> Iterator[str]:
    """Paths of the secrets in a JSON schema: in any text, and in the defaults and examples of properties."""
    waiting = [(path, key, schema)]
    while waiting:
        where, name, part = waiting.pop()
        if isinstance(part, dict):
            for word, item in part.items():
                inner = f"{where}.{word}"
                if word in ("default", "const", "examples"):
                    yield from raw_secrets(name, item, inner)
                elif word == "properties" and isinstance(item, dict):
                    waiting.extend((f"{inner}.{prop}", str(prop), below) for prop, below in item.items())
                else:
                    waiting.append((inner, name, item))
        elif isinstance(part, list):
            waiting.extend((f"{where}[{index}]", name, item) for index, item in enumerate(part))
        elif isinstance(part, str) and looks_secret(part):
            yield where


def _is_secret_below(name: str, part: Any) -> bool:
    return bool(part) if isinstance(part, str) else _is_number(part) and not _measures(name)


def _paired(part: dict[str, Any]) -> bool:
    return any(isinstance(part.get(name), str) and names_secret(part[name]) for name in _PAIR_NAMES)


def _measures(name: str) -> bool:
    plain = unicodedata.normalize("NFKC", name)
    return bool(_MEASURES & _words(plain)) or _CHINESE_MEASURES.search(plain) is not None


def _words(name: str) -> set[str]:
    return {word.casefold() for word in _SPLIT.findall(name)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
