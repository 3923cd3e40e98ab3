"""What every answer of the edge must look like when it refuses."""

import httpx


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
