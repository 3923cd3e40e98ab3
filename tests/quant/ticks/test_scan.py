"""The scanner of batches against protobuf's own parser, in pure Python and compiled."""

import random
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import market_pb2 as pb

from services.quant.compile import TICKS, is_built
from services.quant.sdk.events import Tick
from services.quant.ticks.frames import MalformedBatchError, frame, split
from services.quant.ticks.tick_batch import INTEGERS, LEVELS, NUMBERS
from services.quant.ticks.variant import variant

BUILDS = ("pure", "compiled") if is_built(TICKS) else ("pure",)
SCANNERS = {build: variant(build).scanner() for build in BUILDS}
SYMBOLS = st.sampled_from(["IF2101.CFFEX", "rb2105.SHFE", "", "沪深300"])
levels = st.lists(st.floats(allow_nan=False), max_size=6)
int64 = st.integers(-(2**63), 2**63 - 1)
ticks = st.builds(
    pb.Tick,
    symbol=st.one_of(SYMBOLS, st.text(max_size=200)),
    gateway=st.sampled_from(["", "SIM", "CTP"]),
    sequence=st.one_of(int64, st.integers(1, 6), st.just(2**63 - 1)),
    time_ns=int64,
    trading_day=st.integers(-(2**31), 2**31 - 1),
    **{name: st.floats(allow_nan=False) for name in NUMBERS},
    **dict.fromkeys(LEVELS, levels),
)
builds = pytest.mark.parametrize("build", BUILDS)


def contents(batch: Any) -> dict[str, Any]:
    return {
        "data": batch.data,
        "control": batch.control,
        "len": len(batch),
        "symbols": batch.symbols,
        "gateways": batch.gateways,
        **{name: batch.values(name) for name in (*INTEGERS, *NUMBERS)},
        "columns": [batch.column(name) for name in (*INTEGERS, *NUMBERS)],
        "frames": batch.frames(),
        "runs": [tuple(run) for run in batch.runs()],
        "all": batch.select(set(batch.symbols)),
        "none": batch.select(()),
        "some": batch.select({"rb2105.SHFE", ""}),
        "ticks": batch.ticks(Tick),
        "bar_fields": [
            batch.bar_fields(number, index)
            for number, run in enumerate(batch.runs())
            for index in range(len(run.frames))
        ],
    }


def outcome(build: str, data: bytes) -> Any:
    try:
        return contents(SCANNERS[build].scan(data))
    except MalformedBatchError:
        return "malformed"


@builds
@given(items=st.lists(ticks, max_size=8), seconds=st.none() | st.integers(1, 2**40))
def test_every_field_is_read_as_protobuf_reads_it(build: str, items: list[pb.Tick], seconds: int | None) -> None:
    control = engine_pb2.StreamTicksResponse(heartbeat={"time": {"seconds": seconds}} if seconds else None)
    data = pb.StreamTicksResponse(ticks=items).SerializeToString() + control.SerializeToString()
    got = contents(SCANNERS[build].scan(data))
    assert got["frames"] == split(data)
    assert got["control"] == control.SerializeToString()
    for name in ("symbol", "gateway"):
        assert got[f"{name}s"] == [getattr(item, name) for item in items]
    for name in (*INTEGERS, *NUMBERS):
        assert got[name] == [getattr(item, name) for item in items]
    assert got["columns"] == [SCANNERS[build].scan(data).column(name) for name in (*INTEGERS, *NUMBERS)]
    for made, item in zip(got["ticks"], items, strict=True):
        for name in ("symbol", "time_ns", "sequence", "trading_day", "gateway", *NUMBERS):
            assert getattr(made, name) == getattr(item, name)
        for name in LEVELS:
            assert getattr(made, name) == tuple(getattr(item, name))


@builds
@given(items=st.lists(ticks, max_size=12))
def test_runs_are_all_ticks_and_follow_each_other(build: str, items: list[pb.Tick]) -> None:
    batch = SCANNERS[build].scan(pb.StreamTicksResponse(ticks=items).SerializeToString())
    by_symbol: dict[str, list[bytes]] = {}
    for run in batch.runs():
        assert len(run.frames) == run.last_sequence - run.first_sequence + 1
        parsed = pb.StreamTicksResponse.FromString(b"".join(run.frames)).ticks
        assert [one.time_ns for one in parsed] == list(run.times_ns)
        assert {(one.gateway, one.trading_day) for one in parsed} == {(run.gateway, run.trading_day)}
        assert parsed[-1].sequence == run.last_sequence
        by_symbol.setdefault(run.symbol, []).extend(run.frames)
    for symbol in {item.symbol for item in items}:
        assert by_symbol[symbol] == [frame(one.SerializeToString()) for one in items if one.symbol == symbol]


