"""Bars out of ticks: the one builder, for market and for strategies, live and in backtests.

Bars are a function of the ordered sequence of ticks, watermarks and epochs, however it is cut into batches: what a
stream gave is what a rebuild gives.

**Time.** Bars are stamped at their start. Intraday bars start at multiples of their length from local midnight of the
exchange; a day's bar covers the trading day, night session included, and takes its prices and volume from the
exchange's own figures in the ticks. Where a trading day ends within a span, each of the two days has a bar of that
start: a bar is known by symbol, length, trading day and start. A span in which nothing was traded has no bar: snapshots
that only repeat the last trade (as exchanges send after the close) open none. Ticks of the second after a session's end
belong to its last bar.

**Closing.** A bar closes at the first tick or watermark (exchange time, per gateway) at or beyond its end, at a
session's end a second later; the day's at the end of its trading day (17:00 on Chinese exchanges) or at the next one's
first tick. A closed bar never changes. Volume that comes later goes into the open bar or opens the next one.

**Order.** Volume grows within an epoch and a trading day. A snapshot that is not newer in time and has no larger volume
is late and changes nothing. One of a later time with a smaller volume keeps the larger count, and counts anew when less
than half is left: exchanges whose day turns at another hour than the calendar's.

**Gaps.** `incomplete` marks a bar that was built over a gap, so that trades of its span may be missing or others may be
in it: ticks were lost (sequences jump), the symbol was silent for much longer in its session than it usually is, the
builder began in the middle of it, or it was open when an epoch ended.

**Epochs.** Volumes of two epochs are not compared. Bars that an epoch's end leaves open are marked `incomplete` and go
on where the new epoch's first tick goes on: same gateway, same trading day, no earlier time or no less volume. Else,
and where another gateway takes the symbol over, they are closed as they are.
"""

from services.quant.bars.bar import LONGER, Bar, Interval
from services.quant.bars.builder import BarBuilder
from services.quant.bars.local_clock import LocalClock
from services.quant.bars.open_bars import Lengths

__all__ = ["LONGER", "Bar", "BarBuilder", "Interval", "Lengths", "LocalClock"]
