# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, annotation_typing=False
"""vnpy's ArrayManager in C: the bars of a window, and those of TA-Lib's functions that strategies call most.

EMA, STDDEV, ATR and RSI are TA-Lib's own, called in its library without its Python wrapper. Of SMA, CCI, MAX and MIN
strategies mostly want the last value only: here are its operations in TA-Lib's order, so that no bit differs, and
`verify` compares them with TA-Lib itself before they are used. Other parameters, a NaN in the window and arrays that
a strategy has set go to vnpy's class.
"""

cimport cython
cimport numpy as cnp
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from libc.math cimport fabs, NAN
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

import ctypes

import numpy as np
import talib._ta_lib
from vnpy.trader.utility import ArrayManager as VnpyArrayManager

cnp.import_array()


# TA-Lib's functions, by their addresses in the library that its Python module has loaded; NULL where it exports none.
ctypedef int (*OfOne)(int, int, const double*, int, int*, int*, double*) noexcept
ctypedef int (*OfDeviation)(int, int, const double*, int, double, int*, int*, double*) noexcept
ctypedef int (*OfThree)(int, int, const double*, const double*, const double*, int, int*, int*, double*) noexcept
cdef OfOne _TA_EMA = <OfOne> _address("TA_EMA")
cdef OfOne _TA_RSI = <OfOne> _address("TA_RSI")
cdef OfDeviation _TA_STDDEV = <OfDeviation> _address("TA_STDDEV")
cdef OfThree _TA_ATR = <OfThree> _address("TA_ATR")


cdef void* _address(str name) except? NULL:
    try:
        address = ctypes.cast(getattr(ctypes.CDLL(talib._ta_lib.__file__), name), ctypes.c_void_p).value
    except (AttributeError, OSError):
        return NULL
    return <void*> <uintptr_t> address


FIELDS = ("open", "high", "low", "close", "volume", "turnover", "open_interest")
cdef set _off = set()
cdef double _NEARLY_ZERO = 1e-6


cdef extern from *:
    """
    #include <numpy/arrayscalars.h>
    static PyObject *new_scalar(double value) {
        PyObject *made = PyDoubleArrType_Type.tp_alloc(&PyDoubleArrType_Type, 0);
        if (made != NULL) PyArrayScalar_VAL(made, Double) = value;
        return made;
    }
    """
    object _scalar "new_scalar"(double value)


cdef inline double _number(object value) except? -1:
    if PyFloat_CheckExact(value):
        return PyFloat_AS_DOUBLE(value)
    return value


cdef inline cnp.ndarray _empty(Py_ssize_t size):
    cdef cnp.npy_intp length = size
    return cnp.PyArray_SimpleNew(1, &length, cnp.NPY_DOUBLE)


