"""Requests that two versions are asked: read from a file or an access log, and known as RPCs of the contract."""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from services.commands.click_command import BadInput
from services.kernel.policy import descriptor_set
from services.mesh.contract import PATH_FIELD, Contract, RestRoute, Rpc

LINE = re.compile(r"(?P<verb>[A-Za-z]+)\s+(?P<path>/\S*)\s*(?P<body>\{.*\})?\s*")


@dataclass(frozen=True, slots=True)
class Request:
    """A REST request, and the RPC that it is."""

    verb: str
    path: str  # with its query
    rpc: Rpc
    body: dict[str, Any] = field(default_factory=dict)
    """Fields of the whole request, those of path and query included; lists and texts as in JSON."""
    content: str = ""  # of the REST request

    @property
    def name(self) -> str:
        """Its line in a file."""
        return f"{self.verb.upper()} {self.path}{' ' if self.content else ''}{self.content}"


@dataclass(slots=True)
class Requests:
    """Requests to send, and how many were left out, by reason."""

    asked: list[Request] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str) -> None:
        """Count one."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1


def read_requests(file: Path, writes: bool) -> Requests:
    """Read `GET /api/…` or `POST /api/… {"field": …}` by lines, or an access log of the edge; each request once.

    An access log has neither queries nor bodies: its GETs are asked. Raises BadInput for a line that is none of both.
    """
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: {getattr(error, 'strerror', error)}") from None
    requests, seen = Requests(), set()
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            verb, path, content = _logged(line) if line.startswith("{") else _written(line)
        except ValueError as error:
            raise BadInput(f"{file}, line {number}: {error}") from None
        if (verb, path, content) in seen:
            continue
        seen.add((verb, path, content))
        _add(requests, verb, path, content, writes=writes)
    return requests


def _written(line: str) -> tuple[str, str, str]:
    match = LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"{line[:80]!r} is not a request such as GET /api/market/instruments")
    content = match["body"] or ""
    if content and not isinstance(json.loads(content), dict):
        raise ValueError("the body is not a JSON object")
    return match["verb"].lower(), match["path"], content


def _logged(line: str) -> tuple[str, str, str]:
    entry = json.loads(line)
    if not isinstance(entry.get("method"), str) or not isinstance(entry.get("path"), str):
        raise ValueError("this line of an access log has no method and path")
    return entry["method"].lower(), entry["path"], ""


def _add(requests: Requests, verb: str, path: str, content: str, *, writes: bool) -> None:
    parts = urlsplit(path)
    found = match(verb, parts.path)
    if found is None:
        requests.leave_out("no route of the contract")
        return
    rpc, route, fields = found
    if rpc.policy.streams or rpc.method.client_streaming:
        requests.leave_out("streams")
    elif not (is_read(rpc, route) or (writes and rpc.policy.idempotent)):
        requests.leave_out("writes")
    elif route.body and not content:
        requests.leave_out("without the body that they had")
    else:
        body = query_fields(rpc, parts.query) | (json.loads(content) if content else {}) | fields
        requests.asked.append(Request(verb, path, rpc, body, content))


def is_read(rpc: Rpc, route: RestRoute) -> bool:
    """Test that an RPC changes nothing, by what the contract says of it."""
    reads = route.verb == "get" or rpc.policy.name.startswith("Preview")
    return reads and rpc.policy.idempotent and not rpc.policy.audit


def match(verb: str, path: str) -> tuple[Rpc, RestRoute, dict[str, str]] | None:
    """The RPC of a REST request, its route, and the fields in its path; None where there is none."""
    for pattern, route, rpc in _routes():
        if route.verb == verb and (found := pattern.fullmatch(path)):
            return (
                rpc,
                route,
                {name: unquote(text) for name, text in zip(route.path_fields, found.groups(), strict=True)},
            )
    return None


@cache
def _routes() -> list[tuple[re.Pattern[str], RestRoute, Rpc]]:
    """Routes of the edge; one whose path has fewer fields comes before one that has more."""
    routes = [(route, rpc) for rpc in Contract(descriptor_set()).edge_rpcs for route in rpc.routes]
    routes.sort(key=lambda one: len(one[0].path_fields))
    return [(re.compile(_pattern(route.path)), route, rpc) for route, rpc in routes]


def _pattern(path: str) -> str:
    literals = PATH_FIELD.sub("\0", path).split("\0")
    return "([^/:]+)".join(re.escape(literal) for literal in literals)


def query_fields(rpc: Rpc, query: str) -> dict[str, Any]:
    """Fields of a request that are in the query, as JSON has them."""
    fields: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        _set(fields, rpc.method.input_type, name.split("."), text)
    return fields


def _set(fields: dict[str, Any], message: Any, names: list[str], text: str) -> None:
    stated = next((one for one in message.fields if names[0] in (one.name, one.json_name)), None)
    if stated is None or (len(names) > 1 and stated.message_type is None):
        fields[".".join(names)] = text  # what the service says to it is compared, too
    elif len(names) > 1:
        _set(fields.setdefault(stated.json_name, {}), stated.message_type, names[1:], text)
    else:
        value: Any = text == "true" if stated.type == stated.TYPE_BOOL else text
        if stated.is_repeated:
            fields.setdefault(stated.json_name, []).append(value)
        else:
            fields[stated.json_name] = value
