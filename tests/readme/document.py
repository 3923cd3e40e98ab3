"""The documents as tests read them: their headings, and their fenced blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
TOUR = ROOT / "tests/readme/TOUR.md"
STRATEGY = ROOT / "services/strategy/README.md"
BACKTEST = ROOT / "services/quant/backtest/README.md"
DOCUMENTS = (
    README, TOUR, STRATEGY, BACKTEST, ROOT / "proto/README.md", ROOT / "services/README.md",
    ROOT / "services/trading/README.md", ROOT / "deploy/README.md",
)  # fmt: skip
TRANSLATIONS = {
    README: ROOT / "README.zh.md",
    STRATEGY: ROOT / "services/strategy/README.zh.md",
    ROOT / "deploy/README.md": ROOT / "deploy/README.zh.md",
}
"""The English document, and the one that says the same in Chinese."""
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """A block of shell commands and what the document says they print; empty when it says nothing."""

    commands: str
    expected: str


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Fenced blocks: language and content."""
    return ((match[1], match[2]) for match in _BLOCK.finditer(text))


def with_blocks(text: str, contents: Iterator[str]) -> str:
    """The text with other contents of its fenced blocks, in their order."""
    return _BLOCK.sub(lambda block: f"```{block[1]}\n{_whole_lines(next(contents))}```", text)


def steps(text: str) -> list[Step]:
    """The `sh` blocks in order, each with the `text` block that follows it."""
    own_blocks = list(blocks(text))
    after = [*own_blocks, ("", "")][1:]
    return [
        Step(commands, expected if language == "text" else "")
        for (own, commands), (language, expected) in zip(own_blocks, after, strict=True)
        if own == "sh"
    ]


def files(text: str) -> dict[str, str]:
    """The `python` blocks that begin with a comment of their path, by file name."""
    named = (
        (re.match(r"# (\S+\.py)\n", content), content) for language, content in blocks(text) if language == "python"
    )
    return {Path(name[1]).name: content for name, content in named if name}


def prose(text: str) -> str:
    """The text without its fenced blocks, whose comments look like headings."""
    return _BLOCK.sub("", text)


def headings(text: str) -> list[tuple[int, str]]:
    """Headings in order: level and title."""
    return [(len(heading[1]), heading[2]) for heading in re.finditer(r"^(#+) (.*)$", prose(text), re.MULTILINE)]


def _whole_lines(content: str) -> str:
    """An output's trailing spaces and a missing last newline are no part of a document."""
    return "".join(f"{line.rstrip()}\n" for line in content.splitlines())
