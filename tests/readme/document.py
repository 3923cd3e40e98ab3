"""README.md as tests read it: its sections, its fenced blocks, its table of settings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services import registry
from services.kernel.settings import KERNEL_SECTIONS, BaseSection, describe

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"(<!-- settings: .*? -->\n).*?(<!-- /settings -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """A block of shell commands and what README says they print; empty when it says nothing."""

    commands: str
    expected: str


def section(title: str) -> str:
    """The text below a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*)", README.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"README has no section {title!r}"
    end = re.search(rf"^#{{1,{len(found[1])}}} ", _without_blocks(found[2]), re.MULTILINE)
    return found[2][: end.start()] if end else found[2]


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Fenced blocks: language and content."""
    return ((found[1], found[2]) for found in _BLOCK.finditer(text))


def steps(text: str) -> list[Step]:
    """The `sh` blocks in order, each with the `text` block that follows it."""
    found = list(blocks(text))
    after = [*found[1:], ("", "")]
    return [
        Step(commands, expected if language == "text" else "")
        for (own, commands), (language, expected) in zip(found, after, strict=True)
        if own == "sh"
    ]


def files(text: str) -> dict[str, str]:
    """The `python` blocks that begin with a comment of their path, by file name."""
    named = (
        (re.match(r"# (\S+\.py)\n", content), content) for language, content in blocks(text) if language == "python"
    )
    return {Path(name[1]).name: content for name, content in named if name}


def settings_table() -> str:
    """All settings, section by section, as Markdown."""
    lines = []
    for settings in (*KERNEL_SECTIONS, *registry.sections()):
        lines += [
            "",
            f"**{settings.section}**: {_sentence(settings)}",
            "",
            "| variable | default | meaning |",
            "|---|---|---|",
        ]
        for variable, kind, default, meaning in describe(settings):
            shown = "" if default in ("", "None") else f"`{default}`"
            choices = f" One of {kind}." if ", " in kind else ""
            lines.append(f"| `{variable}` | {shown} | {meaning.rstrip('.').replace('|', chr(92) + '|')}.{choices} |")
    return "\n".join(lines[1:]) + "\n"


def with_table(text: str) -> str:
    """README's text with the table as it is now."""
    return _TABLE.sub(lambda marks: f"{marks[1]}\n{settings_table()}\n{marks[2]}", text)


def _sentence(settings: type[BaseSection]) -> str:
    return (settings.__doc__ or "").strip().split("\n")[0]


def _without_blocks(text: str) -> str:
    """The same length of text without fenced blocks, whose comments look like headings."""
    return _BLOCK.sub(lambda block: " " * len(block[0]), text)
