"""Errors that Envoy answers itself, in the shape that services give theirs: JSON, and for gRPC details in trailers."""

import base64
import re

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from services.mesh.contract import Contract
from services.mesh.edge import rest_check
from services.mesh.edge.filters import CLASSES, Json, header
from services.mesh.edge.options import EdgeOptions, RateLimits

CEL_FILTER = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
DOMAIN = "redfire"
BODY = "%LOCAL_REPLY_BODY%"
# HTTP status of an answer made by Envoy → google.rpc.Code, reason, text (None: what Envoy says).
LOCAL_REPLIES: dict[int, tuple[int, str, str | None]] = {
    400: (3, "INVALID_FIELD", None),
    401: (16, "UNAUTHENTICATED", None),
    403: (7, "PERMISSION_DENIED", None),
    404: (5, "NOT_FOUND", "no such route"),
    405: (12, "UNSUPPORTED", "this path does not take this method"),
    408: (4, "DEADLINE_EXCEEDED", None),
    413: (8, "INVALID_FIELD", "the body is too large"),
    415: (3, "INVALID_FIELD", None),
    426: (3, "INVALID_FIELD", None),
    429: (8, "RATE_LIMITED", "too many calls; x-ratelimit-reset says when to come back"),
    431: (3, "INVALID_FIELD", "the headers are too large"),
    499: (1, "INTERNAL", None),
    500: (13, "INTERNAL", None),
    501: (12, "UNSUPPORTED", None),
    502: (14, "UNAVAILABLE", None),
    503: (14, "UNAVAILABLE", "the service does not answer"),
    504: (4, "DEADLINE_EXCEEDED", "the service did not answer in time"),
}
# In gRPC, where it differs.
GRPC_REPLIES: dict[int, tuple[int, str, str | None]] = {
    401: (16, "UNAUTHENTICATED", "the access token is not valid"),
    404: (12, "UNSUPPORTED", "there is no such RPC"),
}
# More unary calls than a service's processes take at a time.
OVERLOADED = (8, "OVERLOADED", "too many calls wait for the service; retry_delay says when to come back")
RETRY_S = 1
EXPIRED = (16, "TOKEN_EXPIRED", "the access token has expired")


def local_replies(contract: Contract, options: EdgeOptions) -> Json:
    """Errors that Envoy answers itself, in the shape that services give theirs."""
    plain = {"text_format_source": {"inline_string": BODY}}
    # The transcoder has changed the content type, and left this note.
    not_rest: Json = {"name": "x-envoy-original-method", "present_match": True, "invert_match": True}
    grpc: list[Json] = [content_type({"prefix": "application/grpc"}), {"header_filter": {"header": not_rest}}]
    native_grpc = [content_type({"safe_regex": {"regex": "application/grpc([+;].*)?"}}), *grpc[1:]]
    expired: Json = {
        "and_filter": {"filters": [status_filter("EQ", 401), cel("response.code_details.contains('expired')")]}
    }
    overflow: Json = {
        "and_filter": {"filters": [status_filter("EQ", 503), cel("response.code_details.contains('overflow')")]}
    }
    mappers: list[Json] = [
        grpc_reply([*native_grpc, expired], *EXPIRED),
        grpc_reply([*native_grpc, overflow], *OVERLOADED, retry_s=RETRY_S),
        *(
            grpc_reply(
                [*native_grpc, status_filter("EQ", status)], code, reason, text or reason.lower().replace("_", " ")
            )
            for status, (code, reason, text) in (LOCAL_REPLIES | GRPC_REPLIES).items()
        ),
        # There the text becomes grpc-message.
        {"filter": {"and_filter": {"filters": grpc}}, "body_format_override": plain},
        {"filter": status_filter("LE", 399), "body_format_override": plain},
    ]
    wrong_field = {"metadata_filter": {"matcher": field_matcher(), "match_if_key_not_found": False}}
    violation: Json = {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": checked("field"), "description": checked("problem")}],
    }
    mappers.append({"filter": wrong_field, "body_format_override": error_body(3, "INVALID_FIELD", BODY, violation)})
    come_back: Json = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{RETRY_S}s"}
    mappers.append(
        {
            "filter": overflow,
            "status_code": 429,
            "headers_to_add": [header("retry-after", str(RETRY_S))],
            "body_format_override": error_body(*OVERLOADED, come_back),
        }
    )
    mappers.append({"filter": expired, "body_format_override": error_body(16, "TOKEN_EXPIRED", BODY)})
    if options.rate_limits is not None:
        mappers += [too_many_calls(contract, name, options.rate_limits) for name in CLASSES]
    for status, (code, reason, text) in LOCAL_REPLIES.items():
        body = error_body(code, reason, text or BODY)
        mappers.append({"filter": status_filter("EQ", status), "body_format_override": body})
    return {"mappers": mappers, "body_format": error_body(2, "INTERNAL", BODY)}


def grpc_reply(filters: list[Json], code: int, reason: str, message: str, retry_s: int = 0) -> Json:
    """An answer in gRPC. Its message is fixed: clients compare it with that in the details."""
    status = status_pb2.Status(code=code, message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN))
    if retry_s:
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=retry_s)))
    details = base64.b64encode(status.SerializeToString()).rstrip(b"=").decode()
    return {
        "filter": {"and_filter": {"filters": filters}},
        "headers_to_add": [header("grpc-status", str(code)), header("grpc-status-details-bin", details)],
        "body_format_override": {"text_format_source": {"inline_string": message}},
    }


def content_type(match: Json) -> Json:
    """Matches requests by their content type."""
    return {"header_filter": {"header": {"name": "content-type", "string_match": match}}}


def field_matcher() -> Json:
    """Matches calls in which the check of REST requests has refused a field."""
    any_text: Json = {"string_match": {"safe_regex": {"regex": ".+"}}}
    return {"filter": rest_check.CHECK, "path": [{"key": "field"}], "value": any_text}


def checked(key: str) -> str:
    """The verdict of that check."""
    return f"%DYNAMIC_METADATA({rest_check.CHECK}:{key})%"


def status_filter(comparison: str, status: int) -> Json:
    """Matches answers by HTTP status. The runtime key is asked for by Envoy's schema, and never set."""
    value = {"default_value": status, "runtime_key": f"redfire.status_{status}"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


def too_many_calls(contract: Contract, rate_limit: int, limits: RateLimits) -> Json:
    """The answer to calls of one class beyond its quota: it says when the next one fits."""
    paths = sorted(rpc.policy.full_name for rpc in contract.edge_rpcs if rpc.policy.rate_limit == rate_limit)
    path = {"name": ":path", "string_match": {"safe_regex": {"regex": "|".join(map(re.escape, paths))}}}
    retry: Json = {
        "@type": "type.googleapis.com/google.rpc.RetryInfo",
        "retryDelay": f"{60 / getattr(limits, CLASSES[rate_limit][1]):.3g}s",
    }
    code, reason, text = LOCAL_REPLIES[429]
    return {
        "filter": {"and_filter": {"filters": [status_filter("EQ", 429), {"header_filter": {"header": path}}]}},
        "body_format_override": error_body(code, reason, text or BODY, retry),
    }


def cel(expression: str) -> Json:
    """Matches answers by an expression over Envoy's attributes."""
    config = {"@type": CEL_FILTER, "expression": expression}
    return {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": config}}


def error_body(code: int, reason: str, message: str, *details: Json) -> Json:
    """google.rpc.Status in JSON with ErrorInfo, as the transcoder writes those of services."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": DOMAIN, "metadata": {}}
    return {"json_format": {"code": code, "message": message, "details": [info, *details]}}
