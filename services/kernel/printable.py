"""Texts of others for a terminal, with escapes for what would move its cursor, set its title, begin a line of its own
or turn the direction of the text beside it.
"""

import re

# C0 and C1, marks and overrides of a text's direction, ends of lines and paragraphs, and a byte order mark.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with such characters as `\x1b` or `\u202e`; with `lines` its tabs and its ends of lines stay."""
    if text.isprintable():
        return text
    return _UNSEEN.sub(lambda match: _escape(match[0], lines), text)


def escaped_json(text: str) -> str:
    """JSON with such characters, which it need not escape, as JSON's escapes."""
    return text if text.isascii() else _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(character: str, lines: bool) -> str:
    if lines and character in "\t\n":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
