"""Between the contract's messages and the domain's objects."""

from datetime import datetime

from google.protobuf import struct_pb2, timestamp_pb2
from redfire.config.v1 import config_pb2 as pb

from services.config.config import Config, ConfigChange, ConfigName
from services.config.document import DocumentFormat
from services.config.values.json_value import MAX_INTEGER, Json
from services.kernel.errors import Invalid

FORMATS = {
    pb.DOCUMENT_FORMAT_UNSPECIFIED: DocumentFormat.YAML,
    pb.DOCUMENT_FORMAT_YAML: DocumentFormat.YAML,
    pb.DOCUMENT_FORMAT_JSON: DocumentFormat.JSON,
}


def name_of(
    request: pb.GetConfigRequest
    | pb.SetConfigRequest
    | pb.DeleteConfigRequest
    | pb.ListConfigVersionsRequest
    | pb.RollbackConfigRequest
    | pb.PurgeConfigVersionsRequest,
) -> ConfigName:
    """The name in a request."""
    return ConfigName(request.environment, request.service_name, request.key)


def value_from_pb(value: struct_pb2.Value, path: str = "value") -> Json:
    """The JSON of a google.protobuf.Value; its numbers are doubles, and whole ones become integers again."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return struct_from_pb(value.struct_value, path)
    if kind == "list_value":
        return [value_from_pb(item, f"{path}[{index}]") for index, item in enumerate(value.list_value.values)]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= MAX_INTEGER else number
    if kind == "null_value":
        return None
    if kind is None:
        raise Invalid(f"{path}: no value is given", field=path)
    return getattr(value, kind)


def struct_from_pb(struct: struct_pb2.Struct, path: str) -> dict[str, Json]:
    """The JSON object of a google.protobuf.Struct."""
    return {key: value_from_pb(item, f"{path}.{key}") for key, item in struct.fields.items()}


def value_to_pb(value: Json) -> struct_pb2.Value:
    """The google.protobuf.Value of JSON."""
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, dict):
        return struct_pb2.Value(struct_value=struct_to_pb(value))
    return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[value_to_pb(item) for item in value]))


def struct_to_pb(value: dict[str, Json]) -> struct_pb2.Struct:
    """The google.protobuf.Struct of a JSON object."""
    return struct_pb2.Struct(fields={key: value_to_pb(item) for key, item in value.items()})


def config_to_pb(config: Config) -> pb.Config:
    """A version of a value; one that deleted it, or was purged, has none."""
    return pb.Config(
        environment=config.name.environment,
        service_name=config.name.service_name,
        key=config.name.key,
        value=None if config.deleted or config.purged else value_to_pb(config.value),
        version=config.version,
        etag=config.etag,
        updated_by=config.updated_by,
        update_time=time_to_pb(config.update_time),
        deleted=config.deleted,
        purged=config.purged,
    )


def change_to_pb(change: ConfigChange) -> pb.ConfigChange:
    """A difference; the value that is not there is unset."""
    return pb.ConfigChange(
        service_name=change.service_name,
        key=change.key,
        old_value=value_to_pb(change.old.value) if change.old and not change.old.deleted else None,
        new_value=value_to_pb(change.new.value) if change.new and not change.new.deleted else None,
    )


def time_to_pb(time: datetime) -> timestamp_pb2.Timestamp:
    """A Timestamp of an aware datetime."""
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(time)
    return stamp
