"""Bars out of batches: the same, to the last bit, as out of one tick after another, in pure Python and compiled."""

from dataclasses import astuple
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redfire.market.v1 import market_pb2 as pb

from services.quant.bars import BarBuilder, LocalClock
from services.quant.compile import TICKS, is_built
from services.quant.ticks.variant import variant

BUILDS = ("pure", "compiled") if is_built(TICKS) else ("pure",)
CLOCK = LocalClock("Asia/Shanghai")
MORNING_NS = 1_795_138_200_000_000_000  # 2026-11-20 09:30 in Shanghai
SECOND_NS = 1_000_000_000
odd = st.sampled_from([0.0, -1.0, 1.7976931348623157e308, float("inf"), float("nan")])
steps = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(["IF2612.CFFEX", "rb2701.SHFE"]),
        "after_s": st.one_of(st.floats(0, 5), st.sampled_from([0.0, 61.0, 600.0, -3.0, 20_000.0])),
        "price": st.one_of(st.floats(3490, 3510), st.floats(3490, 3510), odd),
        "traded": st.one_of(st.floats(0, 50), st.just(0.0), st.just(-5.0), odd),
        "turnover": st.one_of(st.floats(0, 1e6), odd),
        "interest": st.one_of(st.floats(0, 1e6), odd),
        "spread": st.floats(0, 9),
        "skipped": st.sampled_from([0, 0, 0, 0, 0, 0, 3]),
        "gateway": st.sampled_from(["SIM", "SIM", "SIM", "SIM", "SIM", "CTP"]),
        "day": st.sampled_from([20261120] * 8 + [0, 20261123, 20991231]),
    }
)


def made(walk: list[dict[str, Any]]) -> list[pb.Tick]:
    ticks: list[pb.Tick] = []
    state: dict[str, dict[str, float]] = {}
    for step in walk:
        last = state.setdefault(step["symbol"], {"n": 0, "ns": MORNING_NS, "volume": 0.0, "turnover": 0.0})
        last["n"] += 1 + step["skipped"]
        last["ns"] += int(step["after_s"] * SECOND_NS)
        volume, turnover = last["volume"] + step["traded"], last["turnover"] + step["turnover"]
        if abs(volume) < 1e15:
            last["volume"] = volume
        if abs(turnover) < 1e15:
            last["turnover"] = turnover
        price = step["price"]
        ticks.append(
            pb.Tick(
                symbol=step["symbol"],
                sequence=int(last["n"]),
                time_ns=int(last["ns"]),
                last_price=price,
                volume=volume,
                turnover=turnover,
                open_interest=step["interest"],
                last_quantity=1,
                high_price=price + step["spread"],
                low_price=price - step["spread"],
                open_price=3500,
                trading_day=step["day"],
                gateway=step["gateway"],
            )
        )
    return ticks


def outcome(feed: Any) -> tuple[str, dict[str, list[str]]]:
    bars = BarBuilder(CLOCK)
    closed: dict[str, list[str]] = {}
    bars.on_closed(lambda bar: closed.setdefault(bar.symbol, []).append(repr(astuple(bar))))
    feed(bars)
    open_bars = repr(bars.dump())
    bars.close_all()
    return open_bars, closed


@pytest.mark.parametrize("build", BUILDS)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(walk=st.lists(steps, max_size=60), sizes=st.lists(st.integers(1, 25), min_size=60, max_size=60))
def test_batches_of_any_size_make_the_bars_that_single_ticks_make(
    build: str, walk: list[dict[str, Any]], sizes: list[int]
) -> None:
    ticks, scan = made(walk), variant(build).scanner().scan

    def by_batch(bars: BarBuilder) -> None:
        left = list(ticks)
        for size in sizes:
            if left:
                bars.on_batch(scan(pb.StreamTicksResponse(ticks=left[:size]).SerializeToString()))
                left = left[size:]

    def one_by_one(bars: BarBuilder) -> None:
        bars.on_ticks(ticks)

    assert outcome(by_batch) == outcome(one_by_one)


@pytest.mark.skipif("compiled" not in BUILDS, reason="nothing is compiled")
def test_ordinary_ticks_are_folded_in_c() -> None:
    scan, bars = variant("compiled").scanner().scan, BarBuilder(CLOCK)
    ticks = [
        pb.Tick(
            symbol="IF2612.CFFEX",
            sequence=n,
            time_ns=MORNING_NS + n * SECOND_NS,
            last_price=3500 + n % 7,
            volume=n,
            turnover=n * 3500.0,
            open_interest=9,
            high_price=3507,
            low_price=3499,
            trading_day=20261120,
            gateway="SIM",
        )
        for n in range(1, 40)
    ]
    bars.on_ticks(ticks[:3])
    batch = scan(pb.StreamTicksResponse(ticks=ticks[3:]).SerializeToString())
    (of_symbol,) = bars
    assert batch.fold(0, 0, of_symbol) == 36
