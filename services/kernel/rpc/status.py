"""Errors to `google.rpc.Status` with details, and back; small enough for every client's limit of metadata."""

from base64 import b64encode
from urllib.parse import quote

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from redfire.reasons import Reason

from services.kernel import errors
from services.kernel.identifiers import REQUEST_ID_LENGTH

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

# A status travels in trailers, as grpc-message and again in the details. Clients take 8 KiB of metadata by default
# (grpc-java, C-core's soft limit, grpc-go from 1.82); Envoy takes 60 KiB and then closes the connection to the
# service, with the calls of everybody else on it.
STATUS_BYTES = 4096  # of both together, as they are sent: percent-encoded and in base64
MESSAGE_BYTES = 1024  # percent-encoded
METADATA_BYTES = 512  # of ErrorInfo.metadata, keys and values
VALUE_BYTES = 256  # of one value, field path, description or id
OMITTED = "omitted_violations"
"""The key in ErrorInfo.metadata for the number of field violations that did not fit."""

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


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
    """Status with ErrorInfo always, BadRequest for fields, RetryInfo where the caller should wait.

    Together with its message as grpc-message it takes at most STATUS_BYTES of trailers. What is too long is clipped,
    and field violations are left out from the end.
    """
    answer = status_pb2.Status(code=code_of(error), message=_clipped_message(error.message))
    info = error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=_clipped_metadata(error))
    rest: list[Message] = []
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        rest.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if request_id:
        rest.append(error_details_pb2.RequestInfo(request_id=request_id[:REQUEST_ID_LENGTH]))
    if error.fields:
        # Space for what packing adds, and for the count of those left out.
        bytes_left = (STATUS_BYTES - _encoded_size(answer.message)) * 3 // 4 - answer.ByteSize() - 128
        bytes_left -= sum(detail.ByteSize() + 64 for detail in (info, *rest))
        bad = _clipped_violations(error.fields, bytes_left)
        if omitted := len(error.fields) - len(bad.field_violations):
            info.metadata[OMITTED] = str(omitted)
        rest.insert(0, bad)
    for detail in (info, *rest):
        answer.details.add().Pack(detail)
    return answer


def to_trailers(error: errors.RedFireError, request_id: str = "") -> list[tuple[str, str]]:
    """The trailers of a call that fails so (gRPC over HTTP/2, "Responses")."""
    answer = to_status(error, request_id)
    return [
        ("grpc-status", str(answer.code)),
        ("grpc-message", quote(answer.message, safe=_PRINTABLE)),
        (DETAILS_KEY, b64encode(answer.SerializeToString()).decode().rstrip("=")),
    ]


def clipped(text: str, limit: int) -> str:
    """The text in at most `limit` bytes of UTF-8, with an ellipsis where some is missing."""
    encoded = text[: limit + 1].encode(errors="replace")
    return encoded.decode() if len(encoded) <= limit else encoded[: limit - 3].decode(errors="ignore") + "…"


def _clipped_message(text: str) -> str:
    text = clipped(text, MESSAGE_BYTES)
    while (size := _encoded_size(text)) > MESSAGE_BYTES:
        text = text[: (len(text) - 1) * (MESSAGE_BYTES - 9) // size] + "…"
    return text


def _encoded_size(message: str) -> int:
    """Bytes of a grpc-message (gRPC over HTTP/2, "Percent-Encoded")."""
    return len(quote(message, safe=_PRINTABLE))


def _clipped_metadata(error: errors.RedFireError) -> dict[str, str]:
    kept: dict[str, str] = {}
    bytes_left = METADATA_BYTES
    for key, value in error.metadata.items():
        key, value = clipped(key, VALUE_BYTES), clipped(value, VALUE_BYTES)
        bytes_left -= len(key.encode()) + len(value.encode()) + 8
        if bytes_left < 0:
            break
        kept[key] = value
    return kept


def _clipped_violations(fields: dict[str, str], bytes_left: int) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for field, text in fields.items():
        violation = bad.field_violations.add(field=clipped(field, VALUE_BYTES), description=clipped(text, VALUE_BYTES))
        bytes_left -= violation.ByteSize() + 4
        if bytes_left < 0:
            del bad.field_violations[-1]
            break
    return bad


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
