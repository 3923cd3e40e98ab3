"""The scanner of batches in use: the compiled one where it is built, or the pure Python one with the same results."""

import os
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from services.quant.compile import PURE, TICKS, is_built

if TYPE_CHECKING:
    from services.quant.ticks.tick_batch import TickScanner


@cache
def scanner_class(name: str = "") -> "type[TickScanner]":
    """The class of this build, `pure` or `compiled`; by default the compiled one where it is built and the
    environment does not say REDFIRE_PURE=1."""
    if not name:
        name = "pure" if os.environ.get(PURE, "") not in ("", "0") or not is_built(TICKS) else "compiled"
    # By name: where nothing is compiled there is no such module.
    module = import_module(f"{__package__}.{'_tick_batch' if name == 'compiled' else 'tick_batch'}")
    return module.TickScanner
