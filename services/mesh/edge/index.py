"""`/`: where a person who opens the edge in a browser can go on."""

import json

from services.mesh.edge.filters import Json, overwritten

HEADERS = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
    "vary": "accept",
}
LINKS = {
    "/healthz": "how the services are",
    "/openapi.json": "every REST route, as OpenAPI",
    "/.well-known/jwks.json": "the keys that verify tokens",
    "/api/market/instruments": "the instruments that trade here",
}
PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>RedFire</title>
<h1>RedFire</h1>
<p>REST, gRPC and gRPC-Web answer on this port.</p>
<ul>
{"".join(f'<li><a href="{path}">{path}</a>: {what}{chr(10)}' for path, what in LINKS.items())}</ul>
<p>To try, in the folder in which RedFire was started:</p>
<pre>
.venv/bin/redfire health
.venv/bin/redfire ticks rb2701.SHFE
.venv/bin/redfire --help
</pre>
<p>README.md there has a tour with curl, services/README.md the architecture, proto/README.md the contract.</p>
</html>
"""


def index() -> list[Json]:
    """Routes of `/`: HTML, or JSON for who accepts that."""
    accepts_json: Json = {"name": "accept", "string_match": {"contains": "application/json"}}
    get: Json = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
    as_json = json.dumps({"name": "redfire", "links": LINKS}) + "\n"
    return [
        _route([get, accepts_json], as_json, "application/json"),
        _route([get], PAGE, "text/html; charset=utf-8"),
    ]


def _route(headers: list[Json], body: str, content_type: str) -> Json:
    return {
        "match": {"path": "/", "headers": headers},
        "direct_response": {"status": 200, "body": {"inline_string": body}},
        "response_headers_to_add": overwritten(HEADERS | {"content-type": content_type}),
    }
