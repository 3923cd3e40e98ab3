"""The rows of a file as they are read: which are usable, what is wrong with the others, and in which order they go."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np

from services.quant.backtest.data.columns import BAR_PRICES, TICK_PRICES, Layout
from services.quant.backtest.data.dataset import Finding, Floats, Mask, Times
from services.quant.backtest.data.times import NEVER, join, parse_times, show, texts
from services.quant.backtest.job import BacktestError
from services.quant.backtest.pluralize import pluralize

REPORTED = 10
"""Line numbers and reasons that a finding names."""
_HUGE = 1e300
"""CTP writes the largest double where it has no price."""
_NUMBER = re.compile(r"[-+]?(\d[\d,]*\.?\d*|\.\d+)([eE][-+]?\d+)?")
_VOLUMES = ("volume", "turnover", "open_interest")
Block: TypeAlias = Mapping[int, Any]
"""Arrow arrays of one length, by the column's position in the file."""


@dataclass(slots=True)
class Rows:
    """The usable rows so far, in columns; `bad` counts the others, `reasons` says of the first few what is wrong."""

    layout: Layout
    zone: ZoneInfo
    symbol: str
    count: int = 0
    """Rows read, usable or not."""
    bad: int = 0
    reasons: list[tuple[int, str]] = field(default_factory=list)
    symbols: set[str] = field(default_factory=set)
    _times: list[Times] = field(default_factory=list)
    _indices: list[Times] = field(default_factory=list)
    _columns: dict[str, list[Floats]] = field(default_factory=dict)
    _blank: int = 0
    _other: bool = False
    """True if the rows so far are of a symbol that was not asked for."""

    def add(self, block: Block, length: int) -> None:
        """Take the next rows."""
        layout, columns = self.layout, {}
        times = block[layout.time[0]] if len(layout.time) == 1 else join(*(block[at] for at in layout.time))
        time_ns = parse_times(times, self.zone)
        usable = time_ns != NEVER
        malformed = np.zeros(length, dtype=bool)
        for name, position in layout.fields.items():
            columns[name], is_malformed = _floats(block[position])
            malformed |= is_malformed
        usable &= ~malformed & _sound(columns, layout.ticks)
        self._blank += length
        if not usable.all():
            self._explain(block, time_ns, columns, ~usable, length)
        else:
            self._blank = 0
        if layout.symbol is not None:
            usable &= self._of_symbol(block[layout.symbol], length)
        whole = bool(usable.all())
        self._times.append(time_ns if whole else time_ns[usable])
        self._indices.append((np.flatnonzero(usable) + self.count).astype(np.uint32))
        for name, values in columns.items():
            # What a row may lack is 0; so is CTP's word for no price.
            clean = np.where(np.abs(values) < _HUGE, values, 0.0) if name not in BAR_PRICES else values
            self._columns.setdefault(name, []).append(clean if whole else clean[usable])
        self.count += length

    def _of_symbol(self, column: Any, length: int) -> Mask:
        """Rows of the symbol asked for, where the file has several; a file of one symbol may call it as it likes."""
        import pyarrow as pa
        import pyarrow.compute as pc

        names = column.cast(pa.string())
        self.symbols.update(name for name in texts(pc.unique(names)) if name)
        matching = [name for name in self.symbols if _same(name, self.symbol)]
        if len(self.symbols) < 2 or not matching:
            self._other = not matching
            return np.ones(length, dtype=bool)
        if self._other:  # what came before was another symbol's after all
            self._other = False
            self._times, self._indices, self._columns = [], [], {}
        return np.asarray(pc.fill_null(pc.is_in(names, value_set=pa.array(matching)), False), dtype=bool)

    def _explain(self, block: Block, time_ns: Times, columns: Mapping[str, Floats], bad: Mask, length: int) -> None:
        blank = np.ones(length, dtype=bool)
        for position in self.layout.positions:
            blank &= block[position].is_null().to_numpy(zero_copy_only=False)
        self.bad += int(bad.sum())
        for at in np.flatnonzero(bad)[: max(0, REPORTED - len(self.reasons))]:
            reason = "the row is empty" if blank[at] else self._reason(block, time_ns, columns, int(at))
            if reason:
                self.reasons.append((self.count + int(at), reason))
        if not blank.all():
            self._blank = length - int(np.flatnonzero(~blank)[-1]) - 1

    def _reason(self, block: Block, time_ns: Times, columns: Mapping[str, Floats], at: int) -> str:
        if time_ns[at] == NEVER:
            shown = " ".join(text for position in self.layout.time if (text := _text(block[position], at)) is not None)
            return f"the time {shown!r} is none" if shown else "the time is missing"
        required = TICK_PRICES if self.layout.ticks else BAR_PRICES
        for name, position in self.layout.fields.items():
            value, text = columns[name][at], _text(block[position], at)
            if text is not None and not np.isfinite(value) and text.strip().lower() not in _EMPTY:
                return f"{name} {text[:40]!r} is not a number"
            if name in (*required, "volume") and not np.isfinite(value):
                return f"{name} is missing"
            if name in required and not 0 < value < _HUGE:
                return f"{name} {value:g} is not above 0"
            if name in _VOLUMES[:1] and value < 0:
                return f"{name} {value:g} is below 0"
        if not self.layout.ticks and columns["high"][at] < columns["low"][at]:
            return f"high {columns['high'][at]:g} is below low {columns['low'][at]:g}"
        return ""

    def forget_trailing_blanks(self) -> None:
        """Empty lines at the file's end are nothing to speak of."""
        self.bad -= self._blank
        self.count -= self._blank
        self.reasons = [(at, why) for at, why in self.reasons if at < self.count]

    def sorted(self, line_of: Callable[[int], int]) -> tuple[Times, dict[str, Floats], list[Finding]]:
        """All rows by time, none twice; findings on disorder and duplicates."""
        time_ns = np.concatenate(self._times) if self._times else np.empty(0, np.int64)
        indices = np.concatenate(self._indices) if self._indices else np.empty(0, np.int64)
        columns = {name: np.concatenate(self._columns.pop(name)) for name in list(self._columns)}
        self._times, self._indices, self._columns = [], [], {}
        findings: list[Finding] = []
        if (time_ns[1:] < time_ns[:-1]).any():
            late = np.flatnonzero(time_ns < np.maximum.accumulate(time_ns))
            lines = tuple(line_of(int(indices[at])) for at in late[:REPORTED])
            named = _lines(lines, len(late))
            sentence = f"{pluralize(len(late), 'row is', 'rows are')} older than one before: sorted ({named})."
            findings.append(Finding("disorder", len(late), sentence, lines))
            order = np.argsort(time_ns, kind="stable")
            time_ns, indices = time_ns[order], indices[order]
            columns = {name: values[order] for name, values in columns.items()}
        again = np.append(time_ns[1:] == time_ns[:-1], False) if len(time_ns) else np.empty(0, bool)
        differ = 0
        if again.any():
            at = np.flatnonzero(again)
            same = np.ones(len(at), dtype=bool)
            for values in columns.values():
                same &= values[at] == values[at + 1]
            if self.layout.ticks:  # several snapshots may have one stamp
                again[at[~same]] = False
            else:
                differ = int((~same).sum())
        if again.any():
            count = int(again.sum())
            # The later one stays, as in vnpy's database; its line is what is named.
            lines = tuple(sorted(line_of(int(indices[at + 1])) for at in np.flatnonzero(again)[:REPORTED]))
            times = show(int(time_ns[np.flatnonzero(again)[0]]), self.zone)
            other = f", {differ} of them with other values: the later row counts" if differ else ""
            sentence = f"{pluralize(count, 'duplicate row')}{other} (first {times}; {_lines(lines, count)})."
            findings.append(Finding("duplicate", count, sentence, lines))
            time_ns = time_ns[~again]
            columns = {name: values[~again] for name, values in columns.items()}
        return time_ns, columns, findings


