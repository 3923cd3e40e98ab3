from decimal import Decimal

import pytest

from services.kernel.errors import StartError
from services.quant.catalogue import Catalogue


def test_the_own_catalogue_names_eight_products():
    catalogue = Catalogue.load()
    products = {(i.code.rstrip("0123456789"), i.exchange) for i in catalogue.listed()}
    expected = "IF.CFFEX IH.CFFEX IC.CFFEX rb.SHFE cu.SHFE au.SHFE m.DCE SR.CZCE"
    assert products >= {tuple(product.split(".")) for product in expected.split()}
    for instrument in catalogue.listed():
        assert instrument.simulated is not None
        assert instrument.simulated.price % instrument.price_tick == 0
        assert instrument.expire_date is not None and instrument.expire_date.isoformat() > "2026-11-21"


def test_a_recorded_symbol_follows_its_product():
    instrument = Catalogue.load().find("IF2101.CFFEX")
    assert instrument is not None
    assert (instrument.contract_size, instrument.price_tick) == (Decimal(300), Decimal("0.2"))
    assert instrument.close_today_commission_rate > instrument.commission_rate * 10
    assert instrument.expire_date is None


@pytest.mark.parametrize("symbol", ["XX2101.CFFEX", "IF2101.SHFE", "IF.CFFEX", "nonsense", ""])
def test_an_unknown_symbol_is_none(symbol):
    assert Catalogue.load().find(symbol) is None


def test_a_file_extends_and_overrides(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "products: {IF.CFFEX: {margin_rate: 0.2}}\n"
        "symbols:\n  AAPL.NASDAQ: {name: Apple, kind: EQUITY, contract_size: 1, price_tick: 0.01, margin_rate: 1}\n"
    )
    catalogue = Catalogue.load(str(file))
    assert catalogue.find("IF2612.CFFEX").margin_rate == Decimal("0.2")
    assert catalogue.find("AAPL.NASDAQ").price_tick == Decimal("0.01")
    assert catalogue.find("rb2701.SHFE") is not None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("symbols: {IF2612.CFFEX: {margin_rate: 7}}", "IF2612.CFFEX: margin_rate"),
        ("symbols: {IF2612.CFFEX: {colour: red}}", "colour"),
        ("symbols: {ZZ99.SHFE: {}}", "ZZ99.SHFE: "),
        ("symbols: [1]", "symbols"),
        ("things: {}", "products"),
        ("a: b: c", "not YAML"),
        ("products: {IF.CFFEX: {price_tick: -1}}", "price_tick"),
    ],
)
def test_a_bad_file_is_one_line_that_names_what_is_wrong(tmp_path, text, named):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(StartError) as caught:
        Catalogue.load(str(file))
    assert named in str(caught.value) and "bad.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sessions_of_a_file_are_not_read_and_a_warning_is_logged(tmp_path, caplog):
    file = tmp_path / "instruments.yaml"
    file.write_text('products: {rb.SHFE: {sessions: [["09:00", "10:00"]]}}')
    assert Catalogue.load(str(file)).find("rb2701.SHFE") is not None
    assert "rb.SHFE: `sessions` is not read" in caplog.text


def test_a_missing_file_is_one_line():
    with pytest.raises(StartError, match=r"/nonexistent\.yaml"):
        Catalogue.load("/nonexistent.yaml")
