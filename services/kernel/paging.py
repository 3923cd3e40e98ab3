"""Pages of lists: size, opaque token, and the slice that makes the next token."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from redfire.reasons import Reason

from services.kernel.errors import Invalid

T = TypeVar("T")
DEFAULT_SIZE = 100
MAX_SIZE = 1000
# NUL and halves of surrogate pairs: JSON can hold them, a database cannot.
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class PageResult(Generic[T]):
    """A page's items, and the token of the next page or the empty string."""

    items: Sequence[T]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Page:
    """A requested page: its `size`, and the cursor `after` which it begins, or None."""

    size: int
    after: list[Any] | None
    query: str

    @classmethod
    def of(cls, request: Message, owner: str = "", cursor: Sequence[type] = (str,)) -> "Page":
        """The page that a List request asks for; `cursor` are the types of what `slice` makes cursors of.

        A token of another query or owner, or with another kind of cursor, is Invalid: clients can make up tokens.
        """
        bare = type(request)()
        bare.CopyFrom(request)
        token: str = bare.page_token  # type: ignore[attr-defined]
        size: int = bare.page_size  # type: ignore[attr-defined]
        bare.ClearField("page_token")
        bare.ClearField("page_size")
        text = f"{bare.DESCRIPTOR.full_name}|{owner}|".encode() + bare.SerializeToString(deterministic=True)
        query = hashlib.sha256(text).hexdigest()[:16]
        return cls(min(size or DEFAULT_SIZE, MAX_SIZE), _decode(token, query, cursor) if token else None, query)

    def slice(self, rows: Sequence[T], key: Callable[[T], list[Any]]) -> PageResult[T]:
        """The page out of rows that were read with limit `size + 1`; `key` gives a row's cursor."""
        if len(rows) <= self.size:
            return PageResult(rows, "")
        items = rows[: self.size]
        cursor = json.dumps([self.query, key(items[-1])], separators=(",", ":"), default=str)
        return PageResult(items, base64.urlsafe_b64encode(cursor.encode()).decode().rstrip("="))


def _decode(token: str, query: str, cursor: Sequence[type]) -> list[Any]:
    try:
        padded = token + "=" * (-len(token) % 4)
        made_for, after = json.loads(base64.urlsafe_b64decode(padded.encode()))
    except (ValueError, UnicodeError, TypeError):
        made_for, after = "", []
    if made_for != query or not isinstance(after, list) or not _fits(after, cursor):
        message = "page_token: not a token of this query"
        raise Invalid(message, field="page_token", reason=Reason.INVALID_PAGE_TOKEN)
    return after


def _fits(after: list[Any], cursor: Sequence[type]) -> bool:
    """Test that these values have the cursor's types and that every database can take them."""
    return [type(value) for value in after] == list(cursor) and all(map(_is_plain, after))


def _is_plain(value: Any) -> bool:
    match value:
        case int():
            return abs(value) < 1 << 63
        case float():
            return math.isfinite(value)
        case _:
            return _NO_TEXT.search(value) is None
