"""Recognition of a file's columns: the names that recorded data come with, in English and Chinese."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.quant.backtest.job import BacktestError

TIME = "datetime"
DAY_PART, CLOCK_PART = "date", "time"
SYMBOL = "symbol"
BAR_PRICES = ("open", "high", "low", "close")
TICK_PRICES = ("last_price",)
BAR_EXTRAS = ("volume", "turnover", "open_interest")
_LEVELS = range(1, 6)
_TIMES = (
    "datetime", "tradetime", "timestamp", "datetimens", "timens", "tradingtime", "ts", "bartime", "klinetime",
    "opentime", "indexlevel0", "日期时间", "交易时间", "时间戳",
)  # fmt: skip
_CLOCKS = ("time", "updatetime", "时间", "更新时间")
_DAYS = ("date", "day", "tradedate", "tradingdate", "tradingday", "日期", "交易日期", "交易日")
_SYMBOLS = (
    "symbol", "vtsymbol", "instrumentid", "instrument", "code", "contract", "ticker", "合约", "合约代码", "代码",
)  # fmt: skip
_SHARED = {
    "volume": ("volume", "vol", "v", "qty", "成交量", "总手", "数量"),
    "turnover": ("turnover", "amount", "amt", "money", "totalturnover", "value", "成交额", "成交金额", "金额"),
    "open_interest": ("openinterest", "oi", "openint", "position", "hold", "持仓量", "持仓", "空盘量"),
}
_BARS = {
    "open": ("open", "openprice", "o", "开盘", "开盘价", "开", "今开"),
    "high": ("high", "highprice", "h", "最高", "最高价", "高"),
    "low": ("low", "lowprice", "l", "最低", "最低价", "低"),
    "close": ("close", "closeprice", "c", "收盘", "收盘价", "收", "最新价"),
    **_SHARED,
}
_TICKS = {
    "last_price": ("lastprice", "last", "price", "最新价", "最新", "成交价", "现价"),
    "last_volume": ("lastvolume", "lastquantity", "lastqty", "现手", "现量"),
    **_SHARED,
    "open_price": ("openprice", "open", "开盘价", "开盘", "今开盘", "今开"),
    "high_price": ("highprice", "high", "highestprice", "最高价", "最高"),
    "low_price": ("lowprice", "low", "lowestprice", "最低价", "最低"),
    "pre_close": ("preclose", "precloseprice", "昨收盘", "昨收", "昨收价"),
    "limit_up": ("limitup", "upperlimitprice", "upperlimit", "涨停板价", "涨停价", "涨停"),
    "limit_down": ("limitdown", "lowerlimitprice", "lowerlimit", "跌停板价", "跌停价", "跌停"),
}
_CHINESE_LEVEL = "一二三四五"


def _levels() -> dict[str, tuple[str, ...]]:
    aliases: dict[str, tuple[str, ...]] = {}
    for side, chinese in (("bid", "买"), ("ask", "卖")):
        for what, short, word in (("price", "", "价"), ("volume", "vol", "量")):
            for level in _LEVELS:
                digit = _CHINESE_LEVEL[level - 1]
                names = [
                    f"{side}{what}{level}", f"{side}{level}{what}", f"{side}{short}{level}",
                    f"{side[0]}{short[:1]}{level}",
                    f"申{chinese}{word}{digit}", f"{chinese}{digit}{word}", f"{chinese}{word}{level}",
                    f"{chinese}{word}{digit}", f"{chinese}{level}{word}",
                ]  # fmt: skip
                if what == "volume":
                    names += [f"{side}qty{level}", f"{side}quantity{level}", f"{side}size{level}"]
                if level == 1:
                    names += [f"{side}{what}", side] if what == "price" else [f"{side}{what}", f"{side}vol"]
                aliases[f"{side}_{what}_{level}"] = tuple(names)
    return aliases


_TICKS.update(_levels())


@dataclass(frozen=True, slots=True)
class Layout:
    """The positions of columns in a file. `time` is one column or a day and a clock time."""

    ticks: bool
    time: tuple[int, ...]
    fields: Mapping[str, int]
    symbol: int | None

    @property
    def positions(self) -> list[int]:
        """All columns that are read, in order."""
        more = () if self.symbol is None else (self.symbol,)
        return sorted({*self.time, *self.fields.values(), *more})


def find_layout(header: Sequence[str], named: Mapping[str, str], ticks: bool | None, source: str) -> Layout:
    """Return the layout of `header`; `named` (our name → the file's) goes before what is recognised.

    `ticks` None: detected by the columns. Raises: BacktestError naming the file and the column.
    """
    positions = {_plain(name): at for at, name in reversed(list(enumerate(header)))}
    own = _named(header, named, ticks, source)
    if ticks is None:
        bars = all(_position(name, _BARS[name], own, positions) is not None for name in BAR_PRICES)
        ticks = not bars and _position("last_price", _TICKS["last_price"], own, positions) is not None
    aliases = _TICKS if ticks else _BARS
    fields: dict[str, int] = {}
    for name in aliases:
        position = _position(name, aliases[name], own, positions)
        if position is not None:
            fields[name] = position
    missing = [name for name in (TICK_PRICES if ticks else BAR_PRICES) if name not in fields]
    if missing:
        other_aliases, needed = (_BARS, BAR_PRICES) if ticks else (_TICKS, TICK_PRICES)
        if all(_position(name, other_aliases[name], own, positions) is not None for name in needed):
            has, asked = ("bars", "ticks") if ticks else ("ticks", "bars")
            raise BacktestError(f"{source}: the interval does not fit the data: it has {has}, not {asked}", "interval")
        raise BacktestError(
            f"{source}: no column is recognised as {missing[0]}; it has {', '.join(header)}: "
            f"name it with --columns {missing[0]}=COLUMN", "columns",
        )  # fmt: skip
    time = _time(own, positions)
    if not time:
        raise BacktestError(
            f"{source}: no column is recognised as the time; it has {', '.join(header)}: "
            "name it with --columns datetime=COLUMN", "columns",
        )  # fmt: skip
    symbol = own.get(SYMBOL)
    if symbol is None:
        symbol = next((positions[name] for name in _SYMBOLS if name in positions), None)
    return Layout(ticks, time, fields, symbol)


def _named(header: Sequence[str], named: Mapping[str, str], ticks: bool | None, source: str) -> dict[str, int]:
    """The positions that the caller gave by name."""
    fields = dict.fromkeys((TIME, DAY_PART, CLOCK_PART, SYMBOL))
    fields |= dict.fromkeys(_BARS if ticks is False else _TICKS if ticks else {**_BARS, **_TICKS})
    exact = {name.strip(): at for at, name in enumerate(header)}
    plain = {_plain(name): at for at, name in enumerate(header)}
    own: dict[str, int] = {}
    for name, column in named.items():
        if name not in fields:
            raise BacktestError(f"there is no column {name!r} to name; there are {', '.join(fields)}", "columns")
        position = exact.get(column, plain.get(_plain(column)))
        if position is None:
            raise BacktestError(f"{source}: there is no column {column!r}; it has {', '.join(header)}", "columns")
        own[name] = position
    return own


def _position(name: str, aliases: Sequence[str], own: Mapping[str, int], positions: Mapping[str, int]) -> int | None:
    if name in own:
        return own[name]
    taken = set(own.values())
    return next((positions[a] for a in aliases if a in positions and positions[a] not in taken), None)


def _time(own: Mapping[str, int], positions: Mapping[str, int]) -> tuple[int, ...]:
    """One column with day and clock; or a day's and a clock's, which are joined when the clock has no day in it."""
    if TIME in own:
        return (own[TIME],)
    if own.keys() & {DAY_PART, CLOCK_PART}:
        return tuple(own[name] for name in (DAY_PART, CLOCK_PART) if name in own)
    for name in _TIMES:
        if name in positions:
            return (positions[name],)
    parts = (next((positions[n] for n in names if n in positions), None) for names in (_DAYS, _CLOCKS))
    return tuple(position for position in parts if position is not None)


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.()\[\]（）\"']+", "", name).lower()
