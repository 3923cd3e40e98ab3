"""Secrets are references (`{"secret": "name"}`), never values: the rule that distinguishes them."""

import re

from services.config.values.json_value import Json, walk
from services.kernel.errors import Invalid
from services.kernel.runtime.secret_files import is_reference

_NAMES = re.compile(
    r"password|passwd|passphrase|pwd|secret|token|privatekey|apikey|accesskey|authcode|credential"
    r"|密码|口令|密钥|私钥|令牌|授权码|授权编码|认证码"
)
_SEPARATORS = re.compile(r"[\W_]")
_CONTENTS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    re.compile(r"^eyJ[\w-]+\.eyJ[\w-]+\.[\w-]*$"),  # a JSON web token
    re.compile(r"^[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE),  # an address with a password in it
)


def is_secret(key: str, value: Json) -> bool:
    """Test for a text under a key that is named like a secret, or one that looks like a secret itself."""
    return isinstance(value, str) and (_named_secret(key) or _looks_secret(value))


def require_references(key: str, value: Json, path: str) -> None:
    """Raises Invalid where a string is under a key that is named like a secret, or looks like one itself."""
    references = set()
    for where, name, part in walk(value, path, key):
        if is_reference(part):
            references.add(f"{where}.secret")
        elif where not in references and is_secret(name, part):
            raise Invalid(
                f'{where}: looks like a secret; configuration holds references to secrets, {{"secret": "name"}}',
                field=where,
            )


def _named_secret(name: str) -> bool:
    return _NAMES.search(_SEPARATORS.sub("", name.lower())) is not None


def _looks_secret(text: str) -> bool:
    return any(pattern.search(text) for pattern in _CONTENTS)
