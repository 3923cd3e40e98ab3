"""During a backtest vnpy's names mean our quicker classes: in vnpy itself, and in modules that took them from there.

Strategies say `from vnpy_ctastrategy import ArrayManager`. While a run lasts, every module global of this process
that is vnpy's ArrayManager or BarGenerator is ours, a subclass; and TA-Lib's functions are called without the wrapper
that looks for pandas in their arguments. Afterwards all is as before.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from services.quant.backtest.engine.variant import Variant, variant

_active: list[Variant] = []


@contextmanager
def substituted(build: Variant | None = None) -> Iterator[Variant]:
    """Put our classes in the place of vnpy's. Also to be used around the import of strategies: those of their classes
    that derive from ArrayManager then derive from ours."""
    build = build or variant()
    if _active:  # in another: its classes are there already
        yield _active[-1]
        return
    from vnpy.trader import utility
    from vnpy_ctastrategy.template import CtaTemplate

    ours = {utility.ArrayManager: build.array_manager, utility.BarGenerator: build.bar_generator}
    changed = _replace(ours)
    talib, utility.talib = utility.talib, _unwrapped(utility.talib)
    methods = {name: CtaTemplate.__dict__[name] for name in build.template}
    for name, function in build.template.items():
        setattr(CtaTemplate, name, function)
    _active.append(build)
    try:
        yield build
    finally:
        _active.pop()
        for name, function in methods.items():
            setattr(CtaTemplate, name, function)
        utility.talib = talib
        back = {mine: theirs for theirs, mine in ours.items()}
        for module, name in changed:
            if (mine := module.get(name)) in back:
                module[name] = back[mine]
        # Modules that were imported meanwhile took ours; their next run replaces vnpy's again.
        _replace(back)


def _replace(classes: dict[type, type]) -> list[tuple[dict[str, Any], str]]:
    names = {replaced.__name__ for replaced in classes}
    sources = {replaced.__module__ for replaced in classes} | {made.__module__ for made in classes.values()}
    changed = []
    for module_name, module in list(sys.modules.items()):
        space = getattr(module, "__dict__", None)
        if space is None or (module_name in sources and module_name.startswith("services.")):
            continue
        shared = names & space.keys()
        for name in shared:
            made = classes.get(space[name]) if isinstance(space[name], type) else None
            if made is not None:
                space[name] = made
                changed.append((space, name))
    return changed


def _unwrapped(talib: Any) -> Any:
    functions = {name: getattr(value, "__wrapped__", value) for name, value in vars(talib).items() if name.isupper()}
    return SimpleNamespace(**{**vars(talib), **functions})
