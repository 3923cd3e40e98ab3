"""Checks of the form that every refusal of the edge must have."""

import grpc
import httpx
from google.rpc import error_details_pb2
from grpc_status import rpc_status


def error_of(response: httpx.Response) -> dict[str, object]:
    """The error's JSON, after a look at its shape."""
    assert response.status_code >= 400, response.text
    assert response.headers["content-type"].startswith("application/json"), response.headers
    body = response.json()
    assert set(body) == {"code", "message", "details"}, body
    assert isinstance(body["code"], int)
    return body


def reason_of(response: httpx.Response) -> str:
    """The reason in ErrorInfo."""
    details = error_of(response)["details"]
    assert isinstance(details, list)
    return next(
        d["reason"] for d in details if d["@type"].endswith("google.rpc.ErrorInfo") and d["domain"] == "redfire"
    )


def grpc_reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason in ErrorInfo of a call that failed, as grpc_status finds it."""
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in rpc_status.from_call(error).details)
    assert info.domain == "redfire"
    return info.reason
