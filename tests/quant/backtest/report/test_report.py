"""Reports as text: complete in both languages, small, closed to the network and to what users write into them."""

import base64
import gzip
import math
import re
from datetime import date
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from services.quant.backtest import report as report_package
from services.quant.backtest.analysis.performance import extra_statistics
from services.quant.backtest.data.dataset import Bars, Finding
from services.quant.backtest.job import BacktestError, BacktestJob
from services.quant.backtest.optimise import Failure
from services.quant.backtest.report import (
    named,
    render_comparison,
    render_optimisation,
    render_report,
    render_walk_forward,
    tables,
)
from services.quant.backtest.report.catalogue import LANGUAGES, catalogue, read
from services.quant.backtest.report.price_series import MAX_ROWS, packed
from services.quant.backtest.result import BacktestResult
from services.quant.backtest.run import run_backtest
from tests.quant.backtest.engine.vnpy_oracle import shipped
from tests.quant.backtest.generated import NIGHT, bars, ticks
from tests.quant.backtest.report.report_samples import day, finished, searched, turning, walked

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
FOLDER = Path(report_package.__file__).parent


@pytest.fixture(scope="module")
def data() -> Bars:
    return bars(days=40)


@pytest.fixture(scope="module")
def result(data) -> BacktestResult:
    return turning(data, parameters={"fast_window": 10, "share": 0.25})


def with_(result: BacktestResult, **values: object) -> BacktestResult:
    return BacktestResult(**{name: getattr(result, name) for name in BacktestResult.__slots__} | values)


def visible(html: str) -> str:
    """The page without the packed library and data, which has every text of the catalogue in it."""
    return re.sub(r'<script type="(?:text/plain|application/json)".*?</script>', "", html, flags=re.S)


def unpacked(text: str) -> list[int]:
    """Unpack a series as charts.js does."""
    planes = np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8).reshape(4, -1)
    return np.cumsum(planes.T.copy().view("<i4")[:, 0].astype(np.int64)).tolist()


# Languages


@pytest.mark.parametrize("file_name", ["texts.yaml", "statistics.yaml"])
def test_every_text_is_there_in_both_languages(file_name):
    for key, entry in read(file_name).items():
        for pair in [entry] if isinstance(entry, list) else [entry["label"], entry["definition"]]:
            assert len(pair) == len(LANGUAGES), key
            assert all(isinstance(text, str) and text.strip() for text in pair), key
            assert len({tuple(sorted(re.findall(r"\{\w+\}", text))) for text in pair}) == 1, key


def test_every_text_that_the_charts_ask_for_is_in_the_catalogue():
    script = (FOLDER / "templates/charts.js").read_text()
    keys = set(re.findall(r'\btext\("(\w+)"\)', script))
    assert keys and keys <= set(read("texts.yaml"))


def test_every_statistic_of_ours_and_of_vnpy_has_a_label_and_a_definition(result):
    vnpy = re.findall(
        r"\w+",
        """start_date end_date total_days profit_days loss_days capital end_balance max_drawdown max_ddpercent
        max_drawdown_duration total_net_pnl daily_net_pnl total_commission daily_commission total_slippage
        daily_slippage total_turnover daily_turnover total_trade_count daily_trade_count total_return annual_return
        daily_return return_std sharpe_ratio ewm_sharpe return_drawdown_ratio rgr_ratio""",
    )
    ours = extra_statistics(result.job, result.days, result.trades)
    assert set(vnpy) | set(ours) == set(read("statistics.yaml"))


def test_a_chinese_report_says_it_in_chinese(result, data):
    html = render_report(result, data, "zh_CN.UTF-8")
    assert '<html lang="zh-CN">' in html
    assert "夏普比率" in html and "最大回撤" in html
    assert "Sharpe ratio" not in visible(html)


def test_an_unknown_language_is_refused_by_name(result, data):
    with pytest.raises(BacktestError, match="'fr' is none of en, zh"):
        render_report(result, data, "fr")


# Contents


def test_statistics_are_shown_by_label_and_by_vnpys_name_also_unknown_ones(result, data):
    html = visible(render_report(with_(result, statistics={**result.statistics, "my_own": 3.14159}), data))
    assert "Sortino ratio" in html and "<code>sortino_ratio</code>" in html
    assert "my_own" in html and "3.1416" in html