def bad_rows(reasons: list[tuple[int, str]], bad: int, read: int) -> Finding:
    """The finding on rows that were skipped; `reasons` has their lines."""
    named = "; ".join(f"line {line}: {reason}" for line, reason in reasons)
    more = f"; and {bad - len(reasons)} more" if bad > len(reasons) else ""
    return Finding(
        "malformed",
        bad,
        f"{bad:,} of {read:,} rows {'was' if bad == 1 else 'were'} skipped: {named}{more}.",
        tuple(line for line, _ in reasons),
    )


def no_rows(source: str, finding: Finding | None) -> BacktestError:
    """The error message for a file without a usable row."""
    return BacktestError(f"{source}: no usable row" + (f": {finding.sentence}" if finding else ": it is empty"), "data")


def other_symbols(symbols: set[str], symbol: str, source: str) -> BacktestError | None:
    """The error message for a file that has several symbols and not the one asked for."""
    if len(symbols) < 2 or any(_same(name, symbol) for name in symbols):
        return None
    shown = ", ".join(sorted(symbols)[:5]) + (", …" if len(symbols) > 5 else "")
    return BacktestError(f"{source}: has rows of {len(symbols)} symbols ({shown}), none of {symbol}", "symbol")


_EMPTY = ("", "nan", "null", "none", "na", "n/a", "-", "--")


def _floats(column: Any) -> tuple[Floats, Mask]:
    """Numbers of an Arrow array, NaN where there is none; and where there is a text that is no number."""
    import pyarrow as pa

    malformed = np.zeros(len(column), dtype=bool)
    try:
        numbers = column.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        values = np.empty(len(column))
        for at, text in enumerate(texts(column)):
            values[at], malformed[at] = _float(text)
        return values, malformed
    return np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float64), malformed


def _float(text: str | None) -> tuple[float, bool]:
    text = (text or "").strip()
    if _NUMBER.fullmatch(text):
        return float(text.replace(",", "")), False
    return np.nan, text.lower() not in _EMPTY


def _sound(columns: Mapping[str, Floats], ticks: bool) -> Mask:
    """Rows that can have happened."""
    required = TICK_PRICES if ticks else BAR_PRICES
    with np.errstate(invalid="ignore"):
        sound = np.ones(len(columns[required[0]]), dtype=bool)
        for name in required:
            sound &= (columns[name] > 0) & (columns[name] < _HUGE)
        if "volume" in columns:
            sound &= (columns["volume"] >= 0) & (columns["volume"] < _HUGE)
        if not ticks:
            sound &= columns["high"] >= columns["low"]
    return sound


def _text(column: Any, at: int) -> str | None:
    return texts(column.slice(at, 1))[0]


def _same(name: str, symbol: str) -> bool:
    return name.lower() in (symbol.lower(), symbol.rpartition(".")[0].lower())


def _lines(lines: tuple[int, ...], count: int) -> str:
    shown = ", ".join(map(str, lines))
    return f"line{'' if count == 1 else 's'} {shown}" + (", …" if count > len(lines) else "")
