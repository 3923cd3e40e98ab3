"""Answers compared field by field."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

ABSENT = "absent"
INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that differs: `orders[0].price`."""

    field: str
    old: Any
    new: Any


def differences(old: Any, new: Any, ignored: Collection[str] = ()) -> Iterator[Difference]:
    """Fields that differ. Of `ignored` each is a name, `updateTime`, or a path without indices, `orders.price`."""
    yield from _compare("", old, new, frozenset(ignored))


def _compare(path: str, old: Any, new: Any, ignored: frozenset[str]) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            inner = f"{path}.{name}" if path else name
            if name in ignored or INDEX.sub("", inner) in ignored:
                continue
            if name not in old or name not in new:
                yield Difference(inner, old.get(name, ABSENT), new.get(name, ABSENT))
            else:
                yield from _compare(inner, old[name], new[name], ignored)
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield Difference(f"{path}.length", len(old), len(new))
        for index, (one, other) in enumerate(zip(old, new, strict=False)):
            yield from _compare(f"{path}[{index}]", one, other, ignored)
    elif old != new or isinstance(old, bool) is not isinstance(new, bool):
        yield Difference(path, old, new)
