import datetime

from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StrategyUse(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STRATEGY_USE_UNSPECIFIED: _ClassVar[StrategyUse]
    STRATEGY_USE_ANY: _ClassVar[StrategyUse]
    STRATEGY_USE_ACCOUNT: _ClassVar[StrategyUse]
    STRATEGY_USE_ORDER: _ClassVar[StrategyUse]

class Routing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROUTING_UNSPECIFIED: _ClassVar[Routing]
    ROUTING_NONE: _ClassVar[Routing]
    ROUTING_USER: _ClassVar[Routing]
    ROUTING_INSTRUMENT: _ClassVar[Routing]

class RateLimit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RATE_LIMIT_UNSPECIFIED: _ClassVar[RateLimit]
    RATE_LIMIT_DEFAULT: _ClassVar[RateLimit]
    RATE_LIMIT_AUTH: _ClassVar[RateLimit]
    RATE_LIMIT_TRADING: _ClassVar[RateLimit]
STRATEGY_USE_UNSPECIFIED: StrategyUse
STRATEGY_USE_ANY: StrategyUse
STRATEGY_USE_ACCOUNT: StrategyUse
STRATEGY_USE_ORDER: StrategyUse
ROUTING_UNSPECIFIED: Routing
ROUTING_NONE: Routing
ROUTING_USER: Routing
ROUTING_INSTRUMENT: Routing
RATE_LIMIT_UNSPECIFIED: RateLimit
RATE_LIMIT_DEFAULT: RateLimit
RATE_LIMIT_AUTH: RateLimit
RATE_LIMIT_TRADING: RateLimit
ROLE_FIELD_NUMBER: _ClassVar[int]
role: _descriptor.FieldDescriptor
METHOD_FIELD_NUMBER: _ClassVar[int]
method: _descriptor.FieldDescriptor
EVENT_FIELD_NUMBER: _ClassVar[int]
event: _descriptor.FieldDescriptor

class EventKind(_message.Message):
    __slots__ = ("routing_key", "aggregate", "consumers")
    ROUTING_KEY_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_FIELD_NUMBER: _ClassVar[int]
    CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    routing_key: str
    aggregate: str
    consumers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, routing_key: _Optional[str] = ..., aggregate: _Optional[str] = ..., consumers: _Optional[_Iterable[str]] = ...) -> None: ...

class RoleGrant(_message.Message):
    __slots__ = ("name", "includes", "permissions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCLUDES_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    includes: str
    permissions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., includes: _Optional[str] = ..., permissions: _Optional[_Iterable[str]] = ...) -> None: ...

class MethodPolicy(_message.Message):
    __slots__ = ("public", "permission", "internal", "rate_limit", "idempotent", "deadline", "audit", "routing", "callers", "delegations", "strategies")
    PUBLIC_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    INTERNAL_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENT_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    CALLERS_FIELD_NUMBER: _ClassVar[int]
    DELEGATIONS_FIELD_NUMBER: _ClassVar[int]
    STRATEGIES_FIELD_NUMBER: _ClassVar[int]
    public: bool
    permission: str
    internal: bool
    rate_limit: RateLimit
    idempotent: bool
    deadline: _duration_pb2.Duration
    audit: bool
    routing: Routing
    callers: _containers.RepeatedScalarFieldContainer[str]
    delegations: _containers.RepeatedCompositeFieldContainer[Delegation]
    strategies: StrategyUse
    def __init__(self, public: _Optional[bool] = ..., permission: _Optional[str] = ..., internal: _Optional[bool] = ..., rate_limit: _Optional[_Union[RateLimit, str]] = ..., idempotent: _Optional[bool] = ..., deadline: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., audit: _Optional[bool] = ..., routing: _Optional[_Union[Routing, str]] = ..., callers: _Optional[_Iterable[str]] = ..., delegations: _Optional[_Iterable[_Union[Delegation, _Mapping]]] = ..., strategies: _Optional[_Union[StrategyUse, str]] = ...) -> None: ...

class Delegation(_message.Message):
    __slots__ = ("caller", "scopes")
    CALLER_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    caller: str
    scopes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, caller: _Optional[str] = ..., scopes: _Optional[_Iterable[str]] = ...) -> None: ...
