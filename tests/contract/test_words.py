"""Words of names, docstrings and texts: the field's, and none of the pictures that they replaced."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
QUESTION = re.compile(r"\s*(What|Who|Whom|Whose|Whether|How|Why|Where|When|Which|If)\b")
# Only words that the field has in no other sense, unlike gRPC's channel, the system's process or the order book.
REPLACED = {
    "announcements": "publisher", "desk": "store", "dispatcher": "router", "doubt": "reconciliation",
    "farewell": "end_message", "folding": "resampling", "forever": "supervise", "halting": "halt_enforcer",
    "intake": "report_handler", "keeper": "checkpointer", "lane": "write_sequence", "lay": "overlay",
    "mischief": "hostile_code", "news": "update", "previews": "preview_service", "spacing": "interval_detection",
    "stranger": "unknown_order", "told": "sent", "upkeep": "maintenance", "wellformed": "input_checks",
    "whoever": "caller",
}  # fmt: skip
PHRASES = re.compile(
    r"\b(whoever|for ever|to be had|lets? go of the interpreter|a fault of ours|(is|are) there twice)\b", re.IGNORECASE
)


@cache
def _texts() -> tuple[list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, str]]]:
    """By place: names of modules, classes and functions, docstrings (of attributes too), and all texts."""
    names, docstrings, texts = [], [], []
    for file in (file for room in ("services", "tests", "deploy") for file in (ROOT / room).rglob("*.py")):
        place = str(file.relative_to(ROOT))
        names.append((place, file.stem))
        for node in ast.walk(ast.parse(file.read_bytes())) if file != Path(__file__) else ():
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.append((place, node.name))
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                docstrings.append((f"{place}:{node.lineno}", str(node.value.value)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append((f"{place}:{node.lineno}", node.value))
    return names, docstrings, texts


def _words(name: str) -> set[str]:
    """The words of a name; of a test's, which is a sentence, only a picture that no sentence needs."""
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
    return words & {"whoever"} if name.startswith("test_") else words


def test_docstrings_begin_with_a_noun_or_a_verb() -> None:
    found = [f"{place}: {text.strip().splitlines()[0]}" for place, text in _texts()[1] if QUESTION.match(text)]
    assert not found, "\n".join(found)


def test_names_are_the_fields_words() -> None:
    found = {f"{place}: {name}" for place, name in _texts()[0] if _words(name) & REPLACED.keys()}
    assert not found, f"{sorted(found)}; the field's words: {REPLACED}"


def test_texts_have_no_phrases_of_our_own() -> None:
    found = [f"{place}: {match[0]}" for place, text in _texts()[2] if (match := PHRASES.search(text))]
    assert not found, "\n".join(found)
