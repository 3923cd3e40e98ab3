"""Tables on the terminal: their styles, those of backtests and of searches alike, and consoles for texts of others.

What strategies, clients and venues name is shown as it is: it holds no markup, and nothing that a terminal obeys.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from services.kernel.printable import printable

_WIDE = 160
TITLED: Mapping[str, Any] = {
    "box": None, "title_justify": "left", "title_style": "bold", "header_style": "bold", "padding": (0, 2, 0, 0),
}  # fmt: skip
"""Arguments of Table(): no lines, a bold title on the left."""


class PlainConsole(Console):
    """A console of which no text is markup, an emoji's name or an escape sequence."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        """The text with what a terminal would obey as escapes."""
        return super().render_str(printable(text, lines=True), **options)

    def render(self, *arguments: Any, **options: Any) -> Iterable[Segment]:
        """The pieces of what is shown; those of styled texts, which come by no text, with escapes too."""
        for segment in super().render(*arguments, **options):
            yield segment if segment.control else Segment(printable(segment.text, lines=True), segment.style)


def wide_console() -> Console:
    """A console for tables: in a file or a pipe lines are as long as the tables need."""
    return PlainConsole(width=None if sys.stdout.isatty() else _WIDE)
