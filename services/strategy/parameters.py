"""Parameters that a user gives, checked against the class's."""

from collections.abc import Mapping
from typing import Any

from redfire.reasons import Reason

from services.kernel.errors import Invalid
from services.quant.sdk.base import BaseStrategy
from services.quant.sdk.moving_average import MovingAverageStrategy
from services.quant.sdk.strategy_class import ClassDescription, Parameter, describe

_MOST_TEXT = 1000
# Asked here for their own rules. A user's class never is, also where it has the name of one of these: their code runs
# in workers only, and is asked when it starts.
_OWN: tuple[type[BaseStrategy], ...] = (MovingAverageStrategy,)


class InvalidParameter(Invalid):
    """A parameter is not one of the class's, or of the wrong type."""

    reason = Reason.INVALID_PARAMETER


def merged(
    description: ClassDescription, given: Mapping[str, Any], base: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """All of the class's parameters: those given, then those of `base`, then the defaults.

    Raises InvalidParameter that names every wrong one. A whole number is taken for a float, never the other way round.
    """
    known = {parameter.name: parameter for parameter in description.parameters}
    wrong: dict[str, str] = {}
    for name, value in given.items():
        if name not in known:
            wrong[f"parameters.{name}"] = f"{description.name} has no parameter {name}"
        elif problem := _problem(known[name], value):
            wrong[f"parameters.{name}"] = problem
    _refuse(wrong)
    values = {name: parameter.default for name, parameter in known.items()}
    values |= {name: value for name, value in (base or {}).items() if name in known}
    values |= given
    values = {name: _typed(known[name], value) for name, value in values.items()}
    own = next((one for one in _OWN if describe(one) == description), None)
    if own is not None:
        _refuse({f"parameters.{name}": problem for name, problem in own.parameter_problems(values).items()})
    return values


def _refuse(wrong: dict[str, str]) -> None:
    if wrong:
        error = InvalidParameter("; ".join(wrong.values()))
        error.fields = wrong
        raise error


def _problem(parameter: Parameter, value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match parameter.type:
        case "bool":
            right = isinstance(value, bool)
        case "int":
            right = number and float(value).is_integer() and abs(value) < 2**53
        case "float":
            right = number
        case _:
            right = isinstance(value, str) and len(value) <= _MOST_TEXT
            if not isinstance(parameter.default, str):
                right = not number or not isinstance(value, bool)
    article = "an" if parameter.type == "int" else "a"
    return "" if right else f"{parameter.name} must be {article} {parameter.type}"


def _typed(parameter: Parameter, value: Any) -> Any:
    """JSON and Struct have only one kind of number."""
    if parameter.type == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    if parameter.type == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
