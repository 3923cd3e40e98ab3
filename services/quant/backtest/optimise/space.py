"""The parameters that an optimisation varies: axes of values, and the points of their grid by number."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from services.quant.backtest.job import BacktestError
from services.quant.sdk.strategy_class import ClassDescription, Parameter

Value: TypeAlias = int | float | str | bool
MOST_VALUES = 1_000_000
"""Values of one axis at most: more is a mistyped step, and would fill the memory before anything runs."""

_WHOLE = re.compile(r"[+-]?\d+")
_WORDS: Mapping[str, bool] = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter and the values it takes, in the order given; no value twice."""

    name: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise BacktestError(f"range of {self.name} has no values", self.name)
        if len(set(map(repr, self.values))) != len(self.values):
            raise BacktestError(f"range of {self.name} has a value twice", self.name)

    @classmethod
    def parse(cls, text: str) -> "Axis":
        """`name=start:end:step` (both ends included, as in vnpy), `name=a,b,c`, or `name=value`.

        Whole numbers stay whole; decimals are stepped exactly: 0.1:0.3:0.1 is 0.1, 0.2, 0.3.
        """
        name, equals, values = (part.strip() for part in text.partition("="))
        if not equals or not name.isidentifier() or not values:
            raise BacktestError(f"range {text!r} is not of the form name=start:end:step or name=a,b,c", name or "range")
        if ":" not in values:
            listed = [part.strip() for part in values.split(",")]
            if not all(listed):
                raise BacktestError(f"range {text!r} has an empty value", name)
            return cls(name, tuple(map(value_of, listed)))
        parts = [part.strip() for part in values.split(":")]
        if len(parts) != 3:
            raise BacktestError(f"range {text!r} needs start:end:step", name)
        return cls(name, _steps(text, name, *(_number(text, name, part) for part in parts)))


@dataclass(frozen=True, slots=True)
class Space:
    """The grid of the axes. Points are numbered from 0, the last axis fastest, as vnpy's settings are ordered."""

    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        names = [axis.name for axis in self.axes]
        if not names:
            raise BacktestError("no parameter has a range: give at least one, for instance fast_window=5:20:5", "range")
        for name in names:
            if names.count(name) > 1:
                raise BacktestError(f"range of {name} is given twice", name)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Space":
        """The space of `name=…` texts, as Axis.parse reads them."""
        return cls(tuple(Axis.parse(text) for text in texts))

    @property
    def size(self) -> int:
        """The number of points in the grid."""
        return math.prod(len(axis.values) for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values on each axis."""
        return tuple(len(axis.values) for axis in self.axes)

    @property
    def varied(self) -> tuple[str, ...]:
        """The names of the axes with more than one value; all of them when none has."""
        return tuple(axis.name for axis in self.axes if len(axis.values) > 1) or tuple(a.name for a in self.axes)

    def parameters(self, place: Sequence[int]) -> dict[str, Value]:
        """The parameters at this place: an index into each axis."""
        return {axis.name: axis.values[index] for axis, index in zip(self.axes, place, strict=True)}

    def places(self) -> Iterator[tuple[int, ...]]:
        """Every place in the grid's order, made one by one: a grid may be larger than the memory."""
        return (self.place(number) for number in range(self.size))

    def place(self, number: int) -> tuple[int, ...]:
        """The place of the point with this number."""
        indices = []
        for length in reversed(self.shape):
            number, index = divmod(number, length)
            indices.append(index)
        return tuple(reversed(indices))

    def number(self, place: Sequence[int]) -> int:
        """The number of the point at this place."""
        number = 0
        for length, index in zip(self.shape, place, strict=True):
            number = number * length + index
        return number

    def checked(self, description: ClassDescription, fixed: Mapping[str, Any]) -> tuple["Space", dict[str, Any]]:
        """The space and the fixed parameters, with values of the types of the class's parameters.

        Raises BacktestError for a parameter that the class does not have, that is fixed as well, or of another type.
        """
        known = {parameter.name: parameter for parameter in description.parameters}
        for name in (*fixed, *(axis.name for axis in self.axes)):
            if name not in known:
                has = ", ".join(known) or "none"
                raise BacktestError(f"{description.name} has no parameter {name}; it has {has}", name)
        for axis in self.axes:
            if axis.name in fixed:
                raise BacktestError(f"{axis.name} has both a range and a fixed value", axis.name)
        axes = (Axis(axis.name, tuple(_typed(known[axis.name], v) for v in axis.values)) for axis in self.axes)
        return Space(tuple(axes)), {name: _typed(known[name], value) for name, value in fixed.items()}


def _steps(text: str, name: str, start: Decimal, end: Decimal, step: Decimal) -> tuple[Value, ...]:
    if step <= 0:
        raise BacktestError(f"range {text!r}: the step must be above 0", name)
    if start > end:
        raise BacktestError(f"range {text!r}: the start is above the end", name)
    count = int((end - start) / step) + 1
    if count > MOST_VALUES:
        raise BacktestError(f"range {text!r} has {count:,} values, more than {MOST_VALUES:,}", name)
    whole = all(_WHOLE.fullmatch(part.strip()) for part in text.partition("=")[2].split(":"))
    steps = (start + step * i for i in range(count))
    return tuple(int(value) for value in steps) if whole else tuple(float(value) for value in steps)


def _number(text: str, name: str, part: str) -> Decimal:
    try:
        number = Decimal(part)
    except InvalidOperation:
        raise BacktestError(f"range {text!r}: {part!r} is not a number", name) from None
    if not number.is_finite():
        raise BacktestError(f"range {text!r}: {part!r} is not a finite number", name)
    return number


def value_of(part: str) -> Value:
    """A value as it is written: a whole number, a number, true or false, else text."""
    if _WHOLE.fullmatch(part):
        return int(part)
    if part.lower() in _WORDS:
        return _WORDS[part.lower()]
    try:
        number = float(part)
    except ValueError:
        return part
    return number if math.isfinite(number) else part


def _typed(parameter: Parameter, value: Value) -> Value:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match parameter.type:
        case "int" if number and float(value).is_integer():
            return int(value)
        case "float" if number:
            return float(value)
        case "bool" if isinstance(value, bool):
            return value
        case "str":
            return value if isinstance(value, str) else str(value)
    article = "an" if parameter.type == "int" else "a"
    raise BacktestError(f"{parameter.name} must be {article} {parameter.type}, not {value!r}", parameter.name)