def test_parameters_settings_findings_diagnostics_logs_and_an_error_are_shown(result, data):
    html = visible(
        render_report(
            with_(
                result,
                diagnostics=("No signal in 40 days.",),
                findings=(Finding("gap", 1234, "Minutes are missing.", (7, 8)),),
                logs=[f"line {i}" for i in range(1000)],
                variables={"ma_trend": -1},
                error="Traceback: boom",
            ),
            data,
        )
    )
    for text in ("fast_window", "0.25", "No signal in 40 days.", "Minutes are missing.", "1,234", "7, 8", "ma_trend",
                 "Traceback: boom", "line 999", "rb2501.SHFE", "1,000,000"):  # fmt: skip
        assert text in html, text
    assert "line 799\n" not in html
    assert "The last 200 of 1,000 lines." in html


def test_the_data_sets_findings_are_shown_where_the_result_has_none(result, data):
    columns = {name: getattr(data, name) for name in Bars.__slots__} | {"findings": (Finding("jump", 2, "It jumps."),)}
    assert "It jumps." in render_report(result, Bars(**columns))


def test_months_compound_to_the_year():
    profits = {date(2023, 12, 29): 100.0, date(2024, 1, 5): -110.0, date(2024, 3, 1): 99.0}
    days = finished([day(on, net_pnl=profit) for on, profit in profits.items()], 1000.0)
    last, this = tables.months(days, 1000.0)
    assert last.total.value == pytest.approx(10)
    assert [cell.value for cell in this.months][:4] == [pytest.approx(-10), None, pytest.approx(10), None]
    assert this.total.value == pytest.approx(-1)


def test_costs_are_shares_of_the_gross_profit():
    days = [day(date(2024, 1, 1), net_pnl=70.0, commission=20.0, slippage=10.0, turnover=10_000.0)]
    gross, commission, slippage, net = tables.costs(days)
    assert (gross.amount, commission.amount, slippage.amount, net.amount) == (100, -20, -10, 70)
    assert (commission.of_gross, slippage.of_gross, commission.of_turnover_bp) == (-20, -10, -20)


def test_packed_columns_come_back_whole():
    values = np.array([1_700_000_000, 1_700_000_060, -5, 0, 255, -256, 65_536], dtype=np.int64)
    assert unpacked(packed(values)) == values.tolist()
    assert unpacked(packed(np.zeros(0, np.int64))) == []


@pytest.mark.parametrize("name", ["DoubleMaStrategy", "AtrRsiStrategy"])
def test_a_run_of_vnpys_strategies_shows_all_its_statistics_by_label(name, data):
    done = run_backtest(shipped(name), BacktestJob(name, data.symbol, "1m"), data)
    shown = [statistic for _, rows in tables.statistics_by_group(done, catalogue("en")) for statistic, _ in rows]
    assert {statistic.name for statistic in shown} == set(done.statistics)
    assert all(statistic.group != "other" for statistic in shown)
    assert name in render_report(done, data)


# Odd results


def test_a_report_without_data_draws_the_days_closes(result):
    html = visible(render_report(result, None))
    assert "Daily closes: the data itself was not at hand." in html


def test_a_result_without_days_or_trades_makes_a_report_too():
    empty = BacktestResult(BacktestJob("S", "rb2501.SHFE", "1m"), [], [], {})
    assert "Nothing to show" in visible(render_report(empty, None))
    assert render_comparison(named([empty, empty]))


def test_a_day_without_trades_and_values_that_are_no_numbers_make_a_report_too(data):
    days = finished([day(date(2020, 1, 2), net_pnl=0.0, close_price=3500.0)], 1e6)
    odd = BacktestResult(
        BacktestJob("S", "rb2501.SHFE", "1m"), [], days, {"sharpe_ratio": math.nan, "total_return": math.inf}
    )
    html = render_report(odd, data)
    assert "NaN" not in re.search(r'id="payload">(.*?)</script>', html, re.S)[1]  # type: ignore[index]


def test_ticks_make_a_report():
    html = visible(render_report(turning(bars(rows=600), every=50), ticks(2000)))
    assert "Daily closes: the data itself was not at hand." not in html


# Size


@pytest.mark.slow
def test_a_year_of_minute_bars_stays_well_below_five_megabytes():
    year = bars(days=243, sessions=NIGHT)
    html = render_report(turning(year, every=15), year)
    assert len(year) > 80_000
    assert len(html.encode()) < 3.5e6


def test_more_rows_than_a_page_carries_are_grouped_and_it_says_so():
    columns = {name: getattr(bars(days=1), name) for name in Bars.__slots__}
    count = 4 * MAX_ROWS
    long = Bars(**columns | {
        "time_ns": np.int64(1_577_923_200 * 10**9) + np.arange(count) * 60 * 10**9,
        **{name: np.full(count, 100.0) for name in ("open", "high", "low", "close", "volume", "turnover",
                                                    "open_interest")},
    })  # fmt: skip
    empty = BacktestResult(BacktestJob("S", "rb2501.SHFE", "1m"), [], [], {})
    html = render_report(empty, long)
    assert "A candle is 4 rows of the data at least" in visible(html)
    assert len(html.encode()) < 4e6


