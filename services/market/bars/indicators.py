"""Technical indicators by name, computed by TA-Lib over closed bars."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from services.kernel.errors import Invalid
from services.quant.bars import Bar

_NAME = re.compile(r"\s*([a-z_]{1,16})\s*(?:\(\s*([0-9.,\s]*)\))?\s*")
MAX_PERIOD = 5_000
WARM_UP = 250
"""Bars read besides an indicator's own look-back: recursive ones (EMA, RSI, ATR) forget their beginning within them."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Computation of an indicator: TA-Lib's function, the columns that it reads, its parameters and its outputs."""

    function: str
    inputs: tuple[str, ...]
    parameters: tuple[tuple[str, float], ...] = ()
    outputs: tuple[str, ...] = ("",)


_CLOSE = ("close",)
_HLC = ("high", "low", "close")
_PERIOD = "timeperiod"


def _period(default: int) -> tuple[tuple[str, float], ...]:
    return ((_PERIOD, default),)


KINDS: dict[str, Kind] = {
    "sma": Kind("SMA", _CLOSE, _period(20)),
    "ema": Kind("EMA", _CLOSE, _period(20)),
    "wma": Kind("WMA", _CLOSE, _period(20)),
    "dema": Kind("DEMA", _CLOSE, _period(20)),
    "tema": Kind("TEMA", _CLOSE, _period(20)),
    "kama": Kind("KAMA", _CLOSE, _period(20)),
    "trima": Kind("TRIMA", _CLOSE, _period(20)),
    "rsi": Kind("RSI", _CLOSE, _period(14)),
    "cmo": Kind("CMO", _CLOSE, _period(14)),
    "mom": Kind("MOM", _CLOSE, _period(10)),
    "roc": Kind("ROC", _CLOSE, _period(10)),
    "trix": Kind("TRIX", _CLOSE, _period(15)),
    "std": Kind("STDDEV", _CLOSE, ((_PERIOD, 20), ("nbdev", 1))),
    "max": Kind("MAX", ("high",), _period(20)),
    "min": Kind("MIN", ("low",), _period(20)),
    "linearreg": Kind("LINEARREG", _CLOSE, _period(14)),
    "atr": Kind("ATR", _HLC, _period(14)),
    "natr": Kind("NATR", _HLC, _period(14)),
    "trange": Kind("TRANGE", _HLC),
    "adx": Kind("ADX", _HLC, _period(14)),
    "dx": Kind("DX", _HLC, _period(14)),
    "plus_di": Kind("PLUS_DI", _HLC, _period(14)),
    "minus_di": Kind("MINUS_DI", _HLC, _period(14)),
    "cci": Kind("CCI", _HLC, _period(14)),
    "willr": Kind("WILLR", _HLC, _period(14)),
    "sar": Kind("SAR", ("high", "low"), (("acceleration", 0.02), ("maximum", 0.2))),
    "aroon": Kind("AROON", ("high", "low"), _period(14), ("down", "up")),
    "macd": Kind(
        "MACD",
        _CLOSE,
        (("fastperiod", 12), ("slowperiod", 26), ("signalperiod", 9)),
        ("macd", "signal", "histogram"),
    ),
    "boll": Kind("BBANDS", _CLOSE, ((_PERIOD, 20), ("nbdevup", 2)), ("upper", "middle", "lower")),
    "stoch": Kind(
        "STOCH",
        _HLC,
        (("fastk_period", 5), ("slowk_period", 3), ("slowd_period", 3)),
        ("k", "d"),
    ),
    "obv": Kind("OBV", ("close", "volume")),
    "ad": Kind("AD", (*_HLC, "volume")),
    "mfi": Kind("MFI", (*_HLC, "volume"), _period(14)),
}


@dataclass(frozen=True, slots=True)
class Indicator:
    """A requested indicator with all its parameters."""

    name: str
    kind: Kind
    parameters: dict[str, float]

    @property
    def look_back(self) -> int:
        """Number of bars that it needs before its first value, at most."""
        periods = sum(value for key, value in self.parameters.items() if "period" in key)
        return 3 * int(periods) + WARM_UP


@dataclass(frozen=True, slots=True)
class Series:
    """An output's values, one per time (the bars' starts)."""

    name: str
    times_ns: Sequence[int]
    values: Sequence[float]


def parse(names: Sequence[str]) -> list[Indicator]:
    """The indicators that names like `sma(20)` and `macd(12,26,9)` mean; parameters left out have their defaults.

    Raises: Invalid with field `names`.
    """
    return [_parse(name) for name in dict.fromkeys(names)]


def compute(indicators: Sequence[Indicator], bars: Sequence[Bar], first_ns: int | None) -> list[Series]:
    """Compute over bars, oldest first; values of bars before `first_ns` only warm up and are left out."""
    if not bars:
        return [Series(_output_name(one, output), [], []) for one in indicators for output in one.kind.outputs]
    import numpy as np

    columns = {
        name: np.array([getattr(bar, name) for bar in bars], dtype=np.float64)
        for name in {column for one in indicators for column in one.kind.inputs}
    }
    times = np.array([bar.start_ns for bar in bars], dtype=np.int64)
    in_range = times >= (first_ns if first_ns is not None else times[0])
    series: list[Series] = []
    for one in indicators:
        function, parameters = _function(one.kind.function), one.parameters
        if one.kind.function == "BBANDS":
            parameters = {**parameters, "nbdevdn": parameters["nbdevup"]}
        # TA-Lib takes integers for periods and floats for the rest, and refuses the other kind.
        typed = {key: int(value) if "period" in key else float(value) for key, value in parameters.items()}
        try:
            result = function(*(columns[name] for name in one.kind.inputs), **typed)
        except Exception as error:  # TA-Lib raises plain Exception for a number outside its range
            raise Invalid(f"names: {one.name!r} is refused: {error}", field="names") from error
        for output, values in zip(one.kind.outputs, result if isinstance(result, tuple) else (result,), strict=True):
            present = in_range & ~np.isnan(values)
            series.append(Series(_output_name(one, output), times[present].tolist(), values[present].tolist()))
    return series


def _output_name(indicator: Indicator, output: str) -> str:
    return f"{indicator.name}.{output}" if output else indicator.name


def _parse(name: str) -> Indicator:
    match = _NAME.fullmatch(name.lower())
    if match is None:
        raise Invalid(f"names: {name!r} is not of the form sma(20)", field="names")
    kind = KINDS.get(match[1])
    if kind is None:
        raise Invalid(f"names: there is no indicator {match[1]!r}; there are {', '.join(sorted(KINDS))}", field="names")
    given = [part.strip() for part in match[2].split(",")] if match[2] and match[2].strip() else []
    if len(given) > len(kind.parameters):
        raise Invalid(f"names: {name!r} takes at most {len(kind.parameters)} numbers", field="names")
    parameters = dict(kind.parameters)
    for (key, _), text in zip(kind.parameters, given, strict=False):
        parameters[key] = _number(name, key, text)
    return Indicator(name, kind, parameters)


def _number(name: str, key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise Invalid(f"names: {text!r} in {name!r} is not a number", field="names") from None
    if "period" in key and not (value.is_integer() and 1 <= value <= MAX_PERIOD):
        raise Invalid(f"names: a period in {name!r} must be a whole number from 1 to {MAX_PERIOD}", field="names")
    if not 0 < value <= MAX_PERIOD:
        raise Invalid(f"names: numbers in {name!r} must be above 0 and at most {MAX_PERIOD}", field="names")
    return value


@cache
def _function(name: str) -> Callable[..., Any]:
    # talib's public functions look for pandas first; these are the same without that.
    from talib import _ta_lib

    return getattr(_ta_lib, name)
