import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from redfire.options.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("event_id", "routing_key", "create_time", "user_registered", "order_accepted", "order_filled", "order_finished", "strategy_failed", "stop_rearmed", "external_activity", "margin_call", "order_uncertain", "order_group_restated", "user_status_changed", "user_role_changed", "user_password_changed", "user_profile_changed", "session_began", "session_ended", "account_opened", "trade_busted", "position_changed", "trading_state_changed", "limits_changed", "strategy_created", "strategy_started", "strategy_stopped", "strategy_deleted", "config_changed", "config_rolled_back", "backtest_finished", "backtest_failed", "login_new_address", "email_verification_requested")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ROUTING_KEY_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    USER_REGISTERED_FIELD_NUMBER: _ClassVar[int]
    ORDER_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ORDER_FILLED_FIELD_NUMBER: _ClassVar[int]
    ORDER_FINISHED_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FAILED_FIELD_NUMBER: _ClassVar[int]
    STOP_REARMED_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    MARGIN_CALL_FIELD_NUMBER: _ClassVar[int]
    ORDER_UNCERTAIN_FIELD_NUMBER: _ClassVar[int]
    ORDER_GROUP_RESTATED_FIELD_NUMBER: _ClassVar[int]
    USER_STATUS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    USER_ROLE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    USER_PASSWORD_CHANGED_FIELD_NUMBER: _ClassVar[int]
    USER_PROFILE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    SESSION_BEGAN_FIELD_NUMBER: _ClassVar[int]
    SESSION_ENDED_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_OPENED_FIELD_NUMBER: _ClassVar[int]
    TRADE_BUSTED_FIELD_NUMBER: _ClassVar[int]
    POSITION_CHANGED_FIELD_NUMBER: _ClassVar[int]
    TRADING_STATE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    LIMITS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_CREATED_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_STARTED_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_STOPPED_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_DELETED_FIELD_NUMBER: _ClassVar[int]
    CONFIG_CHANGED_FIELD_NUMBER: _ClassVar[int]
    CONFIG_ROLLED_BACK_FIELD_NUMBER: _ClassVar[int]
    BACKTEST_FINISHED_FIELD_NUMBER: _ClassVar[int]
    BACKTEST_FAILED_FIELD_NUMBER: _ClassVar[int]
    LOGIN_NEW_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EMAIL_VERIFICATION_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    routing_key: str
    create_time: _timestamp_pb2.Timestamp
    user_registered: UserRegistered
    order_accepted: OrderAccepted
    order_filled: OrderFilled
    order_finished: OrderFinished
    strategy_failed: StrategyFailed
    stop_rearmed: StopRearmed
    external_activity: ExternalActivity
    margin_call: MarginCall
    order_uncertain: OrderUncertain
    order_group_restated: OrderGroupRestated
    user_status_changed: UserStatusChanged
    user_role_changed: UserRoleChanged
    user_password_changed: UserPasswordChanged
    user_profile_changed: UserProfileChanged
    session_began: SessionBegan
    session_ended: SessionEnded
    account_opened: AccountOpened
    trade_busted: TradeBusted
    position_changed: PositionChanged
    trading_state_changed: TradingStateChanged
    limits_changed: LimitsChanged
    strategy_created: StrategyCreated
    strategy_started: StrategyStarted
    strategy_stopped: StrategyStopped
    strategy_deleted: StrategyDeleted
    config_changed: ConfigChanged
    config_rolled_back: ConfigRolledBack
    backtest_finished: BacktestFinished
    backtest_failed: BacktestFailed
    login_new_address: LoginNewAddress
    email_verification_requested: EmailVerificationRequested
    def __init__(self, event_id: _Optional[str] = ..., routing_key: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., user_registered: _Optional[_Union[UserRegistered, _Mapping]] = ..., order_accepted: _Optional[_Union[OrderAccepted, _Mapping]] = ..., order_filled: _Optional[_Union[OrderFilled, _Mapping]] = ..., order_finished: _Optional[_Union[OrderFinished, _Mapping]] = ..., strategy_failed: _Optional[_Union[StrategyFailed, _Mapping]] = ..., stop_rearmed: _Optional[_Union[StopRearmed, _Mapping]] = ..., external_activity: _Optional[_Union[ExternalActivity, _Mapping]] = ..., margin_call: _Optional[_Union[MarginCall, _Mapping]] = ..., order_uncertain: _Optional[_Union[OrderUncertain, _Mapping]] = ..., order_group_restated: _Optional[_Union[OrderGroupRestated, _Mapping]] = ..., user_status_changed: _Optional[_Union[UserStatusChanged, _Mapping]] = ..., user_role_changed: _Optional[_Union[UserRoleChanged, _Mapping]] = ..., user_password_changed: _Optional[_Union[UserPasswordChanged, _Mapping]] = ..., user_profile_changed: _Optional[_Union[UserProfileChanged, _Mapping]] = ..., session_began: _Optional[_Union[SessionBegan, _Mapping]] = ..., session_ended: _Optional[_Union[SessionEnded, _Mapping]] = ..., account_opened: _Optional[_Union[AccountOpened, _Mapping]] = ..., trade_busted: _Optional[_Union[TradeBusted, _Mapping]] = ..., position_changed: _Optional[_Union[PositionChanged, _Mapping]] = ..., trading_state_changed: _Optional[_Union[TradingStateChanged, _Mapping]] = ..., limits_changed: _Optional[_Union[LimitsChanged, _Mapping]] = ..., strategy_created: _Optional[_Union[StrategyCreated, _Mapping]] = ..., strategy_started: _Optional[_Union[StrategyStarted, _Mapping]] = ..., strategy_stopped: _Optional[_Union[StrategyStopped, _Mapping]] = ..., strategy_deleted: _Optional[_Union[StrategyDeleted, _Mapping]] = ..., config_changed: _Optional[_Union[ConfigChanged, _Mapping]] = ..., config_rolled_back: _Optional[_Union[ConfigRolledBack, _Mapping]] = ..., backtest_finished: _Optional[_Union[BacktestFinished, _Mapping]] = ..., backtest_failed: _Optional[_Union[BacktestFailed, _Mapping]] = ..., login_new_address: _Optional[_Union[LoginNewAddress, _Mapping]] = ..., email_verification_requested: _Optional[_Union[EmailVerificationRequested, _Mapping]] = ...) -> None: ...

