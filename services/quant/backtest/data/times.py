"""Moments of recorded data: texts and numbers of many forms to nanoseconds since 1970 UTC."""

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from services.quant.backtest.data.dataset import Mask, Times
from services.quant.backtest.job import BacktestError

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
NEVER = np.iinfo(np.int64).min
"""The mark of a moment that could not be read; NumPy's NaT."""
_EARLIEST_YEAR, _LATEST_YEAR = 1900, 2200
_EPOCH = datetime(1970, 1, 1)
_COMPACT = re.compile(r"(\d{8})(\d{2})(\d{2})(\d{2})?(\d{1,6})?")
# What is rewritten, in order, when a column is not ISO 8601 as it is: 2021/1/4 9:05, 2021年1月4日, 20210104 09:05:00
_REWRITES = (
    (r"^\s+|\s+$", ""),
    (r"^(\d{4})[/.年-](\d{1,2})[/.月-](\d{1,2})日?", r"\1-\2-\3"),
    (r"^(\d{4})-(\d)-", r"\1-0\2-"),
    (r"^(\d{4}-\d{2})-(\d)(\D|$)", r"\1-0\2\3"),
    (r"^(\d{4})(\d{2})(\d{2})($|[ T])", r"\1-\2-\3\4"),
    (r"^(\d{4}-\d{2}-\d{2})[ T]+(\d):", r"\1 0\2:"),
    (r"^(\d{4}-\d{2}-\d{2})[ T]+(\d{2})(\d{2})(\d{2})$", r"\1 \2:\3:\4"),
)


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name. Raises: BacktestError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise BacktestError(f"there is no time zone {name!r}; one is Asia/Shanghai", "timezone") from None


@lru_cache(maxsize=200_000)
def _offset_ns(hour: int, zone: ZoneInfo) -> int:
    """The zone's offset in an hour since 1970 of its own clock."""
    offset = (_EPOCH + timedelta(hours=hour)).replace(tzinfo=zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) * SECOND_NS


def to_utc(local_ns: Times, zone: ZoneInfo) -> Times:
    """A local clock's moments to UTC."""
    hours = local_ns // HOUR_NS
    if not len(hours):
        return hours
    # Only where the hour changes is a zone asked: moments come in order, more or less.
    starts = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
    offsets = np.array([_offset_ns(int(hour), zone) for hour in hours[starts]], dtype=np.int64)
    return local_ns - np.repeat(offsets, np.diff(starts, append=len(hours)))


def day_start_ns(day: date, zone: ZoneInfo) -> int:
    """The local midnight that a day begins with."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * SECOND_NS


def show(time_ns: int, zone: ZoneInfo) -> str:
    """A moment for a sentence: 2020-01-02 09:05."""
    moment = datetime.fromtimestamp(time_ns // SECOND_NS, zone)
    return moment.strftime("%Y-%m-%d" if moment.hour == moment.minute == 0 else "%Y-%m-%d %H:%M")


def parse_times(column: Any, zone: ZoneInfo) -> Times:
    """An Arrow array of times, of any type, to nanoseconds; NEVER where it is none. Without an offset they are local.

    Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970, by their size, or days (20210104).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_date(kind):
        return _checked(to_utc(_integers(column.cast(pa.timestamp("ns"), safe=False)), zone))
    if pa.types.is_timestamp(kind):
        values = _integers(column.cast(pa.timestamp("ns", kind.tz), safe=False))
        return _checked(values if kind.tz else _localised(values, zone))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _checked(_numbers(column, zone))
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        column = column.cast(pa.string())
    for rewrites in ((), _REWRITES):
        try:
            for pattern, replacement in rewrites:
                column = pc.replace_substring_regex(column, pattern, replacement)
        except pa.ArrowInvalid:  # not UTF-8
            break
        for target in (pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
            try:
                values = _integers(column.cast(target))
            except pa.ArrowInvalid:
                continue
            return _checked(values if target.tz else _localised(values, zone))
    return _checked(np.array([_one(text, zone) for text in texts(column)], dtype=np.int64))


def texts(column: Any) -> list[str | None]:
    """An Arrow array's values as texts, also where they are not UTF-8."""
    import pyarrow as pa

    raw = column.cast(pa.string()).cast(pa.binary()).to_pylist()
    return [None if value is None else value.decode("utf-8", "replace") for value in raw]


def join(day: Any, clock: Any) -> Any:
    """A day's and a clock's column as one of texts; where the clock has a day in it already, the clock's."""
    import pyarrow as pa
    import pyarrow.compute as pc

    clock = clock.cast(pa.string())
    first = next((text for text in texts(clock.drop_null().slice(0, 1)) if text), "")
    if not re.match(r"^\s*\d{1,2}:", first) and not re.fullmatch(r"\s*\d{5,6}(\.0)?\s*", first):
        return clock
    if ":" not in first:  # 90500 or 090500
        clock = pc.utf8_lpad(pc.replace_substring_regex(clock, r"\.0$", ""), 6, "0")
    days = day.cast(pa.string())
    return pc.binary_join_element_wise(pc.replace_substring_regex(days, r"[ T]00:00:00.*|\.0$", ""), clock, " ")


def _integers(column: Any) -> Times:
    import pyarrow as pa

    values = column.cast(pa.int64())
    if values.null_count:
        values = values.fill_null(int(NEVER))
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.int64)


