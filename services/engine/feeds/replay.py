"""The replay feed: a recorded market played again, at its own pace, faster, or as fast as it is read."""

import asyncio
import csv
import logging
import math
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from services.engine.feeds.feed import ReplayFeedSpec, ReplayStart, open_recording
from services.engine.feeds.quote import Quote
from services.engine.feeds.watermark import ReplayWatermark
from services.kernel.clock import Clock
from services.quant.calendar import Calendar
from services.quant.catalogue import Catalogue

log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_SHANGHAI_NS = 8 * 3600 * 1_000_000_000  # no summer time there since 1991
_LONGEST_GAP_NS = 60_000_000_000
_ROWS_BETWEEN_PAUSES = 128
_LOGGED_PROBLEMS = 20
_NO_PRICE = 1e300  # CTP writes the largest double where there is no price

# The numbers of a Quote, in its order, by their columns' names.
_NUMBERS = (
    *("last_price", "last_volume", "volume", "turnover", "open_interest"),
    *("open_price", "high_price", "low_price", "pre_close", "limit_up", "limit_down"),
)

MALFORMED = "malformed"
OUT_OF_ORDER = "out of order"
OTHER_GATEWAY = "of another gateway's symbols"


@dataclass(slots=True)
class ReplayReport:
    """Outcome of a recording's rows: delivered or left out. `problems` are the first ones, as (line, reason)."""

    file: Path | None = None
    rows: int = 0
    delivered: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[int, str]] = field(default_factory=list)
    _out: TextIO | None = None

    def add(self, line: int, kind: str, what: str) -> None:
        """Count a row that is not delivered; all are written to the report's file, the first ones are logged, too."""
        self.counts[kind] += 1
        if self.file is not None:
            if self._out is None:
                self._out = self.file.open("w", encoding="utf-8")
            self._out.write(f"line {line}: {kind}: {what}\n")
        if len(self.problems) < _LOGGED_PROBLEMS:
            self.problems.append((line, f"{kind}: {what}"))
            log.warning("replay: line %d is %s and left out: %s", line, kind, what)

    def end(self, source: Path) -> None:
        """Log the sums, and the file with all rows that are no ticks."""
        if self._out is not None:
            self._out.close()
            self._out = None
        bad = sum(self.counts.values())
        text = f"replay of {source.name}: {self.rows} rows, {self.delivered} delivered, {bad} left out"
        if bad:
            text += f" ({', '.join(f'{count} {kind}' for kind, count in sorted(self.counts.items()))})"
        if set(self.counts) - {OTHER_GATEWAY} and self.file is not None:
            text += f"; the lines are in {self.file}"
        log.log(logging.WARNING if bad else logging.INFO, "%s", text)


class ReplayFeed:
    """Quotes of a recording, read row by row.

    Recorded gaps are divided by the speed; those longer than 60 s count as 60 s, so that a night is soon over. Rows
    that cannot be read, and rows older than their symbol's row before, are not delivered but counted and reported.
    """

    realtime = False

    def __init__(
        self,
        spec: ReplayFeedSpec,
        catalogue: Catalogue,
        clock: Clock,
        wait_for_recorder: Callable[[], Awaitable[None]],
        lateness_ns: int = 0,
        report_file: Path | None = None,
    ) -> None:
        """`wait_for_recorder` returns when a reader of the ticks records them."""
        self._spec = spec
        self._catalogue = catalogue
        self._clock = clock
        self._started = asyncio.Event()
        self.paced = spec.speed is None
        self.needs_recorder = spec.start is not ReplayStart.NOW
        self.report = ReplayReport(report_file)
        self._symbols = recorded_symbols(spec.file)
        self._wait_for_recorder = wait_for_recorder
        self._lateness_ns = lateness_ns
        self._watermark = ReplayWatermark(lateness_ns)
        self._minute_listeners: list[Callable[[int], None]] = []
        if spec.start is not ReplayStart.SUBSCRIBE:
            self._started.set()

    @property
    def symbols(self) -> list[str]:
        """The symbols of the recording's first rows: those that its contracts are announced for before it begins."""
        return self._symbols

    def subscribe(self, symbol: str) -> None:
        """A reader subscribes to this symbol: the first one of the recording's starts an on-demand replay."""
        if symbol in self._symbols:
            self._started.set()

    def watermark_ns(self) -> int | None:
        """The time of the rows that were delivered, less their lateness."""
        return self._watermark.value_ns

    def on_minute(self, listener: Callable[[int], None]) -> None:
        """Register a listener of the watermark: called before the row with which it passes a full minute."""
        self._minute_listeners.append(listener)

    async def run(self, deliver: Callable[[Quote], bool], wait_for_capacity: Callable[[], Awaitable[None]]) -> None:
        """Deliver all rows, then return."""
        await self._started.wait()
        if self.needs_recorder:
            await self._wait_for_recorder()
        self.report = ReplayReport(self.report.file)
        last_ns = 0
        due = self._clock.monotonic()
        pause_in = _ROWS_BETWEEN_PAUSES
        try:
            for quote in self._quotes():
                pause_in -= 1
                if self._spec.speed is not None:
                    gap_ns = min(max(quote.time_ns - last_ns, 0), _LONGEST_GAP_NS) if last_ns else 0
                    due += gap_ns / 1e9 / self._spec.speed
                    ahead = due - self._clock.monotonic()
                    if ahead > 0.001:
                        await wait_for_capacity()
                        await asyncio.sleep(due - self._clock.monotonic())
                        pause_in = _ROWS_BETWEEN_PAUSES
                    elif ahead < -1:
                        due -= ahead  # the readers held it up: the lost time is not made good in one burst
                if pause_in <= 0:
                    pause_in = _ROWS_BETWEEN_PAUSES
                    await wait_for_capacity()
                    await asyncio.sleep(0)
                last_ns = max(last_ns, quote.time_ns)
                if self._watermark.add(quote.time_ns):
                    for listener in self._minute_listeners:
                        listener(quote.time_ns - self._lateness_ns)
                if deliver(quote):
                    self.report.delivered += 1
                else:
                    self.report.counts[OTHER_GATEWAY] += 1
        finally:
            self.report.end(self._spec.file)

    def _quotes(self) -> Iterator[Quote]:
        report = self.report
        last: dict[str, int] = {}
        with open_recording(self._spec.file) as file:
            reader = csv.reader(file)
            row_to_quote = RowReader(next(reader), self._catalogue)
            while True:
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
                    report.add(reader.line_num + 1, MALFORMED, f"the file cannot be read on from here: {error}")
                    return
                except csv.Error as error:
                    report.rows += 1
                    report.add(reader.line_num, MALFORMED, str(error))
                    continue
                if not row:
                    continue
                report.rows += 1
                try:
                    quote = row_to_quote(row)
                except ValueError as error:
                    report.add(reader.line_num, MALFORMED, str(error))
                    continue
                if quote.time_ns < last.get(quote.symbol, 0):
                    report.add(reader.line_num, OUT_OF_ORDER, f"{quote.symbol} is earlier than the row before it")
                    continue
                last[quote.symbol] = quote.time_ns
                yield quote