cdef class Rows:
    """The C part of ArrayManager."""

    cdef public Py_ssize_t count
    cdef public Py_ssize_t size
    cdef public bint inited
    cdef bint _own
    cdef bint _exact
    cdef Py_ssize_t _dirty
    cdef double* _data
    cdef double* _scratch
    cdef cnp.ndarray _block
    cdef list _rows

    def __dealloc__(self):
        free(self._scratch)

    def __init__(self, size=100):
        free(self._scratch)
        self._scratch = <double*> malloc((size + 1) * sizeof(double))
        if self._scratch is NULL:
            raise MemoryError
        self.count = 0
        self.size = size
        self.inited = False
        self._dirty = 0
        self._block = np.zeros(7 * size)
        self._data = <double*> cnp.PyArray_DATA(self._block)
        self._rows = [self._block[i * size : (i + 1) * size] for i in range(7)]
        self._own = size > 1
        kind = type(self)
        self._exact = all(
            getattr(kind, name, None) is getattr(Rows, name)
            for field in FIELDS
            for name in (field, f"{field}_array")
        )

    def __reduce_ex__(self, protocol):
        state = {**getattr(self, "__dict__", {})}
        return _restored, (type(self), self.size, self.count, self.inited, self._own, [r.copy() for r in self._rows], state)

    cpdef update_bar(self, bar):
        """A bar at the end, the oldest out."""
        if not self._own:
            VnpyArrayManager.update_bar(self, bar)
            return
        cdef Py_ssize_t size = self.size
        cdef double* data = self._data
        cdef double open_ = _number(bar.open_price)
        cdef double high = _number(bar.high_price)
        cdef double low = _number(bar.low_price)
        cdef double close = _number(bar.close_price)
        cdef double volume = _number(bar.volume)
        cdef double turnover = _number(bar.turnover)
        cdef double open_interest = _number(bar.open_interest)
        self.count += 1
        if not self.inited and self.count >= size:
            self.inited = True
        memmove(data, data + 1, (7 * size - 1) * sizeof(double))
        data += size - 1
        data[0] = open_
        data[size] = high
        data[2 * size] = low
        data[3 * size] = close
        data[4 * size] = volume
        data[5 * size] = turnover
        data[6 * size] = open_interest
        cdef double together = high + low + close
        if together != together:
            self._dirty = size
        elif self._dirty:
            self._dirty -= 1

    cdef bint _plain(self, object n, object array, str name) except -1:
        """True if the C loop may be used; `n` from 2 to below the size."""
        if self._dirty or not self._own or not self._exact or type(n) is not int or name in _off:
            return False
        return 2 <= n < self.size

    cdef object _put(self, Py_ssize_t index, object value):
        self._rows[index] = value
        self._own = False

    @property
    def open_array(self): return self._rows[0]
    @open_array.setter
    def open_array(self, value): self._put(0, value)
    @property
    def high_array(self): return self._rows[1]
    @high_array.setter
    def high_array(self, value): self._put(1, value)
    @property
    def low_array(self): return self._rows[2]
    @low_array.setter
    def low_array(self, value): self._put(2, value)
    @property
    def close_array(self): return self._rows[3]
    @close_array.setter
    def close_array(self, value): self._put(3, value)
    @property
    def volume_array(self): return self._rows[4]
    @volume_array.setter
    def volume_array(self, value): self._put(4, value)
    @property
    def turnover_array(self): return self._rows[5]
    @turnover_array.setter
    def turnover_array(self, value): self._put(5, value)
    @property
    def open_interest_array(self): return self._rows[6]
    @open_interest_array.setter
    def open_interest_array(self, value): self._put(6, value)

    @property
    def open(self): return self._rows[0]
    @property
    def high(self): return self._rows[1]
    @property
    def low(self): return self._rows[2]
    @property
    def close(self): return self._rows[3]
    @property
    def volume(self): return self._rows[4]
    @property
    def turnover(self): return self._rows[5]
    @property
    def open_interest(self): return self._rows[6]

    def sma(self, n, array=False):
        """TA_SMA of the closes."""
        if not self._plain(n, array, "sma"):
            return VnpyArrayManager.sma(self, n, array)
        cdef double* close = self._data + 3 * self.size
        cdef cnp.ndarray out
        if not array:
            return _scalar(_sma(close, self.size, n, NULL))
        out = _empty(self.size)
        _sma(close, self.size, n, <double*> cnp.PyArray_DATA(out))
        return out

    def ema(self, n, array=False):
        """TA_EMA of the closes."""
        if _TA_EMA is NULL or not self._plain(n, array, "ema"):
            return VnpyArrayManager.ema(self, n, array)
        cdef object out = self._of_one(_TA_EMA, n, bool(array))
        return VnpyArrayManager.ema(self, n, array) if out is None else out

    def rsi(self, n, array=False):
        """TA_RSI of the closes."""
        if _TA_RSI is NULL or not self._plain(n, array, "rsi"):
            return VnpyArrayManager.rsi(self, n, array)
        cdef object out = self._of_one(_TA_RSI, n, bool(array))
        return VnpyArrayManager.rsi(self, n, array) if out is None else out

    def std(self, n, nbdev=1, array=False):
        """TA_STDDEV of the closes."""
        if array or type(nbdev) is not int or not self._plain(n, array, "std"):
            return VnpyArrayManager.std(self, n, nbdev, array)
        cdef double value = self._deviation(n, nbdev)
        return VnpyArrayManager.std(self, n, nbdev, array) if value != value else _scalar(value)

    def atr(self, n, array=False):
        """TA_ATR."""
        if _TA_ATR is NULL or not self._plain(n, array, "atr"):
            return VnpyArrayManager.atr(self, n, array)
        cdef double* data = self._data
        cdef Py_ssize_t size = self.size
        cdef cnp.ndarray out
        cdef double value
        if not array:
            value = self._true_range(n)
            return VnpyArrayManager.atr(self, n, array) if value != value else _scalar(value)
        out = _empty(size)
        cdef double* values = <double*> cnp.PyArray_DATA(out)
        cdef int begin = 0, many = 0
        cdef int failed = _TA_ATR(
            0, size - 1, data + size, data + 2 * size, data + 3 * size, n, &begin, &many, self._scratch
        )
        if failed or begin + many != size:
            return VnpyArrayManager.atr(self, n, array)
        _fill(values, self._scratch, begin, many)
        return out

    cdef object _of_one(self, OfOne function, int n, bint array):
        """The function of the closes; None where TA-Lib's wrapper is to raise the error."""
        cdef int begin = 0, many = 0
        cdef Py_ssize_t size = self.size
        cdef int failed = function(0, size - 1, self._data + 3 * size, n, &begin, &many, self._scratch)
        if failed or not many or begin + many != size:
            return None
        if not array:
            return _scalar(self._scratch[many - 1])
        cdef cnp.ndarray out = _empty(size)
        _fill(<double*> cnp.PyArray_DATA(out), self._scratch, begin, many)
        return out

    cdef double _deviation(self, int n, double nbdev) noexcept:
        """The last TA_STDDEV of the closes, or NaN."""
        cdef int begin = 0, many = 0
        cdef Py_ssize_t size = self.size
        if _TA_STDDEV is NULL:
            return NAN
        if _TA_STDDEV(0, size - 1, self._data + 3 * size, n, nbdev, &begin, &many, self._scratch) or not many:
            return NAN
        return self._scratch[many - 1]

    cdef double _true_range(self, int n) noexcept:
        """The last TA_ATR, or NaN."""
        cdef int begin = 0, many = 0
        cdef Py_ssize_t size = self.size
        cdef double* data = self._data
        if _TA_ATR is NULL:
            return NAN
        if _TA_ATR(0, size - 1, data + size, data + 2 * size, data + 3 * size, n, &begin, &many, self._scratch):
            return NAN
        return self._scratch[many - 1] if many else NAN

    def cci(self, n, array=False):
        """TA_CCI; an array of it is TA-Lib's own."""
        if array or not self._plain(n, array, "cci"):
            return VnpyArrayManager.cci(self, n, array)
        cdef double* data = self._data
        cdef Py_ssize_t size = self.size
        cdef double value = _cci(data + size, data + 2 * size, data + 3 * size, size, n)
        return VnpyArrayManager.cci(self, n, array) if value != value else _scalar(value)

    def boll(self, n, dev, array=False):
        """SMA ± dev · STDDEV of the closes."""
        if array or type(dev) not in (int, float) or not self._plain(n, array, "boll"):
            return VnpyArrayManager.boll(self, n, dev, array)
        cdef double* close = self._data + 3 * self.size
        cdef double middle = _sma(close, self.size, n, NULL)
        cdef double width = self._deviation(n, 1)
        if width != width:
            return VnpyArrayManager.boll(self, n, dev, array)
        width *= <double> dev
        return _scalar(middle + width), _scalar(middle - width)

    def keltner(self, n, dev, array=False):
        """SMA of the closes ± dev · ATR."""
        if array or type(dev) not in (int, float) or not self._plain(n, array, "keltner"):
            return VnpyArrayManager.keltner(self, n, dev, array)
        cdef double* data = self._data
        cdef Py_ssize_t size = self.size
        cdef double middle = _sma(data + 3 * size, size, n, NULL)
        cdef double width = self._true_range(n)
        if width != width:
            return VnpyArrayManager.keltner(self, n, dev, array)
        width *= <double> dev
        return _scalar(middle + width), _scalar(middle - width)

    def donchian(self, n, array=False):
        """TA_MAX of the highs and TA_MIN of the lows; arrays of them are TA-Lib's own."""
        if array or not self._plain(n, array, "donchian"):
            return VnpyArrayManager.donchian(self, n, array)
        cdef double* high = self._data + 2 * self.size
        cdef double* low = self._data + 3 * self.size
        cdef Py_ssize_t length = n
        cdef Py_ssize_t i
        cdef double most = high[-length]
        cdef double least = low[-length]
        for i in range(1, length):
            if high[i - length] > most:
                most = high[i - length]
            if low[i - length] < least:
                least = low[i - length]
        return _scalar(most), _scalar(least)


