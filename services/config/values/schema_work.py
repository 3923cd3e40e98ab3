"""Bounds of the work a JSON schema may make: schemas that are too much from the start, and a meter while one is used.

A few lines of `$ref`s to pairs of `$ref`s are exponential work, and validation holds up the process meanwhile.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jsonschema.exceptions import ValidationError

from services.config.values.json_value import Json, walk
from services.kernel.errors import Invalid

MAX_PARTS = 2_000
"""Objects, lists and booleans of a schema as it is written."""
MAX_EXPANDED_PARTS = 10_000
"""The same with every reference replaced by what it refers to."""
MAX_LEVELS = 100
"""Levels of these, one in the other."""
MAX_STEPS = 200_000
"""Keywords evaluated and errors collected for one value: several times what a value of 64 KiB needs."""
MAX_CPU_S = 0.5
"""Seconds of the thread's own time at most, since single steps differ in cost."""

_DEFINITIONS = ("$defs", "definitions")


class TooMuchWork(Exception):
    """The meter ran out."""


class Meter:
    """Counts the steps of one validation."""

    def __init__(self) -> None:
        self._steps = 0
        self._end_s = time.thread_time() + MAX_CPU_S

    def step(self) -> None:
        """Raises TooMuchWork beyond what is allowed."""
        self._steps += 1
        if self._steps > MAX_STEPS or time.thread_time() > self._end_s:
            raise TooMuchWork


_meter: ContextVar[Meter] = ContextVar("schema_work_meter")


@contextmanager
def metered() -> Iterator[None]:
    """Keywords that are looked at inside the block share one new meter."""
    token = _meter.set(Meter())
    try:
        yield
    finally:
        _meter.reset(token)


def metered_keyword(keyword: Callable[..., Any]) -> Callable[..., Iterator[ValidationError]]:
    """A keyword of jsonschema that takes a step when it is looked at, and one with each error."""

    def look(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        meter = _meter.get()
        meter.step()
        for error in keyword(validator, value, instance, schema) or ():
            meter.step()
            yield error

    return look


def unique_items(validator: Any, unique: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """The keyword `uniqueItems` of JSON schema in linear time: jsonschema's own compares objects pair by pair."""
    if unique and isinstance(instance, list):
        keys = [_key(item) for item in instance]
        if len(set(keys)) < len(keys):
            yield ValidationError(f"{instance!r} has non-unique elements")


def require_little_work(schema: dict[str, Json], lookup: Callable[[str], Json]) -> None:
    """Raises Invalid for a schema that is too big, written or with its references replaced, or refers to itself.

    `lookup` gives what a reference refers to.
    """
    parts = 0
    for where, key, part in walk(schema, "schema"):
        parts += isinstance(part, dict | list | bool)
        if parts > MAX_PARTS:
            raise Invalid(f"schema: more than {MAX_PARTS} parts", field="schema")
        if key == "$dynamicRef" and isinstance(part, str):
            raise Invalid(f"{where}: not supported; use $ref", field=where)
    _Expansion(lookup).measure(schema, 0)


class _Expansion:
    """Sizes and depths of a schema's parts with all references replaced; each part is measured once."""

    def __init__(self, lookup: Callable[[str], Json]) -> None:
        self._lookup = lookup
        self._measured: dict[int, tuple[int, int]] = {}
        self._under_way: set[int] = set()

    def measure(self, part: Json, level: int) -> tuple[int, int]:
        """Number of its parts, and of its levels."""
        if not isinstance(part, dict | list):
            return int(isinstance(part, bool)), 0
        if id(part) in self._under_way:
            raise Invalid("schema: refers to itself", field="schema")
        size, depth = self._measured.get(id(part)) or self._measure(part, level)
        if level + depth > MAX_LEVELS:
            raise Invalid(f"schema: with its references it has more than {MAX_LEVELS} levels", field="schema")
        return size, depth

    def _measure(self, part: dict[str, Json] | list[Json], level: int) -> tuple[int, int]:
        if level > MAX_LEVELS:
            raise Invalid(f"schema: with its references it has more than {MAX_LEVELS} levels", field="schema")
        self._under_way.add(id(part))
        size, depth = 1, 0
        for child in self._children(part):
            child_size, child_depth = self.measure(child, level + 1)
            size, depth = size + child_size, max(depth, child_depth)
            if size > MAX_EXPANDED_PARTS:
                text = f"schema: with its references replaced it has more than {MAX_EXPANDED_PARTS} parts"
                raise Invalid(text, field="schema")
        self._under_way.discard(id(part))
        self._measured[id(part)] = size, depth + 1
        return size, depth + 1

    def _children(self, part: dict[str, Json] | list[Json]) -> Iterator[Json]:
        if isinstance(part, list):
            yield from part
            return
        for key, child in part.items():
            if key == "$ref" and isinstance(child, str):
                yield self._lookup(child)
            elif key not in _DEFINITIONS:
                yield child


def _key(value: Json) -> Any:
    """Equal for the same JSON, where 1 and 1.0 are the same and 1 and true are not."""
    if isinstance(value, dict):
        return "object", frozenset((name, _key(child)) for name, child in value.items())
    if isinstance(value, list):
        return "list", tuple(map(_key, value))
    return ("boolean", value) if isinstance(value, bool) else value
