"""Inspection of a strategy's class: which of its callbacks do anything at all."""

import dis
from types import FunctionType
from typing import Any


def overridden(strategy: Any, name: str) -> bool:
    """Return whether calling the strategy's method of this name, with one argument, may have an effect."""
    if name in getattr(strategy, "__dict__", {}):
        return True
    for base in type(strategy).__mro__:
        if name in base.__dict__:
            return not _does_nothing(base.__dict__[name])
    return True


def replaced(strategy: Any, name: str) -> bool:
    """Return whether the strategy has a method of its own in the place of CtaTemplate's."""
    from vnpy_ctastrategy.template import CtaTemplate

    return name in getattr(strategy, "__dict__", {}) or getattr(type(strategy), name, None) is not getattr(
        CtaTemplate, name
    )


# *args, **kwargs, generators, coroutines.
_UNUSUAL = 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200


def _does_nothing(function: object) -> bool:
    """A plain function of self and one argument whose body is `pass`, a docstring, or the return of a constant."""
    if not isinstance(function, FunctionType):
        return False
    code = function.__code__
    if code.co_argcount != 2 or code.co_kwonlyargcount or code.co_flags & _UNUSUAL:
        return False
    return [one.opname for one in dis.get_instructions(code)] == ["RESUME", "LOAD_CONST", "RETURN_VALUE"]
