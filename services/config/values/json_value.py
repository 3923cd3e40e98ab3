"""JSON as Python has it: what a value may be, where in it something is, and when two are the same."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from services.kernel.errors import Invalid
from services.kernel.rpc.input_checks import has_control

# None, bool, int, float, str, list and dict: what JSON has, and nothing else.
Json: TypeAlias = Any

# Beyond this a double, which is what google.protobuf.Value has, no longer distinguishes one integer from the next.
MAX_INTEGER = 2**53
MAX_DEPTH = 32


def path_of(root: str, parts: Iterable[object]) -> str:
    """Path of a part, for instance `value.limits[0]`."""
    return root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def walk(value: Json, path: str, key: str = "") -> Iterator[tuple[str, str, Json]]:
    """All parts of a value with their paths and the key they are under; a list's items are under the list's."""
    waiting = [(path, key, value)]
    while waiting:
        path, key, part = waiting.pop()
        yield path, key, part
        if isinstance(part, dict):
            waiting.extend((f"{path}.{name}", str(name), child) for name, child in part.items())
        elif isinstance(part, list):
            waiting.extend((f"{path}[{index}]", key, child) for index, child in enumerate(part))


def require_json(value: Json, path: str, max_bytes: int) -> None:
    """Raises Invalid for what JSON does not have, what no double or text may hold, and what is too deep or too big."""
    _require_depth(value, path)
    for where, _, part in walk(value, path):
        if isinstance(part, dict):
            bad = next((name for name in part if not isinstance(name, str)), None)
            if bad is not None:
                raise Invalid(f"{where}: the key {bad!r} is not a string; quote it", field=where)
            if any(map(has_control, part)):
                raise Invalid(f"{where}: a key must not hold control characters", field=where)
        elif isinstance(part, str):
            # Escapes of a document bring in what a request may not hold as it is.
            if has_control(part):
                raise Invalid(f"{where}: must not hold control characters", field=where)
        elif isinstance(part, bool | list | None):
            continue
        elif isinstance(part, int):
            if abs(part) > MAX_INTEGER:
                raise Invalid(f"{where}: beyond ±2^53 an integer is not exact; write it as a string", field=where)
        elif not isinstance(part, float):
            raise Invalid(f"{where}: {type(part).__name__} is not a JSON type; quote it", field=where)
        elif not math.isfinite(part):
            raise Invalid(f"{where}: JSON has no {part}", field=where)
    try:
        size = len(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise Invalid(f"{path}: not valid Unicode", field=path) from None
    if size > max_bytes:
        raise Invalid(f"{path}: {size} bytes of JSON, at most {max_bytes} are kept", field=path)


def same(one: Json, other: Json) -> bool:
    """Compare two values as JSON: 1 and 1.0 are the same, 1 and true are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(part, other[key]) for key, part in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _require_depth(value: Json, path: str) -> None:
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise Invalid(f"{path}: nested deeper than {MAX_DEPTH} levels", field=path)
        below = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list))
        level, depth = [child for children in below for child in children], depth + 1
