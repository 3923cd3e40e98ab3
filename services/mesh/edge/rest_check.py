"""The check of REST requests against the contract, which Envoy's transcoder does not make: two Lua filters.

The transcoder drops what it does not know, so that `{"reduceOnly": true}`, misspelt, opens a position; it takes one
name twice, lets a query speak for a path, and reads much that is no JSON. Here all of that is 400 and names the field,
before a service is asked.

`keep_body` stands before the transcoder: it refuses what is not sent as JSON and puts the body, as it is, into the
call's dynamic metadata. `check` stands after it, last of all, where `:path` is the RPC: no path is matched twice, so
none can be matched differently; what was not kept does not pass. It reads the body once, along the request's
message type; names, nesting and JSON's grammar are its business, and that a bool is not "true", "yes" or 1 in quotes,
nor an enum its number in quotes. All other values remain the transcoder's. gRPC calls pass by.

Why Lua: an external processor is a hop more, and its own process to run; a body is too large for a header to a service;
and a module for Envoy would have to be built. It costs 45 to 65 µs of Envoy's CPU a request, on top of about 400
(most of it are the two coroutines), next to nothing for gRPC; a body of 1 MB 5 to 130 ms, about as the transcoder.
"""

from collections.abc import Iterator
from importlib import resources

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from services.mesh.contract import Contract, Rpc

KEPT = "redfire.body"
"""The filter, and its key in the dynamic metadata, that keeps the body."""
CHECK = "redfire.check"
"""The filter, and its key in the dynamic metadata, that says which field was wrong."""

# Messages of protobuf that are no objects with fields in JSON.
_ANY_JSON = {
    "google.protobuf.Value": "*",
    "google.protobuf.ListValue": "[*]",
    "google.protobuf.Struct": "{*}",
    "google.protobuf.Any": "{*}",
}
_SCALARS = {"Timestamp", "Duration", "FieldMask"} | {
    f"{kind}Value" for kind in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
}

# A body says that it is JSON: one without a type a page of another site could send without asking (a Blob, by fetch).
# A body with a NUL could be cut there on its way, and the check must not see less than the transcoder does.
_KEEP_BODY = """\
function envoy_on_request(handle)
  local headers = handle:headers()
  local kind, encoding = headers:get("content-type"), headers:get("content-encoding")
  local body = handle:body()
  local length = body and body:length() or 0
  local text = ""
  if length > {max_body_bytes} then
    handle:respond({{ [":status"] = "413" }}, "")
  elseif length > 0 then
    local plain = (kind or ""):lower():gsub('[ "]', "")
    if encoding or plain ~= "application/json" and plain ~= "application/json;charset=utf-8" then
      handle:respond({{ [":status"] = "415" }}, "content-type: application/json is what is understood")
    end
    text = body:getBytes(0, length)
    if text:find("\\0", 1, true) then
      handle:respond({{ [":status"] = "400" }}, "the body is not JSON")
    end
  end
  handle:streamInfo():dynamicMetadata():set("{kept}", "body", text)
end
"""


def keep_body_script(max_body_bytes: int) -> str:
    """The filter before the transcoder."""
    return _KEEP_BODY.format(kept=KEPT, max_body_bytes=max_body_bytes)


def check_script(contract: Contract) -> str:
    """The filter after the transcoder: the contract's names, then what reads them."""
    rpcs = [rpc for rpc in contract.edge_rpcs if rpc.routes]
    messages: dict[str, Descriptor] = {}
    for rpc in rpcs:
        _collect(rpc.method.input_type, messages)
    lines = [
        f'local BODY, CHECK = "{KEPT}", "{CHECK}"',
        "local MESSAGES = {",
        *(f'  ["{name}"] = "{" ".join(map(_field, messages[name].fields))}",' for name in sorted(messages)),
        "}",
        "local RPCS = {",
        *(f'  ["{rpc.policy.full_name}"] = {{ {", ".join(_rules(rpc))} }},' for rpc in rpcs),
        "}",
    ]
    code = resources.files("services.mesh.edge").joinpath("rest_check.lua").read_text()
    return "\n".join(lines) + "\n\n" + code


def _rules(rpc: Rpc) -> Iterator[str]:
    """Places of fields in the requests of one RPC."""
    route = rpc.routes[0]
    if len(rpc.routes) > 1 or route.body not in ("", "*"):
        raise ValueError(f"{rpc.policy.full_name}: the edge checks RPCs of one route, whose body is all or nothing")
    yield f'message = "{rpc.method.input_type.full_name}"'
    yield f'path = "{" ".join(_json_path(rpc.method.input_type, field) for field in route.path_fields)}"'
    if route.body:
        yield "body = true"


def _json_path(message: Descriptor | None, field_path: str) -> str:
    names = []
    for name in field_path.split("."):
        assert message is not None
        field = message.fields_by_name[name]
        names.append(field.json_name)
        message = field.message_type
    return ".".join(names)


def _collect(message: Descriptor, messages: dict[str, Descriptor]) -> None:
    if message.full_name in messages:
        return
    messages[message.full_name] = message
    for field in message.fields:
        item = _item(field)
        if item.message_type is not None and _kind(item) == item.message_type.full_name:
            _collect(item.message_type, messages)


def _item(field: FieldDescriptor) -> FieldDescriptor:
    """Type of a field; for a map that of its values."""
    entry = field.message_type
    return entry.fields_by_name["value"] if entry is not None and entry.GetOptions().map_entry else field


def _field(field: FieldDescriptor) -> str:
    """`name=jsonName`, then `[]` or `{}`, then the kind: `:redfire.risk.v1.RiskLimits`, `:?` for a bool, `:#` for an
    enum, nothing for another scalar."""
    item = _item(field)
    suffix = "{}" if item is not field else "[]" if field.is_repeated else ""
    kind = _kind(item)
    return f"{field.name}={field.json_name}{suffix}" + (f":{kind}" if kind else "")


def _kind(field: FieldDescriptor) -> str:
    message = field.message_type
    if message is None:
        return {FieldDescriptor.TYPE_BOOL: "?", FieldDescriptor.TYPE_ENUM: "#"}.get(field.type, "")
    if message.file.package == "google.protobuf" and message.name in _SCALARS:
        return ""
    return _ANY_JSON.get(message.full_name, message.full_name)
