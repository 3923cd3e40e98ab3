# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, annotation_typing=False
"""tick_batch.py in C: one pass over a batch's bytes. What is encoded in an unusual way, or is no batch, is left to it."""

cimport cython
from cpython.array cimport array, clone
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from services.quant.ticks import tick_batch as pure

cdef enum:
    # Places in Row.numbers by number of the field in market.v1.Tick, from last_price (4) to limit_down (14).
    FIRST_NUMBER = 4
    LAST_NUMBER = 14
    NUMBERS = 11
    # And in numbers.
    LAST_PRICE = 0
    VOLUME = 2
    TURNOVER = 3
    OPEN_INTEREST = 4
    OPEN = 5
    HIGH = 6
    LOW = 7

cdef double NO_VALUE = 1e300
cdef dict _PLACES = {name: place for place, name in enumerate(pure.NUMBERS)}
cdef array _doubles = array("d")
cdef array _integers = array("q")
cdef object _Run = pure.Run
cdef object _Scanner = pure.TickScanner

cdef struct Row:
    double numbers[NUMBERS]
    int64_t time_ns
    int64_t sequence
    int64_t trading_day
    int32_t symbol  # its place in the scanner's names
    int32_t gateway
    int32_t start  # of the frame, in the data
    int32_t end
    int32_t level_start[4]
    int32_t level_count[4]
    int32_t following  # the row that follows in its run, -1 for none

cdef struct Chain:
    int32_t first  # rows
    int32_t last
    int32_t count
    int32_t offset  # of its rows, among all in the order of the chains


cdef inline const unsigned char* _varint(const unsigned char* at, const unsigned char* end, uint64_t* value) noexcept:
    """Behind the number; NULL where there is none, or one of more than 64 bits."""
    cdef uint64_t result = 0
    cdef unsigned char byte
    cdef int shift = 0
    while at < end:
        byte = at[0]
        at += 1
        if shift == 63 and byte > 1:
            return NULL
        result |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            value[0] = result
            return at
        shift += 7
        if shift > 63:
            return NULL
    return NULL


