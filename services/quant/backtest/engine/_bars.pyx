# cython: language_level=3, cdivision=True, annotation_typing=False
"""vnpy's BarGenerator in C: the bar that grows is kept as numbers and made a BarData when it is read.

From then on, and for values that are no floats, vnpy's own methods go on with that object.
"""

cimport cython
from cpython.datetime cimport (
    PyDateTime_Check, datetime_hour, datetime_minute, import_datetime,
)
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact

from vnpy.trader.constant import Interval
from vnpy.trader.object import BarData
from vnpy.trader.utility import BarGenerator as VnpyBarGenerator

import_datetime()

cdef object _MINUTE = Interval.MINUTE
cdef object _new = BarData.__new__
cdef object _base = VnpyBarGenerator


@cython.final
cdef class Candle:
    """A bar that grows: numbers, and the BarData (`bar`) once it has been read."""

    cdef bint live
    cdef object bar
    cdef object like
    cdef object time
    cdef object interval
    cdef bint rounded
    cdef double open
    cdef double high
    cdef double low
    cdef double close
    cdef double volume
    cdef double turnover
    cdef double open_interest
    cdef bint float_volume
    cdef bint float_turnover

    cdef void begin(self, object like, object time, double open_, double high, double low) noexcept:
        self.live = True
        self.bar = None
        self.like = like
        self.time = time
        self.open = open_
        self.high = high
        self.low = low
        self.volume = 0
        self.turnover = 0
        self.float_volume = False
        self.float_turnover = False

    cdef void drop(self) noexcept:
        self.live = False
        self.bar = None
        self.like = None

    cdef object to_bar_data(self):
        """The BarData, which replaces the numbers from now on."""
        if self.bar is None and self.live:
            bar = _new(BarData)
            like = self.like
            bar.gateway_name = like.gateway_name
            bar.symbol = like.symbol
            bar.exchange = like.exchange
            bar.datetime = self.time.replace(second=0, microsecond=0) if self.rounded else self.time
            bar.interval = self.interval
            # vnpy's volumes begin as the whole number 0.
            bar.volume = self.volume if self.float_volume else 0
            bar.turnover = self.turnover if self.float_turnover else 0
            bar.open_interest = self.open_interest
            bar.open_price = self.open
            bar.high_price = self.high
            bar.low_price = self.low
            bar.close_price = self.close
            bar.vt_symbol = f"{like.symbol}.{like.exchange.value}"
            self.bar = bar
        return self.bar


