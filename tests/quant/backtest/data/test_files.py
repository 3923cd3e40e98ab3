"""Files of recorded data: whatever their columns and times look like, the same rows; what is wrong is named."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.quant.backtest.data.files import read_dataset
from services.quant.backtest.job import BacktestError
from tests.examples import examples
from tests.quant.backtest.recordings import IF, RB, if_ticks, rb_bars
from tests.recorded_days import IF_DAILY, recorded, recorded_days

START = pd.Timestamp("2021-01-04 09:05", tz="Asia/Shanghai").value
MINUTE = 60 * 10**9
BARS = "datetime,open,high,low,close,volume"
STAMPED = BARS.replace("datetime", "timestamp")


def read(folder, text, encoding="utf-8", **options):
    file = folder / "f.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    options.setdefault("symbol", "rb2105.SHFE")
    return read_dataset(file, **options)


def three(header, *times):
    return "\n".join([header, *(f"{time},10,12,9,11,5" for time in times), ""])


@pytest.mark.parametrize("interval", ["5m", None])
def test_recorded_bars_are_read_and_stamped_at_their_start(interval):
    file = recorded(RB)
    bars, expected = read_dataset(file, symbol="rb888.SHFE", interval=interval, label="end"), rb_bars()
    assert (bars.interval, bars.findings) == ("5m", ())
    for name in ("time_ns", "open", "high", "low", "close", "volume", "turnover", "open_interest"):
        assert np.array_equal(getattr(bars, name), getattr(expected, name)), name


def test_recorded_ticks_have_vnpy_columns():
    ticks = read_dataset(recorded(IF), symbol="IF2101.CFFEX", interval="tick")
    expected = if_ticks()
    assert np.array_equal(ticks.time_ns, expected.time_ns)
    assert ticks.columns.keys() == expected.columns.keys()
    for name, values in expected.columns.items():
        assert np.array_equal(ticks.columns[name], values), name


def test_recorded_days_begin_at_their_midnight():
    bars = read_dataset(recorded_days(IF_DAILY), symbol="IF888.CFFEX", label="end")
    assert bars.interval == "1d"
    assert bars.time_ns[0] == pd.Timestamp("2010-04-16", tz="Asia/Shanghai").value
    assert bars.turnover[0] == 50538805320.0


@pytest.mark.parametrize(
    "text",
    [
        three(BARS, "2021-01-04 09:05:00", "2021-01-04 09:06:00", "2021-01-04 09:07:00"),
        three("Time,O,H,L,C,Vol", "2021-01-04T09:05", "2021-01-04T09:06", "2021-01-04T09:07"),
        three("时间,开盘,最高,最低,收盘,成交量", "2021/1/4 9:05", "2021/1/4 9:06", "2021/1/4 9:07"),
        three(
            "日期时间,开盘价,最高价,最低价,收盘价,成交量",
            "2021年1月4日 9:05", "2021年1月4日 9:06", "2021年1月4日 9:07",
        ),
        three(
            "trade_time,open_price,high_price,low_price,close_price,vol",
            "20210104 09:05:00", "20210104 09:06:00", "20210104 09:07:00",
        ),
        three(BARS, "20210104090500", "20210104090600", "20210104090700"),
        three(STAMPED, "1609722300", "1609722360", "1609722420"),
        three(STAMPED, "1609722300000", "1609722360000", "1609722420000"),
        three(STAMPED, "1609722300000000", "1609722360000000", "1609722420000000"),
        three(BARS, "2021-01-04T09:05:00+08:00", "2021-01-04T02:06:00+01:00", "2021-01-04T01:07:00Z"),
        three("date,time,o,h,l,c,v", "2021-01-04,09:05:00", "2021-01-04,09:06:00", "2021-01-04,09:07:00"),
        three("Date,Time,Open,High,Low,Close,Volume", "20210104,90500", "20210104,90600", "20210104,90700"),
        three(BARS, "2021-01-04 09:05", "2021/01/04 09:06:00", "20210104 09:07").replace(",", ";"),
        three(BARS, "2021-01-04 09:05", "2021-01-04 09:06", "2021-01-04 09:07").replace(",", "\t"),
        three(BARS, "2021-01-04 09:05", "2021-01-04 09:06", "2021-01-04 09:07").replace("\n", "\r\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_common_names_and_times_are_recognised(tmp_path, text, encoding):
    bars = read(tmp_path, text, encoding)
    assert bars.time_ns.tolist() == [START, START + MINUTE, START + 2 * MINUTE]
    assert (bars.interval, bars.findings) == ("1m", ())
    assert [bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0]] == [10, 12, 9, 11, 5]


def test_columns_that_are_not_recognised_are_named(tmp_path):
    text = three("a,b,c1,d,e,f", "2021-01-04 09:05", "2021-01-04 09:06")
    named = {"datetime": "a", "open": "b", "high": "C1", "low": "d", "close": "e", "volume": "f"}
    assert read(tmp_path, text, columns=named).close.tolist() == [11, 11]
    with pytest.raises(BacktestError, match=r"f.csv: there is no column 'x'; it has a, b, c1") as refused:
        read(tmp_path, text, columns={"close": "x"})
    assert refused.value.field == "columns"
    with pytest.raises(BacktestError, match="there is no column 'clse' to name"):
        read(tmp_path, text, columns={"clse": "e"})


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("datetime,open,high,low,x,volume", "close"),
        ("x,open,high,low,close,volume", "the time"),
        ("1,2,3,4,5,6", "open"),
    ],
)
def test_a_missing_column_is_named_with_those_that_there_are(tmp_path, header, missing):
    with pytest.raises(
        BacktestError, match=f"f.csv: no column is recognised as {missing}; it has {header.split(',')[0]}, "
    ):
        read(tmp_path, three(header, "2021-01-04 09:05"))


BAD = """datetime,open,high,low,close,volume
2021-01-04 09:05,10,12,9,11,5
noon,10,12,9,11,5
2021-01-04 09:06,10,12,9,abc,5

