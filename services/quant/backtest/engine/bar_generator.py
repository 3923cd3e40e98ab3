"""vnpy's BarGenerator, with its bars made and updated without detours."""

from typing import Any

from vnpy.trader.constant import Interval
from vnpy.trader.object import BarData
from vnpy.trader.utility import BarGenerator as VnpyBarGenerator


class BarGenerator(VnpyBarGenerator):
    """Substitute for vnpy.trader.utility.BarGenerator."""

    bar: Any
    last_tick: Any
    window_bar: Any

    def update_tick(self, tick: Any) -> None:
        """Put a tick into the minute's bar."""
        price = tick.last_price
        if not price:
            return
        bar = self.bar
        time = tick.datetime
        if bar is not None:
            before = bar.datetime
            if before.minute != time.minute or before.hour != time.hour:
                bar.datetime = before.replace(second=0, microsecond=0)
                self.on_bar(bar)
                bar = None
        if bar is None:
            self.bar = bar = made_bar(tick, time, price, price, price)
            bar.interval = Interval.MINUTE
            bar.close_price = price
            bar.open_interest = tick.open_interest
        else:
            # max and min keep the first of two equals; so do these.
            if price > bar.high_price:
                bar.high_price = price
            if price < bar.low_price:
                bar.low_price = price
            bar.close_price = price
            bar.open_interest = tick.open_interest
            bar.datetime = time
        last = self.last_tick
        if last is not None:
            high = tick.high_price
            if high != 0 and high > last.high_price and high > bar.high_price:
                bar.high_price = high
            low = tick.low_price
            if low != 0 and low < last.low_price and low < bar.low_price:
                bar.low_price = low
            change = tick.volume - last.volume
            bar.volume += change if not change < 0 else 0
            change = tick.turnover - last.turnover
            bar.turnover += change if not change < 0 else 0
        self.last_tick = tick

    def update_bar_minute_window(self, bar: Any) -> None:
        """Put a bar into the window's, and hand that on when its last minute is in."""
        window = self.window_bar
        if window is None:
            time = bar.datetime.replace(second=0, microsecond=0)
            self.window_bar = window = made_bar(bar, time, bar.open_price, bar.high_price, bar.low_price)
        else:
            high = bar.high_price
            if high > window.high_price:
                window.high_price = high
            low = bar.low_price
            if low < window.low_price:
                window.low_price = low
        window.close_price = bar.close_price
        window.volume += bar.volume
        window.turnover += bar.turnover
        window.open_interest = bar.open_interest
        if not (bar.datetime.minute + 1) % self.window:
            if self.on_window_bar:
                self.on_window_bar(window)
            self.window_bar = None


def made_bar(like: Any, time: Any, open_price: float, high_price: float, low_price: float) -> Any:
    """A BarData of the same instrument, as its __init__ makes it."""
    bar = BarData.__new__(BarData)
    bar.gateway_name = like.gateway_name
    bar.symbol = like.symbol
    bar.exchange = like.exchange
    bar.datetime = time
    bar.interval = None
    bar.volume = 0
    bar.turnover = 0
    bar.open_interest = 0
    bar.open_price = open_price
    bar.high_price = high_price
    bar.low_price = low_price
    bar.close_price = 0
    bar.vt_symbol = f"{like.symbol}.{like.exchange._value_}"
    return bar
