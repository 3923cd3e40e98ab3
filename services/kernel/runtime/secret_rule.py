"""Secrets are references (`{"secret": "name"}`), never values: the rule that tells them, by name and by look."""

import re
from collections.abc import Iterator
from typing import Any

from services.kernel.errors import Invalid
from services.kernel.runtime.lookalikes import fold
from services.kernel.runtime.secret_files import SECRET_NAME, is_reference
from services.kernel.runtime.secret_texts import TooIntricate, assignments_in, documents_in, is_json

# Parts of names, letters and digits alone.
_NAMES = re.compile(
    r"password|passwd|passphrase|passcode|pswd|pwd|secret|(?<!page)token(?!iz)|credential|mnemonic|seedphrase|authcode|authorization"
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
# Each takes time in proportion to the text, which may have 64 KiB of anything.
_CONTENTS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY", re.IGNORECASE),
    re.compile(r"\beyJ[\w-]{5,1024}+\.eyJ[\w-]+\."),  # a JSON web token
    # An address with a password in it; after a colon that begins a port there is none.
    re.compile(
        r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]*+://[^\s/:@]{0,256}+:(?!\d{1,5}(?:[/?#,\s]|$))[^\s@]{1,512}+@", re.IGNORECASE
    ),
    re.compile(r"\b(?:Bearer|Basic)\s+[\w+/=.~-]{12,}", re.IGNORECASE),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"\b(?:gh[opsru]|github_pat|glpat|xox[abprs]|sk_live|rk_live|rfk|whsec)[_-][\w-]{16,}"),
    re.compile(r"\$(?:argon2(?:id|i|d)|2[aby])\$"),  # the hash of a password
)
# name=value or name: value anywhere in a sentence.
_SENTENCE = re.compile(
    r"(?:password|passwd|passphrase|pwd|secret|access_?key|api_?key|(?<!page)_token|密码|密碼|口令|密钥|授权码|授权编码)"
    r"[\\\"']*\s*[=:]\s*[\\\"']*(?!(?:true|false|null|none|yes|no|on|off|required|optional|string)\b)"
    r"[^\s,;&{}\[\]()$<*…\\\"']",
    re.IGNORECASE,
)
# Members of an object that name what others of it hold.
_PAIR_NAMES = frozenset(
    {"name", "key", "k", "n", "id", "field", "option", "setting", "property", "param", "parameter"}
) | {*("variable", "env", "名称", "名字", "名", "键", "字段", "参数", "变量")}
_PAIR_VALUES = frozenset({"value", "values", "val", "v", "data", "content", "default", "current", "raw", "plain"}) | {
    *("stringvalue", "值", "内容", "默认值")
}
_MAX_TEXTS = 8  # one in the other


def names_secret(name: str) -> bool:
    """Test that a name is one of a secret: in English or Chinese, in any case, joined and spelled in any way."""
    plain = fold(name)
    squeezed = _SEPARATORS.sub("", plain.casefold())
    return _NAMES.search(squeezed) is not None or bool(_WORDS & _words(plain))


def looks_secret(text: str, level: int = 0) -> bool:
    """Test that a text is a secret, or has one in it, whatever its name.

    A document or an assignment in it (JSON, YAML, a line of a file, a query) is read as what it says. `level` counts
    the texts around it.
    """
    plain = fold(text)
    if any(pattern.search(plain) for pattern in _CONTENTS):
        return True
    if not is_json(text) and (_SENTENCE.search(plain) or any(_assigns_secret(*one) for one in assignments_in(text))):
        return True
    try:
        documents = documents_in(text)
        if level == _MAX_TEXTS:
            return any(documents)  # nobody ordinary writes so
        return any(next(raw_secrets("", part, "", level + 1), None) is not None for part in documents)
    except TooIntricate:
        return True


def is_secret(key: str, value: Any, level: int = 0) -> bool:
    """Test a text or number under a key: is the key named like a secret, or does the text look like one?"""
    if isinstance(value, str):
        return bool(value) and (names_secret(key) or looks_secret(value, level))
    return _is_number(value) and names_secret(key) and not _measures(key)


def require_references(key: str, value: Any, path: str) -> None:
    """Raises Invalid where a text or a number, however deep, is named like a secret or looks like one."""
    where = next(raw_secrets(key, value, path), None)
    if where is not None:
        raise Invalid(
            f'{where}: looks like a secret; configuration holds references to secrets, {{"secret": "name"}}',
            field=where,
        )


def raw_secrets(key: str, value: Any, path: str, level: int = 0) -> Iterator[str]:
    """Paths of the secrets that are in a value as they are, in the order in which they stand there.

    What is below a name of a secret is one too, at any depth; so is the value of `{"name": "password", "value": …}`, of
    a pair in a list of them (`[["password", …]]`), and what follows an option (`["--password", …]`). `level` counts
    the texts that the value is in.
    """
    waiting = [(path, key, value, False)]
    while waiting:
        where, name, part, below = waiting.pop()
        if is_reference(part):
            if not SECRET_NAME.fullmatch(part["secret"]) or looks_secret(part["secret"], level):
                yield f"{where}.secret"
        elif isinstance(part, dict):
            below = below or names_secret(name)
            paired = _pair_name(part)
            inner = [
                (f"{where}.{n}", paired if paired and _plain(str(n)) in _PAIR_VALUES else str(n), item, below)
                for n, item in part.items()
            ]
            if any(looks_secret(str(n), level) for n in part):
                yield where
            waiting.extend(reversed(inner))
        elif isinstance(part, list):
            items = [(f"{where}[{index}]", name, item, below) for index, item in enumerate(part)]
            waiting.extend(reversed([*_named_items(part, items)]))
        elif is_secret(name, part, level) or (below and _is_secret_below(name, part)):
            yield where


_Item = tuple[str, str, Any, bool]


def _named_items(part: list[Any], items: list[_Item]) -> Iterator[_Item]:
    """Items of a list, with those that a name beside them makes a secret."""
    for (where, name, item, below), before in zip(items, [None, *part], strict=False):
        option = isinstance(before, str) and before.startswith("-") and names_secret(before)
        follows = option and not (isinstance(item, str) and item.startswith("-"))
        if isinstance(item, list) and len(item) > 1 and isinstance(item[0], str) and names_secret(item[0]):
            yield f"{where}[0]", name, item[0], below
            for index, value in enumerate(item[1:], 1):
                yield f"{where}[{index}]", item[0], value, True
        else:
            yield where, name, item, below or follows


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


def _assigns_secret(name: str, value: str | float) -> bool:
    return bool(value) and names_secret(name) and not (_is_number(value) and _measures(name))


def _is_secret_below(name: str, part: Any) -> bool:
    return bool(part) if isinstance(part, str) else _is_number(part) and not _measures(name)


def _pair_name(part: dict[str, Any]) -> str:
    """The secret that an object names as the one whose value it has; empty where there is none."""
    names = (item for name, item in part.items() if _plain(str(name)) in _PAIR_NAMES)
    return next((name for name in names if isinstance(name, str) and names_secret(name)), "")


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", fold(name).casefold())


def _measures(name: str) -> bool:
    plain = fold(name)
    return bool(_MEASURES & _words(plain)) or _CHINESE_MEASURES.search(plain) is not None


def _words(name: str) -> set[str]:
    return {word.casefold() for word in _SPLIT.findall(name)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
