"""Writes what the documents' blocks print anew, and with it their translations' blocks.

`.venv/bin/python -m tests.readme.refresh` does all, or those that are named: `… README.md`. Look at the difference
before you commit it.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.readme.clone import Clone, clone, needs_login
from tests.readme.document import DOCUMENTS, ROOT, TRANSLATIONS, blocks, with_blocks

# What a strategy or an order does meanwhile is to be seen in the next block.
_PAUSE_S = 3


def refresh(document: Path, here: Clone) -> None:
    """Run a document's blocks and write what they print."""
    text = document.read_text()
    if needs_login(document):
        here.log_in()
    document.write_text(with_blocks(text, _contents(list(blocks(text)), here)))


def _contents(old: list[tuple[str, str]], here: Clone) -> Iterator[str]:
    printed, has_grpcurl = "", shutil.which("grpcurl")
    for place, (language, content) in enumerate(old):
        before = old[place - 1] if place else ("", "")
        runs = has_grpcurl or "grpcurl " not in content + before[1]
        if language == "sh" and runs:
            printed = here.run(content)
            time.sleep(_PAUSE_S)
        shows = language == "text" and before[0] == "sh" and runs
        yield (
            printed.replace(here.edge, "localhost:8080").replace(here.up.addresses["edge"], "127.0.0.1:8080")
            if shows
            else content
        )


def translate() -> None:
    """The blocks of translations are those of the English documents."""
    for english, other in TRANSLATIONS.items():
        contents = [(language, content) for language, content in blocks(english.read_text()) if language != "mermaid"]
        own = list(blocks(other.read_text()))
        same = iter(contents)
        made = [content if language == "mermaid" else next(same)[1] for language, content in own]
        other.write_text(with_blocks(other.read_text(), iter(made)))


def main() -> None:
    """Refresh the named documents, or all."""
    chosen = [ROOT / name for name in sys.argv[1:]] or DOCUMENTS
    for document in chosen:
        with tempfile.TemporaryDirectory(prefix="redfire-refresh-") as folder, clone(Path(folder)) as here:
            refresh(document, here)
    translate()


if __name__ == "__main__":
    main()
