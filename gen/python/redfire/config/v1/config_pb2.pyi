import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from redfire.options.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DocumentFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DOCUMENT_FORMAT_UNSPECIFIED: _ClassVar[DocumentFormat]
    DOCUMENT_FORMAT_YAML: _ClassVar[DocumentFormat]
    DOCUMENT_FORMAT_JSON: _ClassVar[DocumentFormat]
DOCUMENT_FORMAT_UNSPECIFIED: DocumentFormat
DOCUMENT_FORMAT_YAML: DocumentFormat
DOCUMENT_FORMAT_JSON: DocumentFormat

class Config(_message.Message):
    __slots__ = ("environment", "service_name", "key", "value", "version", "etag", "updated_by", "update_time", "deleted", "purged")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    UPDATED_BY_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    PURGED_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    key: str
    value: _struct_pb2.Value
    version: int
    etag: str
    updated_by: str
    update_time: _timestamp_pb2.Timestamp
    deleted: bool
    purged: bool
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ..., key: _Optional[str] = ..., value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., version: _Optional[int] = ..., etag: _Optional[str] = ..., updated_by: _Optional[str] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., deleted: _Optional[bool] = ..., purged: _Optional[bool] = ...) -> None: ...

class ConfigChange(_message.Message):
    __slots__ = ("service_name", "key", "old_value", "new_value")
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    OLD_VALUE_FIELD_NUMBER: _ClassVar[int]
    NEW_VALUE_FIELD_NUMBER: _ClassVar[int]
    service_name: str
    key: str
    old_value: _struct_pb2.Value
    new_value: _struct_pb2.Value
    def __init__(self, service_name: _Optional[str] = ..., key: _Optional[str] = ..., old_value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., new_value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ...) -> None: ...

class GetConfigRequest(_message.Message):
    __slots__ = ("environment", "service_name", "key")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    key: str
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class GetConfigResponse(_message.Message):
    __slots__ = ("config",)
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    config: Config
    def __init__(self, config: _Optional[_Union[Config, _Mapping]] = ...) -> None: ...

class SetConfigRequest(_message.Message):
    __slots__ = ("environment", "service_name", "key", "value", "etag")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    key: str
    value: _struct_pb2.Value
    etag: str
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ..., key: _Optional[str] = ..., value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class SetConfigResponse(_message.Message):
    __slots__ = ("config",)
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    config: Config
    def __init__(self, config: _Optional[_Union[Config, _Mapping]] = ...) -> None: ...

class DeleteConfigRequest(_message.Message):
    __slots__ = ("environment", "service_name", "key", "etag")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    key: str
    etag: str
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ..., key: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class DeleteConfigResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListConfigsRequest(_message.Message):
    __slots__ = ("environment", "service_name", "page_size", "page_token")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    page_size: int
    page_token: str
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListConfigsResponse(_message.Message):
    __slots__ = ("configs", "next_page_token")
    CONFIGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    configs: _containers.RepeatedCompositeFieldContainer[Config]
    next_page_token: str
    def __init__(self, configs: _Optional[_Iterable[_Union[Config, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListConfigVersionsRequest(_message.Message):
    __slots__ = ("environment", "service_name", "key", "page_size", "page_token")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    key: str
    page_size: int
    page_token: str
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ..., key: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListConfigVersionsResponse(_message.Message):
    __slots__ = ("versions", "next_page_token")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[Config]
    next_page_token: str
    def __init__(self, versions: _Optional[_Iterable[_Union[Config, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RollbackConfigRequest(_message.Message):
    __slots__ = ("environment", "service_name", "key", "version")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    key: str
    version: int
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ..., key: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class RollbackConfigResponse(_message.Message):
    __slots__ = ("config",)
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    config: Config
    def __init__(self, config: _Optional[_Union[Config, _Mapping]] = ...) -> None: ...

class PurgeConfigVersionsRequest(_message.Message):
    __slots__ = ("environment", "service_name", "key", "versions")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    key: str
    versions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ..., key: _Optional[str] = ..., versions: _Optional[_Iterable[int]] = ...) -> None: ...

class PurgeConfigVersionsResponse(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class DiffConfigsRequest(_message.Message):
    __slots__ = ("environment", "service_name", "other_environment")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    OTHER_ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    other_environment: str
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ..., other_environment: _Optional[str] = ...) -> None: ...

class DiffConfigsResponse(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[ConfigChange]
    def __init__(self, changes: _Optional[_Iterable[_Union[ConfigChange, _Mapping]]] = ...) -> None: ...

class SetConfigSchemaRequest(_message.Message):
    __slots__ = ("environment", "service_name", "key", "schema")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    key: str
    schema: _struct_pb2.Struct
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ..., key: _Optional[str] = ..., schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class SetConfigSchemaResponse(_message.Message):
    __slots__ = ("schema",)
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    schema: _struct_pb2.Struct
    def __init__(self, schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class GetConfigSchemaRequest(_message.Message):
    __slots__ = ("environment", "service_name", "key")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    key: str
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class GetConfigSchemaResponse(_message.Message):
    __slots__ = ("schema",)
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    schema: _struct_pb2.Struct
    def __init__(self, schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class ImportConfigsRequest(_message.Message):
    __slots__ = ("environment", "document", "format", "dry_run", "prune")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    PRUNE_FIELD_NUMBER: _ClassVar[int]
    environment: str
    document: str
    format: DocumentFormat
    dry_run: bool
    prune: bool
    def __init__(self, environment: _Optional[str] = ..., document: _Optional[str] = ..., format: _Optional[_Union[DocumentFormat, str]] = ..., dry_run: _Optional[bool] = ..., prune: _Optional[bool] = ...) -> None: ...

class ImportConfigsResponse(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[ConfigChange]
    def __init__(self, changes: _Optional[_Iterable[_Union[ConfigChange, _Mapping]]] = ...) -> None: ...

class ExportConfigsRequest(_message.Message):
    __slots__ = ("environment", "format")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    environment: str
    format: DocumentFormat
    def __init__(self, environment: _Optional[str] = ..., format: _Optional[_Union[DocumentFormat, str]] = ...) -> None: ...

class ExportConfigsResponse(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: str
    def __init__(self, document: _Optional[str] = ...) -> None: ...

class WatchConfigsRequest(_message.Message):
    __slots__ = ("environment", "service_name")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ...) -> None: ...

class WatchConfigsResponse(_message.Message):
    __slots__ = ("config", "snapshot_complete", "heartbeat", "end")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    config: Config
    snapshot_complete: bool
    heartbeat: _timestamp_pb2.Timestamp
    end: str
    def __init__(self, config: _Optional[_Union[Config, _Mapping]] = ..., snapshot_complete: _Optional[bool] = ..., heartbeat: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[str] = ...) -> None: ...
