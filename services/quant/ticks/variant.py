"""The two builds, with the same results, of what runs for every tick: pure Python, and compiled where it is built."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from services.quant.compile import PURE, TICKS, is_built

if TYPE_CHECKING:
    from services.quant.ticks.tick_batch import TickScanner


@dataclass(frozen=True, slots=True)
class Variant:
    """The class and the functions of one build."""

    scanner: "type[TickScanner]"
    tick_frame: Callable[..., bytes]
    gateway_frame: Callable[..., bytes | None]
    time_ns: Callable[[datetime], int]
    has_numbers: Callable[[Any], bool]


@cache
def variant(name: str = "") -> Variant:
    """The build of this name, `pure` or `compiled`; by default the compiled one where it is built and the
    environment does not say REDFIRE_PURE=1."""
    if not name:
        name = "pure" if os.environ.get(PURE, "") not in ("", "0") or not is_built(TICKS) else "compiled"
    # By name: where nothing is compiled there are no such modules.
    prefix = "_" if name == "compiled" else ""
    batch, frame = (import_module(f"{__package__}.{prefix}{module}") for module in ("tick_batch", "tick_frame"))
    return Variant(batch.TickScanner, frame.tick_frame, frame.gateway_frame, frame.time_ns, frame.has_numbers)
