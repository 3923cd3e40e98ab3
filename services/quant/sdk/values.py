"""Values that strategies show, as a protobuf Struct can carry them, and back into the types they had."""

import math
from decimal import Decimal
from typing import Any

_LONGEST = 2_000


def plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON has it: numpy's numbers as numbers, NaN and infinity as None, what else there is as text."""
    if value is None or isinstance(value, bool | str):
        return value[:_LONGEST] if isinstance(value, str) else value
    if hasattr(value, "item") and not getattr(value, "shape", ()):
        value = value.item()
    if isinstance(value, int | float | Decimal):
        number = float(value)
        return (value if isinstance(value, int) else number) if math.isfinite(number) else None
    if isinstance(value, dict) and depth < 4:
        return {str(key): plain(item, depth + 1) for key, item in list(value.items())[:_LONGEST]}
    if isinstance(value, list | tuple) and depth < 4:
        return [plain(item, depth + 1) for item in value[:_LONGEST]]
    return str(value)[:_LONGEST]


def restored(current: Any, saved: Any) -> Any:
    """A saved value in the type of the one that stands there now; the latter when it cannot have come from it."""
    if isinstance(current, bool):
        return saved if isinstance(saved, bool) else current
    if isinstance(current, int | float) and isinstance(saved, int | float) and not isinstance(saved, bool):
        # A Struct has no integers: what was one comes back as one.
        return int(saved) if isinstance(current, int) and float(saved).is_integer() else saved
    if current is None or type(current) is type(saved):
        return saved if saved is not None else current
    return current
