"""The two builds of the core that give the same results: pure Python, and compiled where there was a compiler."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from services.strategy.backtest.compile import STAMP, fingerprint
from services.strategy.backtest.vnpy_import import prepare_vnpy

PURE = "REDFIRE_PURE"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Variant:
    """The classes of one build, and the functions that take the place of CtaTemplate's own (by name) during a run."""

    name: str
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
        name = "pure" if os.environ.get(PURE, "") not in ("", "0") or not is_compiled() else "compiled"
    if name == "compiled":
        compiled = [import_module(f"services.strategy.backtest.{module}") for module in ("_core", "_arrays", "_bars")]
        differing = compiled[1].verify()
        if differing:
            _LOG.warning("TA-Lib's own are used for %s: the compiled ones differ from it here", ", ".join(differing))
        return Variant(name, compiled[0].Core, compiled[1].ArrayManager, compiled[2].BarGenerator, compiled[0].TEMPLATE)
    arrays = import_module("services.strategy.backtest.arrays")
    generator = import_module("services.strategy.backtest.bar_generator")
    core = import_module("services.strategy.backtest.core")
    return Variant("pure", core.Core, arrays.ArrayManager, generator.BarGenerator, core.TEMPLATE)


def is_compiled() -> bool:
    """Whether a compiled core of just these sources is there."""
    try:
        return STAMP.read_text() == fingerprint()
    except OSError:
        return False
