"""Documents are read within bounds, and writing then reading gives the same."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.config.document import DocumentFormat, InvalidDocument, parse_document, render_document, unique
from services.config.values.json_value import MAX_INTEGER, same
from tests.examples import examples

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.sampled_from(
        ["no", "on", "1e5", "0x1F", "0o17", "12:30", "2024-01-01", "~", "null", "010", ".5", "<<", "=", ""]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True),
    st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,8}", fullmatch=True), JSON, min_size=1, max_size=4),
    max_size=3,
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DocumentFormat)
@settings(max_examples=examples(150), deadline=None)
@given(document=DOCUMENTS)
def test_a_written_document_reads_as_the_same(kind: DocumentFormat, document: dict[str, Any]) -> None:
    text = render_document(document, kind)
    again = parse_document(text, kind)
    assert same(again, document)
    assert render_document(again, kind) == text


def test_yaml_is_read_as_json_is_not_as_yaml_1_1() -> None:
    text = "risk: {a: no, b: 12:30, c: 010, d: 2024-01-01, e: true, f: 1e3, g: null, h: 0, i: -4}"
    assert parse_document(text, DocumentFormat.YAML)["risk"] == {
        "a": "no", "b": "12:30", "c": "010", "d": "2024-01-01", "e": True, "f": 1000.0, "g": None, "h": 0, "i": -4,
    }  # fmt: skip


def test_aliases_are_read() -> None:
    document = parse_document("a: {x: &x [1, 2]}\nb: {y: *x}", DocumentFormat.YAML)
    assert document == {"a": {"x": [1, 2]}, "b": {"y": [1, 2]}}


LAUGHS = "a:\n  k0: &a0 [lol]\n" + "".join(f"  k{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (LAUGHS, "values"),
        ("a: {k: " + "[" * 100 + "]" * 100 + "}", "deeper"),
        ("a: {k: " + "[" * 50_000, "deeper"),
        ("a: &a {k: [*a]}", "itself"),
        ("a: {k: *nothing}", "alias"),
        ("a: {k: 1, k: 2}", "twice"),
        ("a: {k: 1}\na: {k: 2}", "twice"),
        ("a: {k: !!python/object/apply:os.system [id]}", "not YAML"),
        ("a: &x {k: 1}\nb:\n  <<: *x", "merge"),
        ("a: 1", "{key: value}"),
        ("- a", "{service"),
        ("# nothing", "{service"),
        ("Risk!: {k: 1}", "service's name"),
        ("risk: {1: 2}", "not a key"),
        ("risk: {'a b': 2}", "not a key"),
        ("a: {k: 1}\n---\nb: {k: 2}", "not YAML"),
        ("a: {k: [1, 2}", "not YAML"),
        ("a: {k: \x01}", "not YAML"),
    ],
)
def test_a_yaml_document_that_may_not_be_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(InvalidDocument, match=complaint):
        parse_document(text, DocumentFormat.YAML)


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"a": {"k": NaN}}', '{"a": {"k": 1, "k": 2}}', "[" * 100_000, '{"a": 1}', '{"a": {"k": 01}}']
)
def test_a_json_document_that_may_not_be_is_refused(text: str) -> None:
    with pytest.raises(InvalidDocument):
        parse_document(text, DocumentFormat.JSON)


def test_json_integers_stay_integers() -> None:
    text = render_document({"a": {"big": MAX_INTEGER, "one": 1, "half": 0.5}}, DocumentFormat.JSON)
    assert json.loads(text) == {"a": {"big": 9007199254740992, "half": 0.5, "one": 1}}


def test_many_keys_of_which_the_last_is_given_twice_are_read_in_one_pass() -> None:
    looked_at = 0

    class Key(str):
        """A key that counts how often it is compared."""

        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal looked_at
            looked_at += 1
            return str.__eq__(self, other)  # type: ignore[arg-type]

        __hash__ = str.__hash__

    keys = [Key(f"key-{n}") for n in range(3000)]
    with pytest.raises(InvalidDocument, match="key-2999"):
        unique([(key, n) for n, key in enumerate([*keys, Key("key-2999")])])
    assert looked_at < 10 * len(keys)
