# The C types of core.py, for its compiled build; see compile.py.

cimport cython

cdef str _LIMIT_ID
cdef str _STOP
cdef double _MOST_STEPS
cdef double _MARGIN
cdef double _EXACT
cdef double _TO_WHOLE
cdef object _BEGINNING
cdef object _LONG
cdef object _SHORT
cdef object _OPEN
cdef object _CLOSE
cdef object _LIMIT
cdef object _SUBMITTING
cdef object _NOTTRADED
cdef object _PARTTRADED
cdef object _ALLTRADED
cdef object _CANCELLED
cdef object _REJECTED
cdef object _STOP_CANCELLED
cdef object _STOP_TRIGGERED


@cython.final
cdef class Ticket:
    cdef public long number
    cdef public str vt_orderid
    cdef public object direction
    cdef public bint is_long
    cdef public bint is_short
    cdef public bint is_stop
    cdef public bint submitting
    cdef public object offset
    cdef public double price
    cdef public object volume
    cdef public object sent
    cdef public object traded
    cdef public object order


@cython.final
cdef class Core:
    cdef public object engine_type
    cdef public str gateway_name
    cdef public str vt_symbol
    cdef public str symbol
    cdef public object exchange
    cdef public bint is_bars
    cdef public object start
    cdef public object end
    cdef public object rate
    cdef public object slippage
    cdef public object size
    cdef public object pricetick
    cdef public object capital
    cdef public object source
    cdef public object fill_model
    cdef public object strategy
    cdef public object row
    cdef public list logs
    cdef public list fills
    cdef public long trade_count
    cdef public long limit_count
    cdef public long stop_count
    cdef public long sent_count
    cdef public dict limits
    cdef public dict stops
    cdef public bint notify_orders
    cdef public bint notify_stops
    cdef public bint notify_trades
    cdef public bint plain_orders
    cdef double _numerator
    cdef double _denominator
    cdef bint _quick_rounding
    cdef bint _exact_steps

    @cython.locals(number=long, ticket=Ticket, rounded=double, vt_orderid=str)
    cpdef list send_order(
        self, object strategy, object direction, object offset, object price, object volume, object stop, object lock,
        object net
    )

    @cython.locals(ticket=Ticket)
    cpdef object cancel_order(self, object strategy, object vt_orderid)

    cpdef object withdraw(self, Ticket ticket)

    @cython.locals(ticket=Ticket)
    cpdef object cancel_all(self, object strategy)

    @cython.locals(limits=dict, stops=dict)
    cpdef object replay(self, list rows, object on_row)

    cpdef list take_fills(self)

    @cython.locals(
        ticket=Ticket, long_cross=double, short_cross=double, long_best=double, short_best=double, price=double, number=long
    )
    cpdef object cross_limits(self, object row)

    @cython.locals(
        ticket=Ticket, long_cross=double, short_cross=double, best=double, price=double, number=long, trade_number=long
    )
    cpdef object cross_stops(self, object row)

    cpdef object notify(self, Ticket ticket, object status)

    cpdef object order_of(self, Ticket ticket)

    @cython.locals(value=double, steps=double, whole=double, exact=double)
    cpdef double round_price(self, object price) except? -1

    @cython.locals(ticket=Ticket, ticket_or_none=Ticket, notified=bint)
    cdef object _cancel_each(self, dict tickets)

    @cython.locals(created=Ticket)
    cpdef Ticket ticket(
        self, long number, str vt_orderid, bint is_stop, object direction, object offset, double price, object volume
    )

    cdef object _cancelled(self, Ticket ticket)

    cdef object _filled_order(self, Ticket ticket, long number)

    cdef object _order(self, Ticket ticket, long number)

    cdef object _trade(self, Ticket ticket, long order_number, long number, double price, object volume)


cdef object _nothing(object row)


@cython.locals(core=Core)
cdef object _sent(
    object self, object direction, object offset, object price, object volume, object stop, object lock, object net
)


@cython.locals(core=Core)
cpdef object cancel_all(object self)
