"""Values: JSON, without secrets, and as their schema says."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from services.config.values.json_schema import SchemaViolation, require_schema, require_valid
from services.config.values.json_value import require_json, same
from services.kernel.errors import Invalid
from services.kernel.runtime.secret_rule import require_references


def refused_fields(require: Callable[..., None], *arguments: Any) -> list[str]:
    """The fields for which a rule refuses; none when it lets the value through."""
    try:
        require(*arguments)
    except Invalid as refused:
        return list(refused.fields)
    return []


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"limits": [1, 2**53 + 1]}, "value.limits[1]"),
        ([float("inf")], "value[0]"),
        ({"a": {1: 2}}, "value.a"),
        ({"a": {1, 2}}, "value.a"),
        (deep(40), "value"),
        ("x" * 1001, "value"),
        ("\ud800", "value"),
        ({"a": ["x", "\0"]}, "value.a[1]"),
        ({"a": {"\x1b[2J": 1}}, "value.a"),
    ],
)
def test_what_json_does_not_have_is_refused_with_its_path(value: Any, field: str) -> None:
    assert refused_fields(require_json, value, "value", 1000) == [field]


def test_what_json_has_is_allowed() -> None:
    value = {"a": [1, -2.5, True, None, "x\r\n\ty", {}], "b": deep(20), "c": 2**53}
    assert refused_fields(require_json, value, "value", 1000) == []


def test_one_and_true_are_not_the_same() -> None:
    assert same({"a": [1, 0]}, {"a": [1.0, 0]})
    assert not same(1, True)
    assert not same({"a": [0]}, {"a": [False]})
    assert not same([1], {"a": 1})


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("smtp_password", "hunter2", "value"),
        ("signingToken", "x", "value"),
        ("private-key", "x", "value"),
        ("api.key", "x", "value"),
        ("smtp", {"user": "me", "Password": "x"}, "value.Password"),
        ("tokens", ["a"], "value[0]"),
        ("secret", {"secret": "x", "other": 1}, "value.secret"),
        ("pem", "-----BEGIN RSA PRIVATE KEY-----\n…", "value"),
        ("database", "postgresql://me:pw@db/x", "value"),
    ],
)
def test_a_secret_that_is_not_a_reference_is_refused(key: str, value: Any, field: str) -> None:
    with pytest.raises(Invalid, match="references to secrets") as refused:
        require_references(key, value, "value")
    assert list(refused.value.fields) == [field]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("smtp_password", {"secret": "smtp"}),
        ("smtp", {"user": "me", "password": {"secret": "smtp"}}),
        ("token_ttl_s", 3600),
        ("database", "postgresql://db/x"),
        ("password", None),
    ],
)
def test_a_reference_and_what_is_no_secret_is_allowed(key: str, value: Any) -> None:
    assert refused_fields(require_references, key, value, "value") == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "intager"},
        {"properties": {"a": {"minimum": "1"}}},
        {"pattern": "("},
        {"pattern": "(?=a)"},
        {"patternProperties": {"^a": {}}},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/absent"},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
    ],
)
def test_what_is_no_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        require_schema(schema)
    assert next(iter(refused.value.fields)).startswith("schema")


def test_a_value_that_its_schema_refuses_is_refused_with_the_path() -> None:
    schema = {
        "$defs": {"limit": {"type": "integer", "minimum": 0}},
        "properties": {"limits": {"items": {"$ref": "#/$defs/limit"}}},
    }
    require_schema(schema)
    require_valid(schema, {"limits": [1, 2]})
    with pytest.raises(SchemaViolation) as refused:
        require_valid(schema, {"limits": [1, -2]})
    assert refused.value.metadata["path"] == "value.limits[1]"
    assert list(refused.value.fields) == ["value.limits[1]"]


def test_a_schema_that_refers_to_itself_without_end_ends() -> None:
    with pytest.raises(Invalid):
        require_valid({"$ref": "#"}, 1)


def chain(keyword: str, width: int = 2, length: int = 40) -> dict[str, Any]:
    """Each definition refers to the next one several times: width ** length applications."""
    defs: dict[str, Any] = {
        f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"} for _ in range(width)]} for n in range(length)
    }
    defs[f"d{length}"] = {"type": "integer"}
    return {"$defs": defs, "$ref": "#/$defs/d0"}


HOSTILE = [
    chain("allOf"),
    chain("anyOf"),
    chain("oneOf", 3),
    chain("allOf", 1, 60),
    {"$defs": {"a": {"properties": {"next": {"$ref": "#/$defs/a"}}}}, "$ref": "#/$defs/a"},
    {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}, "items": {"$ref": "#/$defs/a"}},
    {"properties": {"next": {"$ref": "#"}}},
    {"$dynamicRef": "#"},
    {"allOf": [{"type": "integer"}] * 2001},
    {"allOf": [False] * 2001},
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("schema", HOSTILE)
def test_a_schema_that_would_make_too_much_work_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        require_schema(schema)
    assert next(iter(refused.value.fields)).startswith("schema")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (chain("allOf"), 1),
        (chain("anyOf"), "text"),
        (chain("oneOf", 3), 1),
        ({"allOf": [{"items": {"allOf": [{"not": False}] * 900}}] * 2}, list(range(10_000))),
        ({"anyOf": [{"maxLength": 1}] * 900}, "x" * 60_000),
        ({"unevaluatedProperties": False, **chain("allOf")}, {"a": 1}),
    ],
)
def test_a_value_whose_schema_makes_too_much_work_is_refused_soon(schema: dict[str, Any], value: Any) -> None:
    before = time.thread_time()
    with pytest.raises(SchemaViolation):
        require_valid(schema, value)
    assert time.thread_time() - before < 2


@pytest.mark.timeout(20)
def test_big_values_with_usual_schemas_are_accepted() -> None:
    quote = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}, "b": {"minimum": 0}}}
    schema = {"$defs": {"quote": quote}, "items": {"$ref": "#/$defs/quote"}, "uniqueItems": True}
    assert refused_fields(require_schema, schema) == []
    values = [{"a": n, "b": 1} for n in range(4000)]
    assert refused_fields(require_valid, schema, values) == []
    assert refused_fields(require_valid, schema, [*values, {"a": 3999, "b": -1}]) == ["value[4000].b"]


def test_items_are_unique_where_no_two_are_the_same_json() -> None:
    schema = {"uniqueItems": True}
    different = [1, True, "1", None, 0, False, [1], [True], {"a": 1}, {"a": True}, {"a": [1]}, {}]
    assert refused_fields(require_valid, schema, different) == []
    for one, other in ((1, 1.0), ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1}), ([], []), (True, True)):
        assert refused_fields(require_valid, schema, [one, "between", other]) == ["value"]


@pytest.mark.timeout(20)
def test_a_pattern_of_exponential_time_takes_no_time() -> None:
    schema = {"type": "string", "pattern": "^(a+)+$"}
    assert refused_fields(require_schema, schema) == []
    assert refused_fields(require_valid, schema, "a" * 60_000) == []
    assert refused_fields(require_valid, schema, "a" * 60_000 + "b") == ["value"]
