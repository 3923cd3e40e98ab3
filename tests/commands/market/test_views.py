"""The table of `redfire ticks` and the ladder of `redfire depth`: widths of terminals, colours, what is missing."""

import io

import pytest
from redfire.market.v1 import market_pb2 as pb
from rich.console import Console

from services.commands.market.depth_view import DepthView
from services.commands.market.tick_stream import TickStream
from services.commands.market.tick_table import TickTable, age_text, clock_text, number

RB, AU, IF = "rb2701.SHFE", "au2702.SHFE", "IF2512.CFFEX"
START_NS = 1_763_602_200_000_000_000
BOOK = {
    "bid_prices": [3121, 3120, 3119, 3118, 3117], "bid_quantities": [120, 45, 300, 7, 88],
    "ask_prices": [3122, 3123, 3124, 3125, 3126], "ask_quantities": [10, 20, 30, 40, 250],
}  # fmt: skip


def tick(symbol: str, number: int, last_price: float, **fields: object) -> pb.Tick:
    fields = {"pre_close_price": 3100, "volume": 123_456, "open_interest": 2_345_678, "last_quantity": 12, **fields}
    return pb.Tick(
        symbol=symbol, sequence=number, time_ns=START_NS + number * 500_000_000, last_price=last_price, **fields
    )


def shown(view: object, width: int, **options: object) -> list[str]:
    console = Console(width=width, height=30, record=True, file=io.StringIO(), **options)
    console.print(view)
    text = console.export_text(styles=bool(options.get("color_system")))
    return [line.rstrip() for line in text.splitlines()]


class Table:
    """A table whose clock stands still, half a second after the last tick of rb."""

    def __init__(self, **options: object) -> None:
        self.stream = TickStream(None, [RB, AU, IF])
        self.stream.epoch = "3f2a91c0-aaaa"
        self.now = 100.0
        self.view = TickTable(
            self.stream, monotonic=lambda: self.now, wall_ns=lambda: START_NS + 1_000_000_000, **options
        )
        for count in range(1, 11):
            self.add(tick(RB, count, 3121 + count % 3, **BOOK))
            self.now += 0.5
        self.add(tick(AU, 1, 888.88, pre_close_price=0))

    def add(self, *ticks: pb.Tick) -> None:
        self.view.add(pb.StreamTicksResponse(ticks=ticks))


@pytest.fixture
def table() -> Table:
    return Table()


def test_each_symbol_has_its_last_tick_direction_rate_and_age(table):
    head, first, second, third, state = shown(table.view, 140)
    titles = "symbol time last change bid × ask × volume open interest ticks/s age lost"
    assert head.split() == titles.split()
    assert first.split() == [IF, "–"], "none came yet"
    assert second.split() == [AU, clock_text(START_NS + 500_000_000), "888.88", "123456", "2345678", "1.0", "0.5s"]
    assert third.split() == [
        RB, clock_text(START_NS + 5_000_000_000), "3122", "▲", "+0.71%", "3121", "120", "3122", "10", "123456",
        "2345678", "2.0", "0.5s",
    ]  # fmt: skip
    assert state == "epoch 3f2a91c0 · feed connected"


def test_the_age_of_a_tick_from_before_is_the_exchanges_and_the_rate_falls_to_nothing(table):
    table.now += 600
    rows = shown(table.view, 140)
    assert [row.split()[-2:] for row in rows[2:4]] == [["0.0", "10m"], ["0.0", "10m"]]
    assert [age_text(s) for s in (0, 9.94, 59, 91, 7200, 400_000)] == ["0.0s", "9.9s", "59s", "2m", "2h", "5d"]


def test_lost_ticks_silence_restarts_and_the_end_are_stated(table):
    stream = table.stream
    table.view.add(pb.StreamTicksResponse(gap={"symbol": RB, "first_sequence": 11, "last_sequence": 40}))
    stream.missed, stream.gap_count, stream.resumed, stream.epochs = 30, 1, 2, 1
    stream.stale, stream.connected = [AU], False
    rows = shown(table.view, 140)
    assert rows[3].split()[-1] == "30"
    state = " ".join(rows[4:])
    for text in (
        "feed silent", "1 stale: au2702.SHFE", "the feed began anew once", "30 ticks lost in 1 gaps", "resumed 2 times",
    ):  # fmt: skip
        assert text in state
    stream.trouble = "connection refused"
    assert "opening again: connection refused" in shown(table.view, 200)[-1]
    stream.trouble, stream.end_reason = "", "FEED_ENDED"
    assert "ended: FEED_ENDED" in shown(table.view, 200)[-1]


