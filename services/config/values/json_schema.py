"""JSON schemas (draft 2020-12): which are accepted, and what they refuse."""

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.validators import extend
from redfire.reasons import Reason
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from services.config.values.json_value import Json, path_of, walk
from services.config.values.pattern import pattern_keyword, require_pattern
from services.config.values.schema_work import TooMuchWork, metered, metered_keyword, require_little_work, unique_items
from services.kernel.errors import Invalid

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# An empty registry fetches nothing: a schema can never make us call an address.
_NOTHING: Registry[Any] = Registry()
_KEYWORDS = {**Draft202012Validator.VALIDATORS, "pattern": pattern_keyword, "uniqueItems": unique_items}
_Validator: Any = extend(Draft202012Validator, {name: metered_keyword(look) for name, look in _KEYWORDS.items()})


class SchemaViolation(Invalid):
    """The value breaks the key's JSON schema."""

    reason = Reason.SCHEMA_VIOLATION


def require_schema(schema: dict[str, Json]) -> None:
    """Raises Invalid unless `schema` is a JSON schema of draft 2020-12 whose references are all inside it.

    It must not refer to itself, nor be so big that it makes too much work.
    """
    if schema.get("$schema", DIALECT).rstrip("#") != DIALECT:
        raise Invalid(f"schema.$schema: only {DIALECT} is known", field="schema.$schema")
    try:
        resolver = _NOTHING.resolver_with_root(DRAFT202012.create_resource(schema))
        for where, key, part in walk(schema, "schema"):
            if key in ("$ref", "$dynamicRef") and isinstance(part, str):
                _require_local(resolver, part, where)
        # Before the check against the draft's own schema, which takes time with each part.
        require_little_work(schema, lambda reference: resolver.lookup(reference).contents)
        Draft202012Validator.check_schema(schema)
        for where, key, part in walk(schema, "schema"):
            if key == "pattern" and isinstance(part, str):
                require_pattern(part, where)
            if key == "patternProperties":
                raise Invalid(f"{where}: not supported; name the properties, or use propertyNames", field=where)
    except SchemaError as error:
        field = path_of("schema", error.absolute_path)
        raise Invalid(f"{field}: {error.message}", field=field) from None
    except RecursionError:
        raise Invalid("schema: nested too deeply", field="schema") from None


def require_valid(schema: dict[str, Json], value: Json, path: str = "value") -> None:
    """Raises SchemaViolation with the path of the part that `schema` refuses."""
    try:
        with metered():
            error = best_match(_Validator(schema, registry=_NOTHING).iter_errors(value))
    except TooMuchWork:
        raise SchemaViolation(f"{path}: too much work for the key's schema", field=path, path=path) from None
    except (RecursionError, Unresolvable):
        raise SchemaViolation(f"{path}: the key's schema refers to itself without end", field=path, path=path) from None
    if error is not None:
        where = path_of(path, error.absolute_path)
        raise SchemaViolation(f"{where}: {error.message[:500]}", field=where, path=where)


def _require_local(resolver: Any, reference: str, where: str) -> None:
    try:
        if reference.startswith("#"):
            resolver.lookup(reference)
            return
    except (Unresolvable, ValueError, KeyError, TypeError):
        pass
    raise Invalid(f"{where}: {reference} is nowhere in this schema", field=where)
