"""Comparison of an output with the one that a document shows: same shape and words, other ids, prices and times."""

import json
import re
from typing import Any

# Steps on the way to another state: where a document shows one, the reader may see a later one.
_PASSING = re.compile(r"_(PENDING_NEW|STARTING|STOPPING)$")
_WORD = re.compile(r"^[A-Z][A-Z0-9_]+$")
_TYPE = re.compile(r"^type\.googleapis\.com/")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def difference(expected: str, actual: str) -> str:
    """The first difference, in a line; empty when there is none."""
    documented, shown = documents(expected), documents(actual)
    if documented is None:
        return _compare_lines(expected.splitlines(), actual.splitlines())
    if shown is None or len(shown) != len(documented):
        return f"{len(documented)} JSON documents expected, printed: {actual[:500]}"
    return next(filter(None, (_compare(a, b, "") for a, b in zip(documented, shown, strict=True))), "")


def documents(text: str) -> list[Any] | None:
    """The JSON documents that the text consists of; None when it is not JSON."""
    parsed, decoder, rest = [], json.JSONDecoder(), text.strip()
    while rest:
        try:
            document, end = decoder.raw_decode(rest)
        except ValueError:
            return None
        parsed.append(document)
        rest = rest[end:].lstrip()
    return parsed


def _compare_lines(expected: list[str], actual: list[str]) -> str:
    """Every expected line is among the actual ones; lines of JSON as documents, others as text."""
    texts = {_text(line) for line in actual}
    objects = [parsed for line in actual if line.startswith("{") and (parsed := documents(line))]
    for line in expected:
        parsed = documents(line) if line.startswith("{") else None
        alike = any(not _compare(parsed, other, "") for other in objects) if parsed else _text(line) in texts
        if not alike and line.strip():
            return f"not printed: {line}"
    return ""


def _compare(expected: Any, actual: Any, path: str) -> str:
    if isinstance(expected, dict) and isinstance(actual, dict):
        if expected.keys() != actual.keys():
            return f"{path or 'answer'}: other keys: {sorted(expected.keys() ^ actual.keys())}"
        return next(filter(None, (_compare(v, actual[k], f"{path}.{k}") for k, v in expected.items())), "")
    if isinstance(expected, list) and isinstance(actual, list):
        if bool(expected) != bool(actual):
            return f"{path}: {len(actual)} instead of {len(expected)}"
        return next(filter(None, (_compare(a, b, f"{path}[]") for a, b in zip(expected, actual, strict=False))), "")
    if type(expected) is not type(actual) and not {type(expected), type(actual)} <= {int, float}:
        return f"{path}: {actual!r} instead of {expected!r}"
    fixed = isinstance(expected, str) and (_WORD.match(expected) or _TYPE.match(expected))
    if not fixed or expected == actual:
        return ""
    if (passing := _PASSING.search(expected)) and actual.startswith(expected[: passing.start()]):
        return ""
    return f"{path}: {actual!r} instead of {expected!r}"


def _text(line: str) -> str:
    """A line without what differs from run to run."""
    return " ".join(_NUMBER.sub("0", line).split())
