"""Regular expressions in schemas, matched by RE2 in linear time.

Python's own can take years over forty letters (`(a+)+$`), and would hold up every service of the process meanwhile.
"""

from collections.abc import Iterator
from typing import Any

import re2
from jsonschema.exceptions import ValidationError

from services.kernel.errors import Invalid

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


def require_pattern(pattern: str, where: str) -> None:
    """Raises Invalid for what is no regular expression of RE2, which has no look-around and no back-references."""
    try:
        re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        text = error.args[0].decode(errors="replace") if error.args else "not a regular expression"
        raise Invalid(f"{where}: {text[:200]}", field=where) from None


def pattern_keyword(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """The keyword `pattern` of JSON schema, for jsonschema."""
    if isinstance(instance, str) and not re2.search(pattern, instance, _OPTIONS):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")
