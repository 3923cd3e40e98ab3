"""The OpenAPI 3.1 document of the REST interface, with the contract's comments."""

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from services.mesh.contract import PATH_FIELD, Contract, RestRoute, Rpc
from services.mesh.edge.filters import Json
from services.mesh.edge.options import RateLimits
from services.mesh.schemas import Schemas, rules_of

DESCRIPTION = """RedFire over REST. The same RPCs answer gRPC and gRPC-Web on the same port.

Times are RFC 3339, 64-bit integers and decimals are strings, enums go by name. Streams answer one JSON object a line,
or Server-Sent Events to `accept: text/event-stream`. Errors are google.rpc.Status with ErrorInfo's `reason`; clients
go by `reason`, never by `message`."""
IN_QUERIES = ("google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask")
# HTTP status and the google.rpc.Code behind it.
ERRORS = {
    "400": ("BadRequest", "INVALID_ARGUMENT, FAILED_PRECONDITION or OUT_OF_RANGE: refused; `reason` says why."),
    "401": ("Unauthenticated", "UNAUTHENTICATED: no valid token or API key."),
    "403": ("Forbidden", "PERMISSION_DENIED: the caller lacks the permission."),
    "404": ("NotFound", "NOT_FOUND: there is no such thing, or it is not the caller's."),
    "409": ("Conflict", "ALREADY_EXISTS or ABORTED: it is there already, or was changed meanwhile."),
    "413": ("TooLarge", "The body is larger than 1 MiB."),
    "429": ("TooManyRequests", "RESOURCE_EXHAUSTED: the quota is used up; `x-ratelimit-reset` says for how long."),
    "default": ("Failure", "The platform's fault: INTERNAL (500), UNAVAILABLE (503), DEADLINE_EXCEEDED (504)."),
}
_LIMITS = RateLimits()
LIMITS = {
    0: "",
    1: f"{_LIMITS.default} a minute per caller",
    2: f"{_LIMITS.auth} a minute per client address",
    3: f"{_LIMITS.trading} a minute per caller",
}


def render_openapi(contract: Contract, version: str) -> Json:
    """The whole document, in an order that depends on the contract alone."""
    schemas = Schemas(contract)
    paths: dict[str, Json] = {}
    for rpc in contract.edge_rpcs:
        for route in rpc.routes:
            paths.setdefault(plain_path(route.path), {})[route.verb] = operation(contract, schemas, rpc, route)
    paths["/healthz"] = {"get": health_operation()}
    services = {rpc.grpc_service: rpc.method.containing_service for rpc in contract.edge_rpcs if rpc.routes}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "RedFire",
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": service.name, "description": contract.comments.get(name, "")}
            for name, service in sorted(services.items())
        ],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.all() | {"Status": status_schema()},
            "responses": {name: error_response(text) for name, text in ERRORS.values()},
            "securitySchemes": {
                "accessToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The access token of AuthService.Login.",
                },
                "apiKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-api-key",
                    "description": "The secret of AuthService.CreateApiKey.",
                },
            },
        },
    }


def operation(contract: Contract, schemas: Schemas, rpc: Rpc, route: RestRoute) -> Json:
    """One route of one RPC."""
    policy, method = rpc.policy, rpc.method
    comment = contract.comments.get(method.full_name, "")
    rendered: Json = {
        "operationId": f"{method.containing_service.name}_{method.name}",
        "tags": [method.containing_service.name],
        "summary": comment.split(". ")[0].split("\n")[0].rstrip(".:"),
        "description": "\n\n".join([comment, *notes(rpc)]),
        "security": [] if policy.public else [{"accessToken": []}, {"apiKey": []}],
    }
    if parameters := [*path_parameters(schemas, rpc, route), *query_parameters(schemas, rpc, route)]:
        rendered["parameters"] = parameters
    if route.body:
        rendered["requestBody"] = request_body(schemas, rpc, route)
    rendered["responses"] = {"200": answer(contract, schemas, rpc, route)} | {
        status: {"$ref": f"#/components/responses/{name}"}
        for status, (name, _) in ERRORS.items()
        if not (policy.public and status == "403") and not (not route.body and status == "413")
    }
    return rendered


def notes(rpc: Rpc) -> list[str]:
    """The policy in words."""
    policy = rpc.policy
    sentences = [f"gRPC: `{policy.full_name}`."]
    if policy.permission:
        sentences.append(f"Permission: `{policy.permission}`.")
    if limit := LIMITS[policy.rate_limit]:
        sentences.append(f"Quota: {limit}.")
    if policy.idempotent and not policy.streams:
        sentences.append("Repeating it changes nothing more.")
    return sentences


def path_parameters(schemas: Schemas, rpc: Rpc, route: RestRoute) -> list[Json]:
    """The parts of the path that are fields."""
    fields = rpc.method.input_type.fields_by_name
    return [parameter(schemas, fields[name], name, "path") for name in route.path_fields]