@cython.final
@cython.no_gc  # nothing that it holds leads back to it
cdef class TickBatch:
    """The ticks of one batch message: see tick_batch.TickBatch."""

    cdef readonly bytes data
    cdef readonly bytes control
    cdef TickScanner _scanner
    cdef Row* _rows
    cdef Chain* _chains
    cdef int32_t* _order
    cdef int32_t _count
    cdef int32_t _chain_count
    cdef list _runs

    def __dealloc__(self):
        PyMem_Free(self._order)
        PyMem_Free(self._rows)
        PyMem_Free(self._chains)

    def __len__(self):
        return self._count

    @property
    def symbols(self):
        """By row."""
        cdef list names = self._scanner._names
        cdef int32_t row
        return [names[self._rows[row].symbol] for row in range(self._count)]

    @property
    def gateways(self):
        """By row."""
        cdef list names = self._scanner._names
        cdef int32_t row
        return [names[self._rows[row].gateway] for row in range(self._count)]

    def values(self, str name):
        """A field's values by row."""
        cdef Row* rows = self._rows
        cdef int32_t row, count = self._count
        cdef int place
        if name == "sequence":
            return [rows[row].sequence for row in range(count)]
        if name == "time_ns":
            return [rows[row].time_ns for row in range(count)]
        if name == "trading_day":
            return [rows[row].trading_day for row in range(count)]
        place = _PLACES[name]
        return [rows[row].numbers[place] for row in range(count)]

    def column(self, str name):
        """The same as an array of 64-bit integers or doubles."""
        cdef Row* rows = self._rows
        cdef int32_t row, count = self._count
        cdef int place
        cdef array made
        if name in ("sequence", "time_ns", "trading_day"):
            made = clone(_integers, count, False)
            if name == "sequence":
                for row in range(count):
                    made.data.as_longlongs[row] = rows[row].sequence
            elif name == "time_ns":
                for row in range(count):
                    made.data.as_longlongs[row] = rows[row].time_ns
            else:
                for row in range(count):
                    made.data.as_longlongs[row] = rows[row].trading_day
            return made
        place = _PLACES[name]
        made = clone(_doubles, count, False)
        for row in range(count):
            made.data.as_doubles[row] = rows[row].numbers[place]
        return made

    def frames(self):
        """The bytes of each tick with its tag and length."""
        cdef int32_t row
        return [self._frame(&self._rows[row]) for row in range(self._count)]

    def runs(self):
        """The ticks by symbol, in the order of their first rows."""
        cdef list names = self._scanner._names
        cdef list frames
        cdef array times
        cdef Row* row
        cdef Chain* chain
        cdef int32_t number, index
        if self._runs is not None:
            return self._runs
        self._runs = []
        for number in range(self._chain_count):
            chain = &self._chains[number]
            frames = []
            times = clone(_integers, chain.count, False)
            for index in range(chain.count):
                row = &self._rows[self._order[chain.offset + index]]
                frames.append(self._frame(row))
                times.data.as_longlongs[index] = row.time_ns
            row = &self._rows[chain.first]
            # A Run without its class's own __new__, which is Python.
            self._runs.append(tuple.__new__(_Run, (
                names[row.symbol], names[row.gateway], row.trading_day, row.sequence, self._rows[chain.last].sequence,
                times, frames,
            )))
        return self._runs

    def fold(self, int32_t number, int32_t start, bars):
        """Apply a run's ticks to SymbolBars, as far as they only add to its open minute; returns how many.

        Every number is as `on_tick` makes it: the same operations in the same order.
        """
        cdef Chain* chain = &self._chains[number]
        cdef Row* row = &self._rows[chain.first]
        cdef int32_t index = start
        cdef object minute = bars.minute
        if minute is None or bars.begins or bars.missed or bars.trading_day != row.trading_day:
            return 0
        cdef int64_t sequence = bars.sequence, time_ns = bars.time_ns
        cdef int64_t until_ns = min(<int64_t>bars.own_time_until_ns, <int64_t>bars.close_at_ns)
        cdef double last_price = bars.last_price, volume = bars.volume, turnover = bars.turnover
        cdef double open_interest = bars.open_interest, day_open = bars.day_open
        cdef double day_high = bars.day_high, day_low = bars.day_low
        cdef double high = minute.high, low = minute.low, bar_volume = minute.volume
        cdef double bar_turnover = minute.turnover, bar_open_interest = minute.open_interest
        cdef double price, traded
        cdef bint new_high, new_low
        while index < chain.count:
            row = &self._rows[self._order[chain.offset + index]]
            price, traded = row.numbers[LAST_PRICE], row.numbers[VOLUME] - volume
            if row.sequence - 1 != sequence or not 0.0 < price < NO_VALUE or not 0.0 <= traded < NO_VALUE:
                break
            if not time_ns <= row.time_ns < until_ns:
                break
            new_high = day_high < row.numbers[HIGH] < NO_VALUE
            new_low = 0.0 < row.numbers[LOW] < day_low
            if price > high:
                high = price
            elif price < low:
                low = price
            if traded > 0.0:
                bar_volume += traded
            if turnover < row.numbers[TURNOVER] < NO_VALUE:
                bar_turnover += row.numbers[TURNOVER] - turnover
                turnover = row.numbers[TURNOVER]
            if 0.0 <= row.numbers[OPEN_INTEREST] < NO_VALUE:
                bar_open_interest = open_interest = row.numbers[OPEN_INTEREST]
            if new_high and row.numbers[HIGH] > high:
                high = row.numbers[HIGH]
            if new_low and row.numbers[LOW] < low:
                low = row.numbers[LOW]
            sequence, time_ns, last_price, volume = row.sequence, row.time_ns, price, row.numbers[VOLUME]
            if new_high:
                day_high = row.numbers[HIGH]
            if new_low:
                day_low = row.numbers[LOW]
            if price > day_high:
                day_high = price
            if price < day_low:
                day_low = price
            if day_open == 0.0 and 0.0 < row.numbers[OPEN] < NO_VALUE:
                day_open = row.numbers[OPEN]
            index += 1
        if index > start:
            minute.high, minute.low, minute.close, minute.volume = high, low, last_price, bar_volume
            minute.turnover, minute.open_interest = bar_turnover, bar_open_interest
            bars.sequence, bars.time_ns, bars.last_price, bars.volume = sequence, time_ns, last_price, volume
            bars.turnover, bars.open_interest, bars.day_open = turnover, open_interest, day_open
            bars.day_high, bars.day_low = day_high, day_low
        return index - start

    def bar_fields(self, int32_t number, int32_t index):
        """The arguments of SymbolBars.on_tick for a run's `index`-th tick."""
        cdef Row* row = &self._rows[self._order[self._chains[number].offset + index]]
        cdef double* n = row.numbers
        return (
            row.sequence, row.time_ns, n[LAST_PRICE], n[1], n[VOLUME], n[TURNOVER], n[OPEN_INTEREST], n[OPEN], n[HIGH],
            n[LOW], row.trading_day,
        )

    def select(self, symbols):
        """The ticks of these symbols as a batch message, and their number. Where they are all, its own bytes."""
        cdef list names = self._scanner._names
        cdef Row* rows = self._rows
        cdef char* marks = self._scanner.marks()
        cdef const char* data = PyBytes_AS_STRING(self.data)
        cdef char* into
        cdef bytes made
        cdef Py_ssize_t size = 0
        cdef int32_t number, row, symbol, chosen = 0
        if marks == NULL and len(names):
            raise MemoryError
        for number in range(self._chain_count):
            symbol = rows[self._chains[number].first].symbol
            marks[symbol] = names[symbol] in symbols
        for row in range(self._count):
            if marks[rows[row].symbol]:
                chosen += 1
                size += rows[row].end - rows[row].start
        if size == PyBytes_GET_SIZE(self.data):
            return self.data, chosen
        made = PyBytes_FromStringAndSize(NULL, size)
        into = PyBytes_AS_STRING(made)
        for row in range(self._count):
            if marks[rows[row].symbol]:
                size = rows[row].end - rows[row].start
                memcpy(into, data + rows[row].start, size)
                into += size
        return made, chosen

    def ticks(self, make, str epoch=""):
        """`make` called for each tick with the fields of `quant.sdk.events.Tick` in that order."""
        cdef list names = self._scanner._names
        cdef list made = []
        cdef Row* one
        cdef double* n
        cdef int32_t row
        for row in range(self._count):
            one = &self._rows[row]
            n = one.numbers
            made.append(make(
                names[one.symbol], one.time_ns, n[0], n[2], n[3], n[4], n[1], n[5], n[6], n[7], n[8], n[9], n[10],
                self._level(one, 0), self._level(one, 1), self._level(one, 2), self._level(one, 3), one.sequence,
                one.trading_day, names[one.gateway], epoch,
            ))
        return made

    cdef bytes _frame(self, Row* one):
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.data) + one.start, one.end - one.start)

    cdef tuple _level(self, Row* one, int side):
        cdef const char* at = PyBytes_AS_STRING(self.data) + one.level_start[side]
        cdef double value
        cdef int32_t number
        cdef list values = []
        for number in range(one.level_count[side]):
            memcpy(&value, at + 8 * number, 8)
            values.append(value)
        return tuple(values)


