# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, annotation_typing=False
"""tick_frame.py in C: the same bytes and numbers."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.datetime cimport (
    PyDateTime_CheckExact,
    datetime_day,
    datetime_fold,
    datetime_hour,
    datetime_microsecond,
    datetime_minute,
    datetime_month,
    datetime_second,
    datetime_tzinfo,
    datetime_year,
    import_datetime,
)
from cpython.dict cimport PyDict_GetItemWithError, PyDict_Next, PyDict_Size
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_AsDouble, PyFloat_CheckExact
from cpython.long cimport PyLong_AsDouble, PyLong_CheckExact
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from services.quant.ticks import tick_frame as pure
from services.quant.ticks.tick_frame import tick_frame as _pure

import_datetime()

cdef extern from "Python.h":
    PyObject* PyTuple_GET_ITEM(object names, Py_ssize_t at)
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum:
    ROOM = 2048
    MOST_TEXT = 512
    HEADER = 3
    MOST_FIELDS = 64

cdef double NO_PRICE = 1e300
# In the order of the fields 4 to 14 of market.v1.Tick.
cdef tuple _NUMBERS = (
    "last_price", "last_volume", "volume", "turnover", "open_interest", "open_price", "high_price", "low_price",
    "pre_close", "limit_up", "limit_down",
)
cdef tuple _PRICES = tuple([f"{side}_price_{level}" for side in ("bid", "ask") for level in range(1, 6)])
cdef tuple _VOLUMES = tuple([f"{side}_volume_{level}" for side in ("bid", "ask") for level in range(1, 6)])


# The last minute that was asked for, and when it began.
cdef object _zone = None
cdef int64_t _minute = -1
cdef int64_t _minute_ns = 0


cpdef int64_t time_ns(moment) except? -1:
    """A moment as nanoseconds since 1970: see tick_frame.time_ns. A zone is asked once a minute."""
    global _zone, _minute, _minute_ns
    cdef int64_t minute
    cdef object zone
    if not PyDateTime_CheckExact(moment):
        return pure.time_ns(moment)
    zone = datetime_tzinfo(moment)
    if zone is None or datetime_fold(moment):
        return pure.time_ns(moment)
    minute = (datetime_year(moment) * 12 + datetime_month(moment)) * 31 + datetime_day(moment)
    minute = (minute * 24 + datetime_hour(moment)) * 60 + datetime_minute(moment)
    if minute != _minute or zone is not _zone:
        _minute = -1
        _minute_ns = pure.time_ns(moment.replace(second=0, microsecond=0))
        _zone, _minute = zone, minute
    return _minute_ns + datetime_second(moment) * <int64_t>1000000000 + datetime_microsecond(moment) * <int64_t>1000


def has_numbers(tick):
    """Test whether all of a tick's numbers are some: see tick_frame.has_numbers."""
    cdef dict fields = tick.__dict__
    cdef double number
    cdef int field
    for field in range(11):
        try:
            number = _number(fields, <str>_NUMBERS[field])
        except OverflowError:
            return False
        if not -NO_PRICE < number < NO_PRICE:
            return False
    return True


cdef inline unsigned char* _varint(unsigned char* at, uint64_t value) noexcept:
    while value > 0x7F:
        at[0] = <unsigned char>(value & 0x7F | 0x80)
        value >>= 7
        at += 1
    at[0] = <unsigned char>value
    return at + 1


cdef inline double _number(dict fields, str name) except? -1.0:
    cdef PyObject* value = PyDict_GetItemWithError(fields, name)
    if value == NULL:
        raise AttributeError(name)
    return PyFloat_AsDouble(<object>value)


# By the number of a tick's attributes, their names in the order that was seen, and the places of their numbers: -1 for
# none. Gateways that alternate with as many attributes in other orders are not learned from for ever.
cdef list _orders = [()] * (MOST_FIELDS + 1)
cdef int _places[MOST_FIELDS + 1][MOST_FIELDS]
cdef int _lessons = 0
cdef dict _PLACES = {name: place for place, name in enumerate((*_NUMBERS, *_PRICES, *_VOLUMES))}


cdef bint _walk(dict fields, double* numbers) except -1:
    """Read all numbers in one walk; False where the attributes are in an order that is not known, or not all numbers."""
    cdef Py_ssize_t at = 0, count = 0, width = PyDict_Size(fields)
    cdef PyObject* name
    cdef PyObject* value
    cdef tuple names
    cdef int place
    if width > MOST_FIELDS:
        return False
    names = <tuple>_orders[width]
    if not names:
        return False
    while PyDict_Next(fields, &at, &name, &value):
        if name != PyTuple_GET_ITEM(names, count):
            return False
        place = _places[width][count]
        if place >= 0:
            if PyFloat_CheckExact(<object>value):
                numbers[place] = PyFloat_AS_DOUBLE(<object>value)
            elif PyLong_CheckExact(<object>value):
                try:
                    numbers[place] = PyLong_AsDouble(<object>value)
                except OverflowError:
                    return False
            else:
                return False
        count += 1
    return True


cdef void _learn(dict fields) except *:
    """Note the order of a tick's attributes, if it has all numbers."""
    global _lessons
    cdef list places = [_PLACES.get(name, -1) for name in fields]
    cdef int number, width = len(places)
    if _lessons == MOST_FIELDS or width > MOST_FIELDS or len(_PLACES) != sum([place >= 0 for place in places]):
        return
    _lessons += 1
    for number in range(width):
        _places[width][number] = places[number]
    _orders[width] = tuple(fields)


