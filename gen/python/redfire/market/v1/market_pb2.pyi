import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from redfire.common.v1 import common_pb2 as _common_pb2
from redfire.options.v1 import options_pb2 as _options_pb2
from redfire.options.v1 import rules_pb2 as _rules_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Product(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRODUCT_UNSPECIFIED: _ClassVar[Product]
    PRODUCT_FUTURES: _ClassVar[Product]
    PRODUCT_EQUITY: _ClassVar[Product]
    PRODUCT_OPTION: _ClassVar[Product]
    PRODUCT_FUND: _ClassVar[Product]
    PRODUCT_SPOT: _ClassVar[Product]
    PRODUCT_INDEX: _ClassVar[Product]

class DeliveryMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_MODE_UNSPECIFIED: _ClassVar[DeliveryMode]
    DELIVERY_MODE_LOSSLESS: _ClassVar[DeliveryMode]
    DELIVERY_MODE_CONFLATED: _ClassVar[DeliveryMode]
PRODUCT_UNSPECIFIED: Product
PRODUCT_FUTURES: Product
PRODUCT_EQUITY: Product
PRODUCT_OPTION: Product
PRODUCT_FUND: Product
PRODUCT_SPOT: Product
PRODUCT_INDEX: Product
DELIVERY_MODE_UNSPECIFIED: DeliveryMode
DELIVERY_MODE_LOSSLESS: DeliveryMode
DELIVERY_MODE_CONFLATED: DeliveryMode

class TradingSession(_message.Message):
    __slots__ = ("open_time", "close_time")
    OPEN_TIME_FIELD_NUMBER: _ClassVar[int]
    CLOSE_TIME_FIELD_NUMBER: _ClassVar[int]
    open_time: str
    close_time: str
    def __init__(self, open_time: _Optional[str] = ..., close_time: _Optional[str] = ...) -> None: ...

class Instrument(_message.Message):
    __slots__ = ("symbol", "display_name", "exchange", "product", "contract_size", "price_tick", "min_quantity", "quantity_step", "margin_rate", "commission_rate", "commission_fixed", "close_today_commission_rate", "close_today_commission_fixed", "currency", "trading_sessions", "expire_date", "gateway_name")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_SIZE_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICK_FIELD_NUMBER: _ClassVar[int]
    MIN_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_STEP_FIELD_NUMBER: _ClassVar[int]
    MARGIN_RATE_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_RATE_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_FIXED_FIELD_NUMBER: _ClassVar[int]
    CLOSE_TODAY_COMMISSION_RATE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_TODAY_COMMISSION_FIXED_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    TRADING_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_DATE_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_NAME_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    display_name: str
    exchange: str
    product: Product
    contract_size: str
    price_tick: str
    min_quantity: str
    quantity_step: str
    margin_rate: str
    commission_rate: str
    commission_fixed: str
    close_today_commission_rate: str
    close_today_commission_fixed: str
    currency: str
    trading_sessions: _containers.RepeatedCompositeFieldContainer[TradingSession]
    expire_date: str
    gateway_name: str
    def __init__(self, symbol: _Optional[str] = ..., display_name: _Optional[str] = ..., exchange: _Optional[str] = ..., product: _Optional[_Union[Product, str]] = ..., contract_size: _Optional[str] = ..., price_tick: _Optional[str] = ..., min_quantity: _Optional[str] = ..., quantity_step: _Optional[str] = ..., margin_rate: _Optional[str] = ..., commission_rate: _Optional[str] = ..., commission_fixed: _Optional[str] = ..., close_today_commission_rate: _Optional[str] = ..., close_today_commission_fixed: _Optional[str] = ..., currency: _Optional[str] = ..., trading_sessions: _Optional[_Iterable[_Union[TradingSession, _Mapping]]] = ..., expire_date: _Optional[str] = ..., gateway_name: _Optional[str] = ...) -> None: ...

class Tick(_message.Message):
    __slots__ = ("symbol", "time_ns", "sequence", "last_price", "last_quantity", "volume", "turnover", "open_interest", "open_price", "high_price", "low_price", "pre_close_price", "limit_up", "limit_down", "bid_prices", "bid_quantities", "ask_prices", "ask_quantities", "trading_day", "gateway")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_FIELD_NUMBER: _ClassVar[int]
    LAST_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    TURNOVER_FIELD_NUMBER: _ClassVar[int]
    OPEN_INTEREST_FIELD_NUMBER: _ClassVar[int]
    OPEN_PRICE_FIELD_NUMBER: _ClassVar[int]
    HIGH_PRICE_FIELD_NUMBER: _ClassVar[int]
    LOW_PRICE_FIELD_NUMBER: _ClassVar[int]
    PRE_CLOSE_PRICE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_UP_FIELD_NUMBER: _ClassVar[int]
    LIMIT_DOWN_FIELD_NUMBER: _ClassVar[int]
    BID_PRICES_FIELD_NUMBER: _ClassVar[int]
    BID_QUANTITIES_FIELD_NUMBER: _ClassVar[int]
    ASK_PRICES_FIELD_NUMBER: _ClassVar[int]
    ASK_QUANTITIES_FIELD_NUMBER: _ClassVar[int]
    TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    time_ns: int
    sequence: int
    last_price: float
    last_quantity: float
    volume: float
    turnover: float
    open_interest: float
    open_price: float
    high_price: float
    low_price: float
    pre_close_price: float
    limit_up: float
    limit_down: float
    bid_prices: _containers.RepeatedScalarFieldContainer[float]
    bid_quantities: _containers.RepeatedScalarFieldContainer[float]
    ask_prices: _containers.RepeatedScalarFieldContainer[float]
    ask_quantities: _containers.RepeatedScalarFieldContainer[float]
    trading_day: int
    gateway: str
    def __init__(self, symbol: _Optional[str] = ..., time_ns: _Optional[int] = ..., sequence: _Optional[int] = ..., last_price: _Optional[float] = ..., last_quantity: _Optional[float] = ..., volume: _Optional[float] = ..., turnover: _Optional[float] = ..., open_interest: _Optional[float] = ..., open_price: _Optional[float] = ..., high_price: _Optional[float] = ..., low_price: _Optional[float] = ..., pre_close_price: _Optional[float] = ..., limit_up: _Optional[float] = ..., limit_down: _Optional[float] = ..., bid_prices: _Optional[_Iterable[float]] = ..., bid_quantities: _Optional[_Iterable[float]] = ..., ask_prices: _Optional[_Iterable[float]] = ..., ask_quantities: _Optional[_Iterable[float]] = ..., trading_day: _Optional[int] = ..., gateway: _Optional[str] = ...) -> None: ...

class Bar(_message.Message):
    __slots__ = ("symbol", "interval", "start_time", "open", "high", "low", "close", "volume", "turnover", "open_interest", "incomplete", "trading_day")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    TURNOVER_FIELD_NUMBER: _ClassVar[int]
    OPEN_INTEREST_FIELD_NUMBER: _ClassVar[int]
    INCOMPLETE_FIELD_NUMBER: _ClassVar[int]
    TRADING_DAY_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    interval: _common_pb2.Interval
    start_time: _timestamp_pb2.Timestamp
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float
    open_interest: float
    incomplete: bool
    trading_day: int
    def __init__(self, symbol: _Optional[str] = ..., interval: _Optional[_Union[_common_pb2.Interval, str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., open: _Optional[float] = ..., high: _Optional[float] = ..., low: _Optional[float] = ..., close: _Optional[float] = ..., volume: _Optional[float] = ..., turnover: _Optional[float] = ..., open_interest: _Optional[float] = ..., incomplete: _Optional[bool] = ..., trading_day: _Optional[int] = ...) -> None: ...

class ListInstrumentsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "exchange", "product", "query")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    exchange: str
    product: Product
    query: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., exchange: _Optional[str] = ..., product: _Optional[_Union[Product, str]] = ..., query: _Optional[str] = ...) -> None: ...

class ListInstrumentsResponse(_message.Message):
    __slots__ = ("instruments", "next_page_token")
    INSTRUMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    instruments: _containers.RepeatedCompositeFieldContainer[Instrument]
    next_page_token: str
    def __init__(self, instruments: _Optional[_Iterable[_Union[Instrument, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetInstrumentRequest(_message.Message):
    __slots__ = ("symbol",)
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    def __init__(self, symbol: _Optional[str] = ...) -> None: ...

class GetInstrumentResponse(_message.Message):
    __slots__ = ("instrument",)
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    instrument: Instrument
    def __init__(self, instrument: _Optional[_Union[Instrument, _Mapping]] = ...) -> None: ...

class GetTickRequest(_message.Message):
    __slots__ = ("symbol",)
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    def __init__(self, symbol: _Optional[str] = ...) -> None: ...

class GetTickResponse(_message.Message):
    __slots__ = ("tick",)
    TICK_FIELD_NUMBER: _ClassVar[int]
    tick: Tick
    def __init__(self, tick: _Optional[_Union[Tick, _Mapping]] = ...) -> None: ...

class StreamTicksRequest(_message.Message):
    __slots__ = ("symbols", "mode", "min_interval", "heartbeat_interval", "resume_after_sequence", "epoch", "watermarks")
    class ResumeAfterSequenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MIN_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    RESUME_AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    WATERMARKS_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    mode: DeliveryMode
    min_interval: _duration_pb2.Duration
    heartbeat_interval: _duration_pb2.Duration
    resume_after_sequence: _containers.ScalarMap[str, int]
    epoch: str
    watermarks: bool
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., mode: _Optional[_Union[DeliveryMode, str]] = ..., min_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., resume_after_sequence: _Optional[_Mapping[str, int]] = ..., epoch: _Optional[str] = ..., watermarks: _Optional[bool] = ...) -> None: ...

class StreamTicksResponse(_message.Message):
    __slots__ = ("ticks", "started", "heartbeat", "gap", "end", "new_epoch", "feed_state")
    class Started(_message.Message):
        __slots__ = ("stream_id", "epoch")
        STREAM_ID_FIELD_NUMBER: _ClassVar[int]
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        stream_id: str
        epoch: str
        def __init__(self, stream_id: _Optional[str] = ..., epoch: _Optional[str] = ...) -> None: ...
    class Heartbeat(_message.Message):
        __slots__ = ("time", "watermarks_ns", "symbol_watermarks_ns")
        class WatermarksNsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: int
            def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
        class SymbolWatermarksNsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: int
            def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
        TIME_FIELD_NUMBER: _ClassVar[int]
        WATERMARKS_NS_FIELD_NUMBER: _ClassVar[int]
        SYMBOL_WATERMARKS_NS_FIELD_NUMBER: _ClassVar[int]
        time: _timestamp_pb2.Timestamp
        watermarks_ns: _containers.ScalarMap[str, int]
        symbol_watermarks_ns: _containers.ScalarMap[str, int]
        def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., watermarks_ns: _Optional[_Mapping[str, int]] = ..., symbol_watermarks_ns: _Optional[_Mapping[str, int]] = ...) -> None: ...
    class Gap(_message.Message):
        __slots__ = ("symbol", "first_sequence", "last_sequence")
        SYMBOL_FIELD_NUMBER: _ClassVar[int]
        FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        symbol: str
        first_sequence: int
        last_sequence: int
        def __init__(self, symbol: _Optional[str] = ..., first_sequence: _Optional[int] = ..., last_sequence: _Optional[int] = ...) -> None: ...
    class NewEpoch(_message.Message):
        __slots__ = ("epoch",)
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        epoch: str
        def __init__(self, epoch: _Optional[str] = ...) -> None: ...
    class End(_message.Message):
        __slots__ = ("reason", "resume_after_sequence", "epoch")
        class ResumeAfterSequenceEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: int
            def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
        REASON_FIELD_NUMBER: _ClassVar[int]
        RESUME_AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        reason: str
        resume_after_sequence: _containers.ScalarMap[str, int]
        epoch: str
        def __init__(self, reason: _Optional[str] = ..., resume_after_sequence: _Optional[_Mapping[str, int]] = ..., epoch: _Optional[str] = ...) -> None: ...
    class FeedState(_message.Message):
        __slots__ = ("connected", "stale_symbols", "time")
        CONNECTED_FIELD_NUMBER: _ClassVar[int]
        STALE_SYMBOLS_FIELD_NUMBER: _ClassVar[int]
        TIME_FIELD_NUMBER: _ClassVar[int]
        connected: bool
        stale_symbols: _containers.RepeatedScalarFieldContainer[str]
        time: _timestamp_pb2.Timestamp
        def __init__(self, connected: _Optional[bool] = ..., stale_symbols: _Optional[_Iterable[str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    TICKS_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    NEW_EPOCH_FIELD_NUMBER: _ClassVar[int]
    FEED_STATE_FIELD_NUMBER: _ClassVar[int]
    ticks: _containers.RepeatedCompositeFieldContainer[Tick]
    started: StreamTicksResponse.Started
    heartbeat: StreamTicksResponse.Heartbeat
    gap: StreamTicksResponse.Gap
    end: StreamTicksResponse.End
    new_epoch: StreamTicksResponse.NewEpoch
    feed_state: StreamTicksResponse.FeedState
    def __init__(self, ticks: _Optional[_Iterable[_Union[Tick, _Mapping]]] = ..., started: _Optional[_Union[StreamTicksResponse.Started, _Mapping]] = ..., heartbeat: _Optional[_Union[StreamTicksResponse.Heartbeat, _Mapping]] = ..., gap: _Optional[_Union[StreamTicksResponse.Gap, _Mapping]] = ..., end: _Optional[_Union[StreamTicksResponse.End, _Mapping]] = ..., new_epoch: _Optional[_Union[StreamTicksResponse.NewEpoch, _Mapping]] = ..., feed_state: _Optional[_Union[StreamTicksResponse.FeedState, _Mapping]] = ...) -> None: ...

class UpdateSubscriptionRequest(_message.Message):
    __slots__ = ("stream_id", "add_symbols", "remove_symbols")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    ADD_SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    add_symbols: _containers.RepeatedScalarFieldContainer[str]
    remove_symbols: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, stream_id: _Optional[str] = ..., add_symbols: _Optional[_Iterable[str]] = ..., remove_symbols: _Optional[_Iterable[str]] = ...) -> None: ...

class UpdateSubscriptionResponse(_message.Message):
    __slots__ = ("symbols",)
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, symbols: _Optional[_Iterable[str]] = ...) -> None: ...

class ListTicksRequest(_message.Message):
    __slots__ = ("symbol", "start_time", "end_time", "page_size", "page_token")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, symbol: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTicksResponse(_message.Message):
    __slots__ = ("ticks", "next_page_token")
    TICKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ticks: _containers.RepeatedCompositeFieldContainer[Tick]
    next_page_token: str
    def __init__(self, ticks: _Optional[_Iterable[_Union[Tick, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListBarsRequest(_message.Message):
    __slots__ = ("symbol", "interval", "start_time", "end_time", "page_size", "page_token")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    interval: _common_pb2.Interval
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, symbol: _Optional[str] = ..., interval: _Optional[_Union[_common_pb2.Interval, str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBarsResponse(_message.Message):
    __slots__ = ("bars", "next_page_token")
    BARS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    bars: _containers.RepeatedCompositeFieldContainer[Bar]
    next_page_token: str
    def __init__(self, bars: _Optional[_Iterable[_Union[Bar, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StreamBarsRequest(_message.Message):
    __slots__ = ("symbols", "interval", "heartbeat_interval")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    interval: _common_pb2.Interval
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., interval: _Optional[_Union[_common_pb2.Interval, str]] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamBarsResponse(_message.Message):
    __slots__ = ("bars", "heartbeat", "end")
    BARS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    bars: _containers.RepeatedCompositeFieldContainer[Bar]
    heartbeat: StreamTicksResponse.Heartbeat
    end: StreamTicksResponse.End
    def __init__(self, bars: _Optional[_Iterable[_Union[Bar, _Mapping]]] = ..., heartbeat: _Optional[_Union[StreamTicksResponse.Heartbeat, _Mapping]] = ..., end: _Optional[_Union[StreamTicksResponse.End, _Mapping]] = ...) -> None: ...

class ComputeIndicatorsRequest(_message.Message):
    __slots__ = ("symbol", "interval", "names", "start_time", "end_time")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    interval: _common_pb2.Interval
    names: _containers.RepeatedScalarFieldContainer[str]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, symbol: _Optional[str] = ..., interval: _Optional[_Union[_common_pb2.Interval, str]] = ..., names: _Optional[_Iterable[str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class IndicatorSeries(_message.Message):
    __slots__ = ("name", "times", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    times: _containers.RepeatedCompositeFieldContainer[_timestamp_pb2.Timestamp]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., times: _Optional[_Iterable[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]]] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class ComputeIndicatorsResponse(_message.Message):
    __slots__ = ("series",)
    SERIES_FIELD_NUMBER: _ClassVar[int]
    series: _containers.RepeatedCompositeFieldContainer[IndicatorSeries]
    def __init__(self, series: _Optional[_Iterable[_Union[IndicatorSeries, _Mapping]]] = ...) -> None: ...
