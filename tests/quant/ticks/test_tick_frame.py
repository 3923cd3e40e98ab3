"""The encoder of vnpy's ticks: the same bytes in pure Python and compiled, as protobuf has them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.market.v1 import market_pb2 as pb
from vnpy.trader.constant import Exchange
from vnpy.trader.object import TickData

from services.quant.compile import TICKS, is_built
from services.quant.ticks.frames import frame
from services.quant.ticks.variant import variant

BUILDS = ("pure", "compiled") if is_built(TICKS) else ("pure",)
builds = pytest.mark.parametrize("build", BUILDS)
number = st.one_of(
    st.floats(allow_nan=False), st.integers(-(2**60), 2**60), st.sampled_from([0.0, -0.0, 1.7976931348623157e308, 3500])
)
int64 = st.integers(-(2**63), 2**63 - 1)
NUMBERS = (
    "last_price", "last_volume", "volume", "turnover", "open_interest", "open_price", "high_price", "low_price",
    "pre_close", "limit_up", "limit_down",
    *(f"{side}_{kind}_{level}" for side in ("bid", "ask") for kind in ("price", "volume") for level in range(1, 6)),
)  # fmt: skip


def tick(symbol: str, gateway: str, numbers: dict[str, Any]) -> TickData:
    made = TickData(gateway_name=gateway, symbol=symbol, exchange=Exchange.SHFE, datetime=datetime(2026, 11, 20))
    made.__dict__.update(numbers)
    return made


@given(
    symbol=st.one_of(st.just("rb2701"), st.text(max_size=700)),
    gateway=st.sampled_from(["", "SIM", "CTP"]),
    numbers=st.dictionaries(st.sampled_from(NUMBERS), number, max_size=len(NUMBERS)),
    sequence=int64,
    time_ns=int64,
    trading_day=st.integers(-(2**31), 2**31 - 1),
)
def test_builds_make_the_same_bytes(
    symbol: str, gateway: str, numbers: dict[str, Any], sequence: int, time_ns: int, trading_day: int
) -> None:
    made = tick(symbol, gateway, numbers)
    frames = {variant(build).tick_frame(made, sequence, time_ns, trading_day) for build in BUILDS}
    (only,) = frames
    parsed = pb.StreamTicksResponse.FromString(only).ticks[0]
    assert only == frame(parsed.SerializeToString())
    assert parsed.symbol == made.vt_symbol
    assert (parsed.sequence, parsed.time_ns, parsed.trading_day) == (sequence, time_ns, trading_day)
    assert parsed.last_price == made.last_price
    assert parsed.limit_down == made.limit_down
    assert parsed.gateway == gateway


@builds
@pytest.mark.parametrize("levels", range(6))
def test_levels_end_before_the_first_that_has_no_price(build: str, levels: int) -> None:
    numbers = {f"bid_price_{level}": 100.0 - level for level in range(1, 6)}
    numbers |= {f"bid_volume_{level}": level for level in range(1, 6)}
    if levels < 5:
        numbers[f"bid_price_{levels + 1}"] = 1.7976931348623157e308
    frame = variant(build).tick_frame(tick("rb2701", "CTP", numbers), 1, 1, 20261120)
    parsed = pb.StreamTicksResponse.FromString(frame).ticks[0]
    assert list(parsed.bid_prices) == [99.0, 98.0, 97.0, 96.0, 95.0][:levels]
    assert list(parsed.bid_quantities) == [1.0, 2.0, 3.0, 4.0, 5.0][:levels]
    assert not parsed.ask_prices


@builds
def test_a_number_that_is_none_is_absent(build: str) -> None:
    frame = variant(build).tick_frame(tick("rb2701", "CTP", {"volume": None, "turnover": 5}), 1, 1, 20261120)
    parsed = pb.StreamTicksResponse.FromString(frame).ticks[0]
    assert (parsed.volume, parsed.turnover) == (0.0, 5.0)


@builds
def test_what_is_no_number_or_too_large_is_refused(build: str) -> None:
    encode = variant(build).tick_frame
    with pytest.raises(TypeError):
        encode(tick("rb2701", "CTP", {"volume": "4"}), 1, 1, 20261120)
    with pytest.raises(TypeError):
        encode(tick("rb2701", "CTP", {"bid_price_1": "4"}), 1, 1, 20261120)
    for sequence, day in ((2**63, 1), (1, 2**31)):
        with pytest.raises((ValueError, OverflowError)):
            encode(tick("rb2701", "CTP", {}), sequence, 1, day)


def test_ticks_whose_attributes_are_in_other_orders_are_encoded_alike() -> None:
    made = tick("rb2701", "CTP", {name: float(place + 1) for place, name in enumerate(NUMBERS)})
    expected = variant("pure").tick_frame(made, 7, 8, 20261120)
    orders = [list(made.__dict__)]
    orders += [orders[0][turn:] + orders[0][:turn] for turn in range(1, 3)] + [
        [*orders[0], *(f"x{n}" for n in range(70))]
    ]
    for order in (*orders, *orders):
        other = tick("rb2701", "CTP", {})
        other.__dict__.clear()
        other.__dict__.update((name, made.__dict__.get(name)) for name in order)
        assert [variant(build).tick_frame(other, 7, 8, 20261120) for build in BUILDS] == [expected] * len(BUILDS)


def test_a_number_too_large_behind_a_sides_last_level_is_not_looked_at() -> None:
    made = tick("rb2701", "CTP", {"last_price": 5, "bid_volume_3": 10**400})
    for _ in range(2):
        (only,) = {variant(build).tick_frame(made, 7, 8, 20261120) for build in BUILDS}
        assert pb.StreamTicksResponse.FromString(only).ticks[0].last_price == 5


@given(
    numbers=st.dictionaries(st.sampled_from(NUMBERS), st.one_of(number, st.none()), max_size=6),
    moment=st.datetimes(datetime(1969, 12, 30), datetime(2100, 1, 1), timezones=st.sampled_from([UTC])),
    extra=st.sampled_from([None, {}, {"time_ns": 5}]),
)
def test_a_gateways_usual_tick_is_encoded_at_once_as_by_steps(
    numbers: dict[str, Any], moment: datetime, extra: dict[str, int] | None
) -> None:
    def day_of(symbol: str) -> Any:
        return lambda time_ns: 20260000 + time_ns // 60_000_000_000 % 1000 + len(symbol)

    made = tick("rb2701", "CTP", numbers)
    made.datetime, made.extra = moment, extra
    codec = variant("pure")
    time_ns = codec.time_ns(moment)
    unusual = extra or None in numbers.values() or time_ns < 0 or not codec.has_numbers(made)
    for _ in range(2):
        at_once = variant(BUILDS[-1]).gateway_frame(made, 7, day_of)
        assert not (extra and at_once)
        if at_once is None:
            assert unusual or BUILDS == ("pure",)
        else:
            assert at_once == variant("compiled").tick_frame(made, 7, time_ns, day_of(made.vt_symbol)(time_ns))


ZONES = (ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe"), UTC)
moments = st.datetimes(
    datetime(1990, 1, 1),
    datetime(2100, 1, 1),
    timezones=st.sampled_from([*ZONES, timezone(timedelta(hours=-3, minutes=-30, seconds=7))]),
)


@builds
@settings(deadline=None)
@given(st.lists(moments, min_size=1, max_size=5), st.lists(st.timedeltas(timedelta(0), timedelta(hours=2)), max_size=5))
def test_moments_are_nanoseconds_since_1970_in_any_order_and_zone(
    build: str, moments: list[datetime], steps: list[timedelta]
) -> None:
    time_ns = variant(build).time_ns
    for moment in [*moments, *(moments[-1] + step for step in steps), moments[0]]:
        since = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        assert time_ns(moment) == since * 1000


@builds
def test_a_moment_of_no_zone_and_one_of_another_kind_are_moments_too(build: str) -> None:
    class Moment(datetime):
        def timestamp(self) -> float:
            return 5.0

    time_ns = variant(build).time_ns
    naive = datetime(2026, 11, 20, 9, 30, 0, 7)
    assert time_ns(naive) == round(naive.timestamp() * 1e6) * 1000
    assert time_ns(Moment(2026, 11, 20, tzinfo=UTC)) == 5_000_000_000


@builds
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf"), 1.7976931348623157e308, 10**400])
def test_numbers_that_are_none_are_seen(build: str, odd: Any) -> None:
    has_numbers = variant(build).has_numbers
    assert has_numbers(tick("rb2701", "CTP", {"volume": 5, "turnover": -3.5}))
    for name in NUMBERS[:11]:
        assert not has_numbers(tick("rb2701", "CTP", {name: odd}))
    with pytest.raises(TypeError):
        has_numbers(tick("rb2701", "CTP", {"volume": "4"}))
