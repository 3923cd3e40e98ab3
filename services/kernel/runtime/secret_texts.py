"""Documents and assignments inside texts: JSON, YAML, lines of INI, TOML and the environment, queries, XML, options."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import yaml

from services.kernel.runtime.lookalikes import fold

_MAX_SIZE = 1 << 20
_NODE_SIZE = 16
_MAX_STARTS = 32
_MAX_DECODINGS = 3
_NAME = r"(?<![\w%.+$-])(?P<name>[\w%.+$-]++)"
_ASSIGNMENTS = (
    # name=value, name: =>, name :=, "name" = "value": lines, queries, connection strings, code.
    re.compile(rf"{_NAME}[\"'\]]*\s*(?:=>|:=|=(?![=>~]))\s*[\"']?(?=(?P<value>[^\s\"'&;,?#]{{1,256}}))"),
    re.compile(rf"<{_NAME}(?:\s[^<>]*)?>\s*(?P<value>[^\s<>][^<>]*)</"),
    re.compile(r"\b(?:name|key)\s*=\s*[\"'](?P<name>[^\"'<>]{1,120})[\"']\s+value\s*=\s*[\"'](?P<value>[^\"'<>]+)"),
    re.compile(r"(?<!\S)(?P<name>--?[\w.][\w.-]*+)\s+(?P<value>[^\s-]\S*)"),
)
_YAML = re.compile(r"^.*:(?:\s|$)|^[ \t]*(?:-\s|[{\[])", re.MULTILINE)
# What stands where a value will be, is a type or switches something.
_PLACEHOLDER = re.compile(
    r"\$\{[^}]*\}?|\$\([^)]*\)|\$[A-Za-z_]\w*|%[A-Z_]+%|<[^>]*>?|\{.*|\[.*|\(.*|\*+|\.{3,}|…|x{3,}"
    r"|true|false|null|none|nil|yes|no|on|off|required|optional|string|text|str|int|integer|number|bool|boolean",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?\d{1,17}(?:\.\d{1,17})?")


class TooIntricate(Exception):
    """A document that grows beyond all measure when it is read."""


def is_json(text: str) -> bool:
    """Test that a text is one document of JSON: there is nothing in it but names and values."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def documents_in(text: str) -> Iterator[Any]:
    """Objects and lists that a text has: all of it as JSON or YAML, and JSON somewhere within it.

    A name that is given again has a number behind it. Raises TooIntricate.
    """
    for form in dict.fromkeys((text, fold(text))):
        found = list(_json_in(form)) or _yaml_in(form)
        if found:
            yield from found
            return


def assignments_in(text: str) -> Iterator[tuple[str, str | float]]:
    """Names and values that a text assigns, whatever its form; placeholders, switches and types are no values.

    Percent-encoding is undone, several times where it was done so.
    """
    plain = fold(text)
    for _ in range(_MAX_DECODINGS):
        for pattern in _ASSIGNMENTS:
            for match in pattern.finditer(plain):
                value = match["value"].strip()
                if not _PLACEHOLDER.fullmatch(value.rstrip(".,;)")):
                    yield match["name"].strip(" $-"), scalar(value)
        decoded = fold(unquote_plus(plain)) if "%" in plain else plain
        if decoded == plain:
            return
        plain = decoded


def scalar(text: str) -> str | float:
    """A number where a text is one, which may measure something; else the text."""
    return float(text) if _NUMBER.fullmatch(text) else text


def _json_in(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder(object_pairs_hook=_all_pairs)
    position = 0
    for _ in range(_MAX_STARTS):
        starts = [at for at in (text.find("{", position), text.find("[", position)) if at >= 0]
        if not starts:
            return
        try:
            value, position = decoder.raw_decode(text, min(starts))
        except (ValueError, RecursionError):
            position = min(starts) + 1
        else:
            yield value


def _all_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for index, (name, value) in enumerate(pairs):
        values[f"{name} {index}" if name in values else name] = value
    return values


def _yaml_in(text: str) -> list[Any]:
    if not _YAML.search(text):
        return []
    try:
        nodes = list(yaml.compose_all(text, yaml.CSafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError):
        return []
    one_line = "\n" not in text.strip()
    try:
        values = [_Plain(one_line).value(node) for node in nodes if isinstance(node, yaml.CollectionNode)]
    except RecursionError:  # an alias within what it stands for
        raise TooIntricate from None
    return [value for value in values if value]


class _Plain:
    """Values of YAML's nodes, as many as there are with aliases written out, within a bound."""

    def __init__(self, one_line: bool) -> None:
        self._one_line = one_line
        self._left = _MAX_SIZE

    def value(self, node: yaml.Node) -> Any:
        """A dictionary, a list, a text or a number; None for placeholders. Raises TooIntricate."""
        self._left -= _NODE_SIZE + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
        if self._left < 0:
            raise TooIntricate
        if isinstance(node, yaml.MappingNode):
            pairs = [(self._name(key), self.value(item)) for key, item in node.value]
            return _all_pairs(pairs)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item) for item in node.value]
        text = str(node.value)
        if isinstance(node, yaml.ScalarNode) and node.style:  # quoted, or a block
            return text
        # "Token: see the handbook" is a sentence, unlike a line of a file.
        is_sentence = self._one_line and " " in text.strip()
        return None if is_sentence or _PLACEHOLDER.fullmatch(text) else scalar(text)

    def _name(self, node: yaml.Node) -> str:
        name = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
        return "" if self._one_line and name.count(" ") > 1 else name
