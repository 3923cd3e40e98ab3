"""Requests with something that the contract does not know or that is given twice, made for each route."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from services.mesh.contract import PATH_FIELD, Contract, RestRoute, Rpc

UNKNOWN = "noSuchField"
WELL_KNOWN: dict[str, Any] = {
    "Timestamp": "2026-11-28T09:00:00Z",
    "Duration": "1.5s",
    "FieldMask": "displayName",
    "Value": {"any": [1, None]},
    "Struct": {"any": {"thing": 1}},
}


@dataclass(frozen=True, slots=True)
class Wrong:
    """A request, and the name that its refusal must give."""

    name: str
    verb: str
    path: str
    body: str | None
    field: str


def routes(contract: Contract) -> Iterator[tuple[Rpc, RestRoute, str]]:
    """All REST routes, with a path that fits."""
    for rpc in contract.edge_rpcs:
        for route in rpc.routes:
            yield rpc, route, PATH_FIELD.sub("mine", route.path)


def wrong_requests(contract: Contract) -> Iterator[Wrong]:
    """All of them."""
    for rpc, route, path in routes(contract):
        where = f"{route.verb.upper()} {route.path}"
        message = rpc.method.input_type
        for query, field, what in wrong_queries(message, route):
            body = "{}" if route.body else None
            yield Wrong(f"{where}: {what}", route.verb, f"{path}?{query}", body, field)
        if not route.body:
            yield Wrong(f"{where}: a body", route.verb, path, "{}", "")
            continue
        for body, field, what in wrong_bodies(message):
            yield Wrong(f"{where}: {what}", route.verb, path, body, field)
        for name in route.path_fields:
            field = message.fields_by_name[name]
            for spelling in {field.name, field.json_name}:
                body = json.dumps({spelling: sample(field)})
                yield Wrong(f"{where}: the path's {spelling} in the body", route.verb, path, body, field.json_name)
        for field in message.fields:
            if is_scalar(field) and field.name not in route.path_fields:
                query, body = f"{field.name}={text(field)}", json.dumps({field.json_name: sample(field)})
                what = f"{field.name} in query and body"
                yield Wrong(f"{where}: {what}", route.verb, f"{path}?{query}", body, field.json_name)


def wrong_queries(message: Descriptor, route: RestRoute) -> Iterator[tuple[str, str, str]]:
    """(query, field, what is wrong)."""
    yield f"{UNKNOWN}=1", UNKNOWN, "unknown in the query"
    yield UNKNOWN, UNKNOWN, "unknown in the query, without a value"
    for field in message.fields:
        value, names = text(field), {field.name, field.json_name}
        if field.name in route.path_fields:
            for name in names:
                yield f"{name}={value}", name, f"the path's {name} in the query"
        elif is_scalar(field):
            yield f"{field.json_name}={value}&{field.name}={value}", field.name, f"{field.name} twice in the query"
            yield field.json_name, field.json_name, f"{field.name} without a value"
            yield f"{field.json_name}x={value}", f"{field.json_name}x", f"{field.name} misspelt in the query"
            for other in ("1", "") if field.type == FieldDescriptor.TYPE_BOOL else ():
                yield f"{field.name}={other}", field.name, f"{field.name} is {other} in the query"


def wrong_bodies(message: Descriptor) -> Iterator[tuple[str, str, str]]:
    """(body, field, what is wrong), at every depth."""
    for before, after, prefix, inner in places(message, ()):
        at = prefix + "." if prefix else ""
        yield f'{before}{{"{UNKNOWN}": 1}}{after}', at + UNKNOWN, f"unknown in {prefix or 'the body'}"
        for field in inner.fields:
            value, name = json.dumps(sample(field)), field.json_name
            for odd in (name + "x", name.upper() if name.upper() != name else name.title(), name[:-1] + "\\u0078"):
                given = json.loads(f'"{odd}"')
                yield f'{before}{{"{odd}": {value}}}{after}', at + given, f"{at}{odd}"
            for first in {name, field.name}:
                twice = f'{before}{{"{first}": {value}, "{name}": {value}}}{after}'
                yield twice, at + name, f"{at}{name} twice, first as {first}"
            for other in values_of_another_type(field):
                yield f'{before}{{"{name}": {other}}}{after}', at + name, f"{at}{name} is {other}"


def places(message: Descriptor, above: tuple[str, ...]) -> Iterator[tuple[str, str, str, Descriptor]]:
    """(JSON before, JSON after, path, message) of each object in a message whose fields are the contract's."""
    yield "", "", "", message
    if message.full_name in above:
        return
    for field in message.fields:
        inner, open_, close, step = field.message_type, "", "", ""
        if inner is not None and inner.GetOptions().map_entry:
            inner, open_, close, step = inner.fields_by_name["value"].message_type, '{"key": ', "}", ".key"
        elif field.is_repeated:
            open_, close, step = "[", "]", "[0]"
        if inner is None or inner.file.package == "google.protobuf":
            continue
        for before, after, path, deeper in places(inner, (*above, message.full_name)):
            rest = f".{path}" if path else ""
            yield (
                f'{{"{field.json_name}": {open_}{before}',
                f"{after}{close}}}",
                f"{field.json_name}{step}{rest}",
                deeper,
            )


def values_of_another_type(field: FieldDescriptor) -> Iterator[str]:
    """JSON values of another type that look like the field's: a bool in quotes, an enum's number in quotes."""
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        yield from (f'{{"1": {other}}}' for other in values_of_another_type(entry.fields_by_name["value"]))
        return
    others: tuple[str, ...] = ()
    if field.type == FieldDescriptor.TYPE_BOOL:
        others = ("true", "0")
    elif field.type == FieldDescriptor.TYPE_ENUM:
        others = ("1", "\\u0031")
    yield from (f'["{other}"]' if field.is_repeated else f'"{other}"' for other in others)


def sample(field: FieldDescriptor) -> Any:
    """A JSON value that the field takes."""
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return {"1": sample(message.fields_by_name["value"])}
    one = sample_of_one(field)
    return [one, one] if field.is_repeated else one


def sample_of_one(field: FieldDescriptor) -> Any:
    """A sample of one item of a list."""
    if field.message_type is not None:
        if field.message_type.file.package == "google.protobuf":
            return WELL_KNOWN[field.message_type.name]
        return {inner.json_name: sample(inner) for inner in field.message_type.fields}
    if field.enum_type is not None:
        return field.enum_type.values[-1].name
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return "text"
        case FieldDescriptor.TYPE_BYTES:
            return "dGV4dA=="
        case FieldDescriptor.TYPE_BOOL:
            return True
        case FieldDescriptor.TYPE_INT64 | FieldDescriptor.TYPE_UINT64:
            return "7"
        case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
            return 1.5
    return 7


def is_scalar(field: FieldDescriptor) -> bool:
    """True for a field that a query can give once."""
    return not field.is_repeated and field.message_type is None


def text(field: FieldDescriptor) -> str:
    """A value as a query has it."""
    value = sample_of_one(field) if field.message_type is None else "x"
    return "true" if value is True else str(value)