cdef class Windows:
    """The C part of BarGenerator."""

    cdef public object on_bar
    cdef public object interval
    cdef public object interval_count
    cdef public object hour_bar
    cdef public object daily_bar
    cdef public object window
    cdef public object on_window_bar
    cdef public object daily_end
    cdef Candle _minute
    cdef Candle _window
    cdef object _last_tick
    cdef bint _last_known
    cdef double _last_high
    cdef double _last_low
    cdef double _last_volume
    cdef double _last_turnover
    cdef bint _plain

    def __cinit__(self, *args, **kwargs):
        self._minute = Candle.__new__(Candle)
        self._minute.interval = _MINUTE
        self._window = Candle.__new__(Candle)
        self._window.rounded = True
        kind = type(self)
        self._plain = kind.update_bar_minute_window is Windows.update_bar_minute_window and all(
            getattr(kind, name) is getattr(Windows, name) for name in ("bar", "window_bar", "last_tick")
        )

    @property
    def bar(self):
        return self._minute.to_bar_data()

    @bar.setter
    def bar(self, value):
        self._minute.live = value is not None
        self._minute.bar = value

    @property
    def window_bar(self):
        return self._window.to_bar_data()

    @window_bar.setter
    def window_bar(self, value):
        self._window.live = value is not None
        self._window.bar = value

    @property
    def last_tick(self):
        return self._last_tick

    @last_tick.setter
    def last_tick(self, value):
        self._last_tick = value
        self._last_known = False

    def update_tick(self, tick):
        """Put a tick into the minute's bar."""
        cdef Candle minute = self._minute
        cdef object price_ = tick.last_price
        if not price_:
            return
        cdef object time = tick.datetime
        cdef object high_ = tick.high_price
        cdef object low_ = tick.low_price
        cdef object volume_ = tick.volume
        cdef object turnover_ = tick.turnover
        cdef object interest_ = tick.open_interest
        if (
            not self._plain or (minute.live and minute.bar is not None) or not PyDateTime_Check(time)
            or not PyFloat_CheckExact(price_) or not PyFloat_CheckExact(high_) or not PyFloat_CheckExact(low_)
            or not PyFloat_CheckExact(volume_) or not PyFloat_CheckExact(turnover_) or not PyFloat_CheckExact(interest_)
            or (self._last_tick is not None and not self._last_known)
        ):
            _base.update_tick(self, tick)
            self._remember(tick)
            return
        cdef double price = PyFloat_AS_DOUBLE(price_)
        cdef double high = PyFloat_AS_DOUBLE(high_)
        cdef double low = PyFloat_AS_DOUBLE(low_)
        cdef double volume = PyFloat_AS_DOUBLE(volume_)
        cdef double turnover = PyFloat_AS_DOUBLE(turnover_)
        cdef double change
        if minute.live and (
            datetime_minute(minute.time) != datetime_minute(time) or datetime_hour(minute.time) != datetime_hour(time)
        ):
            minute.time = minute.time.replace(second=0, microsecond=0)
            self.on_bar(minute.to_bar_data())
            minute.live = False
        if not minute.live:
            minute.begin(tick, time, price, price, price)
        else:
            if price > minute.high:
                minute.high = price
            if price < minute.low:
                minute.low = price
            minute.time = time
        minute.close = price
        minute.open_interest = PyFloat_AS_DOUBLE(interest_)
        if self._last_tick is not None:
            if high != 0 and high > self._last_high and high > minute.high:
                minute.high = high
            if low != 0 and low < self._last_low and low < minute.low:
                minute.low = low
            change = volume - self._last_volume
            if not 0 > change:
                minute.volume += change
                minute.float_volume = True
            change = turnover - self._last_turnover
            if not 0 > change:
                minute.turnover += change
                minute.float_turnover = True
        self._last_tick = tick
        self._last_known = True
        self._last_high = high
        self._last_low = low
        self._last_volume = volume
        self._last_turnover = turnover

    cdef _remember(self, tick):
        if self._last_tick is tick:
            self._last_high = tick.high_price
            self._last_low = tick.low_price
            self._last_volume = tick.volume
            self._last_turnover = tick.turnover
            self._last_known = True

    def update_bar(self, bar):
        """Put a bar into the window's."""
        if self.interval is _MINUTE and self._plain:
            self._update_minutes(bar)
        else:
            _base.update_bar(self, bar)

    def update_bar_minute_window(self, bar):
        """Put a bar into the window's, and hand that on when its last minute is in."""
        self._update_minutes(bar)

    cdef _update_minutes(self, bar):
        cdef Candle window = self._window
        cdef object time = bar.datetime
        cdef object open_ = bar.open_price
        cdef object high_ = bar.high_price
        cdef object low_ = bar.low_price
        cdef object close_ = bar.close_price
        cdef object volume_ = bar.volume
        cdef object turnover_ = bar.turnover
        cdef object interest_ = bar.open_interest
        if (
            not self._plain or (window.live and window.bar is not None) or not PyDateTime_Check(time)
            or not PyFloat_CheckExact(open_) or not PyFloat_CheckExact(high_) or not PyFloat_CheckExact(low_)
            or not PyFloat_CheckExact(close_) or not PyFloat_CheckExact(volume_) or not PyFloat_CheckExact(turnover_)
            or not PyFloat_CheckExact(interest_) or type(self.window) is not int or not self.window
        ):
            _base.update_bar_minute_window(self, bar)
            return
        cdef double high = PyFloat_AS_DOUBLE(high_)
        cdef double low = PyFloat_AS_DOUBLE(low_)
        cdef long width = self.window
        if not window.live:
            window.begin(bar, time, PyFloat_AS_DOUBLE(open_), high, low)
        else:
            if high > window.high:
                window.high = high
            if low < window.low:
                window.low = low
        window.close = PyFloat_AS_DOUBLE(close_)
        window.volume += PyFloat_AS_DOUBLE(volume_)
        window.turnover += PyFloat_AS_DOUBLE(turnover_)
        window.float_volume = window.float_turnover = True
        window.open_interest = PyFloat_AS_DOUBLE(interest_)
        if not (datetime_minute(time) + 1) % width:
            if self.on_window_bar:
                self.on_window_bar(window.to_bar_data())
            window.drop()


class BarGenerator(Windows, VnpyBarGenerator):
    """Substitute for vnpy.trader.utility.BarGenerator."""
