"""The request as a record keeps it: all of it but secrets, found by the option `debug_redact` and by their names."""

import re
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from functools import cache
from json import dumps
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

REDACTED = "[redacted]"
LARGEST = 16 * 1024
"""Bytes of a request that are kept; of a larger one its size alone is."""
_NAMES = re.compile(
    r"password|passwd|passphrase|pwd|secret|token|privatekey|apikey$|accesskey|authcode|credential|cookie|totp|otp$"
    r"|recoverycode|^code$|密码|口令|密钥|私钥|令牌|授权码|授权编码|认证码"
)
_NO_SECRETS = {"pagetoken", "nextpagetoken", "tokentype"}
_SEPARATORS = re.compile(r"[\W_]")
_CONTENTS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\beyJ[\w-]+\.eyJ[\w-]+\.|\b[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@",
    re.IGNORECASE,
)
_ANY_JSON = {"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue", "google.protobuf.Any"}
Fragment = Callable[[Message, bytes | None], str]


def is_secret_name(name: str) -> bool:
    """Test for the name of something that no record may hold."""
    plain = _SEPARATORS.sub("", name.lower())
    return plain not in _NO_SECRETS and _NAMES.search(plain) is not None


def redact(value: Any) -> Any:
    """A JSON value without what is named like a secret or looks like one."""
    if isinstance(value, Mapping):
        if _is_reference(value):
            return dict(value)
        return {
            str(key): REDACTED if is_secret_name(str(key)) and not _is_reference(item) else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    if isinstance(value, str):
        return REDACTED if _CONTENTS.search(value) else value
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def request_fragment(descriptor: Descriptor) -> Fragment:
    """Make a function of a request and its bytes, which answers the JSON that a record has of it.

    Of a message that has no place for a secret these are its bytes in base64, which cost next to nothing; else its
    fields without the secrets.
    """
    if _may_hold_secrets(descriptor, frozenset()):
        return _redacted
    return _encoded


def request_of(descriptor: Descriptor | None, kept: Any) -> Any:
    """The fields of a request as a record has it, as JSON."""
    if not isinstance(kept, str) or descriptor is None:
        return kept
    from base64 import b64decode

    from google.protobuf import message_factory

    message = message_factory.GetMessageClass(descriptor).FromString(b64decode(kept))
    return _fields(message)


def _encoded(request: Message, body: bytes | None) -> str:
    body = request.SerializeToString() if body is None else body
    if len(body) > LARGEST:
        return f'{{"size_bytes":{len(body)}}}'
    return f'"{b2a_base64(body, newline=False).decode()}"'


def _redacted(request: Message, body: bytes | None) -> str:
    size = request.ByteSize()
    if size > LARGEST:
        return f'{{"size_bytes":{size}}}'
    return dumps(redact(_without_marked(request.DESCRIPTOR, _fields(request))), separators=(",", ":"))


def _fields(message: Message) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    except (json_format.Error, ValueError) as error:
        # JSON has no NaN in a Value, no year 0 and none after 9999: a caller may send them, and is refused for it.
        return {"unreadable": str(error), "size_bytes": message.ByteSize()}
    return fields


def _without_marked(descriptor: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields without the content of those that the contract marks."""
    for name, value in fields.items():
        field = descriptor.fields_by_name.get(name)
        if field is None:
            continue
        if _is_marked(field):
            fields[name] = REDACTED
        elif (
            field.message_type is not None and isinstance(value, dict) and field.message_type.full_name not in _ANY_JSON
        ):
            _without_marked(field.message_type, value)
        elif field.message_type is not None and isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    _without_marked(field.message_type, item)
    return fields


def _may_hold_secrets(descriptor: Descriptor, above: frozenset[str]) -> bool:
    if descriptor.full_name in _ANY_JSON:
        return True
    if descriptor.full_name in above:
        return False
    for field in descriptor.fields:
        if _is_marked(field) or is_secret_name(field.name):
            return True
        inner = field.message_type
        if inner is not None and _may_hold_secrets(inner, above | {descriptor.full_name}):
            return True
    return False


@cache
def _is_marked(field: FieldDescriptor) -> bool:
    return bool(field.GetOptions().debug_redact)


def _is_reference(value: Any) -> bool:
    """Test for `{"secret": "name"}`, which is no secret."""
    return isinstance(value, Mapping) and value.keys() == {"secret"}
