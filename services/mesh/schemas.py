"""Messages and enums of the contract as JSON schemas, in the JSON that the edge speaks."""

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from redfire.options.v1 import rules_pb2

from services.mesh.contract import Contract
from services.mesh.edge.filters import Json

INTEGERS = {"minimum": "gte", "exclusiveMinimum": "gt", "maximum": "lte", "exclusiveMaximum": "lt"}
DECIMAL = r"^-?[0-9]{1,18}([.][0-9]{1,8})?$"
UNSIGNED_DECIMAL = r"^[0-9]{1,18}([.][0-9]{1,8})?$"
SYMBOL = r"^[A-Za-z0-9_-]{1,24}[.][A-Z]{2,10}$"
# The JSON of the well-known types (protobuf's ProtoJSON).
WELL_KNOWN: dict[str, Json] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+([.][0-9]{1,9})?s$", "examples": ["1.5s"]},
    "google.protobuf.FieldMask": {"type": "string", "examples": ["displayName,phone"]},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.Value": {"description": "Any JSON."},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
}
SCALARS: dict[int, Json] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "minimum": 0},
    # Written as strings, since JavaScript's numbers end at 2^53.
    FieldDescriptor.TYPE_INT64: {"type": "string", "pattern": "^-?[0-9]+$"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "pattern": "^[0-9]+$"},
}


class Schemas:
    """`components/schemas`: what is asked for, and all that it refers to."""

    def __init__(self, contract: Contract) -> None:
        self._comments = contract.comments
        self._schemas: dict[str, Json] = {}

    def all(self) -> dict[str, Json]:
        """Schemas that were referred to, by name."""
        return dict(sorted(self._schemas.items()))

    def reference(self, type_: Descriptor | EnumDescriptor) -> Json:
        """A reference to a message's or an enum's schema, which is made if there is none yet."""
        if isinstance(type_, Descriptor) and type_.full_name in WELL_KNOWN:
            return dict(WELL_KNOWN[type_.full_name])
        name = schema_name(type_.full_name)
        if name not in self._schemas:
            self._schemas[name] = {}
            self._schemas[name] = self.enum(type_) if isinstance(type_, EnumDescriptor) else self.message(type_)
        return {"$ref": f"#/components/schemas/{name}"}

    def enum(self, enum: EnumDescriptor) -> Json:
        """Values by name; each with its comment."""
        scope = enum.full_name
        lines = [f"- `{value.name}`: {self._comments.get(f'{scope}.{value.name}', '')}" for value in enum.values]
        text = "\n".join([self._comments.get(scope, ""), "", *lines])
        return {"type": "string", "description": text, "enum": [value.name for value in enum.values]}

    def message(self, message: Descriptor, without: frozenset[str] = frozenset()) -> Json:
        """An object; `without` leaves out fields, of a body whose path carries them."""
        fields = [field for field in message.fields if field.name not in without]
        schema: Json = {"type": "object"}
        if text := self._comments.get(message.full_name):
            schema["description"] = text
        schema["properties"] = {field.json_name: self.field(field) for field in fields}
        if required := [field.json_name for field in fields if rules_of(field).required]:
            schema["required"] = required
        return schema

    def field(self, field: FieldDescriptor) -> Json:
        """A field with its comment and those of its rules that JSON schema can say."""
        rules = rules_of(field)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            schema: Json = {"type": "object", "additionalProperties": self.value(value, rules.map.values)}
        elif field.is_repeated:
            schema = {"type": "array", "items": self.value(field, rules.repeated.items)}
            schema |= present(rules.repeated, {"minItems": "min_items", "maxItems": "max_items"})
            if rules.repeated.unique:
                schema["uniqueItems"] = True
        else:
            schema = self.value(field, rules)
        if text := self._comments.get(field.full_name):
            schema["description"] = text
        return schema

    def value(self, field: FieldDescriptor, rules: Message) -> Json:
        """One value of a field."""
        if field.enum_type is not None:
            return self.reference(field.enum_type)
        if field.message_type is not None:
            return self.reference(field.message_type)
        schema = dict(SCALARS[field.type])
        kind = rules.WhichOneof("type")
        if kind == "string":
            schema |= string_rules(rules.string)  # type: ignore[attr-defined]
        elif kind in ("int32", "uint32", "double", "float"):
            schema |= present(getattr(rules, kind), INTEGERS)
        return schema


def string_rules(rules: validate_pb2.StringRules) -> Json:
    """Pattern of a string. An empty one stands for none where the field is not required."""
    schema = present(rules, {"minLength": "min_len", "maxLength": "max_len", "pattern": "pattern"})
    if rules.uuid:
        schema["format"] = "uuid"
    if rules.email:
        schema["format"] = "email"
    if getattr(rules, "in"):
        schema["enum"] = list(getattr(rules, "in"))
    for extension, pattern in (
        (rules_pb2.decimal, DECIMAL),
        (rules_pb2.positive_decimal, UNSIGNED_DECIMAL),
        (rules_pb2.unsigned_decimal, UNSIGNED_DECIMAL),
        (rules_pb2.symbol, SYMBOL),
    ):
        if rules.Extensions[extension]:
            schema["pattern"] = pattern
    return schema


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """The rules that the contract states for a field (buf.validate)."""
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]  # type: ignore[index]
    return rules


def present(rules: Message, names: dict[str, str]) -> Json:
    """JSON schema's keywords for those rules that are set."""
    set_ = {field.name for field, _ in rules.ListFields()}
    return {keyword: getattr(rules, name) for keyword, name in names.items() if name in set_}


def schema_name(full_name: str) -> str:
    """`redfire.trading.v1.Order` → `trading.v1.Order`."""
    return full_name.removeprefix("redfire.")