cdef void _fill(double* out, double* values, Py_ssize_t begin, Py_ssize_t many) noexcept:
    """Fill `out` as the wrapper does: NaN where there is no value yet."""
    cdef Py_ssize_t i
    for i in range(begin):
        out[i] = NAN
    memcpy(out + begin, values, many * sizeof(double))


cdef double _sma(double* real, Py_ssize_t size, Py_ssize_t n, double* out) noexcept:
    """The last simple moving average; all of them into `out` unless it is NULL."""
    cdef double total = 0
    cdef double value = 0
    cdef Py_ssize_t i
    for i in range(n - 1):
        total += real[i]
    if out is NULL:
        for i in range(n - 1, size):
            total += real[i]
            value = total
            total -= real[i - n + 1]
        return value / n
    for i in range(n - 1):
        out[i] = NAN
    for i in range(n - 1, size):
        total += real[i]
        value = total
        total -= real[i - n + 1]
        out[i] = value / n
    return out[size - 1]


cdef double _cci(double* high, double* low, double* close, Py_ssize_t size, Py_ssize_t n) noexcept:
    """The last CCI in TA-Lib's order of operations: it sums its circular buffer from its beginning, not from the oldest
    value, so that the place of the newest one in it decides about the last bits. NaN where the window is
    all but flat: the zero that it compares with depends on its version."""
    cdef Py_ssize_t newest = (size - 1) % n
    cdef Py_ssize_t i, j
    cdef double mean = 0
    cdef double spread = 0
    cdef double last = (high[size - 1] + low[size - 1] + close[size - 1]) / 3
    for j in range(n):
        i = size - 1 - (newest - j if j <= newest else newest - j + n)
        mean += (high[i] + low[i] + close[i]) / 3
    mean /= n
    for j in range(n):
        i = size - 1 - (newest - j if j <= newest else newest - j + n)
        spread += fabs((high[i] + low[i] + close[i]) / 3 - mean)
    last -= mean
    if fabs(last) < _NEARLY_ZERO or spread < _NEARLY_ZERO:
        return NAN
    return last / (0.015 * (spread / n))