cdef int _read(dict fields, double* numbers) except -1:
    """Read a tick's numbers: those of `_NUMBERS`, then prices and then volumes, of the levels that it has."""
    cdef int field, level, side
    if _walk(fields, numbers):
        return 0
    for field in range(11):
        numbers[field] = _number(fields, <str>_NUMBERS[field])
    for side in range(2):
        for level in range(5 * side, 5 * side + 5):
            numbers[11 + level] = _number(fields, <str>_PRICES[level])
            numbers[21 + level] = _number(fields, <str>_VOLUMES[level])
            if not _is_level(numbers, level):
                break
    _learn(fields)
    return 0


cdef inline bint _is_level(double* numbers, int level) noexcept:
    return 0.0 < numbers[11 + level] < NO_PRICE and 0.0 <= numbers[21 + level] < NO_PRICE


cdef unsigned char* _levels(unsigned char* at, double* numbers, int side) noexcept:
    cdef int first = 5 * side, count = 0
    while count < 5 and _is_level(numbers, first + count):
        count += 1
    if count == 0:
        return at
    at = _varint(at, (15 + 2 * side) << 3 | 2)
    at[0] = <unsigned char>(8 * count)
    memcpy(at + 1, numbers + 11 + first, 8 * count)
    at = _varint(at + 1 + 8 * count, (16 + 2 * side) << 3 | 2)
    at[0] = <unsigned char>(8 * count)
    memcpy(at + 1, numbers + 21 + first, 8 * count)
    return at + 1 + 8 * count


def tick_frame(tick, int64_t sequence, int64_t time_ns, int64_t trading_day):
    """vnpy's TickData as field 1 of a StreamTicksResponse."""
    try:
        return _encode(tick, tick.__dict__, sequence, time_ns, trading_day, False)
    except (AttributeError, KeyError, TypeError):
        # What is no number: protobuf decides.
        return _pure(tick, sequence, time_ns, trading_day)


# By symbol the trading day of a minute, in which no day ends, and what was asked for it.
cdef dict _days = {}
cdef int64_t _days_minute = -1
cdef object _days_of = None


def gateway_frame(tick, int64_t sequence, day_of):
    """A usual tick of a gateway: see tick_frame.gateway_frame."""
    global _days_minute, _days_of
    cdef dict fields = tick.__dict__
    cdef PyObject* known
    cdef int64_t at_ns, minute
    try:
        if tick.extra:
            return None
        at_ns = time_ns(fields["datetime"])
        if at_ns < 0:
            return None
        minute = at_ns // 60000000000
        if minute != _days_minute or day_of is not _days_of:
            _days.clear()
            _days_minute, _days_of = minute, day_of
        symbol = fields["vt_symbol"]
        known = PyDict_GetItemWithError(_days, symbol)
        if known == NULL:
            _days[symbol] = day = day_of(symbol)(at_ns)
        else:
            day = <object>known
        return _encode(tick, fields, sequence, at_ns, day, True)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return None


cdef bytes _encode(
    tick, dict fields, int64_t sequence, int64_t time_ns, int64_t trading_day, bint numbers_only
):
    """The frame; None, if it may be of `numbers_only`, where one of the tick's is none: see has_numbers."""
    cdef unsigned char room[ROOM]
    cdef unsigned char* begin = room + HEADER
    cdef unsigned char* at = begin
    cdef Py_ssize_t symbol_length, gateway_length
    cdef const char* symbol = PyUnicode_AsUTF8AndSize(fields["vt_symbol"], &symbol_length)
    cdef const char* gateway = PyUnicode_AsUTF8AndSize(fields["gateway_name"], &gateway_length)
    cdef double numbers[31]
    cdef double number
    cdef int field
    _read(fields, numbers)
    if symbol_length > MOST_TEXT or gateway_length > MOST_TEXT or not -0x80000000 <= trading_day <= 0x7FFFFFFF:
        return _pure(tick, sequence, time_ns, trading_day)
    if symbol_length:
        at[0] = 0x0A
        at = _varint(at + 1, symbol_length)
        memcpy(at, symbol, symbol_length)
        at += symbol_length
    if time_ns:
        at[0] = 2 << 3
        at = _varint(at + 1, <uint64_t>time_ns)
    if sequence:
        at[0] = 3 << 3
        at = _varint(at + 1, <uint64_t>sequence)
    for field in range(4, 15):
        number = numbers[field - 4]
        if numbers_only and not -NO_PRICE < number < NO_PRICE:
            return None
        # Left out as protobuf does: 0, but not -0.
        if (<uint64_t*>&number)[0]:
            at[0] = <unsigned char>(field << 3 | 1)
            memcpy(at + 1, &number, 8)
            at += 9
    at = _levels(at, numbers, 0)
    at = _levels(at, numbers, 1)
    if trading_day:
        at = _varint(at, 19 << 3)
        at = _varint(at, <uint64_t>trading_day)
    if gateway_length:
        at = _varint(at, 20 << 3 | 2)
        at = _varint(at, gateway_length)
        memcpy(at, gateway, gateway_length)
        at += gateway_length
    cdef Py_ssize_t length = at - begin
    # The header ends where the body begins: tag, and a length of one byte or two.
    if length > 0x7F:
        begin -= 3
        begin[1] = <unsigned char>(length & 0x7F | 0x80)
        begin[2] = <unsigned char>(length >> 7)
    else:
        begin -= 2
        begin[1] = <unsigned char>length
    begin[0] = 0x0A
    return PyBytes_FromStringAndSize(<const char*>begin, at - begin)