def _localised(local_ns: Times, zone: ZoneInfo) -> Times:
    real = _possible(local_ns)
    return np.where(real, to_utc(np.where(real, local_ns, 0), zone), NEVER)


def _possible(time_ns: Times) -> Mask:
    year_ns = 365.2425 * DAY_NS
    low, high = int((_EARLIEST_YEAR - 1970) * year_ns), int((_LATEST_YEAR - 1970) * year_ns)
    return (time_ns > low) & (time_ns < high)


def _checked(time_ns: Times) -> Times:
    return np.where(_possible(time_ns), time_ns, NEVER)


def _numbers(column: Any, zone: ZoneInfo) -> Times:
    import pyarrow as pa

    if pa.types.is_integer(column.type):
        values = _integers(column)
        size = np.abs(np.where(values == NEVER, 0, values))
        scale = np.select([size < 10**11, size < 10**14, size < 10**17], [SECOND_NS, 10**6, 10**3], 1)
        result_ns = np.where(values == NEVER, NEVER, np.where(values == NEVER, 0, values) * scale)
    else:
        floats = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        floats = np.where(np.isfinite(floats), floats, 0.0)
        values, size = floats.astype(np.int64), np.abs(floats)
        factor = np.select([size < 1e11, size < 1e14, size < 1e17], [1e9, 1e6, 1e3], 1.0)
        result_ns = np.where(floats == 0.0, NEVER, np.rint(floats * (factor / 1e3)).astype(np.int64) * 1000)
    days = (values >= _EARLIEST_YEAR * 10_000) & (values < _LATEST_YEAR * 10_000)
    compact = (values >= 10**13 * 1.9) & (values < 10**13 * 2.2)
    for at in np.flatnonzero(days | compact):
        result_ns[at] = _one(str(values[at]), zone)
    return result_ns


def _one(text: str | None, zone: ZoneInfo) -> int:
    """One text, the slow way."""
    if not text:
        return NEVER
    text = text.strip()
    if re.fullmatch(r"\d{9,11}|\d{13}|\d{16}|\d{19}", text):
        number = int(text)
        return number * next(scale for limit, scale in _SCALES if number < limit)
    if re.fullmatch(r"\d{9,10}\.\d+", text):
        return round(float(text) * 1e6) * 1000
    if compact := _COMPACT.fullmatch(text):
        day, hour, minute, second, fraction = compact.groups()
        text = f"{day}T{hour}{minute}{second or '00'}" + (f".{fraction:0<6}" if fraction else "")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return NEVER
    local = moment.tzinfo is None
    since = moment.replace(tzinfo=None) - _EPOCH if local else moment.astimezone(UTC).replace(tzinfo=None) - _EPOCH
    value = (since.days * 86_400 + since.seconds) * SECOND_NS + since.microseconds * 1000
    return value - _offset_ns(value // HOUR_NS, zone) if local else value


_SCALES = ((10**11, SECOND_NS), (10**14, 10**6), (10**17, 10**3), (10**20, 1))