2021-01-04 09:07,10,8,9,9,5
2021-01-04 09:08,10,12
2021-01-04 09:09,10,12,9,,5
2021-01-04 09:10,10,12,9,nan,5
2021-01-04 09:11,0,12,0,11,5
2021-01-04 09:12,10,12,9,11,-5
2021-02-30 09:13,10,12,9,11,5
2021-01-04 09:06,10,12,9,11,5
2021-01-04 09:07,10,inf,9,11,5


"""


def test_bad_rows_are_skipped_and_named_by_their_lines(tmp_path):
    bars = read(tmp_path, BAD)
    assert bars.time_ns.tolist() == [START, START + MINUTE]
    (finding,) = bars.findings
    assert (finding.kind, finding.count) == ("malformed", 11)
    assert finding.lines == (3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
    for part in (
        "11 of 13 rows were skipped: line 3: the time 'noon' is none", "line 4: close 'abc' is not a number",
        "line 5: the row is empty", "line 6: high 8 is below low 9", "line 7: 3 fields instead of 6",
        "line 8: close is missing", "line 10: open 0 is not above 0", "line 11: volume -5 is below 0", "and 1 more",
    ):  # fmt: skip
        assert part in finding.sentence


def test_strict_refuses_a_file_with_bad_rows(tmp_path):
    with pytest.raises(BacktestError, match=r"f.csv: 11 of 13 rows were skipped: line 3"):
        read(tmp_path, BAD, strict=True)


def test_bytes_that_are_no_text_spoil_their_row_only(tmp_path):
    text = b"datetime,open,high,low,close,volume\n" + b"2021-01-04 09:05,10,12,9,11,5\n" * 4000
    text += b"2021-01-04 09:06,10,12,9,\xff\xfe,5\n\xff,10,12,9,11,5\n"
    bars = read(tmp_path, text, interval="1m")
    assert bars.findings[0].lines == (4002, 4003)


@pytest.mark.slow
def test_many_blocks_are_one_file(tmp_path):
    times = pd.date_range("2021-01-04 09:05", periods=150_000, freq="min")
    lines = [f"{time},10,12,9,11,5" for time in times]
    lines[140_000] = "x,10,12,9,11,5"
    done = []
    text = "\n".join(["datetime,open,high,low,close,volume", *lines])
    bars = read(tmp_path, text, progress=done.append)
    assert len(bars) == 149_999
    assert bars.findings[0].lines == (140_002,)
    assert done == sorted(done)
    assert done[-1] == 1.0
    assert len(done) > 1


def test_a_file_may_have_several_symbols(tmp_path):
    head = "symbol,datetime,open,high,low,close,volume\n"
    mine = "".join(f"rb2105,2021-01-04 09:0{minute},10,12,9,11,5\n" for minute in (5, 6, 7))
    others = "".join(
        f"{name},2021-01-04 09:0{minute},20,22,19,21,x\n" for name in ("au2105", "cu2105") for minute in (5, 6)
    )
    bars = read(tmp_path, head + others + mine)
    assert (bars.close.tolist(), len(bars.findings)) == ([11, 11, 11], 1)
    assert read(tmp_path, head + mine, symbol="rb888.SHFE").close.tolist() == [11, 11, 11]
    with pytest.raises(BacktestError, match=r"f.csv: has rows of 2 symbols \(au2105, cu2105\), none of rb2105.SHFE"):
        read(tmp_path, head + others)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line of column names"),
        ("datetime,open,high,low,close\n", "no usable row: it is empty"),
        ("datetime,open,high,low,close\nx,1,1,1,1\n", "no usable row: 1 of 1 rows was skipped: line 2: the time 'x'"),
        (b"\x00\x01\x02\x03" * 9, "neither CSV nor Parquet"),
        (gzip.compress(b"datetime,open,high,low,close\n" + b"2021-01-04,1,1,1,1\n" * 9999, mtime=0)[:90], "damaged"),
        (b"PAR1" + b"x" * 99, "damaged"),
    ],
)
def test_what_is_no_data_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(BacktestError, match=message) as refused:
        read(tmp_path, text)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BacktestError, match=r"gone.csv: No such file"):
        read_dataset(tmp_path / "gone.csv", symbol="rb2105.SHFE")


@pytest.mark.parametrize("interval", ["1m", "3m", "15m", "1h", "1d", "1w"])
def test_an_interval_that_does_not_fit_is_refused(interval):
    file = recorded(RB)
    with pytest.raises(
        BacktestError, match=f"interval {interval} does not fit the data: most rows are 5 minutes apart"
    ):
        read_dataset(file, symbol="rb888.SHFE", interval=interval)


def test_bars_are_not_ticks():
    for name, interval in ((RB, "tick"), (IF, "1m")):
        with pytest.raises(BacktestError, match="does not fit the data: it has"):
            read_dataset(recorded(name), symbol="a.SHFE", interval=interval)


def test_hours_of_sessions_with_breaks_fit(tmp_path):
    times = [f"2021-01-{day:02} {clock}" for day in (4, 5, 6, 7) for clock in ("10:00", "11:15", "14:15", "15:00")]
    bars = read(tmp_path, three(BARS, *times), interval="1h", label="end")
    assert len(bars) == 16
    with pytest.raises(BacktestError, match="does not fit"):
        read(tmp_path, three(BARS, *times), interval="2h")


def test_a_summer_time_is_of_its_zone(tmp_path):
    times = ("2021-03-12 09:30", "2021-03-15 09:30")
    bars = read(tmp_path, three(BARS, *times), timezone="America/New_York", interval="1d")
    assert [pd.Timestamp(ns, tz="UTC").hour for ns in bars.time_ns] == [14, 13]
    with pytest.raises(BacktestError, match="there is no time zone 'Mars'"):
        read(tmp_path, three(BARS, *times), timezone="Mars")


@pytest.mark.parametrize("timed", ["text", "naive", "aware", "index", "ns"])
def test_parquet_is_read_as_it_is_typed(tmp_path, timed):
    times = pd.date_range("2021-01-04 09:05", periods=5, freq="min")
    frame = pd.DataFrame({"open": 10, "high": 12.5, "low": [9, 9, 99, 9, 9], "close": 11, "volume": [5, 5, 5, None, 5]})
    match timed:
        case "text":
            frame["datetime"] = times.astype(str)
        case "naive":
            frame["datetime"] = times
        case "aware":
            frame["datetime"] = times.tz_localize("Asia/Shanghai").tz_convert("UTC")
        case "index":
            frame.index = times
        case "ns":
            frame["datetime"] = [stamp.value for stamp in times.tz_localize("Asia/Shanghai")]
    frame.to_parquet(tmp_path / "f.parquet")
    bars = read_dataset(tmp_path / "f.parquet", symbol="rb2105.SHFE", interval="1m")
    assert bars.time_ns.tolist() == [START, START + MINUTE, START + 4 * MINUTE]
    assert bars.findings[0].lines == (3, 4)
    assert bars.high.tolist() == [12.5] * 3


def test_ticks_of_one_time_stay_and_equal_ones_do_not(tmp_path):
    rows = ["10,1,9", "10,1,9", "11,2,9", "10,3,1.7976931348623157e308", "0,3,9"]
    text = "datetime,last_price,volume,bid_price_1\n" + "".join(f"2021-01-04 09:05:00.500,{row}\n" for row in rows)
    ticks = read(tmp_path, text)
    assert ticks.columns["last_price"].tolist() == [10, 11, 10]
    assert ticks.columns["bid_price_1"].tolist() == [9, 9, 0]
    assert [(finding.kind, finding.lines) for finding in ticks.findings] == [("malformed", (6,)), ("duplicate", (3,))]


def fits(minutes):
    steps = np.diff(sorted(set(minutes)))
    return len(steps) < 3 or (steps == 1).mean() >= 0.05


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=60).filter(fits))
def test_disorder_and_duplicates_are_put_right_and_counted(tmp_path_factory, minutes):
    rows = [f"2021-01-04 09:{minute:02},10,99,1,{at + 10},5" for at, minute in enumerate(minutes)]
    text = "\n".join(["datetime,open,high,low,close,volume", *rows])
    bars = read(tmp_path_factory.mktemp("disorder"), text, interval="1m")
    last = {minute: at + 10 for at, minute in enumerate(minutes)}
    assert bars.close.tolist() == [last[minute] for minute in sorted(last)]
    assert (np.diff(bars.time_ns) > 0).all()
    counts = {finding.kind: finding.count for finding in bars.findings}
    late = sum(minute < max(minutes[: at + 1]) for at, minute in enumerate(minutes))
    assert counts.get("disorder", 0) == late
    assert counts.get("duplicate", 0) == len(minutes) - len(last)
