"""Between the wire and the domain: batches to ticks, bars and instruments to messages, requests to values."""

from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import market_pb2 as pb

from services.kernel.errors import Invalid
from services.market.bars.indicators import Series
from services.market.ticks.frames import frame
from services.quant.bars import Bar, Interval
from services.quant.calendar.days import SECOND_NS

LATEST_NS = 1 << 62


def parse_batch(batch: bytes) -> engine_pb2.StreamTicksResponse:
    """A batch of upstream: its ticks and its control message."""
    return engine_pb2.StreamTicksResponse.FromString(batch)


def parse_ticks(batch: bytes) -> Sequence[pb.Tick]:
    """The ticks of a batch, in order."""
    return engine_pb2.StreamTicksResponse.FromString(batch).ticks


def parse_tick(tick_frame: bytes) -> pb.Tick:
    """The tick of a frame."""
    return parse_ticks(tick_frame)[0]


def timestamp_to_pb(time_ns: int) -> Timestamp:
    """Nanoseconds since 1970 as a Timestamp."""
    return Timestamp(seconds=time_ns // SECOND_NS, nanos=time_ns % SECOND_NS)


def bar_to_pb(bar: Bar) -> pb.Bar:
    """A bar's message."""
    return pb.Bar(
        symbol=bar.symbol,
        interval=int(bar.interval),  # type: ignore[arg-type]
        start_time=timestamp_to_pb(bar.start_ns),
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=bar.volume,
        turnover=bar.turnover,
        open_interest=bar.open_interest,
        incomplete=bar.incomplete,
        trading_day=bar.trading_day,
    )


def bar_from_pb(message: pb.Bar, trading_day: int) -> Bar:
    """The bar of a message, which does not state its trading day."""
    return Bar(
        symbol=message.symbol,
        interval=Interval(message.interval),
        start_ns=_ns_from_pb(message.start_time),
        open=message.open,
        high=message.high,
        low=message.low,
        close=message.close,
        volume=message.volume,
        turnover=message.turnover,
        open_interest=message.open_interest,
        trading_day=trading_day,
        incomplete=message.incomplete,
    )


def bar_frame(bar: Bar) -> bytes:
    """A bar as a member of StreamBarsResponse.bars."""
    return relayed_bar_frame(bar_to_pb(bar))


def relayed_bar_frame(message: pb.Bar) -> bytes:
    """The same of a bar's message."""
    return frame(message.SerializeToString())


def series_to_pb(series: Iterable[Series]) -> list[pb.IndicatorSeries]:
    """Indicators' messages."""
    return [
        pb.IndicatorSeries(
            name=one.name, times=[timestamp_to_pb(time_ns) for time_ns in one.times_ns], values=one.values
        )
        for one in series
    ]


def interval_from_pb(number: int) -> Interval:
    """The requested interval; one minute when none is stated."""
    return Interval(number or Interval.MINUTE)


def range_from_pb(request: Any) -> tuple[int | None, int | None]:
    """start_time and end_time in nanoseconds, None where not given.

    Raises: Invalid when the end is before the start.
    """
    start_ns = _ns_from_pb(request.start_time) if request.HasField("start_time") else None
    end_ns = _ns_from_pb(request.end_time) if request.HasField("end_time") else None
    if start_ns is not None and end_ns is not None and end_ns < start_ns:
        raise Invalid("end_time: is before start_time", field="end_time")
    return start_ns, end_ns


def _ns_from_pb(time: Timestamp) -> int:
    """Nanoseconds, clamped to 64 bits, which a Timestamp exceeds."""
    return min(max(time.seconds * SECOND_NS + time.nanos, 0), LATEST_NS)


def seconds_from_pb(request: Any, name: str) -> float | None:
    """A Duration field in seconds, None where not given."""
    duration = getattr(request, name)
    return duration.seconds + duration.nanos / SECOND_NS if request.HasField(name) else None
