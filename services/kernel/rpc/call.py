"""One RPC as its handler sees it: who calls, from where, until when; and how it goes on to peers."""

import random
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from services.kernel.errors import Unauthenticated
from services.kernel.identifiers import REQUEST_ID_FORM, REQUEST_ID_LENGTH, new_id
from services.kernel.identity.identity import ANONYMOUS, Identity

HOP_KEY = "x-redfire-hop"
"""Metadata by which a replica knows a call that another one forwarded."""
_TRACEPARENT = re.compile("(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?![^-])")


@dataclass(slots=True)
class Call:
    """An admitted call. `deadline` is in `time.perf_counter()` seconds, None for streams without one."""

    method: str
    identity: Identity = ANONYMOUS
    request_id: str = ""
    traceparent: str = ""
    client_address: str = ""
    user_agent: str = ""
    # What an earlier login gave to this device.
    device_token: str = ""
    deadline: float | None = None
    # Another replica answers it.
    is_forwarded: bool = False
    # It came by the edge, to this process first.
    is_from_edge: bool = False

    @property
    def user_id(self) -> str:
        """The user who calls; Unauthenticated when nobody or a service does."""
        if not self.identity.user_id:
            raise Unauthenticated
        return self.identity.user_id

    @property
    def trace_id(self) -> str:
        """The trace that this call belongs to, 32 hex digits."""
        return self.traceparent[3:35]


_REQUEST_ID = re.compile(REQUEST_ID_FORM)

# The call that the running code serves: peers are called with its deadline, request id and trace.
current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)


@dataclass(slots=True)
class Origin:
    """Origin of a call before it is admitted: metadata of the wire, or a service of this process."""

    metadata: Mapping[str, str | bytes]
    deadline: float | None = None
    peer: str = ""
    service: Identity | None = None
    # The call of this process that it is made for, where there is nothing else to carry.
    parent: Call | None = None
    # The request as it came by the network.
    body: bytes | None = None
    # Trailing metadata of the answer, where another replica gave it.
    trailing: tuple[tuple[str, str | bytes], ...] = ()
    _request_id: str = field(default="", init=False)

    @property
    def request_id(self) -> str:
        """The id that its client gave it, or one of our own: the same in answers, logs and at the next replica."""
        if not self._request_id:
            self._request_id = _valid_request_id(self.text("x-request-id")) or new_id()
        return self._request_id

    def text(self, key: str) -> str:
        """A metadata value, or the empty string."""
        value = self.metadata.get(key, "")
        return value if isinstance(value, str) else ""

    def call(self, method: str) -> Call:
        """The call, with nobody's identity yet."""
        if self.parent is not None:
            parent = self.parent
            return Call(method, request_id=parent.request_id, traceparent=parent.traceparent, deadline=self.deadline)
        return Call(
            method=method,
            request_id=self.request_id,
            traceparent=_valid_traceparent(self.text("traceparent")) or new_traceparent(),
            client_address=_host(self.peer),
            user_agent=self.text("user-agent")[:256],
            device_token=self.text("x-device-token"),
            deadline=self.deadline,
        )


def new_traceparent() -> str:
    """A new trace that is not sampled (W3C Trace Context)."""
    return f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-00"  # nosec B311


def _valid_request_id(value: str) -> str:
    # It goes into logs, answers and the database. Whatever a client means by it, it needs no more than these.
    value = value[:REQUEST_ID_LENGTH]
    return value if _REQUEST_ID.fullmatch(value) else ""


def _valid_traceparent(value: str) -> str:
    # Of a later version only what this one knows: orders carry it to the database, which takes no more.
    match = _TRACEPARENT.match(value)
    return match[0] if match is not None and (len(value) == len(match[0]) or match[1] != "00") else ""


def _host(peer: str) -> str:
    """`ipv4:127.0.0.1:5000` → `127.0.0.1`."""
    address = peer.partition(":")[2].rpartition(":")[0]
    return address.strip("[]").replace("%5B", "").replace("%5D", "")
