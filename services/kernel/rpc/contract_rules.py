"""Rules of the contract as Python: requests that certainly meet them need not be shown to protovalidate.

protovalidate interprets a dozen CEL programs for an order; where other work has driven them out of the caches that
takes 80 µs, a twentieth of which an expression made from the same rules takes. It says yes only where it is sure:
what it does not, or does not understand, protovalidate decides, and it alone names what is wrong.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Certain = Callable[[Message], bool]

_UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
# Patterns that RE2 and Python read alike: no escapes, no flags, the end only where it ends.
_PLAIN_PATTERN = re.compile(r"[\^]?[-A-Za-z0-9_.:,\[\]{}()|*+^]*(\?(?![:=!<P])[-A-Za-z0-9_.:,\[\]{}()|*+^]*)*[$]?")
_TOKEN = re.compile(
    r"\s*(?:(?P<field>has\(this\.\w+\)|this\.(?!matches\b)\w+)|(?P<word>this|rule|in)\b|(?P<number>-?\d+)"
    r"|(?P<text>'[^'\\]*')|(?P<matches>\.matches\()|(?P<sign>\|\||&&|==|!=|[!()\[\],]))"
)
_COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_INTEGERS = frozenset({"int32", "int64", "uint32", "uint64"})


class _Unknown(Exception):
    """A rule that is not understood."""


def certain_check(message: type[Message]) -> Certain:
    """Says of a message whether it certainly is well-formed (input_checks) and meets the contract's rules."""
    known: dict[str, Any] = {}
    try:
        terms = list(_terms(message.DESCRIPTOR, known))
    except _Unknown:
        return _unsure
    # Made of the contract that this process was built with, as dataclasses make their methods.
    check: Certain = eval(f"lambda m: {' and '.join(terms) or 'True'}", known)  # noqa: S307 # nosec B307
    return check


def _unsure(_: Message) -> bool:
    return False


def _terms(message: Any, known: dict[str, Any]) -> Iterator[str]:
    """Expressions over a message `m` of which all must be true."""
    if any(oneof.GetOptions().ListFields() for oneof in message.oneofs):
        raise _Unknown
    texts = []
    for field in message.fields:
        value, rules = f"m.{field.name}", _rules(field)
        if field.is_repeated and field.type == FieldDescriptor.TYPE_STRING:
            yield from _list_terms(field, value, rules, known)
            continue
        if rules is not None and _is_duration(field):
            yield f"(not m.HasField('{field.name}') or {_duration_term(value, rules)})"
            continue
        if field.message_type is not None or field.is_repeated or field.type == FieldDescriptor.TYPE_BYTES:
            if rules is not None and not (field.is_repeated and _allow_empty(rules)):
                raise _Unknown
            # What is in it would have to be looked at, too.
            single = field.message_type is not None and not field.is_repeated
            yield f"not m.HasField('{field.name}')" if single else f"not {value}"
            continue
        if field.type == FieldDescriptor.TYPE_STRING:
            texts.append(f"{{{value}}}")
        if rules is not None:
            if field.has_presence:
                raise _Unknown
            yield from _field_terms(field, value, rules, known)
    if texts:
        # No control characters; what else is not printable is rare enough for the long way.
        yield f"""f"{"".join(texts)}".isprintable()"""
    for option, rules in message.GetOptions().ListFields():
        if option.full_name == "buf.validate.message":
            if any(set_rule.name != "cel" for set_rule, _ in rules.ListFields()):
                raise _Unknown
            for rule in rules.cel:
                yield _Expression(rule.expression, known, "").python()


def _allow_empty(rules: Any) -> bool:
    """Test whether a list or a map without items meets its rules."""
    return all(
        rule.name in ("repeated", "map")
        and all(option.name in ("items", "max_items", "unique", "max_pairs") for option, _ in content.ListFields())
        for rule, content in rules.ListFields()
    )


class _Accepted(set[str]):
    """Texts that met the rules of a list's items: the same symbols come again and again."""

    def note(self, text: str) -> bool:
        """Remember one more, as long as there is room for it."""
        if len(self) < 4096 and len(text) <= 64:
            self.add(text)
        return True


def _list_terms(field: FieldDescriptor, value: str, rules: Any, known: dict[str, Any]) -> Iterator[str]:
    """Expressions over a list of texts."""
    yield f"''.join({value}).isprintable()"
    for rule, content in rules.ListFields() if rules is not None else ():
        for option, expected in content.ListFields():
            if rule.name == "repeated" and option.name in ("min_items", "max_items"):
                yield f"len({value}) {'>=' if option.name == 'min_items' else '<='} {int(expected)}"
            elif rule.name == "repeated" and option.name == "items":
                terms = " and ".join(_field_terms(field, "one", expected, known))
                accepted = _named(_Accepted(), known)
                yield f"all([one in {accepted} or ({terms or 'True'} and {accepted}.note(one)) for one in {value}])"
            else:
                raise _Unknown


def _is_duration(field: FieldDescriptor) -> bool:
    return (
        field.message_type is not None
        and field.message_type.full_name == "google.protobuf.Duration"
        and not field.is_repeated
    )


def _duration_term(value: str, rules: Any) -> str:
    """A duration that is not negative, within its limits."""
    terms = [f"{value}.seconds >= 0", f"0 <= {value}.nanos < 1000000000"]
    for rule, content in rules.ListFields():
        for option, limit in content.ListFields():
            if rule.name != "duration" or option.name not in _COMPARISONS:
                raise _Unknown
            comparison = _COMPARISONS[option.name]
            terms.append(f"({value}.seconds, {value}.nanos) {comparison} ({limit.seconds}, {limit.nanos})")
    return f"({' and '.join(terms)})"


