"""Columns of ticks from bytes: the same as reading each field of each tick, however ticks are encoded."""

import random
from typing import Any

import pyarrow as pa
import pytest
from redfire.market.v1 import market_pb2 as pb

from services.market.convert import parse_ticks
from services.market.recording.tick_columns import tick_columns
from services.market.recording.tick_rows import frames_of_rows
from services.market.ticks.frames import frame
from services.quant.archive.layout import TICK_COLUMNS, TICK_LISTS
from tests.market.ticks import SYMBOL, recorded, tick


def plain(ticks: list[pb.Tick]) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for one in ticks:
        row = {
            name: list(value) if name in TICK_LISTS else value
            for name in TICK_COLUMNS
            for value in [getattr(one, name)]
        }
        rows.setdefault(one.symbol, []).append(row)
    return {key: sorted(column_rows, key=str) for key, column_rows in rows.items()}


def decoded(*batches: bytes) -> dict[str, list[dict[str, Any]]]:
    columns = tick_columns(batches, lambda: None)
    return {key: sorted(pa.table(column_rows).to_pylist(), key=str) for key, column_rows in columns.items()}


def encoded(ticks: list[pb.Tick]) -> bytes:
    return b"".join(frame(one.SerializeToString()) for one in ticks)


def some(seed: int) -> list[pb.Tick]:
    """Ticks of few and of many symbols, with fields that are absent, lists of any length, numbers of any size."""
    chance = random.Random(seed)
    plains = [name for name in TICK_COLUMNS if name not in (*TICK_LISTS, "time_ns", "sequence", "trading_day")]
    ticks = []
    for _ in range(600):
        levels = chance.choice((0, 1, 5, 5, 5))
        fields: dict[str, Any] = {name: chance.choice((0.0, 1.5, -0.0, 1e300)) for name in chance.sample(plains, 1)}
        fields |= {name: [chance.random() for _ in range(levels)] for name in TICK_LISTS}
        symbol = chance.choice((SYMBOL, SYMBOL, "rb2105.SHFE", "x" * chance.randrange(130), ""))
        sequence, time_ns = chance.choice((chance.getrandbits(62), 0, -1, 77)), chance.getrandbits(62)
        day = chance.choice((0, 20261120, 20261121))
        gateway = chance.choice(("", "SIM", "CTP"))
        ticks.append(
            pb.Tick(symbol=symbol, sequence=sequence, time_ns=time_ns, trading_day=day, gateway=gateway, **fields)
        )
    return ticks


def test_ticks_of_a_gateway_are_not_parsed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = [tick(number, gateway="SIM") for number in range(1, 65)]
    expected = plain(ticks)
    monkeypatch.setattr("services.market.recording.tick_columns._values", None)
    assert decoded(encoded(ticks)) == expected


@pytest.mark.parametrize("seed", range(6))
def test_ticks_of_all_shapes_give_the_columns_that_reading_them_gives(seed: int) -> None:
    ticks = some(seed)
    assert decoded(encoded(ticks[:200]), encoded(ticks[200:])) == plain(ticks)


def test_ticks_that_are_alike_give_the_columns_that_reading_them_gives() -> None:
    ticks = [tick(n, last_price=5000 + n / 8, bid_prices=[n, n + 1.0], ask_prices=[n + 2.0]) for n in range(1, 9000)]
    assert decoded(encoded(ticks)) == plain(ticks)


@pytest.mark.slow
def test_recorded_ticks_give_the_columns_that_reading_them_gives() -> None:
    ticks = list(recorded())
    assert decoded(encoded(ticks)) == plain(ticks)


def test_fields_out_of_order_twice_unknown_or_of_another_type_are_read_as_protobuf_reads_them() -> None:
    def odd(n: int, rest: bytes) -> bytes:
        return tick(n).SerializeToString() + rest

    late = pb.Tick(volume=7.0, pre_close_price=2.5).SerializeToString()  # volume comes twice: the later one counts
    rests = (
        late,
        pb.Tick(symbol="b").SerializeToString(),
        b"\xf8\x07\x01",
        b"\x20\x01",
        pb.Tick(bid_prices=[1.0]).SerializeToString(),
    )
    messages = [odd(n, rest) for rest in rests for n in range(100, 200)]
    messages += [pb.Tick(sequence=n).SerializeToString() + pb.Tick(symbol="c").SerializeToString() for n in range(30)]
    ticks = [pb.Tick.FromString(message) for message in messages]
    assert decoded(b"".join(map(frame, messages)), b"") == plain(ticks)


def test_no_ticks_give_no_columns() -> None:
    assert decoded() == {}


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_columns_are_the_ticks_that_the_columns_were_made_of(seed: int) -> None:
    ticks = [one for one in some(seed) if one.symbol == SYMBOL]
    for one in ticks:
        one.gateway = ""  # no column
    table = pa.table(tick_columns([encoded(ticks)], lambda: None)[SYMBOL])
    frames = frames_of_rows(SYMBOL, table, 0, len(ticks))
    assert sorted(map(str, parse_ticks(b"".join(frames)))) == sorted(map(str, ticks))
    assert frames_of_rows(SYMBOL, table, 5, 17) == frames[5:17]
