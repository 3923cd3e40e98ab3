"""Bars are a function of ticks, watermarks and epochs in their order, and they add up, whatever the feed does."""

import json
from collections import defaultdict
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redfire.market.v1 import market_pb2 as pb

from services.quant.bars import LONGER, Bar, Interval
from tests.examples import examples
from tests.quant.bars.feeds import SECOND_NS, Event, Watermark, apply, by_symbol, events
from tests.quant.bars.made import CLOCK, Made


@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events(epochs=True), st.data())
def test_a_stream_in_other_batches_over_restarts_and_field_by_field_gives_the_same_bars(
    sequence: list[Event], data: st.DataObject
) -> None:
    whole, fields = Made(), Made()
    apply(whole, sequence)
    whole.bars.close_all()
    rebuilt: list[Bar] = []
    state: dict[str, dict[str, object]] = {}
    epoch, rest = "", sequence
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        part = Made()
        part.bars.load(json.loads(json.dumps(state)))
        part.bars.begin_epoch(epoch)  # a feed that goes on says its epoch again
        assert part.bars.dump() == state
        apply(part, rest[:cut])
        rebuilt += part.closed
        state, epoch, rest = part.bars.dump(), part.bars.epoch, rest[cut:]
    last = Made()
    last.bars.load(state)
    last.bars.close_all()
    assert by_symbol(rebuilt + last.closed) == by_symbol(whole.closed)
    for event in sequence:
        if isinstance(event, pb.Tick):
            fields.bars.on_tick_fields(
                event.symbol,
                event.gateway,
                event.sequence,
                event.time_ns,
                event.last_price,
                event.last_quantity,
                event.volume,
                event.turnover,
                event.open_interest,
                event.open_price,
                event.high_price,
                event.low_price,
                event.trading_day,
            )
        else:
            apply(fields, [event])
    fields.bars.close_all()
    assert by_symbol(fields.closed) == by_symbol(whole.closed)


@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events())
def test_minutes_add_up_to_the_day_and_longer_bars_are_folded_minutes(sequence: list[Event]) -> None:
    made = Made()
    apply(made, sequence)
    made.bars.close_all()
    for bars in by_symbol(made.closed).values():
        minutes = [bar for bar in bars if bar.interval == Interval.MINUTE]
        starts = [bar.start_ns for bar in minutes]
        assert starts == sorted(set(starts))
        assert all(bar.low <= min(bar.open, bar.close) and max(bar.open, bar.close) <= bar.high for bar in bars)
        assert all(90 <= bar.low <= bar.high <= 110 for bar in bars)
        volumes: dict[int, float] = defaultdict(float)
        for bar in minutes:
            volumes[bar.trading_day] += bar.volume
        # A day that traded after its bar had closed has another one, with all of it.
        days = {bar.trading_day: bar.volume for bar in bars if bar.interval == Interval.DAY}
        assert days == {day: volume for day, volume in volumes.items() if day in days}
        assert all(volume == 0 for day, volume in volumes.items() if day not in days)
        for interval in LONGER:
            folded: dict[tuple[int, int], Bar] = {}
            for minute in minutes:
                start_ns = CLOCK.bucket_start(minute.start_ns, interval.length_ns)
                key = minute.trading_day, start_ns
                if key in folded:
                    folded[key].fold(minute)
                else:
                    folded[key] = minute.longer(interval, start_ns)
            longer = [bar for bar in bars if bar.interval == interval]
            assert [replace(bar, incomplete=False) for bar in longer] == [
                replace(bar, incomplete=False) for bar in folded.values()
            ]


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events(), st.integers(0, 60))
def test_a_watermark_more_changes_no_tick_that_is_in_time(sequence: list[Event], place: int) -> None:
    """Bars of a feed without late ticks do not depend on who closes them, a watermark or the next tick."""
    in_time: list[Event] = []
    newest: dict[str, int] = defaultdict(int)
    for event in sequence:
        if isinstance(event, pb.Tick) and event.time_ns >= newest[event.gateway]:
            newest[event.gateway] = event.time_ns
            in_time.append(event)
    watermarked: list[Event] = []
    for event in in_time:
        if isinstance(event, pb.Tick):
            watermarked += [Watermark(event.gateway, event.time_ns - (place % 3) * SECOND_NS), event]
    plain, closed = Made(), Made()
    apply(plain, in_time)
    apply(closed, watermarked)
    for made in (plain, closed):
        made.bars.close_all()
    minutes = [by_symbol(made.minutes) for made in (plain, closed)]
    assert {symbol: [replace(bar, incomplete=False) for bar in bars] for symbol, bars in minutes[0].items()} == {
        symbol: [replace(bar, incomplete=False) for bar in bars] for symbol, bars in minutes[1].items()
    }
