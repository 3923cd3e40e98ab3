"""The record of a call while the call runs: who acts on what, and the transaction that carries it to the database."""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from json import dumps
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Protocol

from google.api import annotations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.message import Message

from services.kernel.audit.record import Record
from services.kernel.audit.redaction import Fragment, redact, request_fragment
from services.kernel.identity.identity import Identity

LONGEST = 512
"""Characters of a reason or a resource that are kept."""
_VERBS = ("get", "put", "post", "delete", "patch")
_PATH_FIELD = re.compile(r"\{([\w.]+)(?:=[^}]*)?\}")


class Caller(Protocol):
    """A call, or a command, as its record sees it."""

    identity: Identity
    client_address: str
    request_id: str

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to, 32 hex digits."""


class Act:
    """The kind of an act: its method, and how its resource and its request are told. Made once for each RPC."""

    __slots__ = ("fragment", "method", "resource")

    def __init__(self, method: str, resource: Callable[[Any, str], str], fragment: Fragment | None) -> None:
        self.method = method
        self.resource = resource
        self.fragment = fragment


class Draft:
    """The knowledge of an act so far. The first transaction of the act that writes takes the record along."""

    __slots__ = ("act", "after", "before", "body", "call", "joined", "outcome", "reason", "request", "resource")

    def __init__(self, act: Act, call: Caller, request: Any, body: bytes | None = None) -> None:
        self.act = act
        self.call = call
        self.request = request
        self.body = body
        self.resource = ""
        self.before: Any = None
        self.after: Any = None
        self.outcome, self.reason = "OK", ""
        # The commit that carries the record, while it is under way; True once it is done.
        self.joined: asyncio.Future[None] | bool = False

    @property
    def is_recorded(self) -> bool:
        """Test for a commit that carried the record."""
        joined = self.joined
        if isinstance(joined, bool):
            return joined
        return joined.done() and not joined.cancelled() and joined.exception() is None

    def record(self) -> Record:
        """The record as it is now."""
        act, call = self.act, self.call
        identity = call.identity
        resource = self.resource or act.resource(self.request, identity.user_id)
        request = "null"
        if act.fragment is not None and isinstance(self.request, Message):
            request = act.fragment(self.request, self.body)
        changes = ""
        if self.before is not None or self.after is not None:
            changes = f',"changes":{dumps({"before": redact(self.before), "after": redact(self.after)})}'
        details = (
            f'{{"session_id":{_quoted(identity.session_id)},"api_key_id":{_quoted(identity.api_key_id)},'
            f'"service":{_quoted(identity.service or identity.actor)},'
            f'"client_address":{_quoted(call.client_address)},'
            f'"resource":{_quoted(resource[:LONGEST])},"reason":{_quoted(self.reason[:LONGEST])},'
            f'"request_id":{_quoted(call.request_id)},"trace_id":{_quoted(call.trace_id)},'
            f'"request":{request}{changes}}}'
        )
        return Record(time.time_ns(), identity.user_id, act.method, self.outcome, details)


# Of the call that the running code serves; None where that has no record.
current_draft: ContextVar[Draft | None] = ContextVar("current_draft", default=None)


def joining() -> Draft | None:
    """The draft that a transaction is to carry: of the call that the running code serves, where it is not carried yet.

    A transaction that failed carried nothing, so the next one of the call does.
    """
    draft = current_draft.get()
    if draft is None:
        return None
    joined: asyncio.Future[None] | bool = draft.joined
    if joined is False or (not isinstance(joined, bool) and joined.done() and not draft.is_recorded):
        return draft
    return None


def describe(resource: str = "", *, before: Any = None, after: Any = None) -> None:
    """State what the running call changes, before its transaction ends: `describe("users/7", before=…, after=…)`.

    Values are JSON, or objects that are written as text. What is named or looks like a secret is left out. Does nothing
    where the call is not recorded.
    """
    draft = current_draft.get()
    if draft is None:
        return
    draft.resource = resource or draft.resource
    if before is not None:
        draft.before = _merged(draft.before, before)
    if after is not None:
        draft.after = _merged(draft.after, after)


def _merged(known: Any, more: Any) -> Any:
    return {**known, **more} if isinstance(known, Mapping) and isinstance(more, Mapping) else more


def act_of(method: str) -> Act:
    """The act of an RPC, `/redfire.trading.v1.OrderService/CreateOrder`, by its descriptor.

    Its resource is its REST path with the fields of the request, without the verb: `trading/orders/…`.
    """
    service, _, name = method[1:].partition("/")
    descriptor = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(name)
    rule: Any = descriptor.GetOptions().Extensions[annotations_pb2.http]
    pattern = next(
        (getattr(rule, verb) for verb in ("get", "put", "post", "delete", "patch") if getattr(rule, verb)), ""
    )
    path = pattern.removeprefix("/api/").partition(":")[0] or service.split(".")[1]
    return Act(method, _resource(path), request_fragment(descriptor.input_type))


def _resource(path: str) -> Callable[[Any, str], str]:
    fields = _PATH_FIELD.findall(path)
    if not fields:
        return lambda request, user_id: path
    template = _PATH_FIELD.sub("{}", path)

    def resource(request: Any, user_id: str) -> str:
        values = [_value(request, field) for field in fields]
        return template.format(*(user_id if value == "me" and user_id else value for value in values))

    return resource


def _value(request: Any, field: str) -> str:
    for name in field.split("."):
        request = getattr(request, name, "")
    return str(request)
