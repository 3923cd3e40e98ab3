"""Errors to `google.rpc.Status` with details, and back."""

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from redfire.reasons import Reason

from services.kernel import errors

DOMAIN = "redfire"

_CODES: dict[type[errors.RedFireError], int] = {
    errors.Invalid: code_pb2.INVALID_ARGUMENT,
    errors.NotFound: code_pb2.NOT_FOUND,
    errors.Conflict: code_pb2.ALREADY_EXISTS,
    errors.Aborted: code_pb2.ABORTED,
    errors.Unauthenticated: code_pb2.UNAUTHENTICATED,
    errors.Denied: code_pb2.PERMISSION_DENIED,
    errors.FailedPrecondition: code_pb2.FAILED_PRECONDITION,
    errors.ResourceExhausted: code_pb2.RESOURCE_EXHAUSTED,
    errors.Unavailable: code_pb2.UNAVAILABLE,
    errors.DeadlineExceeded: code_pb2.DEADLINE_EXCEEDED,
    errors.Unsupported: code_pb2.UNIMPLEMENTED,
    errors.Internal: code_pb2.INTERNAL,
}
_CATEGORIES: dict[int, type[errors.RedFireError]] = {code: category for category, code in _CODES.items()}
_GRPC = {code.value[0]: code for code in grpc.StatusCode}

# In trailing metadata under this key gRPC clients find the status with its details.
DETAILS_KEY = "grpc-status-details-bin"


def code_of(error: errors.RedFireError) -> int:
    """The google.rpc.Code of an error's category."""
    for category in type(error).__mro__:
        if category in _CODES:
            return _CODES[category]
    return code_pb2.INTERNAL


def grpc_code(code: int) -> grpc.StatusCode:
    """The grpc.StatusCode of a google.rpc.Code."""
    return _GRPC[code]


def to_status(error: errors.RedFireError, request_id: str = "") -> status_pb2.Status:
    """Status with ErrorInfo always, BadRequest for fields, RetryInfo where the caller should wait."""
    details = [error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=error.metadata)]
    if error.fields:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=text)
            for field, text in error.fields.items()
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if request_id:
        details.append(error_details_pb2.RequestInfo(request_id=request_id))
    packed = []
    for detail in details:
        item = any_pb2.Any()
        item.Pack(detail)
        packed.append(item)
    return status_pb2.Status(code=code_of(error), message=error.message, details=packed)


def from_rpc_error(failure: grpc.aio.AioRpcError) -> errors.RedFireError:
    """The error that a peer raised, as it would have been raised here."""
    code: int = failure.code().value[0]
    category = _CATEGORIES.get(code, errors.Internal)
    if code == code_pb2.CANCELLED:
        category = errors.Unavailable
    error = category.__new__(category)
    errors.RedFireError.__init__(error, failure.details() or "")
    for key, value in failure.trailing_metadata() or ():
        if key == DETAILS_KEY:
            _read_details(error, status_pb2.Status.FromString(value))
    return error


def _read_details(error: errors.RedFireError, status: status_pb2.Status) -> None:
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            error.reason = Reason(info.reason) if info.reason in Reason.__members__ else error.reason
            error.metadata = dict(info.metadata)
        elif detail.Unpack(bad):
            error.fields = {v.field: v.description for v in bad.field_violations}
        elif detail.Unpack(retry):
            error.retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
