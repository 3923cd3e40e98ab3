"""Styles of tables on the terminal, those of backtests and of searches alike."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console

_WIDE = 160
TITLED: Mapping[str, Any] = {
    "box": None, "title_justify": "left", "title_style": "bold", "header_style": "bold", "padding": (0, 2, 0, 0),
}  # fmt: skip
"""Arguments of Table(): no lines, a bold title on the left."""


def wide_console() -> Console:
    """A console for tables: in a file or a pipe lines are as long as the tables need."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
