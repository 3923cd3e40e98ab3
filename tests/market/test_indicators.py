"""Indicators by name: values against plain arithmetic, and names that are refused."""

import pytest

from services.kernel.errors import Invalid
from services.market.bars.indicators import KINDS, Series, compute, parse
from services.quant.bars import Bar, Interval
from tests.market.ticks import SYMBOL

CLOSES = [100.0 + (n * 37 % 11) - (n * 17 % 7) for n in range(200)]
BARS = [
    Bar(
        SYMBOL,
        Interval.MINUTE,
        n * 60_000_000_000,
        close,
        close + 2,
        close - 1,
        close,
        10.0 + n % 3,
        0.0,
        0.0,
        20261120,
    )
    for n, close in enumerate(CLOSES)
]


def series(name: str, first_ns: int | None = None) -> list[Series]:
    return compute(parse([name]), BARS, first_ns)


def test_sma_is_the_mean_of_the_last_closes() -> None:
    (one,) = series("sma(20)")
    assert one.name == "sma(20)"
    assert list(one.times_ns) == [bar.start_ns for bar in BARS[19:]]
    assert list(one.values) == pytest.approx([sum(CLOSES[n - 19 : n + 1]) / 20 for n in range(19, 200)])


def test_macd_has_three_series_named_after_the_request() -> None:
    names = [one.name for one in series("macd(12,26,9)")]
    assert names == ["macd(12,26,9).macd", "macd(12,26,9).signal", "macd(12,26,9).histogram"]


def test_bands_are_as_wide_as_asked_for() -> None:
    upper, middle, lower = series("boll(20, 2.5)")
    mean = sum(CLOSES[-20:]) / 20
    width = 2.5 * (sum((close - mean) ** 2 for close in CLOSES[-20:]) / 20) ** 0.5
    assert [s.values[-1] for s in (upper, middle, lower)] == pytest.approx([mean + width, mean, mean - width])


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_indicator_computes_with_its_defaults(name: str) -> None:
    for one in series(name):
        assert one.values
        assert len(one.times_ns) == len(one.values)


def test_bars_before_the_range_warm_up_and_are_left_out() -> None:
    (one,) = series("ema(10)", first_ns=BARS[150].start_ns)
    assert list(one.times_ns) == [bar.start_ns for bar in BARS[150:]]
    (whole,) = series("ema(10)")
    assert list(one.values) == list(whole.values)[-50:]


def test_no_bars_give_empty_series() -> None:
    assert compute(parse(["boll"]), [], None) == [Series(f"boll.{n}", [], []) for n in ("upper", "middle", "lower")]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nonsense",
        "sma(",
        "sma(x)",
        "sma(-1)",
        "sma(0)",
        "sma(1e9)",
        "sma(2.5)",
        "sma(1,2)",
        "sma(99999)",
        "a" * 64,
        "sma(,)",
    ],
)
def test_a_bad_name_is_invalid_in_the_field_names(name: str) -> None:
    with pytest.raises(Invalid) as error:
        compute(parse([name]), BARS, None)
    assert "names" in error.value.fields