# What users write


def test_whatever_users_write_is_text_and_nothing_else(data):
    result = with_(
        turning(data, class_name=EVIL, parameters={EVIL: EVIL}),
        diagnostics=(EVIL,), findings=(Finding(EVIL, 1, EVIL),), logs=[EVIL], variables={EVIL: EVIL}, error=EVIL,
        statistics={EVIL: EVIL},
    )  # fmt: skip
    other = with_(result, job=BacktestJob(EVIL, "rb2501.SHFE", "1m", parameters={EVIL: 1}))
    points = [({EVIL: EVIL, "b": i}, float(i)) for i in range(3)] + [({EVIL: 1, "b": 1}, 1.0)]
    for lang in LANGUAGES:
        for html in (
            render_report(result, data, lang), render_comparison(named([result, other]), lang),
            render_optimisation(searched(points, EVIL), lang),
        ):  # fmt: skip
            assert "<img" not in html
            assert "alert(1)</script" not in html
            # The three of the template: data, library, charts.
            assert html.count("<script") == html.count("</script") == 3


@pytest.mark.parametrize("lang", LANGUAGES)
def test_pages_name_no_address_and_forbid_the_network(result, data, lang):
    points = [({"a": i, "b": j}, i * j) for i in range(3) for j in range(3)]
    for html in (render_report(result, data, lang), render_comparison(named([result, result]), lang),
                 render_optimisation(searched(points, "sharpe_ratio"), lang)):  # fmt: skip
        assert not re.search(r"https?:|//[a-z0-9-]+\.[a-z]|@import|url\(|<link|<iframe|\ssrc=", html, re.I)
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]  # type: ignore[index]
        assert unescape(policy).startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe-eval" not in policy and "connect-src" not in policy


# Comparison and optimisation


def test_a_comparison_marks_the_best_and_names_what_differs(data):
    busy = turning(data, every=60, parameters={"every": 60})
    calm = turning(data, every=600, parameters={"every": 600})
    html = visible(render_comparison(named([busy, calm])))
    assert "TurningStrategy every=60" in html and "TurningStrategy every=600" in html
    row = re.search(r"<code>total_commission</code>(.*?)</tr>", html, re.S)[1]  # type: ignore[index]
    assert re.findall(r"<td( class=\"best\")?", row) == ["", ' class="best"']


def test_a_run_that_did_nothing_is_best_in_nothing(data, result):
    idle = with_(result, trades=(), statistics={**result.statistics, "total_commission": 0.0})
    html = visible(render_comparison(named([result, idle])))
    row = re.search(r"<code>total_commission</code>(.*?)</tr>", html, re.S)[1]  # type: ignore[index]
    assert "best" not in row


def test_comparing_nothing_is_refused():
    with pytest.raises(BacktestError, match="nothing to compare"):
        render_comparison(named([]))


def test_an_optimisation_shows_the_best_first_and_leaves_out_what_failed():
    points = [({"fast": i, "slow": j}, i * 10.0 + j) for i in range(4) for j in range(5)] + [
        ({"fast": 9, "slow": 9}, math.nan)
    ]
    html = visible(render_optimisation(searched(points, "sharpe_ratio")))
    ranks = re.findall(r'<th scope="row">1</th><td>(\d+)</td><td>(\d+)</td>', html)
    assert ranks == [("3", "4")]
    assert "Sharpe ratio" in html and "21 combinations" in html


@pytest.mark.parametrize("points", [[], [({"a": 1}, 1.0)], [({"a": i}, float(i)) for i in range(3)]])
def test_an_optimisation_of_few_points_makes_a_page(points):
    assert render_optimisation(searched(points, "my_own"), "zh")


def test_an_optimisation_says_what_failed_and_what_never_traded():
    result = searched([({"a": i}, float(i)) for i in range(3)], "sharpe_ratio", (Failure({"a": 9}, "it raised"),))
    html = visible(render_optimisation(result))
    assert "1 combinations made no trade" in html
    assert "1 combinations failed." in html and "a=9: it raised" in html


def test_a_walk_forward_shows_in_sample_beside_out_of_sample(result, data):
    html = visible(render_walk_forward(walked(result), data))
    assert re.search(r"every=3</td><td>1\.25</td><td><strong>−0\.50</strong></td><td>10\.00%</td>", html)
    assert "no point ran &lt;b&gt;to its end" in html
    assert "2 windows" in html and "efficiency −0.07" in html
    assert "样本外" in visible(render_walk_forward(walked(result), None, "zh"))
