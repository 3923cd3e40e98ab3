"""Reports in a real browser, opened as files: they draw, zoom, fit a phone, and ask the network for nothing."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from services.quant.backtest.report import (
    named,
    render_comparison,
    render_optimisation,
    render_report,
    render_walk_forward,
)
from services.quant.backtest.result import BacktestResult
from tests.machine import lacks
from tests.quant.backtest.generated import bars
from tests.quant.backtest.report.report_samples import searched, turning, walked

pytestmark = pytest.mark.slow

READY_MS = 60_000
PRICE = "document.getElementById('chart-price')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        lacks("no browser is installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """Every kind of page as a file, by name."""
    folder = tmp_path_factory.mktemp("reports")
    data = bars(days=60)
    first, second = (turning(data, every=every, parameters={"every": every}) for every in (150, 400))
    points = [({"fast": i, "slow": j, "b": k}, i * j - k) for i in range(5) for j in range(4) for k in range(2)]
    texts = {
        "en": render_report(first, data),
        "zh": render_report(first, data, "zh"),
        "without_data": render_report(first, None),
        "empty": render_report(BacktestResult(first.job, [], [], {}, error="boom"), None),
        "comparison": render_comparison(named([first, second])),
        "walk_forward": render_walk_forward(walked(first), data),
        "optimisation": render_optimisation(searched(points, "sharpe_ratio")),
        "one_parameter": render_optimisation(searched([({"fast": i}, float(i)) for i in range(9)], "sharpe_ratio")),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.fixture
def opened(browser, pages) -> Callable[..., "contextmanager[Page]"]:
    @contextmanager
    def open_page(name: str, **context: object) -> Iterator[Page]:
        """The page when its charts are drawn; at the end it must have been silent and have loaded itself alone."""
        messages, requested = [], []
        with browser.new_context(**context) as fresh:
            page = fresh.new_page()
            page.on("console", lambda message: messages.append(message.text))
            page.on("pageerror", lambda error: messages.append(str(error)))
            page.on("request", lambda request: requested.append(request.url))
            page.goto(pages[name].as_uri())
            page.wait_for_selector("html[data-charts]", timeout=READY_MS)
            assert page.evaluate("document.documentElement.dataset.charts") == "drawn", messages
            yield page
            assert messages == []
            assert requested == [pages[name].as_uri()]

    return open_page


def eventually(page: Page, fact: Callable[[], bool]) -> None:
    """Like Page.wait_for_function, which a page's policy against eval stops."""
    for _ in range(1000):
        if fact():
            return
        page.wait_for_timeout(20)
    pytest.fail("the page does not show it")


def span(page: Page) -> float:
    first, last = page.evaluate(f"{PRICE}.dataset.view").split(",")
    return float(last) - float(first)


@pytest.mark.parametrize("name", ["en", "zh", "without_data", "walk_forward"])
def test_a_report_draws_every_chart(opened, name):
    with opened(name) as page:
        for chart in ("equity", "price", "daily", "distribution", "costs"):
            drawn = f"#chart-{chart} :is(.scatterlayer path, .barlayer path, .boxlayer path)"
            assert page.locator(drawn).count() > 0, chart
        assert page.locator("#chart-price .scatterlayer .point").count() > 10
        assert page.locator("#unsupported").is_hidden()


def test_a_report_of_nothing_opens_too(opened):
    with opened("empty") as page:
        assert page.locator(".chart").count() == 0
        assert page.locator("#error").inner_text().endswith("boom")


@pytest.mark.parametrize("name", ["comparison", "optimisation", "one_parameter"])
def test_comparisons_and_optimisations_draw_too(opened, name):
    with opened(name) as page:
        assert page.locator(".chart :is(.scatterlayer path, .heatmaplayer image)").count() > 0


def test_zooming_shows_finer_candles_and_a_double_click_shows_all_again(opened):
    with opened("en") as page:
        whole = span(page)
        group = f"{PRICE}.data[0].x"
        coarse = page.evaluate(f"{group}[1] - {group}[0]")
        page.click("[data-days='7']")
        week = span(page)
        assert week < whole / 5
        assert page.evaluate(f"{group}[1] - {group}[0]") < coarse
        page.click("[data-move='-1']")
        assert span(page) == pytest.approx(week)
        page.click("[data-scale='0.5']")
        assert span(page) == pytest.approx(week / 2, rel=0.02)

        page.click("[data-days='0']")
        box = page.locator("#chart-price .nsewdrag").first.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60, steps=5)
        page.mouse.up()
        eventually(page, lambda: span(page) < whole / 5)
        page.mouse.dblclick(box["x"] + box["width"] * 0.5, box["y"] + 60)
        eventually(page, lambda: span(page) == pytest.approx(whole))


def test_trades_are_drawn_at_their_prices_and_times_when_one_looks_closely(opened):
    data = bars(days=60)
    result = turning(data, every=150)
    with opened("en") as page:
        page.click("[data-days='1']")
        first, last = (float(row) for row in page.evaluate(f"{PRICE}.dataset.view").split(","))
        xs, ys = page.evaluate(f"{PRICE}.data.filter((t) => t.legendrank === 0).map((t) => [t.x, t.y])[0]")
        step = page.evaluate(f"{PRICE}.data[0].x[1] - {PRICE}.data[0].x[0]")
    rows = {int(ns): row for row, ns in enumerate(data.time_ns)}
    bought = [fill for fill in result.trades if fill.direction == "LONG" and fill.offset == "OPEN"]
    expected = [(rows[int(fill.time.timestamp()) * 10**9], fill.price) for fill in bought]
    expected = [(row, price) for row, price in expected if first <= row <= last]
    assert len(expected) == len(xs) > 0
    for (row, price), x, y in zip(expected, xs, ys, strict=True):
        assert abs(row - x) <= step
        assert y == pytest.approx(price)


@pytest.mark.parametrize("name", ["en", "zh", "comparison", "optimisation", "walk_forward"])
def test_pages_fit_a_phone_without_scrolling_sideways(opened, name):
    with opened(name, viewport={"width": 400, "height": 800}, is_mobile=True, has_touch=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_charts_follow_the_change_to_a_dark_screen(opened):
    with opened("en", color_scheme="light") as page:
        text = "document.getElementById('chart-equity').layout.font.color"
        light = page.evaluate(text)
        page.emulate_media(color_scheme="dark")
        eventually(page, lambda: page.evaluate(text) != light)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 24)"


def test_gains_are_red_in_chinese_and_green_in_english(opened):
    gain = "getComputedStyle(document.documentElement).getPropertyValue('--gain').trim()"
    with opened("en") as page:
        assert page.evaluate(gain) == "#00795a"
    with opened("zh") as page:
        assert page.evaluate(gain) == "#b8480a"


def test_a_label_shows_its_definition_to_the_keyboard(opened):
    with opened("en") as page:
        label = page.locator("#statistics .named", has_text="Sortino ratio")
        label.focus()
        shown = label.evaluate("(element) => getComputedStyle(element, '::after').content")
        assert "negative daily returns" in shown


def test_a_script_that_got_into_the_page_does_not_run(browser, pages, tmp_path):
    bad = tmp_path / "bad.html"
    text = pages["en"].read_text(encoding="utf-8")
    bad.write_text(text.replace("<main>", "<main><script>window.ran = 1</script><img src=x onerror='window.ran = 2'>"))
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(bad.as_uri())
        page.wait_for_selector("html[data-charts]", timeout=READY_MS)
        assert page.evaluate("window.ran === undefined")