class RowReader:
    """Turns rows of vnpy TickData's columns into quotes; a row that is not one raises ValueError."""

    def __init__(self, header: Sequence[str], catalogue: Catalogue) -> None:
        columns = {name.strip(): index for index, name in enumerate(header)}
        self._width = len(header)
        self._catalogue = catalogue
        self._calendar = Calendar.load()
        self._symbols: dict[tuple[str, str], str] = {}
        self._at = (columns["datetime"], columns["symbol"], columns["exchange"])
        self._last_price_at = columns["last_price"]
        self._day_at = columns.get("trading_day")
        bids, asks = _level_columns(columns, "bid"), _level_columns(columns, "ask")
        names = [*_NUMBERS, *bids, *asks]
        self._numbers = [(name, columns[name]) for name in names if name in columns]
        # Where a number of _NUMBERS is among those read; the last place is a 0 for the columns that are not there.
        place = {name: at for at, (name, _) in enumerate(self._numbers)}
        self._places = [place.get(name, -1) for name in _NUMBERS]
        self._bid_places = _pairs([place[name] for name in bids])
        self._ask_places = _pairs([place[name] for name in asks])

    def __call__(self, row: list[str]) -> Quote:
        """The quote of a row."""
        if len(row) != self._width:
            raise ValueError(f"{len(row)} fields instead of {self._width}")
        at_time, at_symbol, at_exchange = self._at
        if not row[self._last_price_at]:
            raise ValueError("last_price is empty")
        symbol = self._symbols.get((row[at_symbol], row[at_exchange])) or self._symbol(row[at_symbol], row[at_exchange])
        time_ns = _time_ns(row[at_time])
        numbers = [float(row[at] or 0) for _, at in self._numbers]
        if min(numbers) < 0 or not sum(numbers) < _NO_PRICE:
            numbers = [_number(row[at] or "0", name) for name, at in self._numbers]
        numbers.append(0.0)
        day = row[self._day_at] if self._day_at is not None else ""
        return Quote(
            symbol,
            time_ns,
            _trading_day(day) if day else self._calendar.trading_day(symbol, time_ns),
            *[numbers[place] for place in self._places],  # type: ignore[arg-type, misc]
            bids=[(numbers[p], numbers[v]) for p, v in self._bid_places if numbers[p] and numbers[v]],
            asks=[(numbers[p], numbers[v]) for p, v in self._ask_places if numbers[p] and numbers[v]],
        )

    def _symbol(self, code: str, exchange: str) -> str:
        symbol = code if "." in code else f"{code}.{exchange}"
        if self._catalogue.find(symbol) is None:
            raise ValueError(f"{symbol} is no instrument of the catalogue")
        self._symbols[code, exchange] = symbol
        return symbol


def _level_columns(columns: dict[str, int], side: str) -> list[str]:
    levels = [(f"{side}_price_{level}", f"{side}_volume_{level}") for level in range(1, 6)]
    return [name for pair in levels if pair[0] in columns and pair[1] in columns for name in pair]


def _pairs(places: list[int]) -> list[tuple[int, int]]:
    return list(zip(places[::2], places[1::2], strict=True))


def recorded_symbols(path: Path, rows: int = 20_000) -> list[str]:
    """The symbols in a recording's first rows."""
    symbols: set[str] = set()
    with open_recording(path) as file:
        try:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader)]
            at_symbol, at_exchange = header.index("symbol"), header.index("exchange")
            for row, _ in zip(reader, range(rows), strict=False):
                if len(row) == len(header):
                    code = row[at_symbol]
                    symbols.add(code if "." in code else f"{code}.{row[at_exchange]}")
        except (EOFError, OSError, zlib.error, csv.Error, UnicodeDecodeError):
            log.warning("replay: %s cannot be read to its end", path)
    return sorted(symbols)


def _time_ns(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        since = moment - _EPOCH
        return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000 - _SHANGHAI_NS
    since = moment - _EPOCH_UTC
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


def _number(text: str, name: str) -> float:
    value = float(text)
    if value >= _NO_PRICE and value != math.inf:
        return 0.0
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} {text!r} is not a number from 0 on")
    return value


def _trading_day(text: str) -> int:
    day = int(float(text)) if "-" not in text else int(text.replace("-", ""))
    if not 19000101 <= day <= 29991231:
        raise ValueError(f"trading_day {text!r}")
    return day
