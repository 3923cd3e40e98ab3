"""Requests that nobody should send, made from the contract: a new route gets its own without anybody writing them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from services.mesh.contract import PATH_FIELD, Contract, RestRoute, Rpc

NUMBERS = {
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_DOUBLE,
}
PARSED_FROM_TEXT = ("google.protobuf.Timestamp", "google.protobuf.Duration")
ANYTHING = ("google.protobuf.Value", "google.protobuf.Struct", "google.protobuf.ListValue")
# Body → whether no RPC may take it.
BODIES: dict[str, tuple[bytes, bool]] = {
    "cut": (b'{"a', True),
    "no json": (b"hello", True),
    "array": (b"[1, 2]", True),
    "string": (b'"text"', True),
    "number": (b"1e999", True),
    "null": (b"null", False),
    "empty": (b"", False),
    "invalid utf-8": (b'{"symbol": "\xff\xfe"}', False),
    "nul": (b'{"symbol": "\\u0000"}', False),
    "deep": (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, True),
    "deep arrays": (b"[" * 50_000 + b"]" * 50_000, True),
    "large": (json.dumps({"symbol": "x" * 1_200_000}).encode(), True),
}


@dataclass(frozen=True, slots=True)
class BadRequest:
    """One request; `refused` if its answer must be 4xx whatever the service's rules are."""

    name: str
    verb: str
    path: str
    body: bytes | None
    refused: bool


def bad_requests(contract: Contract) -> Iterator[BadRequest]:
    """Malformed bodies, wrong types, huge numbers, odd decimals and unknown values on every REST route."""
    for rpc in contract.edge_rpcs:
        for route in rpc.routes:
            where = f"{route.verb.upper()} {route.path}"
            path = PATH_FIELD.sub("0", route.path)
            yield BadRequest(f"{where}: unknown query field", route.verb, f"{path}?noSuchField=1", None, True)
            yield from bad_paths(where, route)
            if route.body:
                for name, (body, refused) in BODIES.items():
                    yield BadRequest(f"{where}: {name}", route.verb, path, body, refused)
                yield from bad_fields(where, rpc, route, path)
            else:
                yield from bad_queries(where, rpc, route, path)


def bad_paths(where: str, route: RestRoute) -> Iterator[BadRequest]:
    """Odd ids."""
    if route.path_fields:
        for value in ("%00", "%FF%FE", "'%20OR%201=1", "x" * 5000, "%E2%82%AC", "%2e%2e%2f"):
            path = PATH_FIELD.sub(value.replace("\\", ""), route.path)
            body = b"{}" if route.body else None
            yield BadRequest(f"{where}: id {value[:12]}", route.verb, path, body, False)


def bad_fields(where: str, rpc: Rpc, route: RestRoute, path: str) -> Iterator[BadRequest]:
    """Each field of the body with values of other types and beyond all bounds."""
    for field in rpc.method.input_type.fields:
        if field.name not in route.path_fields:
            for value, refused in bad_values(field):
                body = json.dumps({field.json_name: value}).encode()
                yield BadRequest(f"{where}: {field.json_name}={str(value)[:20]}", route.verb, path, body, refused)


def bad_queries(where: str, rpc: Rpc, route: RestRoute, path: str) -> Iterator[BadRequest]:
    """Each field of the query with what it cannot be."""
    for field in rpc.method.input_type.fields:
        if field.name in route.path_fields:
            continue
        values = [("x" * 3000, False), ("%FF", False)]
        if field.type in NUMBERS:
            values = [("abc", True), ("1e999", True), ("9" * 40, True), ("-1", False), ("", False)]
        elif field.enum_type is not None:
            values = [("NO_SUCH_VALUE", True), ("9999999999", True)]
        elif field.type == FieldDescriptor.TYPE_BOOL:
            values = [("maybe", True)]
        elif field.message_type is not None:
            values = [("nonsense", True)]
        for value, refused in values:
            name = f"{where}: {field.json_name}={value[:12]}"
            yield BadRequest(name, route.verb, f"{path}?{field.json_name}={value}", None, refused)


def bad_values(field: FieldDescriptor) -> list[tuple[object, bool]]:
    """Values that a field cannot have, and whether Envoy itself must see it."""
    values: list[tuple[object, bool]] = [(None, False)]
    if field.is_repeated and not is_map(field.message_type):
        # Of messages, Envoy passes over fields that it does not know, and takes one for a list of one.
        refused = field.message_type is None
        return [*values, ({"a": 1}, refused), ([{"a": [1]}], refused), ([None], False)]
    if field.message_type is not None and field.message_type.full_name in ANYTHING:
        return values
    if field.message_type is not None and field.message_type.full_name in PARSED_FROM_TEXT:
        return [
            *values,
            ("yesterday", True),
            ({"seconds": 1}, False),
            ("99999999999-01-01T00:00:00Z", True),
            ([1], True),
        ]
    if field.message_type is not None:
        return [*values, ("text", field.message_type.name != "FieldMask"), (7, True)]
    values += [({"a": 1}, True), ([[1]], True)]
    if field.enum_type is not None:
        return [*values, ("NO_SUCH_VALUE", True), (10**30, True), (99, False), (-1, False)]
    if field.type in NUMBERS:
        return [*values, ("abc", True), (10**40, True), (-(10**40), True), ("NaN", False), (-1, False)]
    if field.type == FieldDescriptor.TYPE_BOOL:
        return [*values, ("maybe", True), (7, True)]
    decimals = ["-1", "1e3", "0.123456789", "9" * 40, "NaN", "Infinity", " 1", "١", "--1", "0x10", "1" * 5000]
    return [*values, *((text, False) for text in decimals), ("\0", False), ("\ud800", False), ("💥" * 100, False)]


def is_map(message: Descriptor | None) -> bool:
    """True when a repeated field of this type is a map."""
    return message is not None and message.GetOptions().map_entry