def _rules(field: FieldDescriptor) -> Any:
    for option, rules in field.GetOptions().ListFields():
        if option.full_name == "buf.validate.field":
            return rules
    return None


def _field_terms(field: FieldDescriptor, value: str, rules: Any, known: dict[str, Any]) -> Iterator[str]:
    terms: list[str] = []
    if_set = False
    for rule, content in rules.ListFields():
        if rule.name == "required":
            terms.append(value)
        elif rule.name == "ignore" and rule.enum_type.values_by_number[content].name == "IGNORE_IF_ZERO_VALUE":
            if_set = True
        elif rule.name in _INTEGERS or rule.name in ("string", "enum"):
            terms += [
                _term(field, rule.name, option, expected, value, known) for option, expected in content.ListFields()
            ]
        else:
            raise _Unknown
    for term in terms:
        yield f"(not {value} or {term})" if if_set else term


def _term(
    field: FieldDescriptor, kind: str, rule: FieldDescriptor, expected: Any, value: str, known: dict[str, Any]
) -> str:
    if rule.is_extension and expected is True:
        for option, predefined in rule.GetOptions().ListFields():
            if option.full_name == "buf.validate.predefined":
                return " and ".join(_Expression(cel.expression, known, value).python() for cel in predefined.cel)
    elif kind == "string" and rule.name == "pattern":
        return _match(expected, value, known)
    elif kind == "string" and rule.name == "uuid" and expected:
        return _match(_UUID, value, known)
    elif kind == "string" and rule.name in ("min_len", "max_len"):
        return f"len({value}) {'>=' if rule.name == 'min_len' else '<='} {int(expected)}"
    elif kind == "enum" and rule.name == "defined_only" and expected:
        return f"{value} in {_named(frozenset(field.enum_type.values_by_number if field.enum_type else ()), known)}"
    elif kind == "enum" and rule.name == "not_in":
        return f"{value} not in {_named(frozenset(expected), known)}"
    elif kind in _INTEGERS and rule.name in _COMPARISONS:
        return f"{value} {_COMPARISONS[rule.name]} {int(expected)}"
    raise _Unknown


def _match(pattern: str, value: str, known: dict[str, Any]) -> str:
    if not _PLAIN_PATTERN.fullmatch(pattern):
        raise _Unknown
    # Python's $ would let a newline follow.
    compiled = re.compile(pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern)
    return f"{_named(compiled.search, known)}({value}) is not None"


def _named(thing: object, known: dict[str, Any]) -> str:
    name = f"k{len(known)}"
    known[name] = thing
    return name


class _Expression:
    """The part of CEL that the contract's rules use, written as Python: every operation in parentheses."""

    def __init__(self, text: str, known: dict[str, Any], this: str) -> None:
        """`this`: the value that a predefined rule is of; empty in the rules of a message `m`."""
        self._known = known
        self._this = this
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text.rstrip()):
            token = _TOKEN.match(text, at)
            if token is None:
                raise _Unknown
            self._tokens.append((str(token.lastgroup), token[token.lastgroup or 0]))
            at = token.end()
        self._at = 0

    def python(self) -> str:
        """The whole expression."""
        result = self._either()
        if self._at < len(self._tokens):
            raise _Unknown
        return result

    def _take(self, *expected: str) -> str:
        """The next token where it is one of these, else nothing."""
        if self._at < len(self._tokens) and self._tokens[self._at][1] in expected:
            self._at += 1
            return self._tokens[self._at - 1][1]
        return ""

    def _require(self, expected: str) -> None:
        if not self._take(expected):
            raise _Unknown

    def _either(self) -> str:
        parts = [self._both()]
        while self._take("||"):
            parts.append(self._both())
        return f"({' or '.join(parts)})" if len(parts) > 1 else parts[0]

    def _both(self) -> str:
        parts = [self._relation()]
        while self._take("&&"):
            parts.append(self._relation())
        return f"({' and '.join(parts)})" if len(parts) > 1 else parts[0]

    def _relation(self) -> str:
        left = self._unary()
        if relation := self._take("==", "!=", "in"):
            return f"({left} {relation} {self._unary()})"
        return left

    def _unary(self) -> str:
        if self._take("!"):
            return f"(not {self._unary()})"
        operand = self._operand()
        if not self._take(".matches("):
            return operand
        kind, pattern = self._tokens[self._at]
        self._at += 1
        self._require(")")
        if kind != "text":
            raise _Unknown
        return f"({_match(pattern[1:-1], operand, self._known)})"

    def _operand(self) -> str:
        if self._take("("):
            inner = self._either()
            self._require(")")
            return inner
        if self._take("["):
            items = [self._either()]
            while self._take(","):
                items.append(self._either())
            self._require("]")
            return f"({', '.join(items)},)"
        if self._at >= len(self._tokens):
            raise _Unknown
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind in ("number", "text"):
            return text
        if kind == "field" and not self._this:
            name = text.removeprefix("has(").removesuffix(")").removeprefix("this.")
            return f"m.HasField('{name}')" if text.startswith("has(") else f"m.{name}"
        if kind == "word" and self._this and text in ("this", "rule"):
            return self._this if text == "this" else "True"
        raise _Unknown
