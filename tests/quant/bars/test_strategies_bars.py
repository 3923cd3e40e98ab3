"""Bars of strategies are market's: the same rule for all callers, on recorded days and on made ones."""

from collections.abc import Iterable

import pytest
from redfire.market.v1 import market_pb2 as pb

from services.quant.bars import Interval
from services.quant.bars import bar as market_bar
from services.quant.sdk.bar_builder import BarBuilder
from services.quant.sdk.events import Bar, Tick, exchange_time
from services.strategy.runner.convert import tick_from_pb
from tests.market.ticks import recorded
from tests.quant.bars.made import Made, quote

SECOND_NS = 1_000_000_000


def strategys_tick(one: pb.Tick, epoch: str) -> Tick:
    tick = tick_from_pb(one)
    tick.epoch = epoch
    return tick


def strategys(seconds: int, ticks: Iterable[pb.Tick], epoch: str = "e") -> list[Bar]:
    builder = BarBuilder(seconds)
    return [bar for one in ticks if (bar := builder.add(strategys_tick(one, epoch))) is not None]


def as_strategys(bar: market_bar.Bar) -> Bar:
    return Bar(
        bar.symbol,
        exchange_time(bar.start_ns),
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume,
        bar.turnover,
        bar.open_interest,
        bar.incomplete,
    )


@pytest.fixture(scope="module")
def days() -> list[pb.Tick]:
    return list(recorded())


@pytest.fixture(scope="module")
def market(days: list[pb.Tick]) -> Made:
    """Market's bars, closed by watermarks as the engine sends them, once a second."""
    made, watermark_ns = Made(), 0
    for one in days:
        if one.time_ns // SECOND_NS * SECOND_NS > watermark_ns:
            watermark_ns = one.time_ns // SECOND_NS * SECOND_NS
            made.bars.on_watermark("", watermark_ns)
        made.bars.on_ticks([one])
    return made


@pytest.mark.slow
@pytest.mark.parametrize("interval", list(Interval))
def test_on_recorded_days_they_are_markets(interval: Interval, days: list[pb.Tick], market: Made) -> None:
    bars = strategys(interval.length_ns // SECOND_NS, days)
    expected = [as_strategys(bar) for bar in market.of(interval)]
    assert bars == expected
    assert len(bars) >= 2 and not any(bar.incomplete for bar in bars)


@pytest.mark.slow
def test_shorter_ones_add_up_to_the_minutes(days: list[pb.Tick], market: Made) -> None:
    minutes: dict[object, Bar] = {}
    for bar in strategys(5, days):
        minute = minutes.setdefault(bar.time.replace(second=0), Bar(bar.symbol, bar.time, bar.open, 0, 9e9, 0))
        minute.high, minute.low, minute.close = max(minute.high, bar.high), min(minute.low, bar.low), bar.close
        minute.volume += bar.volume
    expected = [as_strategys(bar) for bar in market.minutes]
    assert [(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in minutes.values()] == [
        (bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in expected
    ]


def test_a_sessions_end_and_snapshots_after_it_make_no_bars_of_their_own() -> None:
    ticks = [quote("14:59:59", 10, 5, 1), quote("15:00:00.5", 11, 9, 2), quote("15:30:00", 11, 9, 3)]
    ticks.append(quote("2026-11-23 09:30:00", 12, 3, 4, trading_day=20261123))
    (bar,) = strategys(60, ticks)
    assert (bar.time.strftime("%H:%M"), bar.close, bar.volume) == ("14:59", 11, 9)


def test_a_strategy_that_begins_within_a_minute_is_told_that_it_is_not_whole() -> None:
    under_way = {"open_price": 9, "high_price": 12, "low_price": 8, "last_quantity": 2}
    ticks = [quote("10:00:20", 10, 500, 1, **under_way), quote("10:01:00", 10, 510, 2), quote("10:02:00", 10, 511, 3)]
    assert [(bar.volume, bar.incomplete) for bar in strategys(60, ticks)] == [(2, True), (10, False)]


def test_another_epoch_begins_its_bars_anew() -> None:
    ticks = [quote("10:00:00", 10, 5, 1), quote("10:01:00", 10, 9, 2)]
    builder = BarBuilder(60)
    bars = [builder.add(strategys_tick(one, epoch)) for epoch in ("one", "two") for one in ticks]
    assert [(bar.volume, bar.incomplete) for bar in bars if bar] == [(5, False), (4, True), (5, False)]


@pytest.mark.parametrize("seconds", [0, -1, 86_401])
def test_lengths_that_no_bar_has_are_refused(seconds: int) -> None:
    with pytest.raises(ValueError, match="1 s to a day"):
        BarBuilder(seconds)