class StopRearmed(_message.Message):
    __slots__ = ("user_id", "order_id", "account_id", "symbol", "reason")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    order_id: str
    account_id: str
    symbol: str
    reason: str
    def __init__(self, user_id: _Optional[str] = ..., order_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class OrderGroupRestated(_message.Message):
    __slots__ = ("user_id", "order_group_id", "account_id", "symbol", "cause", "quantity", "unprotected_quantity")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    UNPROTECTED_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    order_group_id: str
    account_id: str
    symbol: str
    cause: str
    quantity: str
    unprotected_quantity: str
    def __init__(self, user_id: _Optional[str] = ..., order_group_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., cause: _Optional[str] = ..., quantity: _Optional[str] = ..., unprotected_quantity: _Optional[str] = ...) -> None: ...

class ExternalActivity(_message.Message):
    __slots__ = ("gateway", "kind", "symbol", "venue_id", "quantity")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    VENUE_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    gateway: str
    kind: str
    symbol: str
    venue_id: str
    quantity: str
    def __init__(self, gateway: _Optional[str] = ..., kind: _Optional[str] = ..., symbol: _Optional[str] = ..., venue_id: _Optional[str] = ..., quantity: _Optional[str] = ...) -> None: ...

class MarginCall(_message.Message):
    __slots__ = ("user_id", "account_id", "begins", "equity", "margin")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    BEGINS_FIELD_NUMBER: _ClassVar[int]
    EQUITY_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    account_id: str
    begins: bool
    equity: str
    margin: str
    def __init__(self, user_id: _Optional[str] = ..., account_id: _Optional[str] = ..., begins: _Optional[bool] = ..., equity: _Optional[str] = ..., margin: _Optional[str] = ...) -> None: ...

class OrderUncertain(_message.Message):
    __slots__ = ("user_id", "order_id", "account_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    order_id: str
    account_id: str
    def __init__(self, user_id: _Optional[str] = ..., order_id: _Optional[str] = ..., account_id: _Optional[str] = ...) -> None: ...

class UserRegistered(_message.Message):
    __slots__ = ("user_id", "username", "email")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    username: str
    email: str
    def __init__(self, user_id: _Optional[str] = ..., username: _Optional[str] = ..., email: _Optional[str] = ...) -> None: ...

class OrderAccepted(_message.Message):
    __slots__ = ("user_id", "order_id", "account_id", "symbol", "client_order_id", "side", "quantity", "strategy_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    order_id: str
    account_id: str
    symbol: str
    client_order_id: str
    side: str
    quantity: str
    strategy_id: str
    def __init__(self, user_id: _Optional[str] = ..., order_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., client_order_id: _Optional[str] = ..., side: _Optional[str] = ..., quantity: _Optional[str] = ..., strategy_id: _Optional[str] = ...) -> None: ...

class OrderFilled(_message.Message):
    __slots__ = ("user_id", "order_id", "trade_id", "price", "quantity", "account_id", "symbol", "side", "commission")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    order_id: str
    trade_id: str
    price: str
    quantity: str
    account_id: str
    symbol: str
    side: str
    commission: str
    def __init__(self, user_id: _Optional[str] = ..., order_id: _Optional[str] = ..., trade_id: _Optional[str] = ..., price: _Optional[str] = ..., quantity: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[str] = ..., commission: _Optional[str] = ...) -> None: ...

class OrderFinished(_message.Message):
    __slots__ = ("user_id", "order_id", "status", "account_id", "symbol", "filled_quantity")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    FILLED_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    order_id: str
    status: str
    account_id: str
    symbol: str
    filled_quantity: str
    def __init__(self, user_id: _Optional[str] = ..., order_id: _Optional[str] = ..., status: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., filled_quantity: _Optional[str] = ...) -> None: ...

class StrategyFailed(_message.Message):
    __slots__ = ("user_id", "strategy_id", "error")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    strategy_id: str
    error: str
    def __init__(self, user_id: _Optional[str] = ..., strategy_id: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class UserStatusChanged(_message.Message):
    __slots__ = ("user_id", "status", "former_status")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FORMER_STATUS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    status: str
    former_status: str
    def __init__(self, user_id: _Optional[str] = ..., status: _Optional[str] = ..., former_status: _Optional[str] = ...) -> None: ...

class UserRoleChanged(_message.Message):
    __slots__ = ("user_id", "role", "former_role")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    FORMER_ROLE_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    role: str
    former_role: str
    def __init__(self, user_id: _Optional[str] = ..., role: _Optional[str] = ..., former_role: _Optional[str] = ...) -> None: ...

class UserPasswordChanged(_message.Message):
    __slots__ = ("user_id", "except_session_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    EXCEPT_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    except_session_id: str
    def __init__(self, user_id: _Optional[str] = ..., except_session_id: _Optional[str] = ...) -> None: ...

class UserProfileChanged(_message.Message):
    __slots__ = ("user_id", "email", "phone", "display_name")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    PHONE_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    email: str
    phone: str
    display_name: str
    def __init__(self, user_id: _Optional[str] = ..., email: _Optional[str] = ..., phone: _Optional[str] = ..., display_name: _Optional[str] = ...) -> None: ...

class EmailVerificationRequested(_message.Message):
    __slots__ = ("user_id", "email", "token", "expire_time")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    email: str
    token: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, user_id: _Optional[str] = ..., email: _Optional[str] = ..., token: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SessionBegan(_message.Message):
    __slots__ = ("user_id", "session_id", "client_address", "user_agent")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    USER_AGENT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    session_id: str
    client_address: str
    user_agent: str
    def __init__(self, user_id: _Optional[str] = ..., session_id: _Optional[str] = ..., client_address: _Optional[str] = ..., user_agent: _Optional[str] = ...) -> None: ...

class LoginNewAddress(_message.Message):
    __slots__ = ("user_id", "session_id", "client_address", "user_agent")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    USER_AGENT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    session_id: str
    client_address: str
    user_agent: str
    def __init__(self, user_id: _Optional[str] = ..., session_id: _Optional[str] = ..., client_address: _Optional[str] = ..., user_agent: _Optional[str] = ...) -> None: ...

class SessionEnded(_message.Message):
    __slots__ = ("user_id", "session_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    session_id: str
    def __init__(self, user_id: _Optional[str] = ..., session_id: _Optional[str] = ...) -> None: ...

class AccountOpened(_message.Message):
    __slots__ = ("user_id", "account_id", "kind", "gateway", "currency")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    account_id: str
    kind: str
    gateway: str
    currency: str
    def __init__(self, user_id: _Optional[str] = ..., account_id: _Optional[str] = ..., kind: _Optional[str] = ..., gateway: _Optional[str] = ..., currency: _Optional[str] = ...) -> None: ...

class TradeBusted(_message.Message):
    __slots__ = ("user_id", "trade_id", "order_id", "account_id", "symbol", "price", "quantity")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    trade_id: str
    order_id: str
    account_id: str
    symbol: str
    price: str
    quantity: str
    def __init__(self, user_id: _Optional[str] = ..., trade_id: _Optional[str] = ..., order_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., price: _Optional[str] = ..., quantity: _Optional[str] = ...) -> None: ...

class PositionChanged(_message.Message):
    __slots__ = ("user_id", "account_id", "symbol", "side", "quantity", "average_price", "realized_pnl")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_PRICE_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    account_id: str
    symbol: str
    side: str
    quantity: str
    average_price: str
    realized_pnl: str
    def __init__(self, user_id: _Optional[str] = ..., account_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[str] = ..., quantity: _Optional[str] = ..., average_price: _Optional[str] = ..., realized_pnl: _Optional[str] = ...) -> None: ...

class TradingStateChanged(_message.Message):
    __slots__ = ("user_id", "account_id", "state", "reason", "updated_by")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    UPDATED_BY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    account_id: str
    state: str
    reason: str
    updated_by: str
    def __init__(self, user_id: _Optional[str] = ..., account_id: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., updated_by: _Optional[str] = ...) -> None: ...

class LimitsChanged(_message.Message):
    __slots__ = ("user_id", "account_id", "granted", "own")
    class GrantedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class OwnEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    account_id: str
    granted: _containers.ScalarMap[str, str]
    own: _containers.ScalarMap[str, str]
    def __init__(self, user_id: _Optional[str] = ..., account_id: _Optional[str] = ..., granted: _Optional[_Mapping[str, str]] = ..., own: _Optional[_Mapping[str, str]] = ...) -> None: ...

class StrategyCreated(_message.Message):
    __slots__ = ("user_id", "strategy_id", "class_name", "symbol", "account_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    strategy_id: str
    class_name: str
    symbol: str
    account_id: str
    def __init__(self, user_id: _Optional[str] = ..., strategy_id: _Optional[str] = ..., class_name: _Optional[str] = ..., symbol: _Optional[str] = ..., account_id: _Optional[str] = ...) -> None: ...

class StrategyStarted(_message.Message):
    __slots__ = ("user_id", "strategy_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    strategy_id: str
    def __init__(self, user_id: _Optional[str] = ..., strategy_id: _Optional[str] = ...) -> None: ...

class StrategyStopped(_message.Message):
    __slots__ = ("user_id", "strategy_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    strategy_id: str
    def __init__(self, user_id: _Optional[str] = ..., strategy_id: _Optional[str] = ...) -> None: ...

class StrategyDeleted(_message.Message):
    __slots__ = ("user_id", "strategy_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    strategy_id: str
    def __init__(self, user_id: _Optional[str] = ..., strategy_id: _Optional[str] = ...) -> None: ...

class ConfigChanged(_message.Message):
    __slots__ = ("environment", "service_name", "key", "version", "deleted", "updated_by")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_BY_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    key: str
    version: int
    deleted: bool
    updated_by: str
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ..., key: _Optional[str] = ..., version: _Optional[int] = ..., deleted: _Optional[bool] = ..., updated_by: _Optional[str] = ...) -> None: ...

class ConfigRolledBack(_message.Message):
    __slots__ = ("environment", "service_name", "key", "version", "restored_version", "updated_by")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RESTORED_VERSION_FIELD_NUMBER: _ClassVar[int]
    UPDATED_BY_FIELD_NUMBER: _ClassVar[int]
    environment: str
    service_name: str
    key: str
    version: int
    restored_version: int
    updated_by: str
    def __init__(self, environment: _Optional[str] = ..., service_name: _Optional[str] = ..., key: _Optional[str] = ..., version: _Optional[int] = ..., restored_version: _Optional[int] = ..., updated_by: _Optional[str] = ...) -> None: ...

class BacktestFinished(_message.Message):
    __slots__ = ("user_id", "backtest_id", "kind", "class_name", "symbol")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    BACKTEST_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    backtest_id: str
    kind: str
    class_name: str
    symbol: str
    def __init__(self, user_id: _Optional[str] = ..., backtest_id: _Optional[str] = ..., kind: _Optional[str] = ..., class_name: _Optional[str] = ..., symbol: _Optional[str] = ...) -> None: ...

class BacktestFailed(_message.Message):
    __slots__ = ("user_id", "backtest_id", "kind", "failure", "error")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    BACKTEST_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    backtest_id: str
    kind: str
    failure: str
    error: str
    def __init__(self, user_id: _Optional[str] = ..., backtest_id: _Optional[str] = ..., kind: _Optional[str] = ..., failure: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...
