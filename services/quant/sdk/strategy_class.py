"""A strategy class as the platform knows it: its family, its parameters with types and defaults, its docstring."""

import inspect
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from services.quant.sdk.values import plain

_TYPES: dict[Any, str] = {int: "int", float: "float", str: "str", bool: "bool"}
_BY_NAME = {name: name for name in _TYPES.values()}
_TEMPLATES = {"BaseStrategy", "CtaTemplate", "TargetPosTemplate"}


class Family(StrEnum):
    """The family of a class; UNSPECIFIED: the file did not import."""

    UNSPECIFIED = "UNSPECIFIED"
    NATIVE = "NATIVE"
    VNPY_CTA = "VNPY_CTA"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter; `type` is int, float, str or bool."""

    name: str
    type: str
    default: Any


@dataclass(frozen=True, slots=True)
class ClassDescription:
    """A class that can be run, or a file that did not import with its `error`."""

    name: str
    family: Family = Family.UNSPECIFIED
    doc: str = ""
    error: str = ""
    parameters: tuple[Parameter, ...] = field(default=())


def family_of(value: Any) -> Family | None:
    """The family of a strategy class that can be run; None for everything else."""
    if not isinstance(value, type) or inspect.isabstract(value) or value.__name__.startswith("_"):
        return None
    names = {(base.__module__, base.__name__) for base in value.__mro__}
    if value.__name__ in _TEMPLATES and value.__module__ in _TEMPLATE_MODULES:
        return None
    # By name, so that this does not import vnpy.
    if ("vnpy_ctastrategy.template", "CtaTemplate") in names:
        return Family.VNPY_CTA
    if ("services.quant.sdk.base", "BaseStrategy") in names:
        return Family.NATIVE
    return None


_TEMPLATE_MODULES = {"services.quant.sdk.base", "vnpy_ctastrategy.template"}


def describe(strategy_class: type) -> ClassDescription:
    """A class as the platform lists it; one with broken parameters is listed with its error."""
    family = family_of(strategy_class) or Family.UNSPECIFIED
    doc = inspect.cleandoc(strategy_class.__dict__.get("__doc__") or "")
    parameters = []
    for name in getattr(strategy_class, "parameters", ()):
        if not hasattr(strategy_class, name):
            error = f"{strategy_class.__name__}: the parameter {name} has no default"
            return ClassDescription(strategy_class.__name__, family, doc, error)
        default = getattr(strategy_class, name)
        parameters.append(Parameter(name, _type(strategy_class, name, default), plain(default)))
    return ClassDescription(strategy_class.__name__, family, doc, "", tuple(parameters))


def _type(strategy_class: type, name: str, default: Any) -> str:
    for base in strategy_class.__mro__:
        annotation = inspect.get_annotations(base).get(name)
        if annotation in _TYPES:
            return _TYPES[annotation]
        if isinstance(annotation, str) and annotation in _BY_NAME:
            return annotation
    return _TYPES.get(type(default), "str")
