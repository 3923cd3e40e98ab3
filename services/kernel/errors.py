"""The vocabulary of errors that crosses every RPC both ways; it knows no gRPC.

A service subclasses a category with a reason of the catalogue (`redfire.reasons`) and raises it; `kernel.rpc.status`
alone turns errors into `google.rpc.Status` and back, so a caller catches the class that the callee raised.
"""

from redfire.reasons import Reason


class RedFireError(Exception):
    """An error for a caller: a sentence, a reason of the catalogue, and the numbers that explain it."""

    reason: Reason = Reason.INTERNAL

    def __init__(self, message: str = "", *, reason: Reason | None = None, **metadata: object) -> None:
        self.message = message or (type(self).__doc__ or "").strip().split("\n")[0].rstrip(".")
        if reason is not None:
            self.reason = reason
        self.metadata = {key: str(value) for key, value in metadata.items()}
        self.fields: dict[str, str] = {}
        self.retry_after_s: float | None = None
        self.relayed: object = None
        """The status as another process of the same service sent it: to be sent on as it is."""
        super().__init__(self.message)


class Invalid(RedFireError):
    """The request is wrong whatever the state of the system; `field` names the part that is."""

    reason = Reason.INVALID_FIELD

    def __init__(self, message: str = "", *, field: str = "", reason: Reason | None = None, **metadata: object) -> None:
        super().__init__(message, reason=reason, **metadata)
        if field:
            self.fields[field] = self.message


class NotFound(RedFireError):
    """A resource does not exist, or is not the caller's."""

    reason = Reason.NOT_FOUND

    def __init__(
        self, noun: str = "", key: str = "", *, message: str = "", reason: Reason | None = None, **metadata: object
    ) -> None:
        super().__init__(
            message or (f"{noun} {key} not found".replace("  ", " ") if noun else ""), reason=reason, **metadata
        )


class Conflict(RedFireError):
    """A resource exists already."""

    reason = Reason.ALREADY_EXISTS


class Duplicate(Conflict):
    """A row has this key already."""

    def __init__(self, message: str = "", *, constraint: str = "") -> None:
        """`constraint` is what the database says of the key: a name or columns, in words of its own."""
        super().__init__(message)
        self.constraint = constraint


class Aborted(RedFireError):
    """Another call changed it meanwhile."""

    reason = Reason.STALE_ETAG


class Unauthenticated(RedFireError):
    """No valid credentials."""

    reason = Reason.UNAUTHENTICATED


class Denied(RedFireError):
    """The caller may not do this."""

    reason = Reason.PERMISSION_DENIED


class FailedPrecondition(RedFireError):
    """The present state does not allow this."""


class ResourceExhausted(RedFireError):
    """Too much, or too often."""

    reason = Reason.RATE_LIMITED

    def __init__(
        self,
        message: str = "",
        *,
        reason: Reason | None = None,
        retry_after_s: float | None = None,
        **metadata: object,
    ) -> None:
        super().__init__(message, reason=reason, **metadata)
        self.retry_after_s = retry_after_s


class Unavailable(RedFireError):
    """A part of the platform does not answer; try again."""

    reason = Reason.UNAVAILABLE


class ShardMoved(Unavailable):
    """Another replica serves this now, or is about to; try again."""

    reason = Reason.SHARD_MOVED

    def __init__(self, message: str = "", *, shard: int | None = None, retry_after_s: float = 0.2) -> None:
        """`shard` is what a call is about, where its caller does not say so: it is forwarded to that one's owner."""
        super().__init__(message)
        self.shard = shard
        self.retry_after_s = retry_after_s


class Fenced(ShardMoved):
    """Another replica has taken the shard over; nothing was written."""


class DeadlineExceeded(RedFireError):
    """The call took longer than its deadline; the outcome is not known."""

    reason = Reason.DEADLINE_EXCEEDED


class CommitUnknown(DeadlineExceeded):
    """The database was lost during a commit; whether that is done is not known."""


class Unsupported(RedFireError):
    """The RPC does not exist."""

    reason = Reason.UNSUPPORTED


class Internal(RedFireError):
    """Internal error."""

    reason = Reason.INTERNAL


class RowRefused(Internal):
    """The database takes no such row, whatever else it holds."""


class StartError(Exception):
    """The platform cannot start; the message is the one line that says why."""