def query_parameters(schemas: Schemas, rpc: Rpc, route: RestRoute) -> list[Json]:
    """All other fields of a request without a body; those of a message inside by their path."""
    if route.body == "*":
        return []
    skip = {*route.path_fields, route.body}
    return [
        parameter(schemas, field, name, "query")
        for name, field in leaves(rpc.method.input_type, "")
        if name.split(".")[0] not in skip and field.name not in skip
    ]


def leaves(message: Descriptor, prefix: str) -> list[tuple[str, FieldDescriptor]]:
    """The fields that a query can carry, by path: `orderId`, `range.startTime`."""
    fields: list[tuple[str, FieldDescriptor]] = []
    for field in message.fields:
        name = prefix + field.json_name
        inner = field.message_type
        if inner is None or inner.full_name in IN_QUERIES:
            fields.append((name, field))
        elif not field.is_repeated and not inner.full_name.startswith("google."):
            fields += leaves(inner, name + ".")
    return fields


def parameter(schemas: Schemas, field: FieldDescriptor, name: str, place: str) -> Json:
    """A field in the path or the query."""
    schema = schemas.field(field)
    rendered: Json = {"name": name, "in": place}
    if text := schema.pop("description", ""):
        rendered["description"] = text
    if place == "path" or rules_of(field).required:
        rendered["required"] = True
    if place == "query" and field.is_repeated:
        rendered |= {"style": "form", "explode": True}
    return rendered | {"schema": schema}


def request_body(schemas: Schemas, rpc: Rpc, route: RestRoute) -> Json:
    """The request, path fields aside."""
    message = rpc.method.input_type
    if route.body != "*":
        schema = schemas.field(message.fields_by_name[route.body])
    elif route.path_fields:
        schema = schemas.message(message, without=frozenset(route.path_fields))
    else:
        schema = schemas.reference(message)
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def answer(contract: Contract, schemas: Schemas, rpc: Rpc, route: RestRoute) -> Json:
    """The response, the stream of them, or a page that goes through as it is."""
    message = rpc.method.output_type
    if route.response_body:
        body = message.fields_by_name[route.response_body].message_type
        assert body is not None and body.full_name == "google.api.HttpBody", "no other field is answered alone"
        page: Json = {"text/html": {"schema": {"type": "string"}}}
        text = contract.comments.get(message.full_name, "")
        return {"description": text, "headers": {"x-request-id": {"schema": {"type": "string"}}}, "content": page}
    text = contract.comments.get(message.full_name, "") or "Done."
    content = {"application/json": {"schema": schemas.reference(message)}}
    if rpc.policy.streams:
        text = f"A stream, until either side ends it: one of these a line, or a `data:` event each. {text}"
        content["text/event-stream"] = {"schema": {"type": "string", "description": "`data: {…}` with the same JSON."}}
    return {"description": text, "headers": {"x-request-id": {"schema": {"type": "string"}}}, "content": content}


def error_response(text: str) -> Json:
    """An error of any kind."""
    schema = {"$ref": "#/components/schemas/Status"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def status_schema() -> Json:
    """google.rpc.Status."""
    detail = {
        "type": "object",
        "description": "google.rpc.ErrorInfo, BadRequest, RetryInfo or RequestInfo, as `@type` says.",
        "properties": {
            "@type": {"type": "string"},
            "reason": {"type": "string", "description": "ErrorInfo: one of the catalogue, for instance NO_TICK."},
            "domain": {"type": "string"},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
            "fieldViolations": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
                },
            },
        },
        "required": ["@type"],
        "additionalProperties": True,
    }
    return {
        "type": "object",
        "description": "google.rpc.Status: what went wrong.",
        "properties": {
            "code": {"type": "integer", "description": "google.rpc.Code."},
            "message": {"type": "string", "description": "For people."},
            "details": {"type": "array", "items": detail},
        },
        "required": ["code", "message", "details"],
    }


def health_operation() -> Json:
    """`/healthz`, which is no RPC."""
    schema = {
        "type": "object",
        "properties": {
            "status": {"type": "string", "enum": ["SERVING", "NOT_SERVING"]},
            "version": {"type": "string"},
            "timestamp": {"type": "string", "format": "date-time"},
            "services": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    content = {"application/json": {"schema": schema}}
    return {
        "operationId": "healthz",
        "tags": ["Health"],
        "summary": "Whether the platform and each service is serving",
        "security": [],
        "responses": {
            "200": {"description": "All are serving.", "content": content},
            "503": {"description": "One is not.", "content": content},
        },
    }


def plain_path(path: str) -> str:
    """`{name=pattern}` as OpenAPI writes it: `{name}`."""
    return PATH_FIELD.sub(r"{\1}", path)