@cython.final
cdef class TickScanner:
    """Reads batches; keeps the names of symbols and gateways that it met."""

    cdef list _names
    cdef dict _places
    cdef object _pure
    # By name: the chain of the batch that is read, and the number of that batch.
    cdef int32_t* _chain_of
    cdef int64_t* _seen_in
    cdef char* _marks
    cdef Py_ssize_t _capacity
    cdef int64_t _batch
    # The last symbol (0) and gateway (1) in the batch's bytes: most ticks have those of the one before.
    cdef const unsigned char* _last_at[2]
    cdef Py_ssize_t _last_length[2]
    cdef int32_t _last_place[2]

    def __init__(self):
        self._names = []
        self._places = {}
        self._pure = _Scanner()

    def __dealloc__(self):
        PyMem_Free(self._chain_of)
        PyMem_Free(self._seen_in)
        PyMem_Free(self._marks)

    def scan(self, bytes data not None):
        """The ticks of a batch message of engine or market. Raises: MalformedBatchError."""
        cdef TickBatch batch = TickBatch.__new__(TickBatch)
        batch.data = data
        batch._scanner = self
        if PyBytes_GET_SIZE(data) >= 0x7FFFFFFF or not self._read(batch):
            return self._pure.scan(data)
        return batch

    cdef char* marks(self):
        return self._marks

    cdef bint _read(self, TickBatch batch) except -1:
        """Read all of it; false where something is unusual."""
        cdef const unsigned char* begin = <const unsigned char*>PyBytes_AS_STRING(batch.data)
        cdef const unsigned char* end = begin + PyBytes_GET_SIZE(batch.data)
        cdef const unsigned char* at = begin
        cdef const unsigned char* start
        cdef uint64_t tag, length
        cdef int32_t count = 0, row = 0
        cdef list control = None
        # A first walk from frame to frame counts them.
        while at < end:
            start = at
            if at[0] == 0x0A:
                at = _varint(at + 1, end, &length)
                count += 1
            else:
                at = _varint(at, end, &tag)
                if at == NULL or tag >> 3 < 2 or tag >> 32:
                    return False
                if tag & 7 == 0:
                    at = _varint(at, end, &length)
                    length = 0
                elif tag & 7 == 1:
                    length = 8
                elif tag & 7 == 2:
                    at = _varint(at, end, &length)
                elif tag & 7 == 5:
                    length = 4
                else:
                    return False
            if at == NULL or length > <uint64_t>(end - at):
                return False
            at += length
            if start[0] != 0x0A:
                if control is None:
                    control = []
                control.append(PyBytes_FromStringAndSize(<const char*>start, at - start))
        batch.control = b"" if control is None else b"".join(control)
        if count == 0:
            return True
        batch._rows = <Row*>PyMem_Malloc(count * sizeof(Row))
        batch._chains = <Chain*>PyMem_Malloc(count * sizeof(Chain))
        if batch._rows == NULL or batch._chains == NULL:
            raise MemoryError
        self._batch += 1
        self._last_at[0] = self._last_at[1] = NULL
        at = begin
        while at < end:
            start = at
            if at[0] == 0x0A:
                at = _varint(at + 1, end, &length)
                batch._rows[row].start = <int32_t>(start - begin)
                batch._rows[row].end = <int32_t>(at + length - begin)
                if not self._tick(&batch._rows[row], begin, at, at + length):
                    return False
                at += length
                batch._count = row + 1
                self._link(batch, row)
                row += 1
            else:
                at = _varint(at, end, &tag)
                if tag & 7 == 0:
                    at = _varint(at, end, &length)
                elif tag & 7 == 1:
                    at += 8
                elif tag & 7 == 2:
                    at = _varint(at, end, &length)
                    at += length
                else:
                    at += 4
        return self._order_rows(batch)

    cdef bint _order_rows(self, TickBatch batch) except -1:
        cdef int32_t number, row, place = 0
        batch._order = <int32_t*>PyMem_Malloc(batch._count * sizeof(int32_t))
        if batch._order == NULL:
            raise MemoryError
        for number in range(batch._chain_count):
            batch._chains[number].offset = place
            row = batch._chains[number].first
            while row >= 0:
                batch._order[place] = row
                place += 1
                row = batch._rows[row].following
        return True

    cdef void _link(self, TickBatch batch, int32_t row) noexcept:
        """Let the row follow in its run, or begin one."""
        cdef Row* rows = batch._rows
        cdef int32_t symbol = rows[row].symbol
        cdef Chain* chain
        cdef Row* last
        if self._seen_in[symbol] == self._batch:
            chain = &batch._chains[self._chain_of[symbol]]
            last = &rows[chain.last]
            if last.sequence != 0x7FFFFFFFFFFFFFFF and last.sequence + 1 == rows[row].sequence and (
                last.gateway == rows[row].gateway and last.trading_day == rows[row].trading_day
            ):
                last.following = row
                chain.last = row
                chain.count += 1
                return
        self._seen_in[symbol] = self._batch
        self._chain_of[symbol] = batch._chain_count
        chain = &batch._chains[batch._chain_count]
        chain.first = chain.last = row
        chain.count = 1
        batch._chain_count += 1

    cdef bint _tick(
        self, Row* row, const unsigned char* begin, const unsigned char* at, const unsigned char* end
    ) except -1:
        """Read a tick's fields; false where one is unusual."""
        cdef uint64_t tag, value
        cdef int32_t field, kind
        cdef const unsigned char* symbol = at
        cdef const unsigned char* gateway = at
        cdef Py_ssize_t symbol_length = 0, gateway_length = 0
        memset(row.numbers, 0, sizeof(row.numbers))
        row.time_ns = row.sequence = row.trading_day = 0
        memset(row.level_count, 0, sizeof(row.level_count))
        row.following = -1
        while at < end:
            if at[0] < 0x80:
                tag = at[0]
                at += 1
            else:
                at = _varint(at, end, &tag)
                if at == NULL:
                    return False
            if tag >> 3 > 20:
                return False
            field = <int32_t>(tag >> 3)
            kind = <int32_t>(tag & 7)
            if FIRST_NUMBER <= field <= LAST_NUMBER:
                if kind != 1 or end - at < 8:
                    return False
                memcpy(&row.numbers[field - FIRST_NUMBER], at, 8)
                at += 8
            elif field == 2 or field == 3 or field == 19:
                if kind != 0:
                    return False
                at = _varint(at, end, &value)
                if at == NULL:
                    return False
                if field == 2:
                    row.time_ns = <int64_t>value
                elif field == 3:
                    row.sequence = <int64_t>value
                else:
                    row.trading_day = <int32_t>value
            else:
                if kind != 2 or field == 0:
                    return False
                at = _varint(at, end, &value)
                if at == NULL or value > <uint64_t>(end - at):
                    return False
                if field == 1:
                    symbol, symbol_length = at, <Py_ssize_t>value
                elif field == 20:
                    gateway, gateway_length = at, <Py_ssize_t>value
                else:
                    if value % 8 or row.level_count[field - 15]:
                        return False
                    row.level_start[field - 15] = <int32_t>(at - begin)
                    row.level_count[field - 15] = <int32_t>(value // 8)
                at += value
        row.symbol = self._place(0, symbol, symbol_length)
        row.gateway = self._place(1, gateway, gateway_length)
        return row.symbol >= 0 and row.gateway >= 0

    cdef int32_t _place(self, int kind, const unsigned char* at, Py_ssize_t length) except -2:
        """The place of a name; -1 where it is no text."""
        if self._last_at[kind] != NULL and self._last_length[kind] == length and (
            memcmp(self._last_at[kind], at, length) == 0
        ):
            return self._last_place[kind]
        cdef int32_t place = self._find(at, length)
        self._last_at[kind], self._last_length[kind], self._last_place[kind] = at, length, place
        return place

    cdef int32_t _find(self, const unsigned char* at, Py_ssize_t length) except -2:
        cdef bytes key = PyBytes_FromStringAndSize(<const char*>at, length)
        cdef object place = self._places.get(key)
        if place is not None:
            return place
        try:
            name = PyUnicode_DecodeUTF8(<const char*>at, length, NULL)
        except UnicodeDecodeError:
            return -1
        self._grow(len(self._names) + 1)
        self._names.append(name)
        self._places[key] = len(self._names) - 1
        return len(self._names) - 1

    cdef int _grow(self, Py_ssize_t count) except -1:
        cdef Py_ssize_t capacity
        cdef int32_t* chain_of
        cdef int64_t* seen_in
        cdef char* marks
        if count <= self._capacity:
            return 0
        capacity = max(64, 2 * self._capacity)
        chain_of = <int32_t*>PyMem_Malloc(capacity * sizeof(int32_t))
        seen_in = <int64_t*>PyMem_Malloc(capacity * sizeof(int64_t))
        marks = <char*>PyMem_Malloc(capacity)
        if chain_of == NULL or seen_in == NULL or marks == NULL:
            PyMem_Free(chain_of)
            PyMem_Free(seen_in)
            PyMem_Free(marks)
            raise MemoryError
        memset(seen_in, 0, capacity * sizeof(int64_t))
        if self._capacity:
            memcpy(chain_of, self._chain_of, self._capacity * sizeof(int32_t))
            memcpy(seen_in, self._seen_in, self._capacity * sizeof(int64_t))
        PyMem_Free(self._chain_of)
        PyMem_Free(self._seen_in)
        PyMem_Free(self._marks)
        self._chain_of, self._seen_in, self._marks, self._capacity = chain_of, seen_in, marks, capacity
        return 0