@pytest.mark.parametrize("width", [110, 90, 70, 50, 30])
def test_a_narrow_terminal_gets_fewer_columns_but_no_cut_ones(table, width):
    rows = shown(table.view, width)
    assert all(len(row) <= width for row in rows)
    assert "…" not in "".join(rows)
    assert rows[0].split()[:1] == ["symbol"] and "last" in rows[0].split()
    assert ("bid" in rows[0]) == ("ask" in rows[0])


def test_colours_say_up_and_down_and_may_be_those_of_china():
    options = {"force_terminal": True, "color_system": "standard"}
    western, chinese = Table(), Table(red_up=True)
    for one in (western, chinese):
        one.add(tick(RB, 11, 3120, **BOOK))
    assert "\x1b[31m3120 ▼" in "".join(shown(western.view, 140, **options)).replace("\x1b[31m  ", "\x1b[31m")
    assert "\x1b[32m3120 ▼" in "".join(shown(chinese.view, 140, **options)).replace("\x1b[32m  ", "\x1b[32m")
    bare = shown(western.view, 140, force_terminal=True, color_system=None)
    assert "\x1b" not in "".join(bare)


def test_more_symbols_than_the_terminal_is_high_are_counted():
    stream = TickStream(None, [f"rb{number}.SHFE" for number in range(2601, 2641)])
    rows = shown(TickTable(stream), 100, force_terminal=True, color_system=None)
    assert len(rows) < 30
    assert "… and 15 more" in rows[-2]


def ladder(*ticks: pb.Tick) -> DepthView:
    view = DepthView(RB)
    for one in ticks:
        view.add(one)
    return view


def test_the_ladder_shows_five_levels_with_bars_the_spread_and_the_last_trade():
    view = ladder(tick(RB, 1, 3121, **BOOK), tick(RB, 2, 3122, **BOOK))
    assert shown(view, 60) == [
        f"rb2701.SHFE  {clock_text(START_NS + 10**9)}  +0.71%  volume 123456",
        "ask 5  3126  250  █████████████████████████████████▍",
        "ask 4  3125   40  █████▍",
        "ask 3  3124   30  ████",
        "ask 2  3123   20  ██▋",
        "ask 1  3122   10  █▍",
        "last   3122 ▲ × 12   spread 1 (0.03%)",
        "bid 1  3121  120  ████████████████",
        "bid 2  3120   45  ██████",
        "bid 3  3119  300  ████████████████████████████████████████",
        "bid 4  3118    7  ▉",
        "bid 5  3117   88  ███████████▊",
    ]


def test_a_narrow_terminal_has_shorter_bars_then_none_then_no_names():
    view = ladder(tick(RB, 1, 3121, **BOOK))
    for width in (40, 30, 24, 18, 12):
        rows = shown(view, width)
        assert len(rows) == 12 and all(len(row) <= width for row in rows)
    assert shown(view, 18)[1] == "ask 5  3126  250"
    assert shown(view, 12)[1] == "3126  250"


def test_no_colour_has_no_escape_and_a_terminal_without_unicode_hash_signs(tmp_path):
    view = ladder(tick(RB, 1, 3121, **BOOK))
    assert "\x1b" not in "".join(shown(view, 60, force_terminal=True, color_system=None))
    with (tmp_path / "out").open("w", encoding="ascii", errors="replace") as file:
        console = Console(width=60, file=file)
        console.print(view)
    rows = (tmp_path / "out").read_text().splitlines()
    assert rows[9].split() == ["bid", "3", "3119", "300", "#" * 40]


def test_missing_levels_and_a_market_without_one_side_are_shown_as_such():
    rows = shown(ladder(tick(RB, 1, 3121, bid_prices=[3121], bid_quantities=[5], last_quantity=0)), 60)
    assert rows[5].split() == ["ask", "1", "–"]
    assert rows[6] == "last   3121"
    assert rows[7].split()[:4] == ["bid", "1", "3121", "5"]
    assert shown(DepthView(RB), 60) == ["rb2701.SHFE: no tick yet"]


def test_numbers_have_no_digits_that_only_floats_have():
    assert [number(n) for n in (3122.0, 0.1 + 0.2, 4999.8, 0.0, 1e6)] == ["3122", "0.3", "4999.8", "0", "1000000"]
