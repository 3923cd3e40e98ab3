"""Documents `{service: {key: value}}` in YAML or JSON: read within bounds, written so that reading gives the same."""

import json
import re
from enum import Enum
from typing import Any, cast

import yaml

from services.config.values.json_value import Json
from services.kernel.errors import Invalid

Document = dict[str, dict[str, Json]]

MAX_NODES = 50_000
MAX_NESTING = 40
SERVICE_NAME = re.compile(r"^[a-z][a-z0-9_-]{0,31}$")
KEY = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]{0,127}$")

_Pairs = list[tuple[str, Json]]


class DocumentFormat(Enum):
    """Format of a document."""

    YAML = "YAML"
    JSON = "JSON"


class InvalidDocument(Invalid):
    """The document cannot be read."""

    def __init__(self, message: str, field: str = "document") -> None:
        super().__init__(f"{field}: {message}", field=field)


def parse_document(text: str, kind: DocumentFormat) -> Document:
    """The services, keys and values that a document has. Raises InvalidDocument."""
    root = _parse_json(text) if kind is DocumentFormat.JSON else _parse_yaml(text)
    if not isinstance(root, dict):
        raise InvalidDocument("must be {service: {key: value}}")
    for service_name, values in root.items():
        if not isinstance(service_name, str) or not SERVICE_NAME.fullmatch(service_name):
            raise InvalidDocument(f"{service_name!r} is not a service's name")
        if not isinstance(values, dict):
            raise InvalidDocument("must be {key: value}", f"document.{service_name}")
        for key in values:
            if not isinstance(key, str) or not KEY.fullmatch(key):
                raise InvalidDocument(f"{key!r} is not a key", f"document.{service_name}")
    return root


def render_document(document: Document, kind: DocumentFormat) -> str:
    """The document, sorted."""
    if kind is DocumentFormat.JSON:
        return json.dumps(document, ensure_ascii=False, sort_keys=True, indent=2) + "\n"
    return yaml.dump(document, Dumper=_Writer, sort_keys=True, allow_unicode=True, default_flow_style=False)


def unique(pairs: _Pairs) -> dict[str, Json]:
    """An object of its members. Raises InvalidDocument for a key that is given twice."""
    # One pass over the keys: there may be very many, and the repeated one the last.
    mapping: dict[str, Json] = {}
    for key, value in pairs:
        if key in mapping:
            raise InvalidDocument(f"the key {key!r} is given twice")
        mapping[key] = value
    return mapping


def _parse_json(text: str) -> Json:
    def refuse(constant: str) -> Json:
        raise InvalidDocument(f"JSON has no {constant}")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except RecursionError:
        raise InvalidDocument(f"nested deeper than {MAX_NESTING} levels") from None
    except ValueError as error:
        raise InvalidDocument(f"not JSON: {error}") from None


def _parse_yaml(text: str) -> Json:
    try:
        _require_bounded(text)
        return yaml.load(text, Loader=_Reader)  # noqa: S506  a SafeLoader # nosec B506
    except yaml.YAMLError as error:
        if "nesting depth" in str(error):  # libyaml's own bound, from 0.2.6 on
            raise InvalidDocument(f"nested deeper than {MAX_NESTING} levels") from None
        raise InvalidDocument(f"not YAML: {' '.join(str(error).split())[:300]}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"not YAML: {error}") from None


def _require_bounded(text: str) -> None:
    """Counts nodes as they would be with every alias written out, before anything is built from them."""
    total = 0
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise InvalidDocument(f"the alias *{event.anchor} refers to itself or to nothing")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        if total > MAX_NODES:
            raise InvalidDocument(f"more than {MAX_NODES} values")
        if len(open_nodes) > MAX_NESTING:
            raise InvalidDocument(f"nested deeper than {MAX_NESTING} levels")


# YAML 1.2's core schema, which is JSON's: `no` and `12:30` are strings, not a boolean and 750 (YAML 1.1).
_CORE = (
    ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), "~nN\0"),
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        "-+.0123456789",
    ),
)


class _Reader(yaml.CSafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own way

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value == "<<" and not key_node.style:
                raise InvalidDocument("merge keys (<<) are not read; write the values out")
            if isinstance(key_node.value, str) and key_node.value in seen:
                raise InvalidDocument(f"the key {key_node.value!r} is given twice")
            if isinstance(key_node.value, str):
                seen.add(key_node.value)
        return cast(dict[Any, Any], super().construct_mapping(node, deep))


class _Writer(yaml.CSafeDumper):
    # Besides the core schema the writer knows YAML 1.1's, so that what a reader of either would take for something
    # else than a string is quoted.
    yaml_implicit_resolvers = {first: list(rules) for first, rules in yaml.SafeDumper.yaml_implicit_resolvers.items()}  # noqa: RUF012

    def ignore_aliases(self, data: object) -> bool:
        return True


for _tag, _pattern, _firsts in _CORE:
    for _first in _firsts:
        for _kind in (_Reader, _Writer):
            _kind.yaml_implicit_resolvers.setdefault("" if _first == "\0" else _first, []).append((_tag, _pattern))
