"""The two builds of the core that give the same results: pure Python, and compiled where there was a compiler."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from services.quant.backtest.engine.vnpy_import import prepare_vnpy
from services.quant.compile import BACKTEST, PURE, is_built

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Variant:
    """The classes of one build, and the functions that take the place of CtaTemplate's own (by name) during a run."""

    core: Callable[..., Any]
    array_manager: type
    bar_generator: type
    template: dict[str, Any]


@cache
def variant(name: str = "") -> Variant:
    """The build of this name, `pure` or `compiled`; by default the compiled one where it is built and the
    environment does not say REDFIRE_PURE=1."""
    prepare_vnpy()
    if not name:
        name = "pure" if os.environ.get(PURE, "") not in ("", "0") or not is_built(BACKTEST) else "compiled"
    if name == "compiled":
        # By name: where nothing is compiled there are no such modules.
        core, arrays, bars = (import_module(f"{__package__}.{module}") for module in ("_core", "_arrays", "_bars"))
        differing = arrays.verify()
        if differing:
            _LOG.warning("TA-Lib's own are used for %s: the compiled ones differ from it here", ", ".join(differing))
        return Variant(core.Core, arrays.ArrayManager, bars.BarGenerator, core.TEMPLATE)
    # Only now: importing them imports vnpy.
    from services.quant.backtest.engine.arrays import ArrayManager
    from services.quant.backtest.engine.bar_generator import BarGenerator
    from services.quant.backtest.engine.core import TEMPLATE, Core

    return Variant(Core, ArrayManager, BarGenerator, TEMPLATE)
