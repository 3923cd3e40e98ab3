"""Secrets are references (`{"secret": "name"}`), never values: the rule that distinguishes them."""

import re

from services.config.values.json_value import Json, walk
from services.kernel.errors import Invalid

_NAMES = re.compile(r"password|passwd|secret|token|privatekey|apikey")
_SEPARATORS = re.compile(r"[^a-z0-9]")
_CONTENTS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    re.compile(r"^eyJ[\w-]+\.eyJ[\w-]+\.[\w-]*$"),  # a JSON web token
    re.compile(r"^[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@"),  # an address with a password in it
)


def is_reference(value: Json) -> bool:
    """Test for `{"secret": "name"}`."""
    return isinstance(value, dict) and value.keys() == {"secret"} and isinstance(value["secret"], str)


def require_references(key: str, value: Json, path: str) -> None:
    """Raises Invalid where a string is under a key that is named like a secret, or looks like one itself."""
    references = set()
    for where, name, part in walk(value, path, key):
        if is_reference(part):
            references.add(f"{where}.secret")
        elif isinstance(part, str) and where not in references and (_named_secret(name) or _looks_secret(part)):
            raise Invalid(
                f'{where}: looks like a secret; configuration holds references to secrets, {{"secret": "name"}}',
                field=where,
            )


def _named_secret(name: str) -> bool:
    return _NAMES.search(_SEPARATORS.sub("", name.lower())) is not None


def _looks_secret(text: str) -> bool:
    return any(pattern.search(text) for pattern in _CONTENTS)