@builds
def test_a_selection_of_all_symbols_is_the_batchs_own_bytes(build: str) -> None:
    items = [pb.Tick(symbol=symbol, sequence=1) for symbol in ("a", "b", "a", "c")]
    data = pb.StreamTicksResponse(ticks=items).SerializeToString()
    batch = SCANNERS[build].scan(data)
    everything, count = batch.select({"a", "b", "c", "d"})
    assert everything is data
    assert count == 4
    assert batch.select(frozenset("ac")) == (
        pb.StreamTicksResponse(ticks=[items[0], items[2], items[3]]).SerializeToString(),
        3,
    )


@builds
def test_a_broken_sequence_or_another_gateway_begins_a_run(build: str) -> None:
    items = [
        pb.Tick(symbol=symbol, sequence=sequence, gateway=gateway)
        for symbol, sequence, gateway in (
            ("a", 1, "SIM"), ("b", 7, "SIM"), ("a", 2, "SIM"), ("a", 4, "SIM"), ("a", 5, "CTP"), ("b", 8, "SIM"),
        )
    ]  # fmt: skip
    batch = SCANNERS[build].scan(pb.StreamTicksResponse(ticks=items).SerializeToString())
    runs = [(run.symbol, run.gateway, run.first_sequence, run.last_sequence) for run in batch.runs()]
    assert runs == [("a", "SIM", 1, 2), ("b", "SIM", 7, 8), ("a", "SIM", 4, 4), ("a", "CTP", 5, 5)]


def test_a_field_that_is_unknown_or_encoded_in_another_way_is_read_as_protobuf_reads_it() -> None:
    unpacked = b"\x79" + b"\0" * 8 + b"\x79" + b"\0" * 6 + b"\xf0\x3f"  # bid_prices without packing: 0 and 1
    twice = b"\x18\x05\x18\x07"  # two sequences: the last one counts
    unknown = b"\xfa\x01\x02hi"  # field 31
    wrong = b"\x20\x05"  # last_price as a varint: unknown to protobuf
    grouped = b"\xfb\x01\x08\x01\xfc\x01"
    for body in (unpacked, twice, unknown, wrong, grouped, unpacked + twice + unknown):
        message = pb.Tick.FromString(body)
        for build in BUILDS:
            got = contents(SCANNERS[build].scan(frame(body)))
            assert got["sequence"] == [message.sequence]
            assert got["ticks"][0].bid_prices == tuple(message.bid_prices)
            assert got["frames"] == [frame(body)]


@given(items=st.lists(ticks, max_size=4), data=st.data())
def test_builds_agree_about_bytes_that_are_no_batch(items: list[pb.Tick], data: st.DataObject) -> None:
    raw = bytearray(pb.StreamTicksResponse(ticks=items).SerializeToString())
    dice = random.Random(data.draw(st.integers(0, 2**32)))
    for _ in range(dice.randint(1, 4)):
        at = dice.randint(0, len(raw))
        match dice.randint(0, 2):
            case 0:
                del raw[at:]
            case 1:
                raw[at:at] = dice.randbytes(dice.randint(1, 12))
            case 2:
                raw[at : at + 1] = dice.randbytes(1)
    mangled = bytes(raw)
    outcomes = {build: repr(outcome(build, mangled)) for build in BUILDS}
    assert len(set(outcomes.values())) == 1
    try:
        parsed = pb.StreamTicksResponse.FromString(mangled)
    except DecodeError:
        return
    if "malformed" not in outcomes["pure"]:
        assert SCANNERS["pure"].scan(mangled).values("sequence") == [tick.sequence for tick in parsed.ticks]


@builds
def test_a_batch_lives_longer_than_its_scanner_and_the_scanner_takes_many_symbols(build: str) -> None:
    scanner = variant(build).scanner()
    kept = [scanner.scan(frame(pb.Tick(symbol=f"s{n}", sequence=n).SerializeToString())) for n in range(500)]
    mixed = scanner.scan(b"".join(one.data for one in kept))
    del scanner
    assert mixed.symbols == [f"s{n}" for n in range(500)]
    assert [one.symbols for one in kept] == [[f"s{n}"] for n in range(500)]
    assert mixed.select({"s499"})[1] == 1
