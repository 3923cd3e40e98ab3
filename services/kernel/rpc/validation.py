"""Checks of requests before their handler: input that none may hold, then the rules of the contract."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import protovalidate
from google.protobuf.message import Message

from services.kernel.errors import Invalid
from services.kernel.policy import MethodPolicy
from services.kernel.rpc.contract_rules import certain_check
from services.kernel.rpc.input_checks import malformed_of

_validator = protovalidate.Validator()
MAX_VIOLATIONS = 20
"""Number of wrong fields that one answer names at most."""


def request_check(request_class: type[Message], policy: MethodPolicy) -> Callable[[Message], None]:
    """Make the check of an RPC's requests. Nearly all certainly are as the contract says, which is quickly seen."""
    # A message type's first validation takes milliseconds: do it now, not in somebody's order.
    violations_of(request_class())
    is_certain = certain_check(request_class)

    def check(request: Message) -> None:
        if not is_certain(request):
            if not policy.internal:
                refuse_malformed(request)
            validate(request)

    return check


def refuse_malformed(request: Message) -> None:
    """Raise Invalid with the fields that hold what no request may hold: the first MAX_VIOLATIONS."""
    if wrong := dict(islice(malformed_of(request), MAX_VIOLATIONS)):
        raise _invalid(wrong)


def validate(request: Message) -> None:
    """Raise Invalid with the fields that break a rule of the contract: the first MAX_VIOLATIONS."""
    if violations := violations_of(request):
        raise _invalid({field or "request": text for field, text in violations})


def _invalid(fields: dict[str, str]) -> Invalid:
    """The error of wrong fields; its message has the first five."""
    texts = [text if field == "request" else f"{field}: {text}" for field, text in fields.items()]
    if (more := len(texts) - 5) > 0:
        texts[5:] = [f"and {'at least ' if len(fields) == MAX_VIOLATIONS else ''}{more} more"]
    error = Invalid("; ".join(texts))
    error.fields = fields
    return error


def violations_of(request: Message) -> list[tuple[str, str]]:
    """The first MAX_VIOLATIONS fields of a request that break a rule of the contract, with what they should be."""
    first = _validator.collect_violations(request, fail_fast=True)
    if not first:
        return []
    # Each costs 7 µs and a request has room for millions: the others are looked for in a copy with short lists.
    sample = type(request)()
    sample.CopyFrom(request)
    _shorten_lists(sample)
    violations = dict.fromkeys(_field_and_text(v.proto) for v in (*first, *_validator.collect_violations(sample)))
    return list(violations)[:MAX_VIOLATIONS]


def _shorten_lists(message: Message) -> None:
    for field, value in message.ListFields():
        if not field.is_repeated:
            if field.message_type is not None:
                _shorten_lists(value)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key in list(value)[MAX_VIOLATIONS:]:
                del value[key]
        else:
            del value[MAX_VIOLATIONS:]
            if field.message_type is not None:
                for item in value:
                    _shorten_lists(item)


def _field_and_text(violation: Any) -> tuple[str, str]:
    path = ""
    for element in violation.field.elements if violation.field else ():
        path += ("." if path else "") + element.field_name
        if element.subscript is not None and element.subscript:
            path += f"[{element.subscript.value}]"
    # Rules over a whole message name the field before a colon.
    head, colon, tail = violation.message.partition(": ")
    if not path and colon and head.isidentifier():
        return head, tail
    return path, violation.message