class ArrayManager(Rows, VnpyArrayManager):
    """Substitute for vnpy.trader.utility.ArrayManager."""


def _restored(kind, size, count, inited, own, rows, state):
    made = kind.__new__(kind)
    cdef Rows bare = made
    Rows.__init__(bare, size)
    bare.count = count
    bare.inited = inited
    for mine, theirs in zip(bare._rows, rows):
        if own:
            mine[:] = theirs
    if not own:
        bare._rows = rows
        bare._own = False
    bare._dirty = size
    if state:
        made.__dict__.update(state)
    return made


def verify():
    """Compare with TA-Lib; returns the names of functions that differ by a bit or more, which are then used no more."""
    class Bar:
        pass

    def same(mine, theirs):
        mine, theirs = np.array(mine, dtype=float), np.array(theirs, dtype=float)
        return bool(((mine == theirs) | ((mine != mine) & (theirs != theirs))).all())

    generator = np.random.default_rng(11)
    for noise in (1.0, 0.013):
        window = ArrayManager(100)
        theirs = VnpyArrayManager(100)
        for price in 3500 + np.cumsum(generator.normal(0, noise, 137)):
            bar = Bar()
            bar.open_price = bar.close_price = price
            bar.high_price = price + generator.random()
            bar.low_price = price - generator.random()
            bar.volume = bar.turnover = bar.open_interest = 1.0
            window.update_bar(bar)
            theirs.update_bar(bar)
        for n in (2, 14, 30, 99):
            for name in ("sma", "ema", "std", "atr", "rsi", "cci", "donchian"):
                mine, other = getattr(window, name), getattr(theirs, name)
                if not same(mine(n), other(n)) or not same(mine(n, array=True), other(n, array=True)):
                    _off.add(name)
            for name in ("boll", "keltner"):
                if not same(getattr(window, name)(n, 2.5), getattr(theirs, name)(n, 2.5)):
                    _off.add(name)
    return sorted(_off)
